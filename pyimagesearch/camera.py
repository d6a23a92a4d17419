"""The latest picture of a camera or stream, or the last one again."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from threading import Condition

from pyimagesearch.console import UserError, count_of, warn
from pyimagesearch.threads import start
from pyimagesearch.video import READ_SECONDS, Video, to_image

import cv2
import numpy as np

FIRST_PICTURE_SECONDS = 10.0  # some USB cameras take that long to start
LONGEST_WAIT = 0.5  # seconds until the last picture comes again
STALL_SECONDS = 8.0  # some cameras give a picture in seven seconds
REOPEN_PAUSES = (1.0, 2.0, 4.0)  # seconds before each attempt to reopen a camera
MAX_WAITING = 16  # pictures ahead of their time; a camera gives none


def read_device(device: int | str) -> Iterator[tuple]:
    """Yield the pictures of a camera that OpenCV reads, by index or path."""
    backend = cv2.CAP_V4L2 if isinstance(device, str) else cv2.CAP_ANY
    capture = cv2.VideoCapture(device, backend)
    try:
        last = time.monotonic()
        while capture.isOpened() and time.monotonic() - last < READ_SECONDS:
            decoded, image = capture.read()
            if decoded:
                last = time.monotonic()
            else:
                time.sleep(0.01)  # it may come back
            yield image if decoded else None, None
    finally:
        capture.release()
    raise UserError(
        f"camera {device} gives no picture: is it connected, not in use by another "
        "program, and may this program use it (on macOS: Settings, Privacy, Camera)? "
        "Other cameras are --input 1, 2, ...; a video file or an address works too"
    )


def read_stream(connect: Callable[[], Video], patient: bool) -> Iterator[tuple]:
    """Yield the pictures of a stream, with its own time stamps if it may have an end.

    It ends where a recording does; that a camera breaks off is a UserError.
    """
    with closing(connect()) as video:
        stalled, asked = False, time.monotonic()
        for picture, seconds in video.frames(live=True):
            stalled |= time.monotonic() - asked > STALL_SECONDS
            own = video.has_clock and not (video.is_camera or patient)
            yield picture, seconds if own else None
            asked = time.monotonic()
        stalled |= time.monotonic() - asked > STALL_SECONDS
        if stalled or video.failure or video.is_camera or patient:
            raise UserError(f"{video.shown} gives no more pictures")


class Camera:
    """The pictures of a camera or stream, read in a thread and reopened if it died.

    `connects` are generators of its pictures: `read_device` or `read_stream`, the first
    and all others. If `patient`, it is reopened for ever; otherwise the lack of a first
    picture is a UserError. `read` counts the pictures that were taken.
    """

    def __init__(self, name: str, first: Iterator, connect: Callable, patient: bool):
        self.name, self.read = name, 0
        self._connect, self._patient = connect, patient
        self._start, self._received = time.monotonic(), 0
        self._waiting = deque()  # (picture, seconds), not yet taken
        self._is_recording = self._is_closed = False
        self._changed = Condition()  # reentrant
        self._end = start(self._read_and_reopen, first)
        self._end.add_done_callback(lambda _: self._notify())
        if not patient:
            self._wait(FIRST_PICTURE_SECONDS)
            if not self._waiting:
                self.close()
                if self._end.done():
                    self._end.result()
                raise UserError(f"{name} gives no picture")

    def pictures(self, skip: int) -> Iterator[tuple[np.ndarray, int, float, float]]:
        """Yield every `skip`-th picture, its number, its time and how stale it is.

        Pictures are (M, N, 3) uint8 BGR, black before the first. Where none comes for
        LONGEST_WAIT, the last one comes again, with the seconds since it was new.
        """
        picture, seconds = np.zeros((480, 640, 3), np.uint8), 0.0
        new = returned = time.monotonic()
        while True:
            taken = self._take(returned + LONGEST_WAIT - time.monotonic())
            stale = 0.0 if taken else time.monotonic() - new
            if taken:
                picture, seconds = taken
                new = time.monotonic()
                self.read += 1
                if self.read % skip:
                    continue
            elif self._end.done():
                return self._end.result()
            is_image = isinstance(picture, np.ndarray)
            image = picture.copy() if is_image else to_image(picture)
            yield image, self.read, seconds + stale, stale
            returned = time.monotonic()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._end.done(), max(0.0, seconds)
            )

    def _take(self, seconds: float) -> tuple | None:
        with self._changed:
            self._wait(seconds)
            self._drop_late()
            self._changed.notify_all()
            return self._waiting.popleft() if self._waiting else None

    def _put(self, picture, seconds: float) -> None:
        with self._changed:
            self._received += 1
            self._waiting.append((picture, seconds))
            self._drop_late()
            # What runs so far ahead of the clock is no camera: from here on, the
            # thread waits, and nothing is dropped.
            self._is_recording |= len(self._waiting) == MAX_WAITING
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: len(self._waiting) < MAX_WAITING or self._is_closed
            )

    def _drop_late(self) -> None:
        elapsed, waiting = time.monotonic() - self._start, self._waiting
        while len(waiting) > 1 and waiting[1][1] <= elapsed and not self._is_recording:
            waiting.popleft()

    def _read_and_reopen(self, pictures: Iterator) -> None:
        failed = 0  # attempts since the last picture
        while True:
            received = self._received
            try:
                return self._read(pictures, failed > 0)
            except UserError:
                if self._is_closed:
                    return None
                failed = failed + 1 if self._received == received else 1
                if not self._patient and not self._received:
                    raise
            if failed > len(REOPEN_PAUSES) and not self._patient:
                read = count_of(self.read, "frame")
                reason = f"died after {read} and could not be reopened"
                raise UserError(f"{self.name} {reason}")
            pause = REOPEN_PAUSES[min(failed, len(REOPEN_PAUSES)) - 1]
            what = "more pictures" if self._received else "picture"
            warn(f"{self.name} gives no {what}; trying again in {pause:g} s")
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, pause)
            pictures = self._connect()

    def _read(self, pictures: Iterator, is_lost: bool) -> None:
        """Take pictures as they come, until they end or the camera is closed."""
        self._is_recording, begun = False, None
        with closing(pictures):
            for picture, stamp in pictures:
                if self._is_closed:
                    break
                if picture is None:
                    continue
                if is_lost:
                    warn(f"{self.name} is back")
                    is_lost = False
                seconds = time.monotonic() - self._start
                if begun is None:
                    begun = seconds
                self._put(picture, seconds if stamp is None else begun + stamp)

    def close(self) -> None:
        """Stop reading. A read that hangs cannot be interrupted: it is left alone."""
        self._is_closed = True
        self._notify()
        with suppress(Exception):
            self._end.result(LONGEST_WAIT)
