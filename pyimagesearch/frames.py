"""Frames of video and image files, read ahead in threads.

OpenCV reads images, from memory, as it crashes on file names that are not UTF-8. PyAV
reads videos: unlike OpenCV it decodes interlaced ones, and goes on after damage.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from itertools import islice, repeat
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
PLAYLISTS = {"hls", "dash"}  # have a size, but the stream may go on
DEFAULT_FPS = 25.0  # where a video gives no plausible rate
TIMEOUTS = 10.0, 5.0  # seconds to open an address, and to read from it
# A time stamp further from the one before is wrong, or another recording begins.
MAX_SECONDS_BACK, MAX_SECONDS_AHEAD = 1.0, 3600.0
MIN_AHEAD = 2  # keeps decoder and detector busy; a frame of 1080p takes 6 MB
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

    A video of fewer frames gives its middle one. `files` are paths or an address, by
    source name. `opening` comes from `open_early`; it is None for a folder. `read`
    counts frames passed, skipped ones included.
    """

    live = False

    def __init__(self, files: dict[str, str], skip: int, opening: Future | None):
        self.files, self._skip, self._opening = files, skip, opening
        self.read = 0

    @property
    def kind(self) -> str:
        """Wait until the file is open; return "image", "video" or "folder"."""
        if not self._opening:
            return "folder"
        content = self._opening.result()
        is_video = isinstance(content, Video) and not content.is_image
        return "video" if is_video else "image"

    @property
    def total(self) -> int | None:
        """What `read` will be, if known; for progress bars, as headers can be wrong."""
        if self._opening:
            content = self._opening.result()
            return content.length if isinstance(content, Video) else 1
        suffixes = {Path(name).suffix.lower() for name in self.files.values()}
        return len(self.files) if suffixes <= IMAGE_SUFFIXES else None

    def __iter__(self) -> Iterator[Frame]:
        return read_ahead(self._decode())

    def _decode(self) -> Iterator[Frame]:
        contents = map_ahead(read_image, map(Path, self.files.values()))
        if self._opening:
            contents = (opening.result() for opening in [self._opening])
        files = self.files.items()
        with closing(contents):
            for (source, name), content in zip(files, contents, strict=True):
                if isinstance(content, np.ndarray):
                    self.read += 1
                    yield Frame(content, source, 1, 0.0, still=True)
                    continue
                try:
                    yield from self._decode_video(source, content or Video(name))
                except UserError as error:
                    if self._opening:
                        raise
                    warn(f"{error}; skipped")

    def _decode_video(self, source: str, video: "Video") -> Iterator[Frame]:
        number, still = 0, video.is_image
        with closing(video):
            for number, (frame, seconds) in enumerate(video.frames(), start=1):
                self.read += 1
                if number % self._skip == 0:
                    yield Frame(to_image(frame), source, number, seconds, still)
        if number < self._skip:
            middle = (number + 1) // 2
            with closing(Video(video.name, video.shown)) as again:
                for frame, seconds in islice(again.frames(), middle - 1, middle):
                    yield Frame(to_image(frame), source, middle, seconds, still)

    def close(self) -> None:
        """Close the file, also if no frame of it was read."""
        if self._opening:
            with suppress(UserError):
                content = self._opening.result()
                if isinstance(content, Video):
                    content.close()


def open_early(name: str, shown: str = "") -> Future:
    """Open one file, as an image or a Video, in a thread, while networks are loaded."""

    def open_file() -> "np.ndarray | Video":
        image = read_image(Path(name))
        return Video(name, shown) if image is None else image

    thread = ThreadPoolExecutor(1)
    opening = thread.submit(open_file)
    thread.shutdown(wait=False)
    return opening


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


