import os
import signal
import threading
from contextlib import closing, nullcontext

from pyimagesearch import training
from pyimagesearch.backend import keras, tf
from pyimagesearch.dataset import load_dataset
from pyimagesearch.faces import scale
from pyimagesearch.livenessnet import LivenessNet
from pyimagesearch.training import (
    STATISTICS_CROPS,
    Control,
    draw_order,
    make_batches,
    reestimate_batch_norm,
    run_in_threads,
    seeded,
    share_of_sources,
)
from train import RECIPES

import cv2
import numpy as np
import pytest
from datasets import make_dataset, make_labels, random_dataset
from keras.src.legacy.preprocessing.image import apply_affine_transform

layers = keras.layers
IMAGES = np.random.default_rng(0).random((64, 16, 16, 3), np.float32)
TARGETS = np.eye(2, dtype=np.float32)[np.random.default_rng(1).integers(0, 2, 64)]
STEADY, TUTORIAL = RECIPES["steady"], RECIPES["tutorial"]


def test_all_of_a_batch_is_warped_as_image_data_generator_warps_each():
    noise = np.random.default_rng(0).random((32, 32, 3), np.float32)
    image = cv2.GaussianBlur(noise, (5, 5), 1)
    transforms = training.random_transforms(np.random.default_rng(1), 9, 32, 32)
    warped = training.warp(np.stack([image] * 9), transforms)
    draws = np.random.default_rng(1).uniform(-1, 1, (7, 9)).T
    assert len({draw[6] < 0 for draw in draws}) == 2  # with and without a mirror
    for draw, found in zip(draws, warped, strict=True):
        expected = apply_affine_transform(
            image.copy(),
            theta=20 * draw[0],
            tx=0.2 * 32 * draw[2],
            ty=0.2 * 32 * draw[1],
            shear=0.15 * draw[3],
            zx=1 + 0.15 * draw[5],
            zy=1 + 0.15 * draw[4],
            row_axis=0,
            col_axis=1,
            channel_axis=2,
            fill_mode="nearest",
            order=1,
        )
        if draw[6] < 0:
            expected = expected[:, ::-1]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_augmentation_follows_its_seed_and_stays_in_range(dataset):
    images = scale(load_dataset(dataset).crops[:8])

    def augment(seed):
        rng = np.random.default_rng(seed)
        return training.warp(images, training.random_transforms(rng, 8, 32, 32))

    first = augment(1).numpy()
    np.testing.assert_array_equal(first, augment(1))
    assert not np.array_equal(first, augment(2))
    assert not np.array_equal(first[0], first[1])
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 1


@pytest.mark.parametrize("seed", range(10))
def test_shares_make_the_sources_of_a_class_count_the_same(seed):
    labels, sources, _ = random_dataset(np.random.default_rng(seed))
    shares = share_of_sources(labels, sources)
    assert shares.min() > 0
    for label in set(labels):
        own = labels == label
        assert shares[own].sum() == pytest.approx(own.sum())
        sums = [shares[own & (sources == name)].sum() for name in set(sources[own])]
        assert sums == pytest.approx([sums[0]] * len(sums))


def random_shares(rng):
    """Draw the sources of a class's crops, one after the other, and their shares."""
    sizes = rng.integers(1, 60, rng.integers(1, 8))
    sources = np.repeat(np.arange(len(sizes)), sizes)
    return sources, share_of_sources(np.full(len(sources), "real"), sources)


@pytest.mark.parametrize("seed", range(20))
def test_an_epoch_of_equal_shares_has_every_crop_once_in_another_order(seed):
    rng = np.random.default_rng(seed)
    crops = np.sort(rng.choice(1000, rng.integers(1, 200), replace=False))
    steps, size = rng.integers(1, 60), rng.integers(1, 20)
    order = draw_order(rng, crops, np.ones(len(crops)), steps, size)
    assert order.shape == (steps, size)
    flat = order.ravel()
    epochs = [flat[i : i + len(crops)] for i in range(0, len(flat), len(crops))]
    for epoch in epochs[:-1]:
        np.testing.assert_array_equal(np.sort(epoch), crops)
    assert set(epochs[-1]) <= set(crops)
    assert len(set(epochs[-1])) == len(epochs[-1])
    if len(crops) > 20 and len(epochs) > 2:
        assert not np.array_equal(epochs[0], epochs[1])


