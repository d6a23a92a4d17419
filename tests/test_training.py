import os
import signal
import threading
from collections import Counter
from contextlib import closing

from pyimagesearch.backend import keras, tf
from pyimagesearch.dataset import load_dataset
from pyimagesearch.livenessnet import LivenessNet
from pyimagesearch.preprocessing import scale
from pyimagesearch.training import (
    STATISTICS_CROPS,
    Control,
    FusedAdam,
    FusedBatchNormalization,
    FusedDropout,
    Validation,
    augmented_batches,
    fuse,
    prepare,
    reestimate_batch_norm,
    run_in_threads,
    seeded,
)

import cv2
import numpy as np
import pytest

layers = keras.layers
IMAGES = np.random.default_rng(0).random((64, 16, 16, 3), np.float32)
TARGETS = np.eye(2, dtype=np.float32)[np.random.default_rng(1).integers(0, 2, 64)]


@pytest.fixture(scope="module")
def data(dataset):
    return prepare(load_dataset(dataset))


def build(seed=0, **convolution):
    """A network with every kind of layer that LivenessNet has, but small."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            layers.Input((16, 16, 3)),
            layers.Conv2D(4, (3, 3), padding="same", **convolution),
            layers.Activation("relu"),
            layers.BatchNormalization(momentum=0.5),
            layers.MaxPooling2D((4, 4)),
            layers.Flatten(),
            layers.Dense(8),
            layers.BatchNormalization(momentum=0.5),
            layers.Dense(2),
            layers.Activation("softmax"),
        ]
    )


def fit(model, optimizer=None, epochs=2, **options):
    """Compile and fit on IMAGES; returns Keras' history."""
    model.compile(
        loss="categorical_crossentropy", optimizer=optimizer or FusedAdam(1e-2)
    )
    options = {"batch_size": 16, "shuffle": False, "verbose": 0} | options
    return model.fit(IMAGES, TARGETS, epochs=epochs, **options).history


def copy_weights(model):
    return [weight.numpy().copy() for weight in model.weights]


def assert_like(weights, others, tolerance=3e-5):
    # Not each weight: Adam makes a step of rounding errors where there is no gradient.
    for own, other in zip(weights, others, strict=True):
        assert np.abs(own - other).mean() < tolerance


def randomize_statistics(model):
    for variable in model.non_trainable_variables:
        if variable.path.endswith(("mean", "variance")):
            variable.assign(np.random.default_rng(1).random(variable.shape) + 0.1)


def test_fusing_keeps_the_network_and_leaves_the_model_alone():
    model = LivenessNet.build(32, 32, 3, 3)
    randomize_statistics(model)
    before = copy_weights(model)
    fused = fuse(model)
    images = np.random.default_rng(0).random((5, 32, 32, 3), np.float32)
    np.testing.assert_array_equal(fused(images, training=False), model(images))
    fused.trainable_weights[0].assign_add(fused.trainable_weights[0])
    for weight, old in zip(copy_weights(model), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    kinds = Counter(type(layer) for layer in fused.layers)
    assert kinds[FusedBatchNormalization] == 5
    assert kinds[FusedDropout] == 3
    assert layers.BatchNormalization not in kinds
    assert FusedBatchNormalization not in {type(layer) for layer in model.layers}


def test_fusing_keeps_the_momentum_of_the_statistics_or_sets_another():
    def read(model):
        norms = (layers.BatchNormalization,)
        return [x.momentum for x in model.layers if isinstance(x, norms)]

    assert read(fuse(build())) == [0.5, 0.5]
    assert read(fuse(build(), 0.9)) == [0.9, 0.9]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_steps_are_those_of_keras(weighted):
    """Its own Adam and batch normalization come to the same network."""
    weights = np.array([0.5, 2], np.float32)[TARGETS.argmax(axis=1)]
    options = {"sample_weight": weights} if weighted else {}
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 10)
    ours, theirs = fuse(build()), build()
    losses = [
        fit(model, kind(schedule), batch_size=32, **options)["loss"]
        for model, kind in ((ours, FusedAdam), (theirs, keras.optimizers.Adam))
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert_like(copy_weights(ours), copy_weights(theirs), 2e-4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        {"clipnorm": 0.1},
        {"weight_decay": 0.1},
        {"amsgrad": True},
    ],
    ids=str,
)
def test_an_option_of_adam_does_what_it_does_in_keras(options):
    results = []
    for kind in (FusedAdam, keras.optimizers.Adam):
        variables = [keras.Variable(np.ones(shape)) for shape in [(3,), (2, 2)]]
        optimizer = kind(0.1, **options)
        rng = np.random.default_rng(0)
        for step in range(6):
            gradients = [rng.normal(size=v.shape) / (1 + step) for v in variables]
            optimizer.apply([tf.constant(g, tf.float32) for g in gradients], variables)
        results.append([variable.numpy() for variable in variables])
    for own, other in zip(*results, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5)


