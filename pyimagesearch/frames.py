"""Frames of video and image files, read ahead in threads.

OpenCV reads images, from memory, as it crashes on file names that are not UTF-8. PyAV
reads videos: unlike OpenCV it decodes interlaced ones, and goes on after damage.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError, count_of, warn

import cv2
import numpy as np

# Formats that opencv-python reads on every platform.
IMAGE_SUFFIXES = {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
IMAGE_SUFFIXES |= {".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
VIDEO_SUFFIXES = {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"}
VIDEO_SUFFIXES |= {".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
HEIF_BRANDS = {"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"}
HEIF_BRANDS |= {"avif", "avis"}
HEIF_ADVICE = (
    "HEIF images (.heic) cannot be read here; convert them to JPEG, or set the phone "
    "to it (iPhone: Settings, Camera, Formats, Most Compatible)"
)
DEFAULT_FPS = 25.0  # where a video gives no plausible rate
TIMEOUTS = 10.0, 5.0  # seconds to open an address, and to read from it
# A time stamp further from the one before is wrong, or another recording begins.
MAX_SECONDS_BACK, MAX_SECONDS_AHEAD = 1.0, 3600.0
# Enough to keep decoder and detector both busy; a 1080p frame takes 6 MB.
FRAMES_AHEAD = 2
MAX_FAILURES = 100  # to read on behind damage, one after the other


class Frame(NamedTuple):
    """A picture to search for faces."""

    image: np.ndarray  # (M, N, 3) uint8 BGR, native size, upright
    source: str  # name of its video, image, camera or stream
    number: int  # position in its source, counted from 1
    time: float  # seconds since its source began
    still: bool = False  # whether it is an image rather than part of a video


class FileFrames:
    """Every image, and every `skip`-th frame of every video, of some files.

    A video of fewer frames gives its middle one. `files` are paths, or the address of
    one file, by source name. `read` counts frames passed, skipped ones included;
    `total` is its expected final value or None, for progress bars only, as headers can
    be wrong. `kind` is "image" or "video" for one file, or "folder".
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
        ((source, name),) = files.items()
        self.kind, self.total = "image", 1
        if read_image(Path(name)) is not None:
            return
        with open_video(name, source) as (container, stream):
            if not is_image_format(container):
                rate, length = stream.average_rate or 0, container.duration or 0
                count = stream.frames or int(length / 1e6 * rate)
                self.kind, self.total = "video", count if 0 < count < 1e9 else None

    def __iter__(self) -> Iterator[Frame]:
        return read_ahead(self._decode(), FRAMES_AHEAD)

    def _decode(self) -> Iterator[Frame]:
        paths = map(Path, self.files.values())
        with closing(map_ahead(read_image, paths)) as images:
            for (source, name), image in zip(self.files.items(), images, strict=True):
                if image is not None:
                    self.read += 1
                    yield Frame(image, source, 1, 0.0, still=True)
                    continue
                try:
                    yield from self._decode_video(source, name)
                except UserError as error:
                    if self.kind != "folder":
                        raise
                    warn(f"{error}; skipped")

    def _decode_video(self, source: str, name: str) -> Iterator[Frame]:
        still, number = self.kind == "image", 0
        with closing(decode_video(name, source)) as frames:
            for number, (frame, seconds) in enumerate(frames, start=1):
                self.read += 1
                if number % self._skip == 0:
                    yield Frame(to_image(frame), source, number, seconds, still)
        if number < self._skip:
            middle = (number + 1) // 2
            with closing(decode_video(name, source, report=False)) as frames:
                for frame, seconds in islice(frames, middle - 1, middle):
                    yield Frame(to_image(frame), source, middle, seconds, still)

    def close(self) -> None:
        """Do nothing: no file is held open between iterations."""


def is_address(source: str) -> bool:
    """Return whether a source is an address rather than a path."""
    return re.match(r"[a-z]+://", source, re.IGNORECASE) is not None


