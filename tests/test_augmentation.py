from pyimagesearch import augmentation
from pyimagesearch.dataset import load_dataset
from pyimagesearch.preprocessing import scale

import cv2
import numpy as np
from keras.src.legacy.preprocessing.image import apply_affine_transform


def test_all_of_a_batch_moves_as_image_data_generator_moves_each():
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
        moves = [np.array([value, 0]) for value in values[:4]]
        moves += [np.array([value, 1]) for value in values[4:]]
        transforms = augmentation.affine_transforms(
            *moves, np.array([mirror, False]), 32, 32
        )
        moved, still = augmentation.move(np.stack([image, image]), transforms)
        np.testing.assert_allclose(moved, expected, atol=1e-5)
        np.testing.assert_allclose(still, image, atol=1e-6)


def test_augmentation_follows_its_seed_and_stays_in_range(dataset):
    images = scale(load_dataset(dataset).crops[:8])

    def augment(seed):
        rng = np.random.default_rng(seed)
        return augmentation.move(images, augmentation.draw_transforms(rng, 8, 32, 32))

    first = augment(1).numpy()
    np.testing.assert_array_equal(first, augment(1))
    assert not np.array_equal(first, augment(2))
    assert not np.array_equal(first[0], first[1])
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 1
