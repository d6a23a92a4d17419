"""The latest frames of a camera or a stream."""

import itertools
import re
import threading
import time
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from pyimagesearch.console import UserError, count_of, warn
from pyimagesearch.frames import Frame, fps_or_default

import cv2
import numpy as np

FIRST_FRAME_SECONDS = 10.0  # slow USB cameras need some of them to wake up
STALL_SECONDS = 5.0  # without a new frame, a camera or stream counts as dead
REOPEN_PAUSES = (1.0, 2.0, 4.0)  # seconds before each new try to open it again


class LiveFrames:
    """The latest frame of a camera or stream; those that come too fast are dropped.

    One that dies is opened again after growing pauses, for ever if `patient`. The
    attributes are those of FileFrames.
    """

    live = True
    total = None
    kind = "video"

    def __init__(self, address: int | str, skip: int, patient: bool = False):
        self._address = address
        self._skip = skip
        self._patient = patient
        if isinstance(address, int):
            self.name = f"camera{address}"
        else:  # without the user's password
            parts = urlsplit(address)
            host_and_path = f"{parts.hostname}{parts.path}"
            self.name = re.sub(r"[^\w.-]+", "-", host_and_path).strip("-")
        # Frames of another day must not be taken for these.
        self._source = f"{self.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        self.read = 0
        self._start = time.monotonic()
        self._capture = LatestPicture(address)
        try:
            if self._capture.wait(FIRST_FRAME_SECONDS) is None:
                if not patient:
                    raise UserError(explain_no_picture(address, self.name))
                self._reopen()
        except BaseException:
            self.close()
            raise
        self._fps = self._capture.fps

    def __iter__(self) -> Iterator[Frame]:
        while True:
            while (image := self._capture.take(STALL_SECONDS)) is not None:
                self.read += 1
                if self.read % self._skip == 0:
                    seconds = time.monotonic() - self._start
                    yield Frame(image, self._source, self.read, seconds, self._fps)
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
        raise UserError(
            f"{self.name} died after {count_of(self.read, 'frame')} and could not be "
            "opened again"
        )

    def close(self) -> None:
        """Stop reading and free the camera."""
        self._capture.close()


class LatestPicture:
    """The latest picture of a camera or stream, read in a thread.

    Parameters
    ----------
    address : int or str
        Index of a camera, or address of a stream.
    """

    def __init__(self, address: int | str):
        arguments = [address]
        if isinstance(address, str):  # which may not answer, or no longer
            timeouts = {
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: int(1000 * FIRST_FRAME_SECONDS),
                cv2.CAP_PROP_READ_TIMEOUT_MSEC: int(1000 * STALL_SECONDS),
            }
            options = [number for pair in timeouts.items() for number in pair]
            arguments += [cv2.CAP_FFMPEG, options]
        self._video = cv2.VideoCapture(*arguments)
        self.fps = fps_or_default(self._video)
        self._image = None
        self._changed = threading.Condition()  # its lock may be taken twice
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
        """Look at the latest picture, (M, N, 3) uint8 BGR; None if none comes."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._image is None and self._thread.is_alive():
                if not self._changed.wait(deadline - time.monotonic()):
                    break
            return self._image

    def take(self, seconds: float) -> np.ndarray | None:
        """Take the latest picture, so that none is given twice."""
        with self._changed:
            image, self._image = self.wait(seconds), None
        return image

    def close(self) -> None:
        """Stop reading; a read that hangs gives up by itself."""
        self._closed = True
        if self._thread.is_alive():
            self._thread.join()
        self._video.release()


def explain_no_picture(address: int | str, name: str) -> str:
    """Say that a camera or stream gives no picture, and the usual reasons."""
    if isinstance(address, str):
        reason = "is the address right, and does it answer?"
        if address.lower().startswith("http"):
            from base64 import b64encode
            from http.client import HTTPException
            from urllib.request import Request, urlopen

            parts = urlsplit(address)
            user, _, host = parts.netloc.rpartition("@")
            request = Request(parts._replace(netloc=host).geturl())
            if user:
                token = b64encode(unquote(user).encode()).decode()
                request.add_header("Authorization", f"Basic {token}")
            try:
                urlopen(request, timeout=STALL_SECONDS).close()
                reason = "it answers, but with something else"
            except (OSError, ValueError, HTTPException) as error:
                reason = str(error)
        return f"{name} gives no picture: {reason}"
    return (
        f"camera {address} gives no picture: is it connected, not in use by another "
        "program, and may this program use it (on macOS: Settings, Privacy, Camera)? "
        "Other cameras are --input 1, --input 2, ...; a video file or an address works "
        "too"
    )