@pytest.mark.parametrize("seed", range(20))
def test_in_an_epoch_of_weighted_sources_each_comes_as_often(seed):
    rng = np.random.default_rng(seed)
    sources, shares = random_shares(rng)
    n = len(sources)
    (epoch,) = draw_order(rng, np.arange(n), shares, 1, n)
    counts = np.bincount(sources[epoch])
    assert counts.sum() == n
    # As equal as possible: n may not be divisible by the number of sources.
    assert np.abs(counts - n / len(counts)).max() < 1
    # A source's own crops come as often as each other.
    for source in range(len(counts)):
        own = np.bincount(epoch, minlength=n)[sources == source]
        assert np.ptp(own) <= 1


def test_over_many_epochs_a_crop_comes_as_often_as_its_share_says():
    rng = np.random.default_rng(0)
    sources, shares = random_shares(rng)
    n = len(sources)
    order = draw_order(rng, np.arange(n), shares, 400, n)
    counts = np.bincount(order.ravel(), minlength=n) / 400
    np.testing.assert_allclose(counts, shares, atol=0.12)


def test_the_order_follows_its_seed():
    def draw(seed):
        return draw_order(np.random.default_rng(seed), np.arange(50), np.ones(50), 9, 8)

    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))


def draw_batches(labels, sources, train, recipe, steps, seed=0):
    """Make batches of 8x8 crops, each of one colour that is its index.

    However such a crop is warped, its colour stays. Returns the indices, targets and
    weights, each with a row for every crop of every batch.
    """
    colors = np.arange(len(labels), dtype=np.uint8)
    crops = np.tile(colors[:, None, None, None], (1, 8, 8, 3))
    dataset = make_dataset(labels, sources, colors)._replace(pool=crops)
    batches = list(make_batches(dataset, train, recipe, steps, seed))
    assert len(batches) == steps
    for images, *_ in batches:
        assert images.dtype == np.float32
        assert images.shape == (recipe.batch_size, 8, 8, 3)
    images, targets, weights = (
        np.concatenate([tensor.numpy() for tensor in tensors])
        for tensors in zip(*batches, strict=True)
    )
    means = images.mean(axis=(1, 2, 3)) * 255
    np.testing.assert_allclose(means, means.round(), atol=1e-3)
    return means.round().astype(int), targets, weights


@pytest.mark.parametrize("class_weighted", [False, True])
def test_batches_have_the_training_crops_with_their_targets_and_weights(class_weighted):
    labels, sources, _ = make_labels(real={"a": 30}, fake={"b": 6}, mask={"c": 4})
    train = np.arange(2, 38)  # 28 real, 6 fake, 2 mask
    recipe = TUTORIAL._replace(batch_size=4, class_weighted=class_weighted)
    crops, targets, weights = draw_batches(labels, sources, train, recipe, 18)
    for epoch in (crops[:36], crops[36:]):
        assert sorted(epoch) == list(train)
    assert targets.dtype == np.float32
    classes = np.array(["fake", "mask", "real"])  # in alphabetical order
    np.testing.assert_array_equal(targets, labels[crops][:, None] == classes)
    counts = {"real": 28, "fake": 6, "mask": 2}
    expected = [12 / counts[name] if class_weighted else 1 for name in labels[crops]]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_weighted_classes_weigh_the_same_and_a_crop_weighs_one_on_average(seed):
    counts = np.random.default_rng(seed).integers(1, 80, 3).tolist()
    sizes = zip(["real", "fake", "print"], counts, strict=True)
    labels, sources, _ = make_labels(**{label: {"a": size} for label, size in sizes})
    train = np.arange(len(labels))
    recipe = TUTORIAL._replace(batch_size=len(labels), class_weighted=True)
    crops, _, weights = draw_batches(labels, sources, train, recipe, 1)
    sums = [weights[labels[crops] == label].sum() for label in set(labels[crops])]
    assert sums == pytest.approx([sums[0]] * len(sums), rel=1e-5)
    assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_crops_of_small_sources_are_drawn_more_often_if_the_recipe_says_so():
    labels, sources, _ = make_labels(real={"a": 40, "b": 4}, fake={"c": 20, "d": 5})
    shares = {}
    for weighted in (False, True):
        recipe = TUTORIAL._replace(batch_size=69, source_weighted=weighted)
        crops, _, _ = draw_batches(labels, sources, np.arange(69), recipe, 40)
        shares[weighted] = [np.mean(sources[crops] == name) * 69 for name in "abcd"]
    assert shares[False] == pytest.approx([40, 4, 20, 5])
    assert shares[True] == pytest.approx([22, 22, 12.5, 12.5], abs=0.5)


