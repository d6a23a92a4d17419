"""What Keras' `fit` needs to be fast, steady and interruptible for so small a network.

Three things that Keras makes of many operations take one or two here, by Keras' own
extension points: `update_step` of an optimizer, `call` of a layer, `clone_model`.
Everything else is Keras': other optimizers, regularizers, frozen layers and callbacks
do what they do there.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

from pyimagesearch.augmentation import augmented_batches, draw_order
from pyimagesearch.backend import keras, tf
from pyimagesearch.console import interrupt_as_event
from pyimagesearch.dataset import Dataset, share_of_sources
from pyimagesearch.folds import Fold
from pyimagesearch.livenessnet import LivenessNet
from pyimagesearch.models import as_network
from pyimagesearch.preprocessing import scale

import cv2
import numpy as np
from tqdm import tqdm

# For train.py, besides what follows.
__all__ = ["LivenessNet", "keras"]

# Crops that are enough to know the statistics of batch normalization.
STATISTICS_CROPS = 256
BATCH = 256  # crops that are classified at once
VALIDATIONS = 10  # how often in a training the held-out crops are looked at

_building = threading.Lock()


class TrainingData(NamedTuple):
    """What all trainings share."""

    crops: object
    """tensor of shape (n, h, w, 3), dtype uint8"""
    targets: np.ndarray
    """(n, classes) float32, one-hot."""
    labels: np.ndarray
    """(n,) of str."""
    sources: np.ndarray
    """(n,) of str."""


def prepare(dataset: Dataset) -> TrainingData:
    """Make a dataset what `train_network` takes."""
    classes, truth = np.unique(dataset.labels, return_inverse=True)
    return TrainingData(
        tf.constant(dataset.crops),
        np.eye(len(classes), dtype=np.float32)[truth],
        dataset.labels,
        dataset.sources,
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let weights be drawn from this seed, by one thread at a time."""
    with _building:
        keras.utils.set_random_seed(seed)
        yield


class FusedAdam(keras.optimizers.Adam):
    """Adam that updates a variable in one operation, where Keras takes a dozen."""

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable."""
        if self.amsgrad:
            return super().update_step(gradient, variable, learning_rate)
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        return tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization of images in one operation, as in the tutorial's Keras."""

    def call(self, inputs, training=None, mask=None):
        """Normalize a batch."""
        if not (training and self.trainable and len(inputs.shape) == 4):
            return super().call(inputs, training=training, mask=mask)
        outputs, *moments = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon
        )
        means = self.moving_mean, self.moving_variance
        for mean, now in zip(means, moments, strict=True):
            mean.assign(self.momentum * mean + (1 - self.momentum) * now)
        return outputs


class FusedDropout(keras.layers.Dropout):
    """Dropout that multiplies, where Keras selects, which takes twice as long."""

    def call(self, inputs, training=False):
        """Drop a share of the values, and scale the others up."""
        if not (training and 0 < self.rate < 1 and self.noise_shape is None):
            return super().call(inputs, training=training)
        draws = keras.random.uniform(tf.shape(inputs), seed=self.seed_generator)
        kept = tf.cast(draws >= self.rate, inputs.dtype)
        return inputs * (kept / (1 - self.rate))


def fuse(model, batch_norm_momentum: float | None = None):
    """Copy a Keras model with its weights, some of its layers made faster.

    Parameters
    ----------
    model : keras.Sequential
    batch_norm_momentum : float, optional
        How slowly its running statistics follow; the model's own by default.
    """

    def clone(layer):
        kind, config = type(layer), layer.get_config()
        if kind is keras.layers.BatchNormalization:
            config["momentum"] = batch_norm_momentum or layer.momentum
            if layer.scale and layer.center and layer.axis in (-1, 3):
                kind = FusedBatchNormalization
        if kind is keras.layers.Dropout:
            kind = FusedDropout
        return kind.from_config(config)

    fused = keras.models.clone_model(model, clone_function=clone)
    fused.set_weights(model.get_weights())
    return fused


def batches_of(
    data: TrainingData,
    fold: Fold,
    steps: int,
    size: int,
    class_weighted: bool,
    source_weighted: bool,
    rng: np.random.Generator,
) -> tf.data.Dataset:
    """Give out a fold's training crops in batches, augmented, with what they count.

    Parameters
    ----------
    data : TrainingData
    fold : Fold
    steps, size : int
        How many batches, of how many crops.
    class_weighted : bool
        Let the crops of rare classes count more in the loss, so that classes do alike.
    source_weighted : bool
        Let the crops of small sources come more often, so that in a class sources do.
    rng : Generator
    """
    shares = np.ones(len(fold.train))
    if source_weighted:
        shares = share_of_sources(data.labels[fold.train], data.sources[fold.train])
    weights = np.ones(data.targets.shape[1], np.float32)
    if class_weighted:
        weights /= len(weights) * data.targets[fold.train].mean(axis=0)
    order = draw_order(rng, fold.train, shares, steps, size)
    return augmented_batches(
        data.crops, data.targets, data.targets @ weights, order, rng
    )


