"""Movement of eyes and mouth inside the face, with the head's own movement removed.

Every frame is aligned by the same five points, so that the head stands still; in a
printed picture, eyelids and lips then do not move. Pan, Sun, Wu and Lao, Eyeblink-based
anti-spoofing in face recognition, 2007; Kollreider, Fronthaler, Faraj and Bigun,
Real-time face detection and motion analysis, 2007.
"""

from benchmarks.methods.plane import APART, FLOW_ERROR, flow_between, pair_frames
from benchmarks.methods.samples import Clip

import cv2
import numpy as np

SIDE = 96  # pixels of the aligned face
# Where a Clip's points are moved to, as shares of SIDE: the face fills the picture.
TEMPLATE = np.array([[0.25, 0.3], [0.75, 0.3], [0.5, 0.54], [0.3, 0.78], [0.7, 0.78]])
# Centre x, y, half width and half height of each region, as shares of SIDE.
EYES = (0.25, 0.3, 0.16, 0.12), (0.75, 0.3, 0.16, 0.12)
MOUTH = (0.5, 0.78, 0.26, 0.14)
SMOOTHING = 0.3  # seconds over which points are averaged, as detections tremble


def describe(clip: Clip) -> np.ndarray:
    """Describe a clip: (4,) float64.

    Log of the movement of the eyes and of the mouth in pixels, at their liveliest and
    beyond that of the face as a whole, and of both over the rest of the face.
    """
    faces = align(clip)
    rows = [
        measure_regions(faces[i], faces[j])
        for i, j in pair_frames(len(faces), APART * clip.fps)
    ]
    rows = rows or [np.zeros(3)]  # in a single frame, nothing moves
    eyes, mouth, rest = np.log(np.percentile(rows, 90, axis=0) + FLOW_ERROR)
    return np.array([eyes, mouth, eyes - rest, mouth - rest])


def align(clip: Clip) -> np.ndarray:
    """Move the face of every frame to TEMPLATE: (t, SIDE, SIDE) uint8."""
    half = round(SMOOTHING * clip.fps / 2)
    faces, target = [], np.float32(TEMPLATE * SIDE)
    for i, frame in enumerate(clip.frames):
        points = clip.points[max(0, i - half) : i + half + 1].mean(axis=0)
        view, _ = cv2.estimateAffinePartial2D(np.float32(points), target)
        view = np.eye(2, 3) if view is None else view
        faces.append(cv2.warpAffine(frame, view, (SIDE, SIDE)))
    return np.stack(faces)


def measure_regions(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the RMS movement of eyes, mouth and the rest of the face: (3,) pixels."""
    eyes, mouth = mark(EYES[0]) | mark(EYES[1]), mark(MOUTH)
    rest = ~(eyes | mouth)
    moved = flow_between(before, after)
    y, x = np.mgrid[:SIDE, :SIDE]
    places = np.stack([x, y, np.ones_like(x)], axis=-1)
    # The affine motion of the rest is that of the face as a whole.
    affine = np.linalg.lstsq(places[rest], moved[rest], rcond=None)[0]
    squares = np.square(moved - places @ affine).sum(axis=-1)
    return np.sqrt([squares[part].mean() for part in (eyes, mouth, rest)])


def mark(region: tuple[float, float, float, float]) -> np.ndarray:
    """Return which pixels are inside a region: (SIDE, SIDE) bool."""
    centre_x, centre_y, reach_x, reach_y = region
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    return (abs(x - centre_x) < reach_x) & (abs(y - centre_y) < reach_y)