def draw_with_recaptures(train, count=4, seed=0, **sources):
    """Draw 4000 of one-coloured crops and their recaptures, with what was drawn.

    Returns the dataset, and for each draw the crop that it shows, whether as a
    recapture and which one (-1 for none), and its target's class.
    """
    labels, names, frames = make_labels(**sources)
    real = np.flatnonzero(labels == "real")
    colors = np.arange(len(labels) + len(real) * count)
    assert len(colors) < 256
    pool = np.tile(colors.astype(np.uint8)[:, None, None, None], (1, 8, 8, 3))
    dataset = make_dataset(labels, names, frames)._replace(pool=pool)
    recipe = STEADY._replace(batch_size=40)
    batches = make_batches(dataset, train, recipe, 100, seed)
    images, targets, weights = (
        np.concatenate([tensor.numpy() for tensor in tensors])
        for tensors in zip(*batches, strict=True)
    )
    color = (images.mean(axis=(1, 2, 3)) * 255).round().astype(int)
    row, view = np.divmod(color - len(labels), count)
    made = color >= len(labels)
    crop = np.where(made, real[row * made], color)
    drawn = np.array(dataset.classes)[targets.argmax(axis=1)]
    return dataset, crop, np.where(made, view, -1), drawn, weights


@pytest.mark.parametrize("seed", range(3))
def test_fakes_are_also_recaptures_of_real_crops_that_are_learnt_at_first(seed):
    sources = {"real": {"a": 12, "b": 3}, "fake": {"a": 20}}
    train = np.r_[0:6, 12:15, 15:30]  # six crops of a and three of b, fifteen fakes
    dataset, crop, view, drawn, weights = draw_with_recaptures(
        train, seed=seed, **sources
    )
    assert set(crop) == set(train)
    made = view >= 0
    assert (drawn[~made] == dataset.labels[crop[~made]]).all()
    assert set(dataset.labels[crop[made]]) == {"real"}
    assert set(drawn[made]) == {"fake"}
    fakes = drawn == "fake"
    assert fakes.mean() == pytest.approx(15 / 24, abs=0.01)  # as without recaptures
    assert made[:2000][fakes[:2000]].mean() == pytest.approx(0.5, abs=0.05)
    assert not made[2000:].any()
    assert np.bincount(view[made]) / made.sum() == pytest.approx([0.25] * 4, abs=0.05)
    # Sources count the same, here too.
    assert np.mean(dataset.sources[crop[made]] == "b") == pytest.approx(0.5, abs=0.05)
    assert weights[fakes].sum() == pytest.approx(weights[~fakes].sum(), rel=0.02)


def test_each_kind_of_attack_is_recaptured_on_its_surfaces_and_masks_on_none():
    sources = {name: {"a": 10} for name in ("real", "print", "replay", "mask")}
    _, _, view, drawn, _ = draw_with_recaptures(np.arange(40), **sources)
    # Of four recaptures, the first and third are on a screen.
    assert set(view[drawn == "replay"]) == {-1, 0, 2}
    assert set(view[drawn == "print"]) == {-1, 1, 3}
    assert set(view[(drawn == "real") | (drawn == "mask")]) == {-1}
    for kind in ("replay", "print"):
        assert np.mean(view[drawn == kind] >= 0) == pytest.approx(0.25, abs=0.05)