def read_image(path: Path) -> np.ndarray | None:
    """Read an image as (M, N, 3) uint8 BGR, upright; None if it cannot be read."""
    try:
        content = np.memmap(path, np.uint8, "r")
        image = cv2.imdecode(content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if image is None:
            return None
        if image.dtype == np.uint16:  # of which cameras use 10 to 16 bits
            bits = max(8, int(image.max()).bit_length() + 1 & ~1)
            image = (image >> (bits - 8)).astype(np.uint8)
        elif image.dtype != np.uint8:
            image = cv2.imdecode(content, cv2.IMREAD_COLOR)
        is_avif = content[4:8].tobytes() == b"ftyp"
        return turn_avif(image, content) if is_avif else image
    except (OSError, ValueError, cv2.error):  # unreadable, empty, over OpenCV's limit
        return None


def turn_avif(image: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Rotate and mirror an image as its AVIF file asks for, which OpenCV ignores."""
    header = content[:65536].tobytes()
    for box, turn in ((b"\0\0\0\x09irot", np.rot90), (b"\0\0\0\x09imir", np.flip)):
        if box in header:
            image = turn(image, header[header.index(box) + len(box)] & 3)
    return np.ascontiguousarray(image)


@contextmanager
def open_video(name: str, shown: str) -> Iterator[tuple]:
    """Open a video by path or address: yield PyAV's container and video stream.

    A UserError says that it cannot be read; it calls an address `shown`, as the address
    may hold a password.
    """
    import av  # cameras and photographs do not need it

    shown = shown if is_address(name) else name
    problem = f"{shown}: neither an image nor a video that can be read"
    with ExitStack() as stack:
        try:
            # What a file may make FFmpeg open besides it, such as a playlist.
            file, allowed = name, "http,https,httpproxy,tcp,tls,crypto,data"
            if not is_address(name):
                file, allowed = stack.enter_context(Path(name).open("rb")), "none"
            container = av.open(
                file,
                options={"protocol_whitelist": allowed},
                metadata_errors="replace",
                timeout=TIMEOUTS,
            )
            stack.enter_context(container)
            stream = container.streams.best("video")
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(f"{problem}: {reason}") from None
        if container.metadata.get("major_brand") in HEIF_BRANDS:
            raise UserError(f"{shown}: {HEIF_ADVICE}")  # FFmpeg would give one tile
        if stream is None:
            raise UserError(f"{problem}: it has no video")
        yield container, stream


def is_image_format(container) -> bool:
    """Return whether PyAV opened an image rather than a video."""
    return container.format.name.endswith(("_pipe", "image2"))


def decode_video(name: str, shown: str, report: bool = True) -> Iterator[tuple]:
    """Yield every frame of a video, as PyAV's object, and its time in seconds.

    The parameters are those of `open_video`. Frames are read to the end, as their
    number in a header cannot be trusted. `report` warns of damage.
    """
    shown = shown if is_address(name) else name
    count, clock = 0, None
    # Where one of the last frames is damaged, a decoder of many threads loses others.
    for threads in ("AUTO", "SLICE"):
        damage = Damage()
        with open_video(name, shown) as (container, stream):
            stream.thread_type = threads
            clock = clock or Clock(stream.average_rate or stream.guessed_rate)
            for frame in islice(decode(container, stream, damage), count, None):
                count += 1
                yield frame, clock.tell(frame.time)
        if not damage.at_end:
            break
    if not count:
        raise UserError(f"{shown}: no picture can be read from it")
    if report and (damage.errors or damage.faulty):
        missing = f", at least {damage.errors} missing" if damage.errors else ""
        warn(
            f"{shown}: damaged: read {count_of(count, 'frame')}, {damage.faulty} of "
            f"them faulty{missing}"
        )


class Clock:
    """Turns a video's time stamps into seconds that begin at 0 and never go back.

    The stamps count, as cameras film at varying rates, but some are missing or wrong.
    """

    def __init__(self, rate: float | None):
        self._step = 1 / float(rate if rate and 0.001 <= rate <= 1000 else DEFAULT_FPS)
        self._seconds, self._shift = -self._step, float("inf")

    def tell(self, stamp: float | None) -> float:
        """Return the time of the next frame, whose time stamp is in seconds."""
        expected = self._seconds + self._step
        if stamp is not None:
            ahead = stamp + self._shift - self._seconds
            if not -MAX_SECONDS_BACK < ahead < MAX_SECONDS_AHEAD:
                self._shift = expected - stamp
            expected = stamp + self._shift if ahead > 0 else expected
        self._seconds = expected
        return expected


class Damage:
    """Counts what is wrong with a video while it is decoded."""

    def __init__(self):
        self.errors = self.faulty = 0
        self.at_end = False  # fewer frames came at the end than must have been waiting


def decode(container, stream, damage: Damage) -> Iterator:
    """Yield PyAV's frames of a stream, also those behind damage."""
    import av

    packets, failures = container.demux(stream), 0
    sent, waiting, started = 0, 0, False
    while failures < MAX_FAILURES:
        packet, frames = None, []
        try:
            packet = next(packets)
            failures = 0
            frames = packet.decode()
        except StopIteration:
            return
        except (av.FFmpegError, OSError, IndexError) as error:
            damage.errors += failures == 0
            if packet is None:  # the file is damaged, not a frame
                if not isinstance(error, (av.InvalidDataError, IndexError)):
                    return  # the disk or the network failed
                failures += 1
                packets = container.demux(stream)
        if not started:
            waiting, started = sent, bool(frames)
        yield from frames
        damage.faulty += sum(frame.is_corrupt for frame in frames)
        if packet and not packet.size:  # the last, which is empty
            damage.at_end = len(frames) < waiting
            return
        sent += packet is not None and not packet.is_discard


def to_image(frame) -> np.ndarray:
    """Convert PyAV's frame to (M, N, 3) uint8 BGR, upright."""
    image = frame.to_ndarray(format="bgr24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))


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
