"""Where frames come from: a camera, a video, an image, or a folder of them."""

import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pyimagesearch.console import UserError, warn

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
VIDEO_SUFFIXES = {
    ".3gp",
    ".avi",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpg",
    ".webm",
    ".wmv",
}
# Enough to keep decoder and detector both busy; a 1080p frame takes 6 MB.
FRAMES_AHEAD = 4
FIRST_FRAME_SECONDS = 10.0  # slow USB cameras need some of them to wake up


if "OPENCV_LOG_LEVEL" not in os.environ:  # one line of ours says what is wrong
    cv2.utils.logging.setLogLevel(0)


class Frame(NamedTuple):
    """One picture to look for faces in."""

    image: np.ndarray
    """(M, N, 3) uint8 BGR, native size, upright."""
    source: str
    """Name of its video, image or camera, without suffix."""
    number: int
    """Position in its source, counted from 1."""


class FileFrames:
    """The frames of image and video files, read ahead in a thread, none dropped.

    Attributes
    ----------
    read : int
        Frames passed so far, those that were skipped included.
    unreadable : int
        Files that gave no frame.
    total : int or None
        How many frames `read` will come to, where the files say so; a video's header
        may be wrong, so this is for progress bars only.
    fps : float or None
        Frames per second of a single video.
    still : bool
        Whether it is a single image.
    """

    live = False

    def __init__(self, files: dict[str, Path], skip: int):
        self._files = files
        self._skip = skip
        self.read = 0
        self.unreadable = 0
        self.total = self.fps = None
        self.still = False
        if len(files) > 1:
            if all(path.suffix.lower() in IMAGE_SUFFIXES for path in files.values()):
                self.total = len(files)
            return
        ((_, path),) = files.items()
        if read_image(path) is not None:
            self.total = 1
            self.still = True
            return
        video = _open_video(path)
        if not video.grab():
            raise UserError(f"{path}: neither an image nor a video that can be read")
        count = video.get(cv2.CAP_PROP_FRAME_COUNT)
        self.total = int(count) if 0 < count < 1e9 else None
        self.fps = _sane_fps(video)
        video.release()

    def __iter__(self) -> Iterator[Frame]:
        return read_ahead(self._decode())

    def _decode(self) -> Iterator[Frame]:
        for source, path in self._files.items():
            before = self.read
            image = read_image(path)
            if image is not None:
                self.read += 1
                yield Frame(image, source, 1)
                continue
            video = _open_video(path)
            try:
                # Frame counts in headers cannot be trusted: read to the end.
                while video.grab():
                    self.read += 1
                    number = self.read - before
                    if number % self._skip:
                        continue  # a frame that is only grabbed costs half as much
                    decoded, image = video.retrieve()
                    if decoded:
                        yield Frame(image, source, number)
            finally:
                video.release()
            if self.read == before:
                self.unreadable += 1
                warn(f"{path}: no picture can be read from it; skipped")

    def close(self) -> None:
        """Nothing is held open between iterations."""


class CameraFrames:
    """The latest frame of a camera, again and again; frames in between are dropped."""

    live = True
    still = False
    total = None
    unreadable = 0

    def __init__(self, index: int):
        from imutils.video import VideoStream

        self._source = f"camera{index}"
        self._camera = VideoStream(src=index).stream
        self._last = None
        self.read = 0
        if self._camera.stream.isOpened():
            self._camera.start()
        if self._next_image(FIRST_FRAME_SECONDS) is None:
            self.close()
            raise UserError(
                f"camera {index} gives no picture: is it connected, not in use by "
                "another program, and may this program use it? Other cameras are "
                "--input 1, --input 2, ...; a video file works too"
            )
        self.fps = _sane_fps(self._camera.stream)

    def __iter__(self) -> Iterator[Frame]:
        while (image := self._next_image(FIRST_FRAME_SECONDS)) is not None:
            self.read += 1
            yield Frame(image, self._source, self.read)
        raise UserError(f"{self._source} stopped giving pictures")

    def _next_image(self, seconds: float) -> np.ndarray | None:
        """Wait for an image that was not given yet."""
        deadline = time.monotonic() + seconds
        while self._camera.stream.isOpened() and time.monotonic() < deadline:
            image = self._camera.read()
            if image is not None and image is not self._last:
                self._last = image
                return image
            time.sleep(0.002)
        return None

    def close(self) -> None:
        """Stop imutils' thread, which does not do so by itself, and free the camera."""
        self._camera.stop()
        for thread in threading.enumerate():
            if thread.name == "WebcamVideoStream":
                thread.join(timeout=2)
        self._camera.stream.release()


def open_frames(source: str, skip: int = 1) -> FileFrames | CameraFrames:
    """Open a camera or files; frames are read when the result is iterated over.

    Parameters
    ----------
    source : str
        A camera index ("0"), a video, an image, or a folder of images and videos,
        which are taken in natural order (2 before 10), folders in it included.
    skip : int, default 1
        Give every `skip`-th frame of a video, beginning with the `skip`-th; images
        are all given.

    Raises
    ------
    UserError
        When there is nothing there that can be read.
    """
    if source.isdecimal():
        return CameraFrames(int(source))
    path = Path(source)
    if path.is_dir():
        files = _find_files(path)
        if not files:
            raise UserError(f"{path}: no images or videos in this folder")
    elif path.exists():
        files = [path]
    else:
        raise UserError(f"{path}: no such file, folder or camera")
    return FileFrames(_name_sources(files, path), skip)


def _find_files(folder: Path) -> list[Path]:
    """Find images and videos by suffix, in natural order, hidden ones left out."""
    return sorted(
        (
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES
            and not any(p.startswith(".") for p in path.relative_to(folder).parts)
            and path.is_file()
        ),
        key=natural_key,
    )


def natural_key(path: Path) -> list:
    """Sort key that puts 2 before 10."""
    parts = re.split(r"([0-9]+)", str(path))
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def _name_sources(files: list[Path], root: Path) -> dict[str, Path]:
    """Give each file a name of its own.

    That is its stem, with its folders below `root` and, where two files still share
    it, the suffix.
    """
    stems = {}
    for file in files:
        parts = file.relative_to(root).parts[:-1] if file != root else ()
        stems.setdefault("-".join([*parts, file.stem]), []).append(file)
    return {
        stem if len(same) == 1 else f"{stem}-{file.suffix[1:]}": file
        for stem, same in stems.items()
        for file in same
    }


def read_image(path: Path) -> np.ndarray | None:
    """Read an image as (M, N, 3) uint8 BGR, turned upright, or None if it is none."""
    if not cv2.haveImageReader(str(path)):
        return None
    try:
        return cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # more pixels than OpenCV's limit
        return None


def _open_video(path: Path) -> cv2.VideoCapture:
    return cv2.VideoCapture(str(path))


def _sane_fps(video: cv2.VideoCapture) -> float | None:
    fps = video.get(cv2.CAP_PROP_FPS)
    return fps if 1 <= fps <= 1000 else None


def read_ahead(items: Iterable, ahead: int = FRAMES_AHEAD) -> Iterator:
    """Yield the items in order, up to `ahead` of them made in advance in a thread.

    The thread ends with the generator, also when that is closed early or the items
    end in an error, which is raised here.
    """
    items, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        try:
            pending = deque(thread.submit(next, items, end) for _ in range(ahead))
            while (item := pending.popleft().result()) is not end:
                pending.append(thread.submit(next, items, end))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)
            items.close()
