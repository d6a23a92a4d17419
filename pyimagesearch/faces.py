"""Find faces in frames, and cut them out."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.detectors import Res10, YuNet, load_detector
from pyimagesearch.frames import Frame
from pyimagesearch.prefetch import map_ahead

import cv2
import numpy as np

# Half of the 32 pixels that the network sees: a smaller face is mostly interpolation.
MIN_SIDE = 16


class Face(NamedTuple):
    """A face's box in pixels inside its frame (right and bottom exclusive)."""

    left: int
    top: int
    right: int
    bottom: int
    confidence: float  # of the detector, in [0, 1]


def detect_faces(
    detector: Res10 | YuNet, image: np.ndarray, confidence: float | None = None
) -> tuple[list[Face], int]:
    """Find the faces in an image.

    Parameters
    ----------
    detector : Res10 or YuNet
        From `load_detector`.
    image : ndarray of shape (M, N, 3), dtype uint8
        BGR, of any size.
    confidence : float, optional
        Detections that are not above it are ignored, in [0, 1]; by default, 0.5 of
        res10 and 0.7 of YuNet.

    Returns
    -------
    faces : list of Face
        The most confident first; boxes clamped to the image.
    dropped : int
        How many more lay outside the image or were under MIN_SIDE pixels.
    """
    height, width = image.shape[:2]
    if confidence is None:
        confidence = detector.CONFIDENCE
    detections = detector.detect(image, confidence)
    detections = detections[np.argsort(-detections[:, 4], kind="stable")]
    # Boxes leave the image at its edges, and negative slices would be empty crops.
    fractions = np.clip(detections[:, :4], 0.0, 1.0)
    boxes = (fractions * [width, height, width, height]).astype(int)
    faces = [
        Face(*map(int, box), confidence=float(score))
        for box, score in zip(boxes, detections[:, 4], strict=True)
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
    path, wanted, size
        As for `load_detector`; the first detector is loaded at once.

    Attributes
    ----------
    name : str
        "res10" or "YuNet".
    """

    def __init__(self, path: Path, wanted: str = Res10.NAME, size: int | None = None):
        self._arguments = path, wanted, size
        self._free = [load_detector(*self._arguments)]
        self.name = self._free[0].NAME

    @contextmanager
    def borrow(self) -> Iterator[Res10 | YuNet]:
        """Give a detector that nobody else uses meanwhile."""
        try:
            detector = self._free.pop()
        except IndexError:
            detector = load_detector(*self._arguments)
        try:
            yield detector
        finally:
            self._free.append(detector)


def detect_in_frames(
    frames: Iterable[Frame],
    detectors: Detectors,
    confidence: float | None = None,
    ahead: bool = True,
) -> Iterator[tuple[Frame, list[Face], int]]:
    """Find the faces of frame after frame.

    Parameters
    ----------
    frames : iterable of Frame
    detectors : Detectors
    confidence : float, optional
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

    def detect(frame: Frame) -> tuple[Frame, list[Face], int]:
        with detectors.borrow() as detector:
            return frame, *detect_faces(detector, frame.image, confidence)

    if not ahead:
        yield from map(detect, frames)
        return
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield from map_ahead(detect, frames)
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
