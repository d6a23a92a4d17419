"""Write frames as a video that plays everywhere."""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

from pyimagesearch.console import UserError
from pyimagesearch.files import temporary_beside
from pyimagesearch.frames import Frame

import cv2

# By suffix: FFmpeg's name of the container, codec and pixel format, the unit of time
# stamps, and options: as fast as the frames come, at the price of larger files.
# Browsers, phones and editors play H.264 of this pixel format.
H264 = "libx264", "yuv420p", Fraction(1, 90000), {"preset": "ultrafast"}
VP8 = "libvpx", "yuv420p", Fraction(1, 1000)
FORMATS = {
    ".mp4": ("mp4", *H264),
    ".mov": ("mov", *H264),
    ".mkv": ("matroska", *H264),
    ".avi": ("avi", "mjpeg", "yuvj420p", Fraction(1, 240), {"q:v": "3"}),
    ".webm": ("webm", *VP8, {"deadline": "realtime", "cpu-used": "8", "b": "4M"}),
}
# An .avi has an entry for each unit; FFmpeg adds no more than these at once.
MAX_UNITS = 60_000
Output = Callable[[Frame], bool]
"""Takes a frame and returns whether to go on."""


@contextmanager
def video_file(path: Path) -> Iterator[Output]:
    """Yield an output that appends frames to a video, each at its own time.

    However the block ends, the video is closed properly and then put in place. Frames
    of another size are resized to the first one's.
    """
    with temporary_beside(path, path.suffix) as temporary:
        video = VideoWriter(temporary, path)
        try:
            yield video.write
        finally:
            if video.finish():
                temporary.replace(path)


class VideoWriter:
    """A video that PyAV encodes; the name of `path` chooses the format.

    Errors are UserErrors, and end the video.
    """

    def __init__(self, temporary: Path, path: Path):
        self._file, self._path = WholeWrites(temporary, "w"), path
        self._container = None  # until the first frame, which sets the size
        self._is_whole = False

    def _open(self, first: Frame) -> None:
        import av  # images do not need it

        self._av = av
        suffix = self._path.suffix.lower()
        container, codec, pixels, self._unit, options = FORMATS[suffix]
        self._container = av.open(self._file, "w", format=container)
        # The rate is nominal where frames carry their times.
        rate = 1 / self._unit if suffix == ".avi" else 30
        self._longest = MAX_UNITS if suffix == ".avi" else sys.maxsize
        stream = self._container.add_stream(codec, rate, options)
        # Chroma of these formats has half the width and height.
        height, width = first.image.shape[:2]
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt, stream.codec_context.time_base = pixels, self._unit
        self._stream, self._start, self._last = stream, first.time, -1

    def write(self, frame: Frame) -> bool:
        """Append a frame; times must not go back."""
        with self._explained():
            if not self._container:
                self._open(frame)
            image, pixels = frame.image, "bgr24"
            size = self._stream.width, self._stream.height
            if image.shape[1::-1] != size:
                image = cv2.resize(image, size)
            if self._stream.pix_fmt == "yuv420p":  # OpenCV converts faster
                image, pixels = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), "yuv420p"
            picture = self._av.VideoFrame.from_ndarray(image, format=pixels)
            time = round((frame.time - self._start) / self._unit)
            self._last = min(max(time, self._last + 1), self._last + self._longest)
            picture.pts, picture.time_base = self._last, self._unit
            self._container.mux(self._stream.encode(picture))
        return True

    def finish(self) -> bool:
        """Close the video; return whether there is one, and whole."""
        with self._file:
            if self._is_whole:
                with self._explained():
                    self._container.mux(self._stream.encode())
                    self._container.close()
            elif self._container:
                with suppress(OSError, self._av.FFmpegError):
                    self._container.close()
        return self._is_whole

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import av

        try:
            yield
            self._is_whole = True
        except (OSError, av.FFmpegError) as error:
            self._is_whole = False
            reason = f"{self._path}: the video cannot be written: {error.strerror}"
            raise UserError(reason) from None


class WholeWrites(io.FileIO):
    """A file without a buffer, to which a write is whole or an error."""

    def write(self, data: bytes) -> int:
        """Write all of the data."""
        if super().write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(data)
