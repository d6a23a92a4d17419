"""Texture: local binary patterns of the colours, and a support vector machine.

Boulkenafet, Komulainen and Hadid, Face spoofing detection using colour texture
analysis, IEEE TIFS 11(8), 2016.
"""

from benchmarks.methods.learning import Described, svm

import cv2
import numpy as np
from skimage.feature import local_binary_pattern

SIDE = 64  # pixels: the paper's
NEIGHBOURS, RADIUS = 8, 1  # the paper's: the ring of pixels that touch a pixel
PATTERNS = 59  # 58 uniform ones, at most two changes around the ring, and the rest
COLOURS = (cv2.COLOR_BGR2HSV, cv2.COLOR_BGR2YCrCb)


def new() -> Described:
    """Make the method."""
    # The histograms as they are: scaled, rare patterns would weigh as common ones do.
    return Described(describe, svm(scaled=False))


def describe(crop: np.ndarray) -> np.ndarray:
    """Count the patterns in each colour channel: (354,) float, shares of the pixels."""
    small = cv2.resize(crop, (SIDE, SIDE))
    planes = [
        plane for code in COLOURS for plane in cv2.split(cv2.cvtColor(small, code))
    ]
    counts = [
        np.bincount(map_patterns(plane).ravel(), minlength=PATTERNS) for plane in planes
    ]
    return np.concatenate(counts) / small[..., 0].size


def map_patterns(plane: np.ndarray) -> np.ndarray:
    """Give each pixel its pattern: (h, w) uint8 in, (h, w) int below PATTERNS out."""
    patterns = local_binary_pattern(plane, NEIGHBOURS, RADIUS, "nri_uniform")
    return patterns.astype(int)
