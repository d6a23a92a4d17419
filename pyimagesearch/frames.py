"""Where frames come from: a camera, a stream, a video, an image, or a folder."""

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from pyimagesearch.console import UserError, warn

import cv2
import numpy as np
from imutils.video import VideoStream, WebcamVideoStream

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
VIDEO_SUFFIXES = {".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm", ".wmv"}
# Enough to keep decoder and detector both busy; a 1080p frame takes 6 MB.
FRAMES_AHEAD = 2
FIRST_FRAME_SECONDS = 10.0  # slow USB cameras need some of them to wake up
STALL_SECONDS = 5.0  # without a new frame, a camera or stream counts as dead
REOPEN_PAUSES = (1.0, 2.0, 4.0)  # seconds before each new try to open it again


class Frame(NamedTuple):
    """One picture to look for faces in."""

    image: np.ndarray
    """(M, N, 3) uint8 BGR, native size, upright."""
    source: str
    """Name of its video, image, camera or stream, without suffix."""
    number: int
    """Position in its source, counted from 1."""
    time: float
    """Seconds since its source began."""
    fps: float | None
    """Frames per second of its source; None for a still image."""


class FileFrames:
    """The frames of image and video files, read ahead in a thread, none dropped.

    Attributes
    ----------
    read : int
        Frames passed so far, those that were skipped included.
    total : int or None
        How many frames `read` will come to, where the files say so; a video's header
        may be wrong, so this is for progress bars only.
    kind : str
        "image" or "video" where there is one file, "folder" where there are more.
    """

    live = False

    def __init__(self, files: dict[str, str], skip: int, is_folder: bool):
        self._files = files
        self._skip = skip
        self.read = 0
        self.total = None
        self.kind = "folder"
        if is_folder:
            if all(is_image_name(name) for name in files.values()):
                self.total = len(files)
            return
        ((_, name),) = files.items()
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
        return read_ahead(self._decode())

    def _decode(self) -> Iterator[Frame]:
        paths = map(Path, self._files.values())
        with closing(map_ahead(read_image, paths)) as images:
            for (source, name), image in zip(self._files.items(), images, strict=True):
                yield from self._decode_file(source, name, image)

    def _decode_file(
        self, source: str, name: str, image: np.ndarray | None
    ) -> Iterator[Frame]:
        before = self.read
        if image is not None:
            self.read += 1
            yield Frame(image, source, 1, 0.0, None)
            return
        video = cv2.VideoCapture(name)
        fps = sane_fps(video)
        try:
            # Frame counts in headers cannot be trusted: read to the end.
            while video.grab():
                self.read += 1
                number = self.read - before
                if number % self._skip:
                    continue  # a frame that is only grabbed costs half as much
                decoded, image = video.retrieve()
                if decoded:
                    yield Frame(image, source, number, (number - 1) / fps, fps)
        finally:
            video.release()
        if self.read == before:
            warn(f"{name}: no picture can be read from it; skipped")

    def close(self) -> None:
        """Nothing is held open between iterations."""


class LiveFrames:
    """The latest frame of a camera or stream; those that come too fast are dropped.

    One that dies is opened again after growing pauses. The attributes are those of
    FileFrames.
    """

    live = True
    total = None
    kind = "video"

    def __init__(self, address: int | str, skip: int):
        self._address = address
        self._skip = skip
        if isinstance(address, int):
            name = f"camera{address}"
        else:  # without the user's password
            parts = urlsplit(address)
            name = re.sub(r"[^\w.-]+", "-", f"{parts.hostname}{parts.path}").strip("-")
        # Frames of another day must not be taken for these.
        self._source = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        self.name = name
        self.read = 0
        self._stream = None
        self._last = None
        try:
            self._open()
            if self._next_image(FIRST_FRAME_SECONDS) is None:
                raise UserError(explain_no_picture(address, name))
        except BaseException:
            self.close()
            raise
        self._start = time.monotonic()
        self._fps = sane_fps(self._stream.stream)

    def _open(self) -> None:
        if isinstance(self._address, int):
            self._stream = VideoStream(src=self._address).stream
        else:
            self._stream = _UrlStream(self._address)
        if self._stream.stream.isOpened():
            self._stream.start()

    def __iter__(self) -> Iterator[Frame]:
        self._last = None  # the first image was only looked at
        while True:
            while (image := self._next_image(STALL_SECONDS)) is not None:
                self.read += 1
                if self.read % self._skip == 0:
                    seconds = time.monotonic() - self._start
                    yield Frame(image, self._source, self.read, seconds, self._fps)
            self._reopen()

    def _reopen(self) -> None:
        for pause in REOPEN_PAUSES:
            warn(f"{self.name} gives no more pictures; trying again in {pause:g} s")
            self.close()
            time.sleep(pause)
            self._open()
            if self._next_image(STALL_SECONDS) is not None:
                self._last = None
                warn(f"{self.name} is back")
                return
        raise UserError(
            f"{self.name} died after {self.read} frames and could not be opened again"
        )

    def _next_image(self, seconds: float) -> np.ndarray | None:
        """Wait for an image that was not given yet; None if none comes."""
        deadline = time.monotonic() + seconds
        while self._stream.stream.isOpened() and time.monotonic() < deadline:
            image = self._stream.read()
            if image is not None and image is not self._last:
                self._last = image
                return image
            time.sleep(0.002)
        return None

    def close(self) -> None:
        """Stop imutils' thread, which does not do so by itself, and free the camera."""
        if self._stream is None:
            return
        self._stream.stop()
        for thread in threading.enumerate():
            if thread.name == self._stream.name:
                thread.join()  # a read that hangs gives up by itself
        self._stream.stream.release()


