"""What a network learns from, and how: batches, augmentation, precise batch norm.

The augmentation is the tutorial's: the same ranges, and ImageDataGenerator's warps.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from pyimagesearch.backend import keras, tf
from pyimagesearch.console import interrupt_as_event
from pyimagesearch.dataset import Dataset
from pyimagesearch.models import BATCH_SIZE
from pyimagesearch.simulate import draw_recaptures

import cv2
import numpy as np
from tqdm import tqdm

ROTATION = 20.0  # degrees, either way
ZOOM = 0.15  # of the size, each axis on its own
SHIFT = 0.2  # of the size, each axis on its own
SHEAR = 0.15  # degrees
BATCHES_AHEAD = 8  # prepared in a thread
STATISTICS_CROPS = 256  # for batch normalization; 512 gave the same results

OPTIONS = tf.data.Options()  # batches are prepared in one thread
OPTIONS.autotune.enabled = False
OPTIONS.threading.private_threadpool_size = 1

_building = threading.Lock()


def make_batches(dataset: Dataset, train: np.ndarray, recipe, steps: int, seed: int):
    """Produce all batches of a training: warped float32 images, targets, weights."""
    rng, truth = np.random.default_rng(seed), dataset.truth
    classes, size = len(dataset.classes), dataset.pool.shape[1:3]
    counts = np.bincount(truth[train], minlength=classes)
    weights = np.ones(classes, np.float32)
    if recipe.class_weighted and counts.all():  # real crops alone: half become attacks
        weights /= classes * (counts / len(train)).astype(np.float32)
    shares = np.ones(len(train))
    if recipe.source_weighted:
        shares = share_of_sources(truth[train], dataset.sources[train])
    order = draw_order(rng, train, shares, steps, recipe.batch_size)
    drawn = truth[order]
    warps = [random_transforms(rng, recipe.batch_size, *size) for _ in range(steps)]
    if len(dataset.recaptures):
        order, drawn = draw_recaptures(rng, dataset, train, shares, order, drawn)

    def load(indices, drawn, transforms):
        images = warp(take(dataset.pool, indices), transforms)
        return images, tf.one_hot(drawn, classes), tf.gather(weights, drawn)

    rows = order, drawn, np.stack(warps)
    batches = tf.data.Dataset.from_tensor_slices(rows).map(load)
    return batches.prefetch(BATCHES_AHEAD).with_options(OPTIONS)


def plain_batches(dataset: Dataset, indices: np.ndarray) -> tf.data.Dataset:
    """Produce batches of some crops as they are, in order, with their targets."""
    classes = len(dataset.classes)

    def load(indices, truth):
        return take(dataset.pool, indices), tf.one_hot(truth, classes)

    rows = tf.data.Dataset.from_tensor_slices((indices, dataset.truth[indices]))
    return rows.batch(BATCH_SIZE).map(load).with_options(OPTIONS)


def take(pool: np.ndarray, indices: tf.Tensor) -> tf.Tensor:
    """Return crops as float32 in [0, 1], in a graph of tf.data."""
    # NumPy takes them, as a tensor would be copied into every graph.
    images = tf.numpy_function(lambda indices: pool[indices], [indices], tf.uint8)
    images.set_shape((None, *pool.shape[1:]))
    return tf.cast(images, tf.float32) / 255


def share_of_sources(labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Return draws per crop, (n,) float64: mean 1, equal sums of a class's sources."""
    shares = np.empty(len(labels))
    for label in np.unique(labels):
        own = labels == label
        _, source, n = np.unique(sources[own], return_inverse=True, return_counts=True)
        shares[own] = own.sum() / len(n) / n[source]
    return shares


def draw_order(rng, crops: np.ndarray, shares: np.ndarray, steps: int, size: int):
    """Draw the crops of each batch, (steps, size) int, as often as their shares say."""
    ends = np.concatenate([[0], np.cumsum(shares)]).round(6)
    epochs = []
    for _ in range(math.ceil(steps * size / len(crops))):
        # Shares are rounded down or up at random.
        counts = np.diff(np.floor(ends + rng.uniform())).astype(int)
        epochs.append(rng.permutation(np.repeat(crops, counts)))
    return np.concatenate(epochs)[: steps * size].reshape(steps, size)