def test_where_there_are_only_real_crops_half_of_what_is_learnt_are_recaptures():
    _, crop, view, drawn, weights = draw_with_recaptures(
        np.arange(8), real={"a": 8, "b": 4}
    )
    assert set(crop) == set(range(8))
    assert ((view >= 0) == (drawn == "fake")).all()
    assert set(drawn[view < 0]) == {"real"}
    assert np.mean(view >= 0) == pytest.approx(0.5, abs=0.03)
    assert set(weights) == {1}


def test_a_crop_is_warped_in_another_way_every_time_and_the_seed_says_how(dataset):
    data = load_dataset(dataset)

    def views(seed):
        recipe = TUTORIAL._replace(batch_size=2)
        train = np.array([3, 70])
        batches = make_batches(data, train, recipe, 3, seed)
        return np.concatenate([images.numpy() for images, *_ in batches])

    first = views(0)
    assert len(np.unique(first.reshape(6, -1), axis=0)) == 6
    assert first.min() >= 0
    assert first.max() <= 1
    np.testing.assert_array_equal(first, views(0))
    assert not np.array_equal(first, views(1))


def test_a_constant_learning_rate_is_a_number_and_another_schedule_an_error():
    recipe = STEADY._replace(schedule="constant")
    assert training.learning_rate(recipe, 4) == STEADY.learning_rate
    with pytest.raises(KeyError, match="warm"):
        training.learning_rate(STEADY._replace(schedule="warm"), 4)


