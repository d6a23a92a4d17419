"""Movement: how eyes and mouth move inside the face, the head being held still.

Every frame is laid over the same five points, so that the head stands still; eyelids
and lips that then move are not a printed picture's. Pan, Sun, Wu and Lao, Eyeblink-
based anti-spoofing in face recognition, 2007; Kollreider, Fronthaler, Faraj and Bigun,
Real-time face detection and motion analysis, 2007.
"""

from benchmarks.methods.flow import flow_between, pair_frames
from benchmarks.methods.learning import Described, line
from benchmarks.methods.samples import Clip

import cv2
import numpy as np

SIDE = 96  # pixels of the aligned face
# Where a Clip's points come to lie, in shares of the side: the face fills it.
TEMPLATE = [[0.25, 0.3], [0.75, 0.3], [0.5, 0.54], [0.3, 0.78], [0.7, 0.78]]
EYE, MOUTH = (0.16, 0.12), (0.26, 0.14)  # half width, half height of what is looked at
APART = 0.1  # seconds between two frames that are compared
STEADY = 0.3  # seconds over which the points are averaged: the detector's tremble
LEAST = 0.02  # pixels; see plane.py


def new() -> Described:
    """Make the method."""
    return Described(describe, line())


def describe(clip: Clip) -> np.ndarray:
    """Describe a clip of one frame or more: (4,) float.

    Logarithms of movements in pixels of the aligned face, beyond those of the face as a
    whole: the eyes' and the mouth's at their liveliest, and both over the rest's.
    """
    pairs = pair_frames(align(clip), APART * clip.fps)
    rows = [measure(*pair) for pair in pairs] or [np.zeros(3)]  # one frame: all still
    eyes, mouth, rest = np.log(np.percentile(rows, 90, axis=0) + LEAST)
    return np.array([eyes, mouth, eyes - rest, mouth - rest])


def align(clip: Clip) -> np.ndarray:
    """Lay the face of every frame over the same points: (t, SIDE, SIDE) uint8."""
    half = round(STEADY * clip.fps / 2)
    faces, target = [], np.float32(TEMPLATE) * SIDE
    for i, frame in enumerate(clip.frames):
        points = clip.points[max(0, i - half) : i + half + 1].mean(axis=0)
        view, _ = cv2.estimateAffinePartial2D(np.float32(points), target)
        view = np.eye(2, 3) if view is None else view
        faces.append(cv2.warpAffine(frame, view, (SIDE, SIDE)))
    return np.stack(faces)


def measure(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Measure how eyes, mouth and the rest move between two aligned faces: (3,)."""
    beyond = np.square(move_beyond(before, after))
    eyes, mouth = find_regions()
    return np.sqrt([beyond[part].mean() for part in (eyes, mouth, ~(eyes | mouth))])


def move_beyond(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Measure movement beyond that of the whole face: (SIDE, SIDE) float, in pixels."""
    moved = flow_between(before, after).reshape(-1, 2)
    y, x = (axis.ravel() for axis in np.mgrid[:SIDE, :SIDE])
    whole = np.stack([x, y, np.ones_like(x)], axis=1)
    rest = ~np.logical_or(*find_regions()).ravel()
    affine = np.linalg.lstsq(whole[rest], moved[rest], rcond=None)[0]
    return np.linalg.norm(moved - whole @ affine, axis=1).reshape(SIDE, SIDE)


def find_regions() -> tuple[np.ndarray, np.ndarray]:
    """Tell which pixels are the eyes' and the mouth's: two (SIDE, SIDE) bool."""
    right, left, _, *corners = np.array(TEMPLATE)
    middles = [right, left, np.mean(corners, axis=0)]
    places = np.stack(np.mgrid[:SIDE, :SIDE][::-1], axis=-1) / SIDE  # x, y
    eye, other, mouth = (
        (abs(places - middle) < reach).all(axis=2)
        for middle, reach in zip(middles, (EYE, EYE, MOUTH), strict=True)
    )
    return eye | other, mouth
