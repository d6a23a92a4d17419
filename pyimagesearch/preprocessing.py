"""A crop becomes network input: one way, for training and demo alike."""

from collections.abc import Sequence

import cv2
import numpy as np

WIDTH, HEIGHT = 32, 32  # what the tutorial's network sees


def shrink(crop: np.ndarray, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Resize one crop of any size, (h, w, 3) uint8 BGR, to (height, width, 3)."""
    return cv2.resize(crop, (width, height))  # bilinear, as in the tutorial


def scale(crops: np.ndarray) -> np.ndarray:
    """Turn shrunk crops, uint8 in [0, 255], into float32 in [0, 1]."""
    return np.divide(crops, 255, dtype=np.float32)


def preprocess(
    crops: Sequence[np.ndarray], width: int = WIDTH, height: int = HEIGHT
) -> np.ndarray:
    """Turn crops into what the network takes.

    Parameters
    ----------
    crops : sequence of ndarray of shape (h, w, 3), dtype uint8
        BGR faces as cut from their frames, each of its own size; none is fine.
    width, height : int
        The network's input size in pixels.

    Returns
    -------
    ndarray of shape (n, height, width, 3), dtype float32
        BGR in [0, 1].
    """
    shrunk = np.empty((len(crops), height, width, 3), np.uint8)
    for index, crop in enumerate(crops):
        shrunk[index] = shrink(crop, width, height)
    return scale(shrunk)
