"""Open any input; the latest frame of a camera or stream."""

import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pyimagesearch.console import UserError, count_of, warn
from pyimagesearch.files import find_files
from pyimagesearch.frames import (
    HEIF_ADVICE,
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    FileFrames,
    Frame,
    is_address,
    open_early,
)
from pyimagesearch.names import name_files

import cv2
import numpy as np

MAX_CAMERA = 999
SCHEMES = {"http", "https", "rtsp", "rtsps", "rtmp", "rtp", "udp", "tcp", "srt"}
FIRST_FRAME_SECONDS = 10.0  # some USB cameras take that long to start
STALL_SECONDS = 5.0  # a camera or stream without a new frame for so long is dead
REOPEN_PAUSES = (1.0, 2.0, 4.0)  # seconds before each attempt to reopen it


def open_frames(
    source: str, skip: int = 1, patient: bool = False
) -> "FileFrames | LiveFrames":
    """Open a camera, a stream or files; frames are read as the result is iterated.

    `source` is a camera index ("0"), an address with one of SCHEMES, a video, an image,
    or a folder of them at any depth, in natural order (2 before 10). Every `skip`-th
    frame of a video, camera or stream is yielded, and every image. If `patient`, a
    camera or stream that died is reopened for ever. What cannot be read is a UserError;
    of a file, which a thread opens, it comes with `kind` or the first frame.
    """
    path = Path(source)
    if source.isdecimal() and not path.exists():
        if int(source) > MAX_CAMERA:
            raise UserError(f"camera {source}: the index must be 0 to {MAX_CAMERA}")
        return LiveFrames(int(source), f"camera{source}", skip, patient)
    if is_address(source):
        return _open_address(source, skip, patient)
    if not source:
        raise UserError("--input is empty; name a file, folder, camera or address")
    if path.is_dir():
        known, found = IMAGE_SUFFIXES | VIDEO_SUFFIXES, find_files(path, says=True)
        files = [file for file in found if file.suffix.lower() in known]
        warn_of_others(
            path, [file for file in found if file.suffix.lower() not in known]
        )
        if not files:
            raise UserError(f"{path}: no images or videos in this folder")
    elif path.exists():
        files = [path]
    else:
        what = "no such file, folder or camera; for a camera on the network: http://..."
        raise UserError(f"{path}: {what}")
    opening = None if path.is_dir() else open_early(source)
    return FileFrames(name_files(files, path), skip, opening)


def _open_address(address: str, skip: int, patient: bool) -> "FileFrames | LiveFrames":
    scheme, _, rest = address.partition("://")
    shown = hide_password(address)
    if scheme.lower() not in SCHEMES:
        schemes = ", ".join(sorted(SCHEMES))
        raise UserError(f"{shown}: the address must begin with one of {schemes}")
    if rest[:1] in ("", "/"):
        raise UserError(f"{shown}: the address has no host after the //")
    host_and_path = re.sub(r":\d*(?=/|$)", "", shown.partition("://")[2], count=1)
    name = re.sub(r"[^\w.-]+", "-", host_and_path).strip("-") or scheme.lower()
    if scheme.lower().startswith("http"):
        opening = open_early(address, shown)
        try:
            video = opening.result()
        except UserError:
            if not patient:  # else it may be a stream that comes back
                raise
        else:
            if video.has_end():
                return FileFrames({name: address}, skip, opening)
            video.close()
    return LiveFrames(address, name, skip, patient)


def hide_password(address: str) -> str:
    """Reduce an address to scheme, host and path; to its scheme if unclear."""
    # Passwords may contain / # ? @ where they should not.
    hidden = r"(?<=://)([^?#]*[?#].*@.*|[^?#]*@)|[?#].*"
    return re.sub(hidden, "", address, flags=re.DOTALL)


