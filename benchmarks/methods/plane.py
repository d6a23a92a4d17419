"""Movement of a plane: what one homography cannot explain in the optical flow.

A picture that is held up moves as a plane, whatever the hand does. A head has depth,
and moves in front of its room. Bao, Li, Li and Jiang, A liveness detection method for
face recognition based on optical flow field, 2009.
"""

from itertools import pairwise

from benchmarks.methods.samples import Clip

import cv2
import numpy as np

APART = 0.1  # seconds between compared frames: a face moves about a pixel
GRID = 6  # pixels between the points where the flow is sampled
TOLERANCE = 0.5  # pixels within which a movement belongs to the plane
FLOW_ERROR = 0.02  # pixels: the flow's own error, added so that logarithms exist


def describe(clip: Clip) -> np.ndarray:
    """Describe a clip: (2,) float64.

    Log of the movement in pixels that the plane which fits the face best leaves
    unexplained, in the face and around it. The raw movement is left out: it would tell
    how the hands in the training footage shook.
    """
    rows = [
        measure_residual(clip.frames[i], clip.frames[j], clip.faces[i])
        for i, j in pair_frames(len(clip.frames), APART * clip.fps)
    ]
    rows = rows or [np.zeros(2)]  # in a single frame, nothing moves
    return np.log(np.median(rows, axis=0) + FLOW_ERROR)


def pair_frames(count: int, apart: float) -> list[tuple[int, int]]:
    """Return consecutive pairs of frame numbers about so many frames apart."""
    step = min(max(1, round(apart)), max(1, count - 1))
    return list(pairwise(range(0, count, step)))


def flow_between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the movement of each pixel: (h, w) uint8 -> (h, w, 2) float32 x, y."""
    # Kroeger and others, Fast optical flow using dense inverse search, 2016.
    searcher = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return searcher.calc(before, after, None)


def measure_residual(before, after, face: np.ndarray) -> np.ndarray:
    """Return the RMS of the unexplained movement in and around the face: (2,)."""
    height, width = before.shape
    y, x = (axis.ravel() for axis in np.mgrid[0:height:GRID, 0:width:GRID])
    left, top, right, bottom = face
    inside = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    points = np.stack([x, y], axis=1).astype(np.float32)
    target = points + flow_between(before, after)[y, x]
    squares = np.square(target - move_with_face(points, target, inside)).sum(axis=1)
    parts = (inside, ~inside)
    return np.sqrt([squares[part].mean() if part.any() else 0.0 for part in parts])


def move_with_face(points, target, inside: np.ndarray) -> np.ndarray:
    """Move all points, (n, 2) float32, by the homography that most inside obey."""
    if inside.sum() < 4:
        return points
    view, _ = cv2.findHomography(points[inside], target[inside], cv2.RANSAC, TOLERANCE)
    if view is None:
        return points
    return cv2.perspectiveTransform(points[:, None], view)[:, 0]
