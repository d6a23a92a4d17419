"""Movement: what one plane cannot explain of how face and surroundings moved.

All of a held picture moves as one plane does, by a homography; a head in depth turns
against itself and moves before its room. Bao, Li, Li and Jiang, A liveness detection
method for face recognition based on optical flow field, 2009.
"""

from benchmarks.methods.flow import flow_between, pair_frames
from benchmarks.methods.learning import Described, line
from benchmarks.methods.samples import Clip

import cv2
import numpy as np

APART = 0.1  # seconds between the two frames of a flow: the faces move a pixel or so
GRID = 6  # pixels between the points at which the flow is looked at
CLOSE = 0.5  # pixels within which a movement counts as the plane's
LEAST = 0.02  # pixels of movement below which there is none: a flow's own error


def new() -> Described:
    """Make the method."""
    return Described(describe, line())


def describe(clip: Clip) -> np.ndarray:
    """Describe the movement of a clip of one frame or more: (2,) float.

    Logarithms of the face's and the surroundings' movement, in pixels, beyond that of
    the plane that explains the face best. How much either moves is left out: it would
    be learnt how the hands of the training shook.
    """
    pairs = pair_frames(
        list(zip(clip.frames, clip.faces, strict=True)), APART * clip.fps
    )
    rows = [measure(before, after, face) for (before, face), (after, _) in pairs]
    rows = rows or [np.zeros(2)]  # one frame: nothing moves
    return np.log(np.median(rows, axis=0) + LEAST)


def measure(before: np.ndarray, after: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Measure the root mean squares of `describe` between two frames: (2,) float."""
    points, moved, inside = sample_flow(flow_between(before, after), face, GRID)
    left_over = moved - (move_by_plane(points, moved, inside) - points)
    squares = np.square(left_over).sum(axis=1)
    return np.array(
        [
            np.sqrt(squares[part].mean()) if part.any() else 0.0
            for part in (inside, ~inside)
        ]
    )


def sample_flow(flow: np.ndarray, face: np.ndarray, apart: int) -> tuple:
    """Give points (n, 2) float32, how each moved, and whether it is the face's."""
    y, x = (
        axis.ravel()
        for axis in np.mgrid[tuple(slice(0, n, apart) for n in flow.shape[:2])]
    )
    left, top, right, bottom = face
    inside = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    return np.stack([x, y], axis=1).astype(np.float32), flow[y, x], inside


def move_by_plane(points, moved, inside) -> np.ndarray:
    """Move all points, (n, 2) float32, as the plane that most of those inside obey."""
    target = points + moved
    if inside.sum() < 4:
        return points
    view, _ = cv2.findHomography(points[inside], target[inside], cv2.RANSAC, CLOSE)
    if view is None:
        return points
    return cv2.perspectiveTransform(points[:, None], view)[:, 0]
