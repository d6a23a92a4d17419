from pyimagesearch import augmentation
from pyimagesearch.augmentation import augmented_batches, draw_order
from pyimagesearch.backend import tf
from pyimagesearch.dataset import load_dataset, share_of_sources
from pyimagesearch.preprocessing import scale

import cv2
import numpy as np
import pytest
from keras.src.legacy.preprocessing.image import apply_affine_transform


def test_all_of_a_batch_is_warped_as_image_data_generator_warps_each():
    rng = np.random.default_rng(0)
    noise = rng.random((32, 32, 3), np.float32)
    image = cv2.GaussianBlur(noise, (5, 5), 1)
    for mirror in (False, True):
        degrees, shear = rng.uniform(-20, 20), rng.uniform(-15, 15)
        tx, ty = rng.uniform(-6, 6, 2)
        zx, zy = rng.uniform(0.85, 1.15, 2)
        expected = apply_affine_transform(
            image.copy(),
            theta=degrees,
            tx=tx,
            ty=ty,
            shear=shear,
            zx=zx,
            zy=zy,
            row_axis=0,
            col_axis=1,
            channel_axis=2,
            fill_mode="nearest",
            order=1,
        )
        if mirror:
            expected = expected[:, ::-1]
        values = (np.deg2rad(degrees), ty, tx, np.deg2rad(shear), zy, zx)
        parameters = [np.array([value, 0]) for value in values[:4]]
        parameters += [np.array([value, 1]) for value in values[4:]]
        transforms = augmentation.affine_transforms(
            *parameters, np.array([mirror, False]), 32, 32
        )
        warped, same = augmentation.warp(np.stack([image, image]), transforms)
        np.testing.assert_allclose(warped, expected, atol=1e-5)
        np.testing.assert_allclose(same, image, atol=1e-6)


def test_augmentation_follows_its_seed_and_stays_in_range(dataset):
    images = scale(load_dataset(dataset).crops[:8])

    def augment(seed):
        rng = np.random.default_rng(seed)
        return augmentation.warp(images, augmentation.random_transforms(rng, 8, 32, 32))

    first = augment(1).numpy()
    np.testing.assert_array_equal(first, augment(1))
    assert not np.array_equal(first, augment(2))
    assert not np.array_equal(first[0], first[1])
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 1


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
    # As often as can be: an epoch may not be divisible by the number of sources.
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


def test_batches_have_the_crops_of_the_order_with_their_targets_and_weights():
    # A crop of one colour stays what it is, however it is warped.
    crops = np.tile(np.arange(20, dtype=np.uint8)[:, None, None, None], (1, 8, 8, 3))
    targets = np.eye(20, dtype=np.float32)
    weights = np.arange(20, dtype=np.float32) / 7
    rng = np.random.default_rng(0)
    order = draw_order(rng, np.arange(3, 20), np.ones(17), 30, 4)
    batches = list(augmented_batches(tf.constant(crops), targets, weights, order, rng))
    assert len(batches) == 30
    for (images, rows, counted), indices in zip(batches, order, strict=True):
        assert images.dtype == np.float32
        assert images.shape == (4, 8, 8, 3)
        means = images.numpy().mean(axis=(1, 2, 3)) * 255
        np.testing.assert_allclose(means, indices, atol=1e-3)
        np.testing.assert_array_equal(rows, targets[indices])
        np.testing.assert_array_equal(counted, weights[indices])


def test_a_crop_is_warped_in_another_way_every_time(dataset):
    crops = tf.constant(load_dataset(dataset).crops[:2])
    order = np.zeros((3, 2), int)
    rng = np.random.default_rng(0)
    targets, weights = np.eye(2, dtype=np.float32), np.ones(2, np.float32)
    batches = augmented_batches(crops, targets, weights, order, rng)
    views = np.concatenate([images.numpy() for images, _, _ in batches])
    assert len(np.unique(views.reshape(6, -1), axis=0)) == 6
    assert views.min() >= 0
    assert views.max() <= 1
