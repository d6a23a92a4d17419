"""Find faces with OpenCV's SSD detector (ResNet-10 body, 300x300 input, Caffe)."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pyimagesearch.console import UserError
from pyimagesearch.fetch import DETECTOR_FILES
from pyimagesearch.frames import Frame, map_ahead

import cv2
import numpy as np

INPUT_SIZE = (300, 300)  # width, height the detector was trained at
TRAINING_MEAN = (104.0, 177.0, 123.0)  # blue, green, red; subtracted in training too
# Half of the 32 pixels that the network sees: a smaller face is mostly interpolation.
MIN_SIDE = 16


class Face(NamedTuple):
    """A face's box in pixels inside its frame (right and bottom exclusive)."""

    left: int
    top: int
    right: int
    bottom: int
    confidence: float  # of the detector, in [0, 1]


def load_detector(folder: Path) -> cv2.dnn.Net:
    """Load the face detector.

    Parameters
    ----------
    folder : Path
        Holds `deploy.prototxt` and `res10_300x300_ssd_iter_140000.caffemodel`.

    Raises
    ------
    UserError
        When a file is missing or is not the one that OpenCV publishes, or when this
        OpenCV cannot read Caffe models (5.0 and later).
    """
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        raise UserError(
            f"OpenCV {cv2.__version__} cannot read Caffe models; "
            'run: pip install "opencv-python>=4.13,<5"'
        )
    contents = []
    for name, sha256 in DETECTOR_FILES.items():
        path = folder / PurePosixPath(name).name
        if not path.is_file():
            problem = "is missing"
        else:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == sha256:
                contents.append(np.frombuffer(content, np.uint8))
                continue
            problem = f"is damaged or another file ({len(content)} bytes)"
        raise UserError(
            f"no face detector in {folder}: {path.name} {problem}; "
            'run "make detector" or "python -m pyimagesearch.fetch"'
        )
    return cv2.dnn.readNetFromCaffe(*contents)


def detect_faces(
    detector: cv2.dnn.Net, image: np.ndarray, confidence: float = 0.5
) -> tuple[list[Face], int]:
    """Find the faces in an image.

    Parameters
    ----------
    detector : cv2.dnn.Net
        From `load_detector`.
    image : ndarray of shape (M, N, 3), dtype uint8
        BGR, of any size.
    confidence : float, default 0.5
        Detections that are not above it are ignored, in [0, 1].

    Returns
    -------
    faces : list of Face
        The surest first; boxes clamped to the image.
    dropped : int
        How many more lay outside the image or were under MIN_SIDE pixels.
    """
    height, width = image.shape[:2]
    blob = cv2.dnn.blobFromImage(
        cv2.resize(image, INPUT_SIZE), 1.0, INPUT_SIZE, TRAINING_MEAN
    )
    detector.setInput(blob)
    # (1, 1, n, 7): image, class, confidence, left, top, right, bottom as fractions
    detections = detector.forward()[0, 0]
    detections = detections[detections[:, 2] > confidence]
    detections = detections[np.argsort(-detections[:, 2], kind="stable")]
    # Boxes leave the image at its edges, and negative slices would be empty crops.
    fractions = np.clip(detections[:, 3:], 0.0, 1.0)
    boxes = (fractions * [width, height, width, height]).astype(int)
    faces = [
        Face(*map(int, box), confidence=float(score))
        for box, score in zip(boxes, detections[:, 2], strict=True)
    ]
    large = [
        face
        for face in faces
        if min(face.right - face.left, face.bottom - face.top) >= MIN_SIDE
    ]
    return large, len(faces) - len(large)


class Detectors:
    """Face detectors, one for each thread that wants one at the same time.

    Parameters
    ----------
    folder : Path
        As for `load_detector`; the first detector is loaded at once.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._free = [load_detector(folder)]

    @contextmanager
    def borrow(self) -> Iterator[cv2.dnn.Net]:
        """Give a detector that nobody else uses meanwhile."""
        try:
            detector = self._free.pop()
        except IndexError:
            detector = load_detector(self._folder)
        yield detector
        self._free.append(detector)


def search_frames(
    frames: Iterable[Frame],
    detectors: Detectors,
    confidence: float = 0.5,
    ahead: bool = True,
) -> Iterator[tuple[Frame, list[Face], int]]:
    """Find the faces of frame after frame.

    Parameters
    ----------
    frames : iterable of Frame
    detectors : Detectors
    confidence : float, default 0.5
        As for `detect_faces`.
    ahead : bool, default True
        Every core searches a frame of its own, which takes less time for all of them.
        Otherwise all cores search the frame that came last, so that it is given out as
        soon as can be.

    Yields
    ------
    frame : Frame
    faces, dropped
        As from `detect_faces`.
    """

    def search(frame: Frame) -> tuple[Frame, list[Face], int]:
        with detectors.borrow() as detector:
            return frame, *detect_faces(detector, frame.image, confidence)

    if not ahead:
        yield from map(search, frames)
        return
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield from map_ahead(search, frames)
    finally:
        cv2.setNumThreads(threads)


def crop_face(image: np.ndarray, face: Face, margin: float = 0.0) -> np.ndarray:
    """Cut a face out of its frame at native size.

    Parameters
    ----------
    image : ndarray of shape (M, N, 3), dtype uint8
    face : Face
        Inside the image.
    margin : float, default 0
        Grow the box by this share of its width and height on each side, as far as
        the image goes: 0.5 doubles it.

    Returns
    -------
    ndarray of shape (h, w, 3), dtype uint8
        A view of the image.
    """
    x = round(margin * (face.right - face.left))
    y = round(margin * (face.bottom - face.top))
    return image[
        max(0, face.top - y) : face.bottom + y, max(0, face.left - x) : face.right + x
    ]
