from pyimagesearch.preprocessing import preprocess, scale, shrink

import cv2
import numpy as np
import pytest
import tensorflow as tf

RNG = np.random.default_rng(0)


def random_crop(height, width):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (16, 300), (32, 32), (97, 71)])
def test_it_does_what_the_tutorial_does_to_a_crop(shape):
    crop = random_crop(*shape)
    tutorial = cv2.resize(crop, (32, 32)).astype("float") / 255.0
    ours = preprocess([crop])
    assert ours.shape == (1, 32, 32, 3)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours[0], tutorial.astype(np.float32))


def test_many_crops_are_each_as_if_alone():
    crops = [random_crop(20 + i, 50 - i) for i in range(8)]
    together = preprocess(crops)
    for crop, row in zip(crops, together, strict=True):
        np.testing.assert_array_equal(preprocess([crop])[0], row)


def test_no_crop_is_an_empty_batch():
    assert preprocess([]).shape == (0, 32, 32, 3)


def test_other_sizes():
    assert preprocess([random_crop(9, 9)], width=48, height=64).shape == (1, 64, 48, 3)


def test_training_scales_as_the_demo_does():
    """tf.cast(x) / 255 in training's graph, scale(x) elsewhere: the same bits."""
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(scale(values), tf.cast(values, tf.float32) / 255)
    assert scale(values).min() == 0
    assert scale(values).max() == 1


def test_colours_stay_bgr():
    crop = np.zeros((50, 40, 3), np.uint8)
    crop[..., 0] = 255
    assert shrink(crop)[..., 0].min() == 255
    assert shrink(crop)[..., 1:].max() == 0