class Validation(keras.callbacks.Callback):
    """Measures the network on held-out crops, some times in a training.

    Keras' own `validation_data` takes ten times as long for so few crops.

    Parameters
    ----------
    data : TrainingData
    indices : ndarray of shape (m,), dtype int
        The held-out crops; there may be none.
    """

    def __init__(self, data: TrainingData, indices: np.ndarray):
        super().__init__()
        self._data, self._indices = data, indices

    def on_train_begin(self, logs=None):
        """Compile the network as it is used."""
        self._network = as_network(self.model)

    def predict(self, indices: np.ndarray) -> np.ndarray:
        """Give the network's probabilities, (m, classes) float32, of some crops."""
        rows = [np.empty((0, self._network.classes), np.float32)]
        for start in range(0, len(indices), BATCH):
            crops = tf.gather(self._data.crops, indices[start : start + BATCH])
            rows.append(self._network.predict(scale(crops.numpy())))
        return np.concatenate(rows)

    def on_epoch_end(self, epoch, logs):
        """Add `val_loss` and `val_accuracy`, None where nothing was measured."""
        epochs = self.params["epochs"]
        logs |= {"val_loss": None, "val_accuracy": None}
        is_due = (epoch + 1) % -(-epochs // VALIDATIONS) == 0 or epoch + 1 == epochs
        if is_due and len(self._indices):
            probabilities = self.predict(self._indices)
            truth = self._data.targets[self._indices].astype(bool)
            losses = -np.log(np.maximum(probabilities[truth], 1e-7))
            hits = probabilities.argmax(axis=1) == truth.argmax(axis=1)
            logs["val_loss"] = float(losses.mean())
            logs["val_accuracy"] = float(hits.mean())


class Control(keras.callbacks.Callback):
    """Counts steps for a progress bar, and ends the training when an event is set.

    Attributes
    ----------
    epochs : int
        How many are over.
    """

    def __init__(self, bar, stop: threading.Event):
        super().__init__()
        self._bar, self._stop, self.epochs = bar, stop, 0

    def on_train_begin(self, logs=None):
        """Make what Keras would make in the first step, and trace it twice for that."""
        self.model.optimizer.build(self.model.trainable_variables)
        targets = np.zeros((1, *self.model.output_shape[1:]), np.float32)
        self.model.compute_metrics(None, targets, targets)

    def on_train_batch_end(self, batch, logs=None):
        """Go on, or end after this step."""
        self._bar.update()
        if self._stop.is_set():
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        """Count an epoch that was not cut short."""
        self.epochs += not self.model.stop_training


def reestimate_batch_norm(model, batches: tf.data.Dataset) -> None:
    """Set batch normalization's running statistics to those of some augmented crops.

    In training they trail behind weights that are still moving; the network then does
    much worse than it could. "Precise BN": Wu and Johnson, Rethinking "Batch" in
    BatchNorm, 2021. Of crops as they are, statistics suit these very people better,
    and strangers worse (benchmarks/README.md).

    Parameters
    ----------
    model : keras.Sequential
        Changed in place; images are channels last. Frozen layers stay as they are.
    batches : tf.data.Dataset
        From `augmented_batches`; the first STATISTICS_CROPS crops are looked at.
    """
    parts, count = [], 0
    for images, *_ in batches:
        parts.append(images)
        count += len(images)
        if count >= STATISTICS_CROPS:
            break
    values = tf.concat(parts, axis=0)
    for layer in model.layers:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        if is_norm and layer.trainable:
            axes = list(range(len(values.shape) - 1))
            mean, variance = keras.ops.moments(values, axes)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
        values = layer(values, training=False)


def run_in_threads(jobs: Sequence[Callable], steps: int) -> Iterator:
    """Run trainings in threads, one a core; yield what they give, in order.

    Ctrl-C lets all of them end after the running step; another one interrupts at once.

    Parameters
    ----------
    jobs : sequence of callable
        Each takes a progress bar and the event that ends it.
    steps : int
        Of all of them.
    """
    with (
        tqdm(total=steps, unit="step", disable=None) as bar,
        interrupt_as_event() as stop,
        ThreadPoolExecutor(min(len(jobs), cv2.getNumberOfCPUs())) as threads,
    ):
        try:
            results = [threads.submit(job, bar, stop) for job in jobs]
            for result in results:
                yield result.result()
        finally:
            stop.set()
            threads.shutdown(cancel_futures=True)
