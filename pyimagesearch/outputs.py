"""Where labelled frames go: a window, a video file, an image file."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import cv2
import imutils
import numpy as np

from pyimagesearch.artifacts import make_room, replacing
from pyimagesearch.console import UserError
from pyimagesearch.frames import IMAGE_SUFFIXES

TITLE = "Frame"
WINDOW_WIDTH = 600  # pixels; wider frames are shrunk for the window, and only there
FALLBACK_FPS = 25.0  # where a source does not say
# By the ending of the file's name, a codec that every opencv-python can write.
CODECS = {
    ".mp4": "mp4v",
    ".mov": "mp4v",
    ".mkv": "mp4v",
    ".avi": "MJPG",
    ".webm": "VP80",
}
Output = Callable[[np.ndarray], bool]
"""Takes an image, (M, N, 3) uint8 BGR, and returns whether to go on."""


def open_output(
    path: Path, still: bool, fps: float | None
) -> AbstractContextManager[Output]:
    """Open a video or image file to write to.

    Parameters
    ----------
    path : Path
        The ending of its name chooses the format. It is put in place whole.
    still : bool
        Whether one image is coming rather than a video.
    fps : float or None
        Frames per second of the video, where known.

    Raises
    ------
    UserError
        When the name ends in nothing that can be written.
    """
    make_room(path)
    suffix = path.suffix.lower()
    if still and suffix in IMAGE_SUFFIXES:
        return image_file(path)
    if not still and suffix in CODECS:
        return video_file(path, fps or FALLBACK_FPS)
    kind, suffixes = ("image", IMAGE_SUFFIXES) if still else ("video", CODECS)
    raise UserError(
        f"--output {path}: of this input comes one {kind}, so its name must end in one "
        f"of {' '.join(sorted(suffixes))}"
    )


def has_display() -> bool:
    """Tell whether a window can be opened; OpenCV aborts the process if not."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


@contextmanager
def window(still: bool) -> Iterator[Output]:
    """Open a window and give a function that shows an image in it.

    The function returns False once q or Esc was pressed or the window was closed; a
    still image stays until then.
    """
    cv2.namedWindow(TITLE)

    def show(image: np.ndarray) -> bool:
        if image.shape[1] > WINDOW_WIDTH:
            image = imutils.resize(image, width=WINDOW_WIDTH)
        cv2.imshow(TITLE, image)
        while True:
            key = cv2.waitKey(50 if still else 1) & 0xFF
            if key in (ord("q"), 27):
                return False
            if cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
                return False
            if not still:
                return True

    try:
        yield show
    finally:
        cv2.destroyAllWindows()


@contextmanager
def video_file(path: Path, fps: float) -> Iterator[Output]:
    """Give a function that adds a frame to a video and returns True.

    Whatever ends the block, the video is closed properly and then put in place. Frames
    of another size are brought to the first one's.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    writer = cv2.VideoWriter()
    size = None

    def write(image: np.ndarray) -> bool:
        nonlocal size
        if size is None:
            size = image.shape[1], image.shape[0]  # OpenCV wants (width, height)
            codec = cv2.VideoWriter_fourcc(*CODECS[path.suffix.lower()])
            if not writer.open(str(temporary), codec, fps, size):
                raise UserError(f"{path}: OpenCV cannot write this kind of video here")
        if size != (image.shape[1], image.shape[0]):
            image = cv2.resize(image, size)
        writer.write(image)
        return True

    try:
        yield write
    finally:
        writer.release()
        if temporary.exists():
            temporary.replace(path)


@contextmanager
def image_file(path: Path) -> Iterator[Output]:
    """Give a function that writes an image and returns True."""

    def write(image: np.ndarray) -> bool:
        with replacing(path) as temporary:
            temporary.write_bytes(cv2.imencode(path.suffix, image)[1])
        return True

    yield write