@pytest.mark.parametrize("shape", [(8, 4, 4, 3), (32, 5, 7, 1), (8, 6)])
def test_a_batch_is_normalized_as_keras_does(shape):
    values = np.random.default_rng(0).normal(2, 3, shape).astype(np.float32)
    ours, theirs = (
        kind(momentum=0.5)
        for kind in (FusedBatchNormalization, layers.BatchNormalization)
    )
    for training_now in (True, True, False):
        np.testing.assert_allclose(
            ours(values, training=training_now),
            theirs(values, training=training_now),
            atol=0.05 if not training_now else 1e-4,
        )
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, rtol=1e-4)
    # The fused variance is that of a sample, n - 1 in its denominator.
    n = values[..., 0].size
    np.testing.assert_allclose(
        ours.moving_variance, theirs.moving_variance, rtol=1.5 / (n - 1)
    )


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0.25},
        {"rate": 0.5, "noise_shape": (8, 1)},
        {"rate": 0},
        {"rate": 1},
    ],
    ids=str,
)
def test_dropout_drops_what_keras_drops(options):
    ours, theirs = (kind(seed=3, **options) for kind in (FusedDropout, layers.Dropout))
    values = tf.constant(np.random.default_rng(0).normal(2, 3, (8, 50)), tf.float32)
    for training_now in (True, True, False):
        np.testing.assert_array_equal(
            ours(values, training=training_now), theirs(values, training=training_now)
        )