def test_the_learning_rate_falls_to_nothing_or_as_in_the_tutorials_keras():
    steps = 7
    last = STEADY.epochs * steps
    rates = [float(training.learning_rate(STEADY, steps)(n)) for n in range(last + 1)]
    assert rates[0] == pytest.approx(STEADY.learning_rate)
    assert rates[last // 2] == pytest.approx(STEADY.learning_rate / 2)
    assert rates[last] == pytest.approx(0, abs=1e-9)
    assert rates == sorted(rates, reverse=True)
    rate = training.learning_rate(TUTORIAL, steps)
    for step in (0, 1, 1000):  # Adam(1e-4, decay=1e-4 / 50) of Keras 2
        expected = 1e-4 / (1 + 1e-4 / 50 * step)
        assert float(rate(step)) == pytest.approx(expected, rel=1e-6)


def build(seed=0):
    """A network with every kind of layer that LivenessNet has, but small."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            layers.Input((16, 16, 3)),
            layers.Conv2D(4, (3, 3), padding="same"),
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


def fit(model, epochs=2, **options):
    """Compile and fit on IMAGES, 4 steps an epoch; returns Keras' history."""
    optimizer = keras.optimizers.Adam(1e-2)
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    options = {"batch_size": 16, "shuffle": False, "verbose": 0} | options
    return model.fit(IMAGES, TARGETS, epochs=epochs, **options).history


def copy_weights(model):
    return [weight.numpy().copy() for weight in model.weights]


def test_the_momentum_is_that_of_every_batch_normalization_and_nothing_else():
    model = build()
    before = copy_weights(model)
    training.set_batch_norm_momentum(model, 0.25)
    norms = [x for x in model.layers if isinstance(x, layers.BatchNormalization)]
    assert [norm.momentum for norm in norms] == [0.25, 0.25]
    norms[1](np.full((4, 8), 8, np.float32), training=True)
    np.testing.assert_allclose(norms[1].moving_mean, 0.75 * 8)
    norms[1].moving_mean.assign(np.zeros(8))
    norms[1].moving_variance.assign(np.ones(8))
    for weight, old in zip(copy_weights(model), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def batches_of(dataset, train):
    """Make 60 batches of ten crops."""
    recipe = TUTORIAL._replace(batch_size=10)
    return make_batches(load_dataset(dataset), train, recipe, 60, 0)


def test_the_statistics_become_those_of_augmented_crops(dataset):
    with seeded(0):
        model = LivenessNet.build(32, 32, 3, 2)
    batches = batches_of(dataset, np.arange(120))
    reestimate_batch_norm(model, batches)
    images = np.concatenate([x for x, *_ in batches])[:STATISTICS_CROPS]
    # What batch normalization does to these very images as one batch, in training.
    values = tf.constant(images)
    for layer in model.layers:
        if not isinstance(layer, layers.Dropout):
            values = layer(values, training=True)
    reestimate_batch_norm(model, batches)
    np.testing.assert_allclose(model(images, training=False), values, atol=1e-3)


def test_the_statistics_of_a_frozen_layer_stay(dataset):
    with seeded(0):
        model = LivenessNet.build(32, 32, 3, 2)
    model.layers[2].trainable = False
    reestimate_batch_norm(model, batches_of(dataset, np.arange(10)))
    assert not np.any(model.layers[2].moving_mean)
    assert np.any(model.layers[5].moving_mean)


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
    history = fit(build(), epochs=3, callbacks=[control])
    assert bar.steps == steps
    assert len(history["loss"]) - control.interrupted == epochs
    assert control.interrupted == (at is not None)


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_train_batch_end"])
def test_a_training_that_a_callback_ends_is_not_interrupted(hook):
    class Callback(keras.callbacks.Callback):
        def end(self, number, logs=None):
            self.model.stop_training = number == 1

    callback = Callback()
    setattr(callback, hook, callback.end)
    control = Control(Bar(), threading.Event())
    history = fit(build(), epochs=9, callbacks=[callback, control])
    assert not control.interrupted
    assert len(history["loss"]) == (2 if hook == "on_epoch_end" else 1)


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
    fit(model, callbacks=[Control(Bar(), threading.Event())])
    assert Traced.count == before + 1


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_jobs_run_in_as_many_threads_as_cores_and_come_in_order(cores, monkeypatch):
    monkeypatch.setattr(cv2, "getNumberOfCPUs", lambda: cores)
    everybody, threads = threading.Barrier(cores), set()

    def job(number):
        def run(bar, stop):
            everybody.wait(60)  # passes when as many jobs wait here
            threads.add(threading.get_ident())
            bar.update()
            return number

        return run

    results = run_in_threads([job(number) for number in range(4)], 4)
    assert list(results) == [0, 1, 2, 3]
    assert len(threads) == cores


def test_ctrl_c_sets_the_event_of_all_jobs_and_their_results_still_come():
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
                return copy_weights(LivenessNet.build(8, 8, 3, 2))

        return job

    rows = list(run_in_threads([draw(seed) for seed in (1, 2, 1, 2)], 4))
    for one, same, other in zip(rows[0], rows[2], rows[1], strict=True):
        np.testing.assert_array_equal(one, same)
        assert one.ndim == 1 or not np.array_equal(one, other)


def test_fused_batch_normalization_learns_as_keras_does_and_leaves_its_layers():
    images = np.random.default_rng(0).normal(2, 3, (16, 8, 8, 3)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[np.arange(16) % 2]
    weights, kinds = [], []
    for is_fused in (True, False):
        keras.utils.set_random_seed(3)
        model = keras.Sequential(
            [
                keras.layers.Input((8, 8, 3)),
                keras.layers.BatchNormalization(momentum=0.5),
                keras.layers.Conv2D(4, (3, 3)),
                keras.layers.BatchNormalization(momentum=0.5, trainable=False),
                keras.layers.Flatten(),
                keras.layers.Dense(2, activation="softmax"),
            ]
        )
        model.compile(loss="categorical_crossentropy", optimizer="sgd")
        with training.fused_batch_norm(model) if is_fused else nullcontext():
            model.fit(images, targets, batch_size=8, epochs=3, shuffle=False, verbose=0)
        weights.append(model.get_weights())
        kinds.append([type(layer) for layer in model.layers])
        assert all("call" not in vars(layer) for layer in model.layers)
    assert kinds[0] == kinds[1]
    for own, other in zip(*weights, strict=True):
        # The variance is a sample's: n - 1 in its denominator.
        np.testing.assert_allclose(own, other, rtol=2 / (8 * 8 * 8 - 1), atol=1e-4)
