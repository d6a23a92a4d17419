"""Write frames as a video that plays everywhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

from pyimagesearch.console import UserError
from pyimagesearch.files import temporary_beside
from pyimagesearch.frames import Frame

import cv2

SUFFIXES = ".mkv", ".mov", ".mp4"
# Browsers, phones and editors play this. "ultrafast" keeps pace; its files are larger.
CODEC, PIXELS, OPTIONS = "libx264", "yuv420p", {"preset": "ultrafast"}
UNIT = Fraction(1, 90000)  # of time stamps, in seconds
NOMINAL_RATE = 30  # frames carry their times
Output = Callable[[Frame], bool]
"""Takes a frame and returns whether to go on."""


@contextmanager
def video_file(path: Path) -> Iterator[Output]:
    """Yield an output that appends frames to a video, each at its own time.

    `path` ends in one of SUFFIXES. However the block ends, the video is closed properly
    and then put in place. Frames of another size are resized to the first one's.
    """
    with temporary_beside(path, path.suffix) as temporary:
        video = VideoWriter(temporary, path)
        try:
            yield video.write
        finally:
            if video.finish():
                temporary.replace(path)


class VideoWriter:
    """A video that PyAV writes to `temporary`; UserErrors name `path` and end it."""

    def __init__(self, temporary: Path, path: Path):
        import av  # images do not need it

        self._av, self._temporary, self._path = av, temporary, path
        self._container = None  # until the first frame, which sets the size

    def _open(self, first: Frame) -> None:
        self._container = self._av.open(str(self._temporary), "w")
        stream = self._container.add_stream(CODEC, NOMINAL_RATE, OPTIONS)
        # Chroma of this pixel format has half the width and height.
        height, width = first.image.shape[:2]
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt, stream.codec_context.time_base = PIXELS, UNIT
        self._stream, self._start, self._last = stream, first.time, -1

    def write(self, frame: Frame) -> bool:
        """Append a frame; times must not go back."""
        with self._explained():
            if not self._container:
                self._open(frame)
            image = cv2.resize(frame.image, (self._stream.width, self._stream.height))
            # OpenCV converts faster than FFmpeg.
            image = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
            picture = self._av.VideoFrame.from_ndarray(image, format=PIXELS)
            time = round((frame.time - self._start) / UNIT)
            self._last = max(time, self._last + 1)
            picture.pts, picture.time_base = self._last, UNIT
            self._container.mux(self._stream.encode(picture))
        return True

    def finish(self) -> bool:
        """Close the video; return whether there is one, and whole."""
        if self._container:
            with self._explained():
                self._container.mux(self._stream.encode())
                self._container.close()
        return self._container is not None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, self._av.FFmpegError) as error:
            if self._container:
                with suppress(OSError, self._av.FFmpegError):
                    self._container.close()
            self._container = None
            reason = f"{self._path}: the video cannot be written: {error.strerror}"
            raise UserError(reason) from None