@pytest.mark.parametrize(
    "options", [{"scale": False}, {"center": False}, {"axis": 1}, {"epsilon": 0.1}]
)
def test_a_batch_normalization_with_options_is_keras_own(options):
    def build():
        return keras.Sequential(
            [layers.Input((4, 6, 3)), layers.BatchNormalization(**options)]
        )

    model = build()
    fused = fuse(model)
    values = np.random.default_rng(0).normal(2, 3, (8, 4, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(
        fused(values, training=True), model(values, training=True), atol=1e-4
    )


def test_a_regularizers_loss_is_in_the_training_loss():
    plain, regularized = build(), build(kernel_regularizer=keras.regularizers.L2(0.5))
    assert_like(copy_weights(plain), copy_weights(regularized), 1e-9)
    kernel = plain.layers[0].kernel.numpy()
    losses = []
    for model in (plain, regularized):
        still = keras.optimizers.SGD(0.0)  # so that the weights stay what they are
        losses += fit(fuse(model), still, epochs=1)["loss"]
    assert losses[1] - losses[0] == pytest.approx(0.5 * (kernel**2).sum(), rel=1e-4)


def test_a_regularizer_pulls_at_the_weights():
    norms = []
    for options in ({}, {"kernel_regularizer": keras.regularizers.L2(10.0)}):
        model = fuse(build(**options))
        fit(model, epochs=10)
        norms.append(float(np.abs(model.layers[0].kernel).sum()))
    assert norms[1] < 0.7 * norms[0]


def test_frozen_layers_stay_as_they_are():
    model = build()
    randomize_statistics(model)
    for layer in model.layers[:3]:  # convolution, ReLU, batch normalization
        layer.trainable = False
    fused = fuse(model)
    before = [copy_weights(layer) for layer in fused.layers]
    fit(fused)
    changed = [
        any(
            not np.array_equal(old, new)
            for old, new in zip(weights, copy_weights(layer), strict=True)
        )
        for weights, layer in zip(before, fused.layers, strict=True)
        if layer.weights
    ]
    # The convolution, its batch normalization; then dense, its own, dense.
    assert changed == [False, False, True, True, True]


def test_a_frozen_batch_normalization_uses_its_statistics():
    model = keras.Sequential([layers.Input((4, 4, 3)), layers.BatchNormalization()])
    randomize_statistics(model)
    model.layers[0].trainable = False
    images = IMAGES[:, :4, :4]
    np.testing.assert_allclose(
        fuse(model)(images, training=True), model(images, training=False), atol=1e-6
    )


def test_another_optimizer_learns_as_it_does_in_keras():
    weights = []
    for model in (fuse(build()), build()):
        fit(model, keras.optimizers.SGD(0.05, momentum=0.9))
        weights.append(copy_weights(model))
    assert_like(*weights, 1e-3)
    assert np.abs(weights[0][0] - build().weights[0]).mean() > 1e-3


def test_a_callback_is_called_and_may_end_the_training():
    class Callback(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs):
            self.batches += 1

        def on_epoch_end(self, epoch, logs):
            logs["own"] = epoch
            self.model.stop_training = epoch == 2

    callback = Callback()
    history = fit(fuse(build()), epochs=9, callbacks=[callback])
    assert callback.batches == 3 * 4
    assert history["own"] == [0, 1, 2]


def batches_of(data, indices, size=10):
    rng = np.random.default_rng(0)
    order = np.resize(indices, (60, size))
    weights = np.ones(len(data.labels), np.float32)
    return augmented_batches(data.crops, data.targets, weights, order, rng)


def test_the_statistics_become_those_of_augmented_crops(data):
    with seeded(0):
        model = LivenessNet.build(32, 32, 3, 2)
    batches = batches_of(data, np.arange(len(data.labels)))
    reestimate_batch_norm(model, batches)
    # As many crops as it looks at, in batches of ten.
    images = np.concatenate([x for x, *_ in batches.take(-(-STATISTICS_CROPS // 10))])
    # What batch normalization does to these very images as one batch, in training.
    values = tf.constant(images)
    for layer in model.layers:
        if not isinstance(layer, layers.Dropout):
            values = layer(values, training=True)
    reestimate_batch_norm(model, batches)
    np.testing.assert_allclose(model(images, training=False), values, atol=1e-3)


def test_the_statistics_of_a_frozen_layer_stay(data):
    with seeded(0):
        model = LivenessNet.build(32, 32, 3, 2)
    model.layers[2].trainable = False
    reestimate_batch_norm(model, batches_of(data, np.arange(10)))
    assert not np.any(model.layers[2].moving_mean)
    assert np.any(model.layers[5].moving_mean)


def test_the_data_of_a_training_are_the_datasets(dataset):
    crops = load_dataset(dataset)
    data = prepare(crops)
    np.testing.assert_array_equal(data.crops, crops.crops)
    assert data.targets.shape == (120, 2)
    assert data.targets.dtype == np.float32
    names = np.array(["fake", "real"])[data.targets.argmax(axis=1)]
    assert names.tolist() == data.labels.tolist() == crops.labels.tolist()
    assert data.targets.sum(axis=1).tolist() == [1] * 120


def watch(data, indices, epochs=1):
    """Let a network be watched that learns nothing; returns what was measured."""
    with seeded(0):
        model = LivenessNet.build(32, 32, 3, 2)
    validation = Validation(data, indices)
    validation.set_model(model)
    validation.set_params({"epochs": epochs})
    validation.on_train_begin()
    logs = [{"loss": 1.0} for _ in range(epochs)]
    for epoch in range(epochs):
        validation.on_epoch_end(epoch, logs[epoch])
    return model, validation, logs


def test_held_out_crops_are_measured_as_keras_measures_them(data):
    indices = np.array([3, 50, 70, 119])
    model, validation, (logs,) = watch(data, indices)
    images, targets = scale(data.crops.numpy()[indices]), data.targets[indices]
    np.testing.assert_allclose(validation.predict(indices), model(images), atol=1e-6)
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = model.evaluate(images, targets, verbose=0)
    assert logs == {
        "loss": 1.0,
        "val_loss": pytest.approx(loss, rel=1e-4),
        "val_accuracy": pytest.approx(accuracy),
    }


@pytest.mark.parametrize("epochs", [1, 3, 10, 11, 25, 400])
def test_held_out_crops_are_measured_some_times_and_in_the_end(epochs, data):
    _, _, logs = watch(data, np.arange(4), epochs)
    measured = [log["val_loss"] is not None for log in logs]
    assert measured[-1]
    assert min(epochs, 5) <= sum(measured) <= 11
    assert measured == [log["val_accuracy"] is not None for log in logs]


def test_no_held_out_crops_are_never_measured(data):
    _, validation, logs = watch(data, np.arange(0), 2)
    assert logs == [{"loss": 1.0, "val_loss": None, "val_accuracy": None}] * 2
    assert validation.predict(np.arange(0)).shape == (0, 2)


class Bar:
    """Stands for a progress bar; runs a function after some steps."""

    def __init__(self, at=None, then=None):
        self.steps, self.at, self.then = 0, at, then

    def update(self):
        self.steps += 1
        if self.steps == self.at:
            self.then()


@pytest.mark.parametrize(
    ("at", "steps", "epochs"),
    [(None, 12, 3), (1, 1, 0), (4, 4, 0), (6, 6, 1), (8, 8, 1)],
)
def test_a_training_ends_after_the_step_in_which_its_event_is_set(at, steps, epochs):
    stop = threading.Event()
    bar = Bar(at, stop.set)
    control = Control(bar, stop)
    fit(build(), epochs=3, callbacks=[control])
    assert (bar.steps, control.epochs) == (steps, epochs)


def test_a_training_is_traced_once():
    """Variables that Keras makes in its first step cost a second tracing."""

    class Traced(layers.Layer):
        count = 0

        def call(self, inputs):
            Traced.count += 1
            return inputs

    model = keras.Sequential([*build().layers, Traced()])
    model.build((None, 16, 16, 3))
    before = Traced.count
    control = Control(Bar(), threading.Event())
    model.compile(FusedAdam(), "categorical_crossentropy", metrics=["accuracy"])
    model.fit(IMAGES, TARGETS, epochs=2, verbose=0, callbacks=[control])
    assert Traced.count == before + 1


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_jobs_run_in_as_many_threads_as_cores_and_come_in_order(cores, monkeypatch):
    monkeypatch.setattr(cv2, "getNumberOfCPUs", lambda: cores)
    everybody, threads = threading.Barrier(cores), set()

    def job(number):
        def run(bar, stop):
            everybody.wait(60)  # passes if as many are at it
            threads.add(threading.get_ident())
            bar.update()
            return number

        return run

    results = run_in_threads([job(number) for number in range(4)], 4)
    assert list(results) == [0, 1, 2, 3]
    assert len(threads) == cores


def test_ctrl_c_sets_the_event_of_all_jobs_and_the_results_come_all_the_same():
    before = signal.getsignal(signal.SIGINT)

    def job(bar, stop):
        assert stop.wait(60)
        return "stopped"

    def interrupt(bar, stop):
        os.kill(os.getpid(), signal.SIGINT)
        return job(bar, stop)

    assert list(run_in_threads([interrupt, job], 2)) == ["stopped", "stopped"]
    assert signal.getsignal(signal.SIGINT) is before


def test_jobs_are_stopped_when_nobody_wants_their_results():
    stopped = []

    def job(bar, stop):
        assert stop.wait(60)
        stopped.append(True)

    before = threading.active_count()
    with closing(run_in_threads([lambda bar, stop: 1, job, job], 3)) as results:
        assert next(results) == 1
    assert 1 <= len(stopped) <= 2  # one may not have begun
    assert threading.active_count() == before


def test_an_error_in_a_job_stops_the_others():
    def job(bar, stop):
        raise ValueError("of this one")

    def other(bar, stop):
        assert stop.wait(60)

    with pytest.raises(ValueError, match="of this one"):
        list(run_in_threads([job, other], 2))


def test_weights_follow_the_seed_whichever_thread_draws_them(monkeypatch):
    monkeypatch.setattr(cv2, "getNumberOfCPUs", lambda: 4)
    start = threading.Barrier(4)

    def draw(seed):
        def job(bar, stop):
            start.wait(60)
            with seeded(seed):
                return copy_weights(fuse(LivenessNet.build(8, 8, 3, 2)))

        return job

    rows = list(run_in_threads([draw(seed) for seed in (1, 2, 1, 2)], 4))
    for one, same, other in zip(rows[0], rows[2], rows[1], strict=True):
        np.testing.assert_array_equal(one, same)
        assert one.ndim == 1 or not np.array_equal(one, other)
