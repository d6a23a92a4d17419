"""Frames of video and image files, read ahead in threads."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError, warn

import cv2
import numpy as np

# Formats that opencv-python reads on every platform.
IMAGE_SUFFIXES = {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
IMAGE_SUFFIXES |= {".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
VIDEO_SUFFIXES = {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"}
VIDEO_SUFFIXES |= {".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
DEFAULT_FPS = 25.0  # where a video gives no plausible rate
# Enough to keep decoder and detector both busy; a 1080p frame takes 6 MB.
FRAMES_AHEAD = 2


class Frame(NamedTuple):
    """A picture to search for faces."""

    image: np.ndarray  # (M, N, 3) uint8 BGR, native size, upright
    source: str  # name of its video, image, camera or stream
    number: int  # position in its source, counted from 1
    time: float  # seconds since its source began
    fps: float | None  # of its source; None for a still image


class FileFrames:
    """Every image, and every `skip`-th frame of every video, of some files.

    `files` are paths by source name. `read` counts frames passed, skipped ones
    included; `total` is its expected final value or None, for progress bars only, as
    headers can be wrong. `kind` is "image" or "video" for one file, or "folder".
    """

    live = False

    def __init__(self, files: dict[str, str], skip: int, is_folder: bool):
        self.files = files
        self._skip = skip
        self.read = 0
        self.total = None
        self.kind = "folder"
        if is_folder:
            if all(Path(n).suffix.lower() in IMAGE_SUFFIXES for n in files.values()):
                self.total = len(files)
            return
        (name,) = files.values()
        if read_image(Path(name)) is not None:
            self.kind, self.total = "image", 1
            return
        self.kind = "video"
        video = cv2.VideoCapture(name)
        if not video.grab():
            raise UserError(f"{name}: neither an image nor a video that can be read")
        count = video.get(cv2.CAP_PROP_FRAME_COUNT)
        self.total = int(count) if 0 < count < 1e9 else None
        video.release()

    def __iter__(self) -> Iterator[Frame]:
        return read_ahead(self._decode(), FRAMES_AHEAD)

    def _decode(self) -> Iterator[Frame]:
        paths = map(Path, self.files.values())
        with closing(map_ahead(read_image, paths)) as images:
            for (source, name), image in zip(self.files.items(), images, strict=True):
                if image is None:
                    yield from self._decode_video(source, name)
                else:
                    self.read += 1
                    yield Frame(image, source, 1, 0.0, None)

    def _decode_video(self, source: str, name: str) -> Iterator[Frame]:
        number, seconds = 0, -1.0
        video = cv2.VideoCapture(name)
        fps = fps_or_default(video)
        try:
            # Frame counts in headers cannot be trusted: read to the end.
            while video.grab():
                self.read += 1
                number += 1
                if number % self._skip:
                    continue  # grabbing alone costs half as much
                decoded, image = video.retrieve()
                if decoded:
                    seconds = next_time(video, seconds, number, fps)
                    yield Frame(image, source, number, seconds, fps)
        finally:
            video.release()
        if not number:
            warn(f"{name}: no picture can be read from it; skipped")

    def close(self) -> None:
        """Do nothing: no file is held open between iterations."""


def next_time(video: cv2.VideoCapture, before: float, number: int, fps: float) -> float:
    """Return when the latest frame was filmed, in seconds from the start of its file.

    The file's time stamps count. Where they are implausible, the frame's number does.
    """
    seconds = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
    expected = (number - 1) / fps
    is_sane = before < seconds and (seconds > 0 or (seconds == 0 and number == 1))
    # Within a day, and not ten times as slow as the header says.
    if is_sane and seconds < min(86400, 10 * expected + 10):
        return seconds
    return max(expected, before + 1 / fps)


def fps_or_default(video: cv2.VideoCapture) -> float:
    """Return the video's frames per second, or DEFAULT_FPS if implausible."""
    fps = video.get(cv2.CAP_PROP_FPS)
    return fps if 0.001 <= fps <= 1000 else DEFAULT_FPS


def read_image(path: Path) -> np.ndarray | None:
    """Read an image as (M, N, 3) uint8 BGR, upright; None if it cannot be read."""
    if not cv2.haveImageReader(str(path)):
        return None
    try:
        return cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # more pixels than OpenCV's limit
        return None


def find_files(folder: Path, suffixes: Set[str] | None = None) -> list[Path]:
    """Find the files at any depth below a folder, in natural order.

    Hidden files and folders are ignored. Suffixes match in lower and upper case.
    """
    return sorted(
        (
            path
            for path in folder.rglob("*")
            if (suffixes is None or path.suffix.lower() in suffixes)
            and not any(p.startswith(".") for p in path.relative_to(folder).parts)
            and path.is_file()
        ),
        key=natural_key,
    )


def natural_key(path: Path) -> list:
    """Sort key that puts 2 before 10."""
    parts = re.split(r"([0-9]+)", str(path))
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def map_ahead(function: Callable, items: Iterable) -> Iterator:
    """Yield `function(item)` in order, computed ahead in one thread per core.

    Items are taken in the caller's thread. The threads end with the generator, also
    when it is closed early.
    """
    threads = cv2.getNumberOfCPUs()  # those that this process may use
    pending = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def read_ahead(items: Iterable, ahead: int) -> Iterator:
    """Yield the items in order, up to `ahead` of them produced in advance in a thread.

    The thread ends with the generator, also when it is closed early. An error of the
    items is raised here.
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
