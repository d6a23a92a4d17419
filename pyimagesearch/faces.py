"""Find faces in frames, cut them out, and turn the crops into network input.

OpenCV runs both detectors: YuNet, the default, and the tutorial's res10 (an SSD on a
ResNet-10 body, in Caffe's format), which is ten times slower; OpenCV 5 cannot read it.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError
from pyimagesearch.flags import DETECTORS
from pyimagesearch.inputs import Frame
from pyimagesearch.threads import map_ahead

import cv2
import numpy as np

WIDTH, HEIGHT = 32, 32  # the tutorial's network input, in pixels
MIN_SIDE = 16  # pixels; in a smaller face, most of the input would be interpolated


class Face(NamedTuple):
    """A face's box in pixels inside its frame (right and bottom exclusive)."""

    left: int
    top: int
    right: int
    bottom: int
    confidence: float  # of the detector, in [0, 1]

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels."""
        return self.right - self.left, self.bottom - self.top


class Res10:
    """OpenCV's sample face detector, from the content of FILES; not thread-safe."""

    NAME = "res10"
    PROTOTXT = "85abd2feeb48703094444073b29ecbcc1ebb66481548e5808e90f38681123ca7"
    CAFFEMODEL = "2a56a11a57a4a295956b0660b4a3d76bbdca2206c4961cea8efe7d95c7cb2f2d"
    FILES = {  # noqa: RUF012  # as published by OpenCV, with their SHA-256
        "deploy.prototxt": PROTOTXT,
        "res10_300x300_ssd_iter_140000.caffemodel": CAFFEMODEL,
    }
    CONFIDENCE = 0.5  # the tutorial's
    SIZE = 300  # of both sides in training; the aspect ratio is not kept
    TRAINING_MEAN = (104.0, 177.0, 123.0)  # blue, green, red; subtracted in training
    # The published prototxt pads two layers that were trained without padding: close
    # faces get a second box, too far right and down.
    PADDING = re.compile(rb'(name: "conv[89]_2_h"(?:(?!pad:).)*pad: )1', re.DOTALL)

    def __init__(self, prototxt: bytes, caffemodel: bytes, size: int | None = None):
        self.size = self.SIZE
        prototxt = np.frombuffer(self.PADDING.sub(rb"\g<1>0", prototxt), np.uint8)
        caffemodel = np.frombuffer(caffemodel, np.uint8)
        self._net = cv2.dnn.readNetFromCaffe(prototxt, caffemodel)

    def detect(self, image: np.ndarray, confidence: float) -> np.ndarray:
        """Return (n, 5): left, top, right, bottom in [0, 1], confidence; unsorted."""
        size = self.size, self.size
        self._net.setInput(cv2.dnn.blobFromImage(image, 1.0, size, self.TRAINING_MEAN))
        # (1, 1, n, 7): image, class, confidence, left, top, right, bottom
        found = self._net.forward()[0, 0]
        return found[found[:, 2] > confidence][:, [3, 4, 5, 6, 2]]


class YuNet:
    """OpenCV Zoo's YuNet, from the content of its file; not thread-safe.

    `size` is the longer side that images are resized to, in pixels. At 640 it finds
    faces half as large in three to four times the time, but fewer that fill the image.
    """

    NAME = "YuNet"
    SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
    FILES = {"face_detection_yunet_2023mar.onnx": SHA256}  # noqa: RUF012
    CONFIDENCE = 0.7  # measured: false boxes reach 0.65; above 0.7, faces are missed
    SIZE = 320
    # OpenCV 4 leaves part of the coarsest feature map unwritten where an input side is
    # 32 pixels or less: stale memory becomes confident faces of any size.
    MIN_INPUT = 64

    def __init__(self, model: bytes, size: int | None = None):
        self.size = size = size or self.SIZE
        onnx = np.frombuffer(model, np.uint8)
        self._net = cv2.FaceDetectorYN.create("onnx", onnx, onnx[:0], (size, size))

    def detect(self, image: np.ndarray, confidence: float) -> np.ndarray:
        """Return (n, 5): left, top, right, bottom in [0, 1], confidence; unsorted."""
        height, width = image.shape[:2]
        zoom = self.size / max(width, height)
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        small = cv2.resize(image, size)
        right, bottom = (max(0, self.MIN_INPUT - side) for side in size)
        small = cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
        self._net.setInputSize(small.shape[1::-1])
        self._net.setScoreThreshold(confidence)
        # (n, 15): left, top, width, height, five points, confidence; None for none
        _, found = self._net.detect(small)
        if found is None:
            return np.empty((0, 5), np.float32)
        corners = np.hstack([found[:, :2], found[:, :2] + found[:, 2:4]])
        return np.hstack([corners / (size * 2), found[:, 14:]])


