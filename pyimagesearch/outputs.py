"""Where labelled frames go: a window, a video, an image, or a folder of them."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from pyimagesearch.console import UserError
from pyimagesearch.files import atomic_write, check_writable, temporary_beside
from pyimagesearch.frames import Frame
from pyimagesearch.images import IMAGE_SUFFIXES, VIDEO_SUFFIXES

import cv2
import numpy as np

TITLE = "Frame"
WINDOW_WIDTH = 600  # pixels; wider frames are shrunk for the window, and only there
WINDOW_HEIGHT = 680  # the same, so that upright ones fit on a small screen
PHOTO_SECONDS = 1.0  # that each photograph of a folder stays in the window
# By the ending of the file's name, a codec that every opencv-python can write.
CODECS = {
    ".mp4": "mp4v",
    ".mov": "mp4v",
    ".mkv": "mp4v",
    ".avi": "MJPG",
    ".webm": "VP80",
}
Output = Callable[[Frame], bool]
"""Takes a frame and returns whether to go on."""


def open_output(path: Path, kind: str) -> AbstractContextManager[Output]:
    """Open a file or folder that frames are written to.

    Parameters
    ----------
    path : Path
        The ending of a file's name chooses its format. Files are put in place whole.
    kind : str
        What is coming: "image", "video", or "folder" for many of both.

    Raises
    ------
    UserError
        When the name ends in nothing that can be written.
    """
    if kind == "folder":
        if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            raise UserError(
                f"--output {path}: of a folder comes a folder; name one without "
                f"{path.suffix}"
            )
        path.mkdir(parents=True, exist_ok=True)
        return folder(path)
    check_writable(path)
    suffixes = IMAGE_SUFFIXES if kind == "image" else set(CODECS)
    if path.suffix.lower() not in suffixes:
        raise UserError(
            f"--output {path}: of this input comes one {kind}, so its name must end in "
            f"one of {' '.join(sorted(suffixes))}"
        )
    return image_file(path) if kind == "image" else video_file(path)


@contextmanager
def image_file(path: Path) -> Iterator[Output]:
    """Give an output that writes an image."""

    def write(frame: Frame) -> bool:
        with atomic_write(path) as temporary:
            temporary.write_bytes(cv2.imencode(path.suffix, frame.image)[1])
        return True

    yield write


@contextmanager
def video_file(path: Path) -> Iterator[Output]:
    """Give an output that adds frames to a video.

    Whatever ends the block, the video is closed properly and then put in place. Frames
    of another size are brought to the first one's. Where they came at a varying rate,
    some are repeated or left out, so that the video is as long as what it shows.
    """
    writer = cv2.VideoWriter()
    size, start, count = None, None, 0

    def write(frame: Frame) -> bool:
        nonlocal size, start, count
        image = frame.image
        if size is None:
            size = image.shape[1], image.shape[0]  # OpenCV wants (width, height)
            start = frame.time
            codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
            if not writer.open(str(temporary), codec, frame.fps, size):
                raise UserError(f"{path}: OpenCV cannot write this video here")
        if size != (image.shape[1], image.shape[0]):
            image = cv2.resize(image, size)
        due = round((frame.time - start) * frame.fps) + 1
        while count < due:
            writer.write(image)
            count += 1
        return True

    with temporary_beside(path, path.suffix) as temporary:
        try:
            yield write
        finally:
            writer.release()
            if temporary.exists():
                # OpenCV does not say when the disk is full: such a video has no index.
                if not cv2.VideoCapture(str(temporary)).grab():
                    raise UserError(f"{path}: could not be written; is the disk full?")
                temporary.replace(path)


@contextmanager
def folder(path: Path) -> Iterator[Output]:
    """Give an output that writes each source into a file of its own: .png or .mp4."""
    with ExitStack() as stack:
        source, write = None, None

        def write_to_its_file(frame: Frame) -> bool:
            nonlocal source, write
            if frame.source != source:
                stack.close()  # the file of the source before
                source = frame.source
                if frame.fps is None:
                    file = image_file(path / f"{source}.png")
                else:
                    file = video_file(path / f"{source}.mp4")
                write = stack.enter_context(file)
            return write(frame)

        yield write_to_its_file


def has_display() -> bool:
    """Tell whether a window can be opened; OpenCV aborts the process if not."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


@contextmanager
def window(kind: str, on_key: Callable[[int], None] | None = None) -> Iterator[Output]:
    """Open a window and give an output that shows frames in it.

    Other keys than those that end it are handed to `on_key`, as their codes.

    The output returns False once q or Esc was pressed or the window was closed; where
    the kind is "image", it stays until then. A photograph of a folder stays a while, or
    until another key is pressed.
    """
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
    except cv2.error:
        raise UserError(
            "this OpenCV has no windows (opencv-python-headless?); use --no-display"
        ) from None

    def show(frame: Frame) -> bool:
        cv2.imshow(TITLE, shrink_to_window(frame.image))
        end = time.monotonic() + (PHOTO_SECONDS if frame.fps is None else 0)
        while True:
            key = cv2.waitKey(1 if frame.fps else 50)
            if key & 0xFF in (ord("q"), 27) or not is_window_open():
                return False
            if key >= 0 and on_key:
                on_key(key & 0xFF)
                key = -1
            if kind != "image" and (key >= 0 or time.monotonic() >= end):
                return True

    try:
        yield show
    finally:
        cv2.destroyAllWindows()


def is_window_open() -> bool:
    """Tell whether the window has not been closed by the user."""
    try:
        return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # what OpenCV's Qt windows say of one that is gone
        return False


def shrink_to_window(image: np.ndarray) -> np.ndarray:
    """Make an image, (M, N, 3) uint8 BGR, fit WINDOW_WIDTH and WINDOW_HEIGHT."""
    height, width = image.shape[:2]
    zoom = window_zoom(image)
    if zoom == 1 or zoom > min(height, width):
        return image
    import imutils  # late, as only a window wants it

    if width * WINDOW_HEIGHT >= height * WINDOW_WIDTH:
        return imutils.resize(image, width=WINDOW_WIDTH)
    return imutils.resize(image, height=WINDOW_HEIGHT)


def window_zoom(image: np.ndarray) -> float:
    """Say how many times an image, (M, N, 3), is larger than its window shows it."""
    height, width = image.shape[:2]
    return max(1.0, width / WINDOW_WIDTH, height / WINDOW_HEIGHT)