def warn_of_others(folder: Path, others: list[Path]) -> None:
    """Warn of the files of a folder that are ignored, if there are any."""
    kinds = Counter(path.suffix.lower() or path.name for path in others)
    listed = ", ".join(f"{kind} ({n})" for kind, n in kinds.most_common(8))
    advice = f"; {HEIF_ADVICE}" if {".heic", ".heif"} & {*kinds} else ""
    if others:
        warn(f"{folder}: ignored {count_of(len(others), 'file')}: {listed}{advice}")


class LiveFrames:
    """The latest frame of a camera or stream; frames that come too fast are dropped.

    A camera or stream that dies is reopened after growing pauses, for ever if
    `patient`. The attributes are those of FileFrames.
    """

    live = True
    total = None
    kind = "video"

    def __init__(self, address: int | str, name: str, skip: int, patient: bool = False):
        self._address, self._skip, self._patient = address, skip, patient
        self.name = name
        # The time keeps the crops of two sessions apart.
        self._source = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        self.read = 0
        self._start = time.monotonic()
        self._capture = LatestPicture(address)
        try:
            if self._capture.wait(FIRST_FRAME_SECONDS) is None:
                if not patient:
                    raise UserError(_explain_no_picture(address, self.name))
                self._reopen()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Frame]:
        while True:
            while (image := self._capture.take(STALL_SECONDS)) is not None:
                self.read += 1
                if self.read % self._skip == 0:
                    seconds = time.monotonic() - self._start
                    yield Frame(image, self._source, self.read, seconds)
            self._reopen()

    def _reopen(self) -> None:
        endless = itertools.repeat(REOPEN_PAUSES[-1]) if self._patient else ()
        what = "more pictures" if self.read else "picture"
        for pause in itertools.chain(REOPEN_PAUSES, endless):
            warn(f"{self.name} gives no {what}; trying again in {pause:g} s")
            self.close()
            time.sleep(pause)
            self._capture = LatestPicture(self._address)
            if self._capture.wait(STALL_SECONDS) is not None:
                warn(f"{self.name} is back")
                return
        read = count_of(self.read, "frame")
        raise UserError(f"{self.name} died after {read} and could not be reopened")

    def close(self) -> None:
        """Stop reading and release the camera."""
        self._capture.close()


class LatestPicture:
    """The latest picture of a camera (by index) or stream (by address)."""

    def __init__(self, address: int | str):
        arguments = [address]
        if isinstance(address, str):  # which may not answer, or no longer
            options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(1000 * FIRST_FRAME_SECONDS)]
            options += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(1000 * STALL_SECONDS)]
            arguments += [cv2.CAP_FFMPEG, options]
        self._video = cv2.VideoCapture(*arguments)
        self._image = None
        self._changed = threading.Condition()  # reentrant
        self._closed = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        if self._video.isOpened():
            self._thread.start()

    def _read(self) -> None:
        while not self._closed:
            decoded, image = self._video.read()
            if not decoded:
                time.sleep(0.01)  # it may come back; if not, take() gives up
                continue
            with self._changed:
                self._image = image
                self._changed.notify()

    def wait(self, seconds: float) -> np.ndarray | None:
        """Return the latest picture, (M, N, 3) uint8 BGR; None if none comes."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._image is None and self._thread.is_alive():
                if not self._changed.wait(deadline - time.monotonic()):
                    break
            return self._image

    def take(self, seconds: float) -> np.ndarray | None:
        """Return the latest picture as `wait` does, but each picture only once."""
        with self._changed:
            image, self._image = self.wait(seconds), None
        return image

    def close(self) -> None:
        """Stop reading; a read that hangs gives up by itself."""
        self._closed = True
        if self._thread.is_alive():
            self._thread.join()
        self._video.release()


def _explain_no_picture(address: int | str, name: str) -> str:
    if isinstance(address, str):
        return f"{name} gives no picture: is the address right, and does it answer?"
    return (
        f"camera {address} gives no picture: is it connected, not in use by another "
        "program, and may this program use it (on macOS: Settings, Privacy, Camera)? "
        "Other cameras are --input 1, 2, ...; a video file or an address works too"
    )