def load_detector(path: Path, size: int | None = None) -> Res10 | YuNet:
    """Load the face detector that a path means, see `find_detector`.

    A missing or damaged file, or one that this OpenCV cannot read, is a UserError.
    """
    kind, folder = find_detector(path)
    if kind is Res10 and not hasattr(cv2.dnn, "readNetFromCaffe"):
        raise UserError(
            f"{path}: OpenCV {cv2.__version__} cannot read it: use --detector yunet, "
            'or run: pip install "opencv-python>=4.13,<5"'
        )
    contents = []
    for name, sha256 in kind.FILES.items():
        content = (folder / name).read_bytes() if (folder / name).is_file() else b""
        if hashlib.sha256(content).hexdigest() != sha256:
            problem = "is damaged or another file" if content else "is missing"
            raise UserError(
                f"no face detector in {folder}: {name} {problem}; "
                'run "make detector" or "python -m pyimagesearch.fetch"'
            )
        contents.append(content)
    return kind(*contents, size=size)


def find_detector(path: Path) -> tuple[type[Res10 | YuNet], Path]:
    """Return the detector that a path means, and the folder of its files.

    That is a file, a folder, in which YuNet comes before res10, or, if nothing is
    called so, the name of one in DETECTORS.
    """
    for kind in (YuNet, Res10):
        if path.name in kind.FILES:
            return kind, path.parent
        if str(path).lower() == kind.NAME.lower() and not path.exists():
            return kind, DETECTORS
    names = {file.name for file in path.glob("*")}
    is_res10 = names.isdisjoint(YuNet.FILES) and not names.isdisjoint(Res10.FILES)
    return Res10 if is_res10 else YuNet, path


class DetectorPool:
    """Face detectors, one for each thread that needs one; the first is loaded at once.

    `path` and `size` are those of `load_detector`, `confidence` of `detect_faces`.
    """

    def __init__(
        self, path: Path, size: int | None = None, confidence: float | None = None
    ):
        self._load = lambda: load_detector(path, size)
        first = self._load()
        self._free = [first]
        self.name, self.size = first.NAME, first.size  # pixels, the longer side
        self.confidence = first.CONFIDENCE if confidence is None else confidence

    def detect(self, image: np.ndarray) -> tuple[list[Face], int]:
        """Find faces as `detect_faces` does, in any thread."""
        try:
            detector = self._free.pop()
        except IndexError:
            detector = self._load()
        try:
            return detect_faces(detector, image, self.confidence)
        finally:
            self._free.append(detector)


def detect_faces(
    detector: Res10 | YuNet, image: np.ndarray, confidence: float | None = None
) -> tuple[list[Face], int]:
    """Find the faces in an image, (M, N, 3) uint8 BGR, of any size.

    Detections not above the confidence, in [0, 1], are ignored; its default is the
    detector's CONFIDENCE. Returns the faces, the most confident first, their boxes
    clipped to the image, and how many more were outside it or smaller than MIN_SIDE.
    """
    confidence = detector.CONFIDENCE if confidence is None else confidence
    found = detector.detect(image, confidence)
    found = found[np.argsort(-found[:, 4], kind="stable")]
    sides = image.shape[1::-1] * 2  # width, height, width, height
    # Boxes extend beyond the image's edges; negative slices would give empty crops.
    boxes = (np.clip(found[:, :4], 0.0, 1.0) * sides).astype(int).tolist()
    scores = found[:, 4].tolist()
    faces = [Face(*box, score) for box, score in zip(boxes, scores, strict=True)]
    large = [face for face in faces if min(face.size) >= MIN_SIDE]
    return large, len(faces) - len(large)


def detect_in_frames(
    frames: Iterable[Frame], detectors: DetectorPool, ahead: bool = True
) -> Iterator[tuple[Frame, list[Face], int]]:
    """Yield each frame with its faces and how many were dropped, see `detect_faces`.

    Stale frames are not searched. `ahead` searches one frame per core at the same time,
    for throughput. Otherwise all cores search one frame, for low latency.
    """

    def detect(frame: Frame) -> tuple[Frame, list[Face], int]:
        faces, dropped = ([], 0) if frame.stale else detectors.detect(frame.image)
        return frame, faces, dropped

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1 if ahead else threads)
    try:
        yield from map_ahead(detect, frames) if ahead else map(detect, frames)
    finally:
        cv2.setNumThreads(threads)


def crop_face(image: np.ndarray, face: Face, margin: float = 0.0) -> np.ndarray:
    """Cut a face out of its frame at native size: a view, (h, w, 3) uint8 BGR.

    `margin` extends the box by this share of its width and height on each side, as far
    as the image goes: 0.5 doubles it.
    """
    x, y = (round(margin * side) for side in face.size)
    rows = slice(max(0, face.top - y), face.bottom + y)
    return image[rows, max(0, face.left - x) : face.right + x]


def shrink(crop: np.ndarray, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Resize one crop of any size, (h, w, 3) uint8 BGR, to (height, width, 3)."""
    return cv2.resize(crop, (width, height))  # bilinear, as in the tutorial


def scale(crops: np.ndarray) -> np.ndarray:
    """Turn shrunk crops, uint8 in [0, 255], into float32 in [0, 1]."""
    return np.divide(crops, 255, dtype=np.float32)


def preprocess(
    crops: Sequence[np.ndarray], width: int = WIDTH, height: int = HEIGHT
) -> np.ndarray:
    """Turn crops, (h, w, 3) uint8 BGR, into (n, height, width, 3) float32 in [0, 1]."""
    shrunk = np.array([shrink(crop, width, height) for crop in crops], np.uint8)
    return scale(shrunk.reshape(-1, height, width, 3))
