"""The two face detectors, both run by OpenCV.

res10 is the tutorial's (SSD on a ResNet-10 body, Caffe). YuNet takes a tenth of its
time, finds smaller faces, and runs on OpenCV 5 too.
"""

import argparse
import hashlib
import re
from pathlib import Path

from pyimagesearch.console import UserError, fraction, path, side_int, warn

import cv2
import numpy as np


class Res10:
    """OpenCV's sample face detector, from the content of FILES; not for threads."""

    NAME = "res10"
    # Those that OpenCV publishes, with their SHA-256.
    FILES = {  # noqa: RUF012
        "deploy.prototxt": (
            "85abd2feeb48703094444073b29ecbcc1ebb66481548e5808e90f38681123ca7"
        ),
        "res10_300x300_ssd_iter_140000.caffemodel": (
            "2a56a11a57a4a295956b0660b4a3d76bbdca2206c4961cea8efe7d95c7cb2f2d"
        ),
    }
    CONFIDENCE = 0.5  # the tutorial's
    INPUT_SIZE = (300, 300)  # width, height it was trained at; shapes are squashed
    TRAINING_MEAN = (104.0, 177.0, 123.0)  # blue, green, red; subtracted in training
    # The published text pads two layers that were trained without, and whose prior
    # boxes are laid out for that: close faces get a second box, too far right and down.
    PADDING = re.compile(rb'(name: "conv[89]_2_h"(?:(?!pad:).)*pad: )1', re.DOTALL)

    def __init__(self, prototxt: bytes, caffemodel: bytes, size: int | None = None):
        prototxt = self.PADDING.sub(rb"\g<1>0", prototxt)
        arrays = (np.frombuffer(text, np.uint8) for text in (prototxt, caffemodel))
        self._net = cv2.dnn.readNetFromCaffe(*arrays)

    def detect(self, image: np.ndarray, confidence: float) -> np.ndarray:
        """Give (n, 5): left, top, right, bottom in [0, 1], confidence; as they come."""
        small = cv2.resize(image, self.INPUT_SIZE)
        self._net.setInput(
            cv2.dnn.blobFromImage(small, 1.0, self.INPUT_SIZE, self.TRAINING_MEAN)
        )
        # (1, 1, n, 7): image, class, confidence, left, top, right, bottom
        found = self._net.forward()[0, 0]
        return found[found[:, 2] > confidence][:, [3, 4, 5, 6, 2]]


class YuNet:
    """OpenCV Zoo's YuNet, from the content of its file; not for threads.

    Parameters
    ----------
    model : bytes
    size : int, optional
        The longer side that images are brought to. Of 640, faces half as large are
        found, in three to four times the time, but fewer that fill the image.
    """

    NAME = "YuNet"
    FILES = {  # noqa: RUF012
        "face_detection_yunet_2023mar.onnx": (
            "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
        )
    }
    # Measured: false boxes came up to 0.65; above 0.7, faces get lost.
    CONFIDENCE = 0.7
    SIZE = 320
    # OpenCV 4 leaves the coarsest map partly unwritten where it is one row or column
    # of 32 pixels: out of old memory come sure "faces" of any size.
    MIN_INPUT = 64

    def __init__(self, model: bytes, size: int | None = None):
        self._size = size or self.SIZE
        # OpenCV 5 warns here of something that nobody can change.
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        self._net = cv2.FaceDetectorYN.create(
            "onnx",
            np.frombuffer(model, np.uint8),
            np.empty(0, np.uint8),
            (self._size, self._size),
        )
        cv2.utils.logging.setLogLevel(level)

    def detect(self, image: np.ndarray, confidence: float) -> np.ndarray:
        """Give (n, 5): left, top, right, bottom in [0, 1], confidence; as they come."""
        height, width = image.shape[:2]
        zoom = self._size / max(width, height)
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        small = cv2.resize(image, size)
        right, bottom = (max(0, self.MIN_INPUT - side) for side in size)
        if right or bottom:
            small = cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
        self._net.setInputSize(small.shape[1::-1])
        self._net.setScoreThreshold(confidence)
        # (n, 15): left, top, width, height, five points, confidence; None for none
        _, found = self._net.detect(small)
        if found is None:
            return np.empty((0, 5), np.float32)
        corners = np.hstack([found[:, :2], found[:, :2] + found[:, 2:4]])
        return np.hstack([corners / (size * 2), found[:, 14:]])


KINDS = {kind.NAME: kind for kind in (Res10, YuNet)}


def choose_detector(path: Path, wanted: str = Res10.NAME) -> type[Res10 | YuNet]:
    """Choose the detector of a folder, or the one that a file in it belongs to.

    Parameters
    ----------
    path : Path
        A folder, or a detector's file.
    wanted : str
        The detector to take if the folder has it and this OpenCV can read it.
    """
    for kind in KINDS.values():
        if path.name in kind.FILES:
            return kind
    order = sorted(KINDS.values(), key=lambda kind: wanted != kind.NAME)
    for kind in order:
        readable = kind is not Res10 or hasattr(cv2.dnn, "readNetFromCaffe")
        if readable and any((path / name).is_file() for name in kind.FILES):
            return kind
    return YuNet if not hasattr(cv2.dnn, "readNetFromCaffe") else order[0]


def load_detector(
    path: Path, wanted: str = Res10.NAME, size: int | None = None
) -> Res10 | YuNet:
    """Load a face detector.

    Parameters
    ----------
    path : Path
        The folder where its files are, or one of them.
    wanted : str, default "res10"
        Which one to take if a folder has both.
    size : int, optional
        See YuNet.

    Raises
    ------
    UserError
        When a file is missing or is not the published one, or when this OpenCV cannot
        read it.
    """
    kind = choose_detector(path, wanted)
    if kind is Res10 and not hasattr(cv2.dnn, "readNetFromCaffe"):
        raise UserError(
            f"OpenCV {cv2.__version__} cannot read {path}: name the folder, for YuNet, "
            'or run: pip install "opencv-python>=4.13,<5"'
        )
    folder = path.parent if path.name in kind.FILES else path
    contents = []
    for name, sha256 in kind.FILES.items():
        if not (folder / name).is_file():
            problem = "is missing"
        else:
            content = (folder / name).read_bytes()
            if hashlib.sha256(content).hexdigest() == sha256:
                contents.append(content)
                continue
            problem = f"is damaged or another file ({len(content)} bytes)"
        raise UserError(
            f"no face detector in {folder}: {name} {problem}; "
            'run "make detector" or "python -m pyimagesearch.fetch"'
        )
    return kind(*contents, size=size)


def warn_of_other_detector(name: str, wanted: str = Res10.NAME) -> None:
    """Say that another detector finds the faces than was wanted, if so."""
    if name != wanted:
        warn(f"{name} finds the faces; crops and network are used to those of {wanted}")


def add_detector_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a command that finds faces."""
    parser.add_argument(
        "-d",
        "--detector",
        type=path,
        default=Path("face_detector"),
        metavar="FOLDER",
        help="where the face detectors are, or the file of one (default: %(default)s)",
    )
    parser.add_argument(
        "--detector-size",
        type=side_int,
        metavar="N",
        help="longer side of what YuNet sees, in pixels; 640 finds smaller faces "
        f"(default: {YuNet.SIZE})",
    )
    parser.add_argument(
        "-c",
        "--confidence",
        type=fraction,
        metavar="P",
        help="ignore detections that are not above this confidence, 0 to 1 (default: "
        f"{Res10.CONFIDENCE}, or {YuNet.CONFIDENCE} with YuNet)",
    )
