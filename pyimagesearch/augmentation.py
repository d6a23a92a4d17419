"""Crops warped at random, so that a network sees a new view of each in every epoch.

The ranges are the tutorial's, and so are the warps: those of Keras' ImageDataGenerator.
"""

import math

from pyimagesearch.backend import tf

import numpy as np

ROTATION = 20.0  # degrees, either way
ZOOM = 0.15  # of the size, each axis on its own
SHIFT = 0.2  # of the size, each axis on its own
SHEAR = 0.15  # degrees
BATCHES_AHEAD = 8  # made in a thread while those before are learnt


def draw_order(
    rng: np.random.Generator,
    crops: np.ndarray,
    shares: np.ndarray,
    steps: int,
    size: int,
) -> np.ndarray:
    """Draw which crops each batch of a training has.

    Parameters
    ----------
    rng : Generator
    crops : ndarray of shape (n,), dtype int
        Those that are learnt.
    shares : ndarray of shape (n,)
        How often each comes in an epoch, 1 in the mean. Where all are 1, an epoch has
        every crop once.
    steps, size : int
        How many batches, of how many crops.

    Returns
    -------
    ndarray of shape (steps, size), dtype int
    """
    ends = np.concatenate([[0], np.cumsum(shares)]).round(6)
    epochs = []
    for _ in range(math.ceil(steps * size / len(crops))):
        # A crop comes as often as its share says, rounded down or up at random.
        counts = np.diff(np.floor(ends + rng.uniform())).astype(int)
        epochs.append(rng.permutation(np.repeat(crops, counts)))
    return np.concatenate(epochs)[: steps * size].reshape(steps, size)


def augmented_batches(
    crops,
    targets: np.ndarray,
    weights: np.ndarray,
    order: np.ndarray,
    rng: np.random.Generator,
) -> tf.data.Dataset:
    """Give out crops in batches, each crop warped at random.

    Parameters
    ----------
    crops : tensor of shape (n, h, w, 3), dtype uint8
    targets : ndarray of shape (n, classes), dtype float32
    weights : ndarray of shape (n,), dtype float32
        What a crop counts in the loss.
    order : ndarray of shape (steps, batch), dtype int
        From `draw_order`.
    rng : Generator

    Returns
    -------
    tf.data.Dataset
        Of images (batch, h, w, 3) float32 in [0, 1], targets and weights.
    """
    height, width = crops.shape[1:3]
    transforms = np.empty((*order.shape, 8), np.float32)
    for step in range(len(order)):
        transforms[step] = random_transforms(rng, order.shape[1], height, width)
    targets, weights = tf.constant(targets), tf.constant(weights)

    def load(indices, transforms):
        images = tf.cast(tf.gather(crops, indices), tf.float32) / 255
        images = warp(images, transforms)
        return images, tf.gather(targets, indices), tf.gather(weights, indices)

    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 1
    batches = tf.data.Dataset.from_tensor_slices((order, transforms)).map(load)
    return batches.prefetch(BATCHES_AHEAD).with_options(options)


def random_transforms(
    rng: np.random.Generator, n: int, height: int, width: int
) -> np.ndarray:
    """Draw a random warp for each of n images: `affine_transforms` tells the shapes.

    An image is rotated, shifted, sheared and zoomed, and every other one mirrored.
    """
    draws = rng.uniform(-1, 1, (7, n))
    return affine_transforms(
        rotation=draws[0] * np.deg2rad(ROTATION),
        shift_y=draws[1] * SHIFT * height,
        shift_x=draws[2] * SHIFT * width,
        shear=draws[3] * np.deg2rad(SHEAR),
        zoom_y=1 + draws[4] * ZOOM,
        zoom_x=1 + draws[5] * ZOOM,
        mirror=draws[6] < 0,
        height=height,
        width=width,
    )


def warp(images, transforms):
    """Warp images, all of a batch in one operation of TensorFlow.

    Parameters
    ----------
    images : tensor of shape (n, h, w, 3), dtype float32
    transforms : tensor of shape (n, 8), dtype float32
        From `affine_transforms`.

    Returns
    -------
    tensor of shape (n, h, w, 3), dtype float32
        What comes in from outside repeats the nearest pixel.
    """
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def affine_transforms(
    rotation, shift_y, shift_x, shear, zoom_y, zoom_x, mirror, height, width
):
    """Compose each image's warp, as Keras' ImageDataGenerator does.

    Parameters
    ----------
    rotation, shear : ndarray of shape (n,)
        Angles in radians.
    shift_y, shift_x : ndarray of shape (n,)
        In pixels.
    zoom_y, zoom_x : ndarray of shape (n,)
        Factors; above 1 the image shrinks.
    mirror : ndarray of shape (n,), dtype bool
        Whether left and right change places.
    height, width : int
        Size of the images in pixels.

    Returns
    -------
    ndarray of shape (n, 8), dtype float32
        From output to input pixels, as ImageProjectiveTransformV3 takes them: row after
        row of a 3x3 matrix, without the last number, which is 1.
    """
    zero, one = np.zeros_like(rotation), np.ones_like(rotation)

    def matrix(*entries):  # the first two rows of n 3x3 matrices on (x, y, 1)
        return np.stack([*entries, zero, zero, one], -1).reshape(-1, 3, 3)

    sin, cos = np.sin(rotation), np.cos(rotation)
    flip = np.where(mirror, -one, one)
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
