"""The crops and clips that the cues are compared on."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import footage
from pyimagesearch.console import UserError
from pyimagesearch.dataset import load_dataset
from pyimagesearch.fetch import YUNET_PACKAGE, fetch
from pyimagesearch.inputs import Frame, open_frames
from pyimagesearch.names import as_label, person_of
from pyimagesearch.video import read_image
from videos import make_sample

import cv2
import numpy as np

FACE = 96  # height of a clip's face in pixels; movement needs no more
WINDOW = 2.5  # side of what a clip shows, in heights of its face
YUNET_SIDE = 320  # longer side of YuNet's input in pixels, as in its training


class Clip(NamedTuple):
    """A face and its surroundings for some seconds, less the frames without a face."""

    frames: np.ndarray  # (t, h, w) uint8, grey: one window, the face FACE pixels high
    faces: np.ndarray  # (t, 4) float: left, top, right, bottom in pixels of the window
    points: np.ndarray  # (t, 5, 2) float: eyes, tip of the nose, corners of the mouth
    fps: float


class Samples(NamedTuple):
    """Crops or clips, by source, in the order in which they were filmed."""

    items: list
    labels: np.ndarray  # (n,) of str: real, or the name of the attack
    sources: np.ndarray  # (n,) of str: the video that each comes from
    persons: np.ndarray  # (n,) of str, see `dataset.tell_persons`


def load_crops(folder: Path) -> Samples:
    """Load the crops of a dataset at native size."""
    dataset = load_dataset(folder)
    crops = [read_image(path) for path in dataset.paths]
    return Samples(crops, dataset.labels, dataset.sources, dataset.persons)


def load_clips(folder: Path, seconds: float) -> Samples:
    """Cut videos, in a folder for each class, into clips.

    Raises
    ------
    UserError
        When a video shows no face.
    """
    detector, clips, labels, sources = load_yunet(), [], [], []
    for path in sorted(path for path in folder.glob("*") if path.is_dir()):
        videos = {}
        for frame in open_frames(str(path)):
            face = find_face(detector, frame.image)
            videos.setdefault(frame.source, []).append((frame, face))
        for source, frames in videos.items():
            own = list(cut_clips(frames, seconds))
            if not own:
                raise UserError(f"{path}: no face in {source}")
            clips += own
            labels += [as_label(path.name)] * len(own)
            sources += [source] * len(own)
    pairs = zip(sources, labels, strict=True)
    persons = np.array([person_of(*pair, is_photo=False) for pair in pairs])
    return Samples(clips, np.array(labels), np.array(sources), persons)


def load_yunet() -> cv2.FaceDetectorYN:
    """Load the YuNet face detector, whose detections have eyes, nose and mouth."""
    package, inside, files = YUNET_PACKAGE
    wanted = {f"{inside}/{name}": sha256 for name, sha256 in files.items()}
    (path,) = fetch(package, wanted, Path("face_detector"))
    return cv2.FaceDetectorYN.create(str(path), "", (YUNET_SIDE, YUNET_SIDE))


def find_face(detector: cv2.FaceDetectorYN, image: np.ndarray) -> np.ndarray | None:
    """Return the most confident face, two corners and five points: (14,) pixels."""
    zoom = YUNET_SIDE / max(image.shape[:2])
    small = cv2.resize(image, None, fx=zoom, fy=zoom)
    detector.setInputSize(small.shape[1::-1])
    _, found = detector.detect(small)
    if found is None:
        return None
    face = found[found[:, 14].argmax(), :14] / zoom
    face[2:4] += face[:2]  # left, top, width, height -> left, top, right, bottom
    return face


def cut_clips(frames: list[tuple[Frame, object]], seconds: float) -> Iterator[Clip]:
    """Cut a video's frames and faces into clips; drop a rest of under half a clip."""
    seconds_of = [frame.time for frame, _ in frames]
    # A still image is a clip of one frame.
    fps = 1 / np.median(np.diff(seconds_of)) if len(frames) > 1 else 1.0
    length = max(1, round(seconds * fps))
    for start in range(0, max(1, len(frames) - length // 2), length):
        part = frames[start : start + length]
        found = [(frame.image, face) for frame, face in part if face is not None]
        if found:
            yield make_clip(found, fps)


def make_clip(found: list[tuple[np.ndarray, np.ndarray]], fps: float) -> Clip:
    """Cut the same window around the face out of all frames, in grey."""
    faces = np.array([face for _, face in found], float)
    box = np.median(faces[:, :4], axis=0)
    zoom = FACE / max(box[3] - box[1], 1)
    centre, half = (box[:2] + box[2:]) / 2, WINDOW * FACE / zoom / 2
    left, top = np.maximum(centre - half, 0).astype(int)
    right, bottom = (centre + half).astype(int)
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    frames = []
    for image, _ in found:
        grey = cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_BGR2GRAY)
        frames.append(cv2.resize(grey, None, None, zoom, zoom, method))
    places = (faces.reshape(-1, 7, 2) - [left, top]) * zoom  # 2 corners, 5 points
    return Clip(np.stack(frames), places[:, :2].reshape(-1, 4), places[:, 2:], fps)


def write_sample(folder: Path, count: int) -> None:
    """Write a real video, its replay on a simulated phone, and one frame held on it."""
    images = footage.fetch_sequence()
    videos = {
        "real": make_sample.as_filmed(footage.to_and_fro(images)),
        "replay": make_sample.as_replayed(footage.to_and_fro(images)),
        "photo": make_sample.as_replayed(itertools.repeat(images[0])),
    }
    for name, frames in videos.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        path = folder / name / f"{name}.mp4"
        footage.write_video(path, itertools.islice(frames, count))