class _UrlStream(WebcamVideoStream):
    """imutils' stream of latest frames, for an address that may not answer."""

    def __init__(self, url: str):
        milliseconds = int(1000 * STALL_SECONDS)
        self.stream = cv2.VideoCapture(
            url,
            cv2.CAP_FFMPEG,
            [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                int(1000 * FIRST_FRAME_SECONDS),
                cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                milliseconds,
            ],
        )
        self.grabbed, self.frame = self.stream.read()
        self.name = "WebcamVideoStream"
        self.stopped = False


def explain_no_picture(address: int | str, name: str) -> str:
    """Say that a camera or stream gives no picture, and the usual reasons."""
    if isinstance(address, str):
        return f"{name} gives no picture: is the address right, and does it answer?"
    return (
        f"camera {address} gives no picture: is it connected, not in use by another "
        "program, and may this program use it (on macOS: Settings, Privacy, Camera)? "
        "Other cameras are --input 1, --input 2, ...; a video file or an address works "
        "too"
    )


def open_frames(source: str, skip: int = 1) -> FileFrames | LiveFrames:
    """Open a camera, a stream or files; frames are read as the result is iterated.

    Parameters
    ----------
    source : str
        A camera index ("0"), an http, https, rtsp or rtmp address, a video, an image,
        or a folder of images and videos, which are taken in natural order (2 before
        10), folders in it included.
    skip : int, default 1
        Give every `skip`-th frame of a video, beginning with the `skip`-th; images
        are all given.

    Raises
    ------
    UserError
        When there is nothing there that can be read.
    """
    if source.isdecimal():
        return LiveFrames(int(source), skip)
    if re.match(r"(https?|rtsps?|rtmp)://", source):
        return LiveFrames(source, skip)
    path = Path(source)
    if path.is_dir():
        files = _find_files(path)
        if not files:
            raise UserError(f"{path}: no images or videos in this folder")
    elif path.exists():
        files = [path]
    else:
        raise UserError(f"{path}: no such file, folder or camera")
    return FileFrames(_name_sources(files, path), skip, path.is_dir())


def is_image_name(name: str) -> bool:
    """Tell by the ending of its name whether a file is an image."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


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


def _name_sources(files: list[Path], root: Path) -> dict[str, str]:
    """Give each file a name of its own.

    That is its stem, with its folders below `root` and, where two files still share
    it, the suffix.
    """
    stems = {}
    for file in files:
        parts = file.relative_to(root).parts[:-1] if file != root else ()
        stems.setdefault("-".join([*parts, file.stem]), []).append(file)
    return {
        stem if len(same) == 1 else f"{stem}-{file.suffix[1:]}": str(file)
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


def sane_fps(video: cv2.VideoCapture) -> float:
    """Frames per second as the video says, or 25 where it cannot be right."""
    fps = video.get(cv2.CAP_PROP_FPS)
    return fps if 1 <= fps <= 1000 else 25.0


def map_ahead(function: Callable, items: Iterable, threads: int | None = None):
    """Yield `function(item)` in order, one a thread and one more made in advance.

    The threads end with the generator, also when that is closed early. The items are
    taken in the caller's own thread.

    Parameters
    ----------
    function : callable
    items : iterable
    threads : int, optional
        By default, as many as there are cores that this program may use.
    """
    threads = threads or cv2.getNumberOfCPUs()
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