class Video:
    """A video, or an image that only FFmpeg reads, by path or address.

    Messages call it `shown`, as an address may hold a password. What cannot be read is
    a UserError. `length` is the number of frames that the header states, or None.
    """

    def __init__(self, name: str, shown: str = ""):
        import av  # cameras and photographs do not need it

        self._av, self.name, self.shown = av, name, shown or name
        problem = f"{self.shown}: neither an image nor a video that can be read"
        # What a file may make FFmpeg open besides it, such as a playlist.
        file, allowed = name, "http,https,httpproxy,tcp,tls,crypto,data"
        with ExitStack() as stack:
            try:
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
                raise UserError(f"{self.shown}: {HEIF_ADVICE}")  # it gives one tile
            if stream is None:
                raise UserError(f"{problem}: it has no video")
            self.close = stack.pop_all().close
        stream.thread_type = "AUTO"
        self._container, self._stream = container, stream
        self.is_image = container.format.name.endswith(("_pipe", "image2"))
        rate, seconds = stream.average_rate or 0, (container.duration or 0) / 1e6
        count = 1 if self.is_image else stream.frames or int(seconds * rate)
        self.length = count if 0 < count < 1e9 else None

    def has_end(self) -> bool:
        """Return whether an address states a duration or a size."""
        container = self._container
        has_size = container.size > 0 and container.format.name not in PLAYLISTS
        return bool(container.duration or self._stream.frames or has_size)

    def frames(self) -> Iterator[tuple]:
        """Yield every frame, as PyAV's object, and its time in seconds.

        A header's number of frames cannot be trusted: it reads to the end, also behind
        damage, of which a line warns then. Without any frame that is a UserError.
        """
        clock = Clock(self._stream.average_rate or self._stream.guessed_rate)
        packets = self._container.demux(self._stream)
        count = faulty = errors = failures = 0
        while failures < MAX_FAILURES:
            packet, frames = None, []
            try:
                packet = next(packets)
                failures = 0
                frames = packet.decode()
            except StopIteration:
                break
            except (self._av.FFmpegError, OSError, IndexError) as error:
                errors += 1
                if packet is None:  # the file is damaged, not a frame
                    if not isinstance(error, (self._av.InvalidDataError, IndexError)):
                        break  # the disk or the network failed
                    failures += 1
                    packets = self._container.demux(self._stream)
            for frame in frames:
                count += 1
                faulty += frame.is_corrupt
                yield frame, clock.tell(frame.time)
        if not count:
            raise UserError(f"{self.shown}: no picture can be read from it")
        if errors or faulty:
            read = f"read {count_of(count, 'frame')}, {faulty} of them faulty"
            warn(f"{self.shown}: damaged: {read}; {count_of(errors, 'error')}")


class Clock:
    """Turns time stamps, if any and right, into seconds from 0 that never go back."""

    def __init__(self, rate: float | None):
        self._step = 1 / float(rate if rate and 0.001 <= rate <= 1000 else DEFAULT_FPS)
        self._seconds, self._shift = -self._step, float("inf")

    def tell(self, stamp: float | None) -> float:
        """Return the time of the next frame, given its time stamp in seconds."""
        expected = self._seconds + self._step
        if stamp is not None:
            ahead = stamp + self._shift - self._seconds
            if not -MAX_SECONDS_BACK < ahead < MAX_SECONDS_AHEAD:
                self._shift = expected - stamp
            expected = stamp + self._shift if ahead > 0 else expected
        self._seconds = expected
        return expected


def to_image(frame) -> np.ndarray:
    """Convert PyAV's frame to (M, N, 3) uint8 BGR, upright."""
    image = frame.to_ndarray(format="bgr24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))


def map_ahead(function: Callable, items: Iterable, threads: int = 0) -> Iterator:
    """Yield `function(item)` in order, computed ahead in threads: one per core.

    Items are taken in the caller's thread. The threads end with the generator.
    """
    threads = threads or cv2.getNumberOfCPUs()  # those that this process may use
    pending = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > max(threads, MIN_AHEAD):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def read_ahead(items: Iterator) -> Iterator:
    """Yield the items of a generator, which runs ahead in a thread and ends with it."""
    end = object()
    ahead = map_ahead(lambda _: next(items, end), repeat(None), threads=1)
    with closing(items), closing(ahead):
        yield from iter(lambda: next(ahead), end)
