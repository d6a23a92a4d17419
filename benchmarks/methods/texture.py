"""Texture: local binary patterns of the colour channels.

Boulkenafet, Komulainen and Hadid, Face spoofing detection using colour texture
analysis, IEEE TIFS 11(8), 2016.
"""

import cv2
import numpy as np
from skimage.feature import local_binary_pattern

SIDE = 64  # pixels; the paper's
NEIGHBOURS, RADIUS = 8, 1  # the paper's: the pixels that touch a pixel
PATTERNS = 59  # 58 uniform ones (at most two changes around the ring), and all others


def describe(crop: np.ndarray) -> np.ndarray:
    """Compute pattern histograms of HSV and YCbCr: (h, w, 3) uint8 BGR -> (354,)."""
    small = cv2.resize(crop, (SIDE, SIDE))
    histograms = []
    for code in (cv2.COLOR_BGR2HSV, cv2.COLOR_BGR2YCrCb):
        for channel in cv2.split(cv2.cvtColor(small, code)):
            patterns = local_binary_pattern(channel, NEIGHBOURS, RADIUS, "nri_uniform")
            counts = np.bincount(patterns.astype(int).ravel(), minlength=PATTERNS)
            histograms.append(counts / SIDE**2)
    return np.concatenate(histograms)
