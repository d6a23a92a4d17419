"""Focus: how sharp a face is compared with its surroundings, and how that changes.

A head and the room behind it are at different distances, and a lens has only one of
them in focus. A picture that is held up is flat. Kim, Yu, Kim, Ban and Lee, Face
liveness detection using variable focusing, 2013, refocus between two pictures; a webcam
cannot, so this compares what is in each frame.
"""

from benchmarks.methods.samples import Clip

import cv2
import numpy as np

NOISE = 4.0  # squared grey levels, added to energies: the noise of a flat surface


def describe(clip: Clip) -> np.ndarray:
    """Describe a clip: (4,) float64.

    The median log sharpness of the face, that of the face over its surroundings, and
    the mean change of each from frame to frame.
    """
    pairs = zip(clip.frames, clip.faces, strict=True)
    rows = np.array([measure_sharpness(frame, face) for frame, face in pairs])
    changes = np.abs(np.diff(rows, axis=0)).mean(axis=0) if len(rows) > 1 else (0, 0)
    return np.concatenate([np.median(rows, axis=0), changes])


def measure_sharpness(frame: np.ndarray, face: np.ndarray) -> tuple[float, float]:
    """Return the log sharpness of a face, and of the face over its surroundings."""
    inside = np.zeros(frame.shape, bool)
    left, top, right, bottom = np.maximum(face, 0).astype(int)
    inside[top : bottom + 1, left : right + 1] = True
    around = inside if inside.all() else ~inside
    edges = np.square(cv2.Laplacian(frame, cv2.CV_32F))
    own, other = (
        # The finest detail over the contrast, as dark faces may be sharp, too.
        np.log((edges[part].mean() + NOISE) / (frame[part].var() + NOISE))
        for part in (inside, around)
    )
    return own, own - other