def random_transforms(rng, n: int, height: int, width: int) -> np.ndarray:
    """Draw the warps of n images, composed as Keras' ImageDataGenerator does.

    Returns (n, 8) float32, from output to input pixels: the rows of a 3x3 matrix
    without its last element, which is 1.
    """
    draws = rng.uniform(-1, 1, (7, n))
    rotation, shear = draws[0] * np.deg2rad(ROTATION), draws[3] * np.deg2rad(SHEAR)
    shift_y, shift_x = draws[1] * SHIFT * height, draws[2] * SHIFT * width
    zoom_y, zoom_x = 1 + draws[4] * ZOOM, 1 + draws[5] * ZOOM  # above 1 it shrinks
    zero, one = np.zeros(n), np.ones(n)
    flip = np.where(draws[6] < 0, -one, one)

    def matrix(*entries):  # the first two rows of n 3x3 matrices on (x, y, 1)
        return np.stack([*entries, zero, zero, one], -1).reshape(-1, 3, 3)

    sin, cos = np.sin(rotation), np.cos(rotation)
    center_x, center_y = one * (width - 1) / 2, one * (height - 1) / 2
    # Read from right to left: what happens to an output pixel on its way to the input.
    composed = (
        matrix(one, zero, center_x, zero, one, center_y)
        @ matrix(cos, -sin, zero, sin, cos, zero)
        @ matrix(one, zero, shift_x, zero, one, shift_y)
        @ matrix(one, -np.sin(shear), zero, zero, np.cos(shear), zero)
        @ matrix(zoom_x, zero, zero, zero, zoom_y, zero)
        @ matrix(flip, zero, zero, zero, one, zero)
        @ matrix(one, zero, -center_x, zero, one, -center_y)
    )
    return composed.reshape(-1, 9)[:, :8].astype(np.float32)


def warp(images, transforms):
    """Warp (n, h, w, 3) float32 images; pixels from outside repeat the nearest one."""
    return keras.ops.image.affine_transform(images, transforms, fill_mode="nearest")


def learning_rate(recipe, steps: int):
    """Return the learning rate or Keras' schedule of it, for `steps` in an epoch."""
    schedules = keras.optimizers.schedules
    rate, epochs = recipe.learning_rate, recipe.epochs
    return {
        "constant": rate,
        "cosine": schedules.CosineDecay(rate, epochs * steps),
        # `Adam(decay=rate / epochs)` before Keras 3
        "inverse time": schedules.InverseTimeDecay(rate, 1, rate / epochs),
    }[recipe.schedule]


@contextmanager
def fused_batch_norm(model: keras.Sequential) -> Iterator[None]:
    """Normalize images in one operation, not a dozen: 16 % less CPU time in all."""
    fused = []
    for layer in model.layers:
        is_norm = type(layer) is keras.layers.BatchNormalization
        is_plain = is_norm and layer.scale and layer.center
        if is_plain and len(layer.output.shape) == 4 and layer.axis in (-1, 3):
            layer.call = partial(_normalize, layer, layer.call)
            fused.append(layer)
    try:
        yield
    finally:
        for layer in fused:
            del layer.call  # the class's is back


def _normalize(layer, call: Callable, inputs, training=None, mask=None):
    if not (training and layer.trainable):
        return call(inputs, training=training, mask=mask)
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        inputs, layer.gamma, layer.beta, epsilon=layer.epsilon
    )
    for moving, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(layer.momentum * moving + (1 - layer.momentum) * new)
    return outputs


def set_batch_norm_momentum(model: keras.Sequential, momentum: float) -> None:
    """Set how slowly the running statistics of batch normalization follow."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw weights from this seed, in one thread at a time: it is Keras' only one."""
    with _building:
        keras.utils.set_random_seed(seed)
        yield


class Control(keras.callbacks.Callback):
    """Updates a progress bar, and ends the training when an event is set."""

    def __init__(self, bar: tqdm, stop: threading.Event):
        super().__init__()
        self._bar, self._stop = bar, stop
        self.interrupted = False  # by the event

    def on_train_begin(self, logs=None):
        """Create the variables; Keras would trace the first step twice for them."""
        self.model.optimizer.build(self.model.trainable_variables)
        targets = np.zeros((1, *self.model.output_shape[1:]), np.float32)
        self.model.compute_metrics(None, targets, targets)

    def on_train_batch_end(self, batch, logs=None):
        """Advance the bar; stop if the event is set."""
        self._bar.update()
        if self._stop.is_set():
            self.model.stop_training = self.interrupted = True


def reestimate_batch_norm(model: keras.Sequential, batches: tf.data.Dataset) -> None:
    """Set the running statistics of batch normalization to those of augmented crops.

    Those of training lag behind ("precise BN": Wu and Johnson, Rethinking "Batch" in
    BatchNorm, 2021); those of unaugmented crops suit strangers less
    (benchmarks/README.md). Frozen layers stay as they are.
    """
    crops = batches.map(lambda images, *_: images).unbatch().batch(STATISTICS_CROPS)
    values = next(iter(crops))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            mean, variance = keras.ops.moments(values, list(range(values.ndim - 1)))
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
        values = layer(values, training=False)


def run_in_threads(jobs: Sequence[Callable], steps: int) -> Iterator:
    """Run trainings in threads, one per core; yield what they return, in order.

    Each job takes the progress bar, of `steps` in all, and the event that ends it.
    Ctrl-C ends all of them after the current step; a second one interrupts at once.
    """
    with (
        tqdm(total=steps, unit="step", disable=None) as bar,
        interrupt_as_event() as stop,
        ThreadPoolExecutor(min(len(jobs), cv2.getNumberOfCPUs())) as threads,
    ):
        try:
            for result in [threads.submit(job, bar, stop) for job in jobs]:
                yield result.result()
        finally:
            stop.set()
            threads.shutdown(cancel_futures=True)
