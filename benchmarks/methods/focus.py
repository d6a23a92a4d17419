"""Focus: how sharp a face is against its surroundings, and how that changes.

A head and the room behind it are at different distances: a lens cannot have both
sharp. A held picture and what it shows around the face are at the same. Kim, Yu, Kim,
Ban and Lee, Face liveness detection using variable focusing, 2013, turn the lens
between two pictures; a webcam does not let us, so this takes what it gives.
"""

from benchmarks.methods.learning import Described, line
from benchmarks.methods.samples import Clip

import cv2
import numpy as np

FLAT = 4.0  # added to contrast, in squared grey levels: the noise of a flat surface


def new() -> Described:
    """Make the method."""
    return Described(describe, line())


def describe(clip: Clip) -> np.ndarray:
    """Describe a clip of one frame or more: (4,) float.

    The sharpness of the face, that of the face over that of its surroundings, both in
    the middle of the clip, and how much each changes from frame to frame.
    """
    rows = [
        measure(frame, face)
        for frame, face in zip(clip.frames, clip.faces, strict=True)
    ]
    changes = np.abs(np.diff(rows, axis=0)).mean(axis=0) if len(rows) > 1 else (0, 0)
    return np.concatenate([np.median(rows, axis=0), changes])


def measure(frame: np.ndarray, face: np.ndarray) -> tuple[float, float]:
    """Measure the log sharpness of a face, and of it over its surroundings."""
    inside = np.zeros(frame.shape, bool)
    left, top, right, bottom = np.maximum(face, 0).astype(int)
    inside[top : bottom + 1, left : right + 1] = True
    edges = cv2.Laplacian(frame, cv2.CV_32F)
    own, other = (
        # The finest detail over all contrast: a dull face may be sharp.
        np.log((np.square(edges[part]).mean() + FLAT) / (frame[part].var() + FLAT))
        for part in (inside, ~inside if not inside.all() else inside)
    )
    return own, own - other
