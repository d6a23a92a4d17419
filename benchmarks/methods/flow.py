"""Optical flow between the frames of a clip, for the two methods of movement."""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np


def pair_frames(frames: Sequence, apart: float) -> list[tuple]:
    """Pair each frame with the one so many after it, the last of a pair the next first.

    Where there are fewer, the first is paired with the last.
    """
    step = min(max(1, round(apart)), max(1, len(frames) - 1))
    return list(pairwise(frames[::step]))


def flow_between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Tell how every pixel moved: two (h, w) uint8 in, (h, w, 2) float32 x, y out."""
    # Kroeger and others, Fast optical flow using dense inverse search, 2016.
    searcher = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return searcher.calc(before, after, None)
