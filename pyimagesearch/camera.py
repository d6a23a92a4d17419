"""The latest picture of a camera or stream, or the last one again."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from threading import Condition

from pyimagesearch.console import UserError, warn
from pyimagesearch.threads import start
from pyimagesearch.video import READ_SECONDS, Frame, Video

import cv2
import numpy as np

LONGEST_WAIT = 0.5  # seconds until the last picture comes again
REOPEN_PAUSES = (1.0, 2.0, 4.0)  # seconds before each attempt to reopen a camera
# So many pictures that came twice as fast as they play are of a recording: the thread
# waits until they are taken. Otherwise all but the latest are dropped.
MAX_WAITING = 16


def read_device(device: int | str) -> Iterator[tuple[np.ndarray, None]]:
    """Yield the pictures of a camera that OpenCV reads, by index or path."""
    backend = cv2.CAP_V4L2 if isinstance(device, str) else cv2.CAP_ANY
    capture = cv2.VideoCapture(device, backend)
    last = time.monotonic()
    try:
        while capture.isOpened() and time.monotonic() - last < READ_SECONDS:
            decoded, image = capture.read()
            if decoded:
                yield image, None
                last = time.monotonic()
            else:
                time.sleep(0.01)  # it may come back
    finally:
        capture.release()
    raise UserError(
        f"camera {device} gives no picture: is it connected, not in use by another "
        "program, and may this program use it (on macOS: Settings, Privacy, Camera)? "
        "Other cameras are --input 1, 2, ...; a video file or an address works too"
    )


def read_stream(connect: Callable[[], Video], patient: bool) -> Iterator[tuple]:
    """Yield the pictures of a stream, and when each is due if it may have an end.

    That is a time of the monotonic clock. Any end but a recording's is a UserError.
    """
    with closing(connect()) as video:
        has_end = not (video.is_camera or patient)
        begun, asked = None, time.monotonic()
        for picture, seconds in video.frames(live=True):
            now = time.monotonic()
            begun = begun or now
            if now - asked > READ_SECONDS:  # RTSP gives a picture before its error
                has_end = False
                break
            yield picture, begun + seconds if has_end and video.has_clock else None
            asked = time.monotonic()
        if not has_end:
            raise UserError(f"{video.shown} gives no more pictures")


class Camera:
    """The latest frame of a camera or stream; its attributes are those of FileFrames.

    A thread reads the pictures that the first of `connections` yields (`read_device`,
    `read_stream`), and those of the next after it died; if `patient`, for ever.
    Otherwise no picture in the first `seconds` is a UserError. Where none comes for
    LONGEST_WAIT, the last frame comes again, at first a black one.
    """

    live, total, kind = True, None, "video"

    def __init__(
        self, name: str, connections: Iterator, patient: bool, skip: int, seconds: float
    ):
        self.name, self.read = name, 0
        # The time keeps the crops of two sessions apart.
        self._source = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        self._connections, self._patient, self._skip = connections, patient, skip
        self._start = time.monotonic()
        self._waiting = deque()  # (picture, when it is due), not yet taken
        self._is_closed, self._is_recording = False, None  # if known
        self._changed = Condition()  # reentrant
        self._end = start(self._read_and_reopen)
        self._end.add_done_callback(lambda _: self._notify())
        if not (patient or self._wait(seconds)):
            self.close()
            error = self._end.done() and self._end.exception()
            raise error or UserError(f"{name} gives no picture")

    def __iter__(self) -> Iterator[Frame]:
        picture = np.zeros((480, 640, 3), np.uint8)
        due = new = returned = time.monotonic()
        while True:
            if is_new := self._wait(returned + LONGEST_WAIT - time.monotonic()):
                with self._changed:
                    picture, due = self._waiting.popleft()
                    self._changed.notify_all()
                new = time.monotonic()
                self.read += 1
                if self.read % self._skip:
                    continue
            elif self._end.done() and not self._waiting:
                return self._end.result()
            stale = 0.0 if is_new else time.monotonic() - new
            is_image = isinstance(picture, np.ndarray)
            image = picture.copy() if is_image else picture()
            seconds = due - self._start + stale
            yield Frame(image, self._source, self.read, seconds, stale=stale)
            returned = time.monotonic()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _wait(self, seconds: float) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._end.done(), seconds)
            return bool(self._waiting)

    def _put(self, picture, due: float | None) -> None:
        now, waiting, changed = time.monotonic(), self._waiting, self._changed
        with changed:
            waiting.append((picture, due or now))
            if not due:
                self._is_recording = False
            elif len(waiting) == MAX_WAITING and self._is_recording is None:
                self._is_recording = due - now > (due - waiting[0][1]) / 2
            while self._is_recording is False and len(waiting) > 1:
                waiting.popleft()
            changed.notify_all()
            changed.wait_for(lambda: len(waiting) < MAX_WAITING or self._is_closed)

    def _read_and_reopen(self) -> None:
        failed, received = 0, False  # attempts since the last picture
        while not self._is_closed:
            self._is_recording = None
            try:
                with closing(next(self._connections)) as pictures:
                    for picture, due in pictures:
                        if failed:
                            warn(f"{self.name} is back")
                        failed, received = 0, True
                        self._put(picture, due)
                        if self._is_closed:
                            break
                return
            except UserError:
                failed += 1
                gives_up = not received or failed > len(REOPEN_PAUSES)
                if self._is_closed or (gives_up and not self._patient):
                    raise
            pause = REOPEN_PAUSES[min(failed, len(REOPEN_PAUSES)) - 1]
            what = "more pictures" if received else "picture"
            warn(f"{self.name} gives no {what}; trying again in {pause:g} s")
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, pause)

    def close(self) -> None:
        """Stop reading. A read that hangs cannot be interrupted: it is left alone."""
        self._is_closed = True
        self._notify()
        with suppress(Exception):
            self._end.result(LONGEST_WAIT)
