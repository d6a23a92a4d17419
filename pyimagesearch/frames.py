"""Frames, and those of video and image files."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError, warn
from pyimagesearch.images import IMAGE_SUFFIXES, read_image
from pyimagesearch.prefetch import map_ahead, read_ahead

import cv2
import numpy as np

# Enough to keep decoder and detector both busy; a 1080p frame takes 6 MB.
FRAMES_AHEAD = 2


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
    files : dict of str to str
        Path by the name of the source.
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
        self.files = files
        self._skip = skip
        self.read = 0
        self.total = None
        self.kind = "folder"
        if is_folder:
            if all(Path(n).suffix.lower() in IMAGE_SUFFIXES for n in files.values()):
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
        return read_ahead(self._decode(), FRAMES_AHEAD)

    def _decode(self) -> Iterator[Frame]:
        paths = map(Path, self.files.values())
        with closing(map_ahead(read_image, paths)) as images:
            for (source, name), image in zip(self.files.items(), images, strict=True):
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
        fps, seconds = fps_or_default(video), -1.0
        try:
            # Frame counts in headers cannot be trusted: read to the end.
            while video.grab():
                self.read += 1
                number = self.read - before
                if number % self._skip:
                    continue  # a frame that is only grabbed costs half as much
                decoded, image = video.retrieve()
                if decoded:
                    seconds = next_time(video, seconds, number, fps)
                    yield Frame(image, source, number, seconds, fps)
        finally:
            video.release()
        if self.read == before:
            warn(f"{name}: no picture can be read from it; skipped")

    def close(self) -> None:
        """Nothing is held open between iterations."""


def next_time(video: cv2.VideoCapture, before: float, number: int, fps: float) -> float:
    """Say when the latest frame of a file was filmed, in seconds from its start.

    Phones film at varying rates, so the file's own time stamps count; where they cannot
    be right, the number of the frame does.
    """
    seconds = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
    expected = (number - 1) / fps
    is_sane = before < seconds and (seconds > 0 or (seconds == 0 and number == 1))
    # Within a day, and not ten times as slow as the file says.
    if is_sane and seconds < min(86400, 10 * expected + 10):
        return seconds
    return max(expected, before + 1 / fps)


def fps_or_default(video: cv2.VideoCapture) -> float:
    """Frames per second as the video says, or 25 where it cannot be right."""
    fps = video.get(cv2.CAP_PROP_FPS)
    return fps if 0.001 <= fps <= 1000 else 25.0
