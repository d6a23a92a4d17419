"""Read images and videos, and write videos that play everywhere.

OpenCV reads images, from memory, as it crashes on file names that are not UTF-8. PyAV
reads videos and streams: unlike OpenCV it decodes interlaced ones, and goes on after
damage. It is imported late, as cameras and photographs do not need it.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError, count_of, warn
from pyimagesearch.files import temporary_beside

import cv2
import numpy as np

# Formats that opencv-python reads on every platform.
IMAGE_SUFFIXES = {".avif", ".bmp", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
IMAGE_SUFFIXES |= {".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
VIDEO_SUFFIXES = {".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov"}
VIDEO_SUFFIXES |= {".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
HEIF_BRANDS = "hei", "hev", "mif1", "msf1", "avif", "avis"  # how they begin
HEIF_ADVICE = (
    "HEIF images (.heic) cannot be read here; convert them to JPEG, or set the phone "
    "to it (iPhone: Settings, Camera, Formats, Most Compatible)"
)
ANIMATED = re.compile(  # how such PNG, WebP and AVIF files begin
    rb"\x89PNG(?:(?!IDAT).)*?acTL|RIFF.{4}WEBPVP8X.*?ANIM|.{4}ftypavis", re.DOTALL
)
HDR = 16, 18  # transfer characteristics of PQ and HLG, in ITU-T H.273
HDR_ADVICE = (
    "an HDR video, whose colours are flat here, so that scores fall: film without HDR "
    "(iPhone: Settings, Camera, Record Video; Android: settings of the camera)"
)
# What an address may make FFmpeg open besides it, such as a playlist: no files.
PROTOCOLS = "http,https,httpproxy,tcp,tls,crypto,data,udp,rtp,srtp,rtmp"
PLAYLISTS = {"hls", "dash"}  # have a size, but the stream may go on
READ_SECONDS = 10.0  # for an address to answer, and to go on
DEFAULT_FPS = 25.0  # where a video gives no plausible rate
# A time stamp further from the one before is wrong, or another recording begins.
MAX_SECONDS_BACK, MAX_SECONDS_AHEAD = 1.0, 3600.0
MAX_FAILURES = 100  # to read on behind damage, one after the other

OUTPUT_SUFFIXES = ".mkv", ".mov", ".mp4"
# Browsers, phones and editors play this. "ultrafast" keeps pace; its files are larger.
CODEC, PIXELS, OPTIONS = "libx264", "yuv420p", {"preset": "ultrafast"}
UNIT = Fraction(1, 90000)  # of time stamps, in seconds


class Frame(NamedTuple):
    """A picture to search for faces."""

    image: np.ndarray  # (M, N, 3) uint8 BGR, native size, upright
    source: str  # name of its video, image, camera or stream
    number: int  # position in its source, counted from 1
    time: float  # seconds since its source began
    still: bool = False  # whether it is an image rather than part of a video
    stale: float = 0.0  # seconds since it was new; a camera gives no newer one


def is_address(source: str) -> bool:
    """Return whether a source is an address rather than a path."""
    return re.match(r"[a-z]+://", source, re.IGNORECASE) is not None


def read_image(path: Path) -> np.ndarray | None:
    """Read an image as (M, N, 3) uint8 BGR, upright; None if it cannot be read.

    An animated GIF is a video, so that is None, too; of others, the first picture.
    """
    try:
        content = np.memmap(path, np.uint8, "r")
        header = content[:65536].tobytes()
        if header.startswith(b"GIF8") and content.tobytes().count(b"!\xf9\x04") > 1:
            return None  # it has several pictures
        image = cv2.imdecode(content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if image is None:
            return None
        if image.dtype == np.uint16:  # of which cameras use 10 to 16 bits
            bits = max(8, int(image.max()).bit_length() + 1 & ~1)
            image = (image >> (bits - 8)).astype(np.uint8)
        elif image.dtype != np.uint8:
            image = cv2.imdecode(content, cv2.IMREAD_COLOR)
        if ANIMATED.match(header):
            warn(f"{path}: animated; only its first picture is read")
        # OpenCV ignores how an AVIF file wants to be rotated and mirrored.
        for box, turn in ((b"\0\0\0\x09irot", np.rot90), (b"\0\0\0\x09imir", np.flip)):
            if header[4:8] == b"ftyp" and box in header:
                image = turn(image, header[header.index(box) + len(box)] & 3)
        return np.ascontiguousarray(image)
    except (OSError, ValueError, cv2.error):  # unreadable, empty, over OpenCV's limit
        return None


class Video:
    """A video, a stream, or an image that only FFmpeg reads, by path or address.

    Messages call it `shown`, as an address may hold a password. What cannot be read is
    a UserError. `length` is the number of frames that the header states, or None.
    """

    def __init__(self, name: str, shown: str = ""):
        import av

        self.name, self.shown = name, shown or name
        problem = f"{self.shown}: neither an image nor a video that can be read"
        file, allowed = name, PROTOCOLS
        with ExitStack() as stack:
            try:
                if not is_address(name):
                    file, allowed = stack.enter_context(Path(name).open("rb")), "none"
                container = av.open(
                    file,
                    options={"protocol_whitelist": allowed, "rtsp_flags": "prefer_tcp"},
                    metadata_errors="replace",
                    timeout=READ_SECONDS,
                )
                stack.enter_context(container)
                stream = container.streams.best("video")
            except (av.FFmpegError, OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise UserError(f"{problem}: {reason}") from None
            if container.metadata.get("major_brand", "").startswith(HEIF_BRANDS):
                raise UserError(f"{self.shown}: {HEIF_ADVICE}")  # it gives one tile
            if stream is None:
                raise UserError(f"{problem}: it has no video")
            self.close = stack.pop_all().close
        self._container, self._stream, kind = container, stream, container.format
        self.is_hdr = getattr(stream.codec_context, "color_trc", 0) in HDR
        aspect = stream.sample_aspect_ratio or 1  # of each pixel, width by height
        self._aspect = aspect if 0.25 <= aspect <= 4 else 1  # headers may be wrong
        self.is_image = kind.name.endswith(("_pipe", "image2"))
        # Otherwise FFmpeg makes up its time stamps.
        self.has_clock = not kind.flags & av.format.Flags.no_timestamps.value
        rate, seconds = stream.average_rate or 0, (container.duration or 0) / 1e6
        count = 1 if self.is_image else stream.frames or int(seconds * rate)
        self.length = count if 0 < count < 1e9 else None
        has_size = container.size > 0 and kind.name not in PLAYLISTS
        self.has_end = bool(container.duration or stream.frames or has_size)
        self.is_camera = self.is_image or kind.name in ("mpjpeg", "mjpeg")
        self.is_camera |= not name.startswith(("http", "tcp", "udp"))  # that may end

    def frames(self, live: bool = False) -> Iterator[tuple]:
        """Yield every frame, as a function that returns `to_image`, and its seconds.

        It reads to the end, whatever the header says, and behind damage, of which it
        warns. No frame, or a live video that breaks off, is a UserError.
        """
        import av

        # Decoding several frames at once would delay each by as many.
        self._stream.thread_type = "SLICE" if live else "AUTO"
        clock = Clock(self._stream.average_rate or self._stream.guessed_rate)
        packets = self._container.demux(self._stream)
        count = faulty = errors = failures = 0
        reason = ""
        while failures < MAX_FAILURES:
            packet, frames = None, []
            try:
                packet = next(packets)
                failures = 0
                frames = packet.decode()
            except StopIteration:
                break
            except (av.FFmpegError, OSError, IndexError) as error:
                errors += 1
                if packet is None:  # the file is damaged, not a frame
                    if not isinstance(error, (av.InvalidDataError, IndexError)):
                        reason = error.strerror  # of the disk or the network
                        break
                    failures += 1
                    packets = self._container.demux(self._stream)
            for frame in frames:
                count += 1
                faulty += frame.is_corrupt
                yield partial(to_image, frame, self._aspect), clock.tell(frame.time)
        if live and reason:
            raise UserError(f"{self.shown}: {reason}")
        if not count:
            raise UserError(f"{self.shown}: no picture can be read from it")
        if (errors or faulty) and not live:
            what = f"broke off ({reason})" if reason else "damaged"
            read = f"read {count_of(count, 'frame')}, {faulty} of them faulty"
            warn(f"{self.shown}: {what}: {read}; {count_of(errors, 'error')}")


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


def to_image(frame, aspect: float) -> np.ndarray:
    """Convert PyAV's frame, of pixels of that aspect ratio, to (M, N, 3) uint8 BGR.

    It gets square pixels, and is rotated and mirrored as its display matrix says.
    """
    from av.sidedata.sidedata import SideDataContainer

    # `frame.side_data` would make a cycle, which keeps the frame.
    matrix = SideDataContainer(frame).get("DISPLAYMATRIX")
    if aspect != 1:
        width = max(1, int(frame.width * aspect))
        frame = frame.reformat(width=width, interpolation="BICUBIC")
    image = frame.to_ndarray(format="bgr24")
    if matrix:
        # A pixel at x, y belongs at a x + c y, b x + d y.
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            image, a, d = image.swapaxes(0, 1), c, b
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)


@contextmanager
def video_file(path: Path) -> Iterator[Callable[[np.ndarray, float], None]]:
    """Yield a function that appends an image to a video, at its time in seconds.

    Images are (M, N, 3) uint8 BGR; all get the size of the first. Times must not go
    back. `path` ends in one of OUTPUT_SUFFIXES. However the block ends, the video is
    closed properly and then put in place; if it cannot be written, that is a UserError.
    """
    import av

    container, stream, start, last = None, None, 0.0, -1

    @contextmanager
    def explained() -> Iterator[None]:
        nonlocal container
        try:
            yield
        except (OSError, av.FFmpegError) as error:
            with suppress(AttributeError, OSError, av.FFmpegError):
                container.close()
            container = None
            reason = f"{path}: the video cannot be written: {error.strerror}"
            raise UserError(reason) from None

    def write(image: np.ndarray, seconds: float) -> None:
        nonlocal container, stream, start, last
        with explained():
            if not container:
                container, start = av.open(str(temporary), "w"), seconds
                # The rate is nominal: frames carry their times.
                stream = container.add_stream(CODEC, 30, OPTIONS)
                # Chroma of this pixel format has half the width and height.
                stream.height, stream.width = (n + n % 2 for n in image.shape[:2])
                stream.pix_fmt, stream.codec_context.time_base = PIXELS, UNIT
            image = cv2.resize(image, (stream.width, stream.height))
            # OpenCV converts faster than FFmpeg.
            image = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
            picture = av.VideoFrame.from_ndarray(image, format=PIXELS)
            last = max(round((seconds - start) / UNIT), last + 1)
            picture.pts, picture.time_base = last, UNIT
            container.mux(stream.encode(picture))

    with temporary_beside(path, path.suffix) as temporary:
        try:
            yield write
        finally:
            if container:
                with explained():
                    container.mux(stream.encode())
                    container.close()
                temporary.replace(path)
