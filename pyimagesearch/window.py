"""The window that shows labelled frames, and takes keys and clicks."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

from pyimagesearch import outputs
from pyimagesearch.classifier import Prediction
from pyimagesearch.collect import STALL_SECONDS, Collector
from pyimagesearch.console import UserError, warn
from pyimagesearch.faces import Face
from pyimagesearch.inputs import Frame

import cv2
import numpy as np

TITLE = "Liveness detection"
LINE_HEIGHT = 24  # of the text below the picture
TEXT_SIZE = 0.6  # of the same, as `cv2.putText` counts
DISPLAY_SECONDS = 10.0  # for a display to answer
PHOTO_SECONDS = 1.0  # how long each photograph of a folder stays in the window


def has_display() -> bool:
    """Return whether a window can be opened; OpenCV may abort, so a process tries."""
    if not sys.platform.startswith("linux"):
        return True
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    command = [sys.executable, "-c", "import cv2; cv2.namedWindow('test')"]
    options = {"capture_output": True, "errors": "replace", "timeout": DISPLAY_SECONDS}
    # Qt's platform as it is set, and then that of OpenCV's wheels.
    for platform in ({}, {"QT_QPA_PLATFORM": "xcb"}):
        try:
            trial = subprocess.run(command, env=os.environ | platform, **options)
        except subprocess.TimeoutExpired:
            return False
        # An OpenCV without windows does not abort but raises, which Window explains.
        if trial.returncode >= 0:
            os.environ.update(platform)
            return True
    warn("no window can be opened: " + trial.stderr.split("\n")[0])
    return False


class Window:
    """A sink that shows frames until q or Esc is pressed or the window is closed.

    `kind` is the input's: a single image stays until then, a photograph of a folder for
    a while or until another key. `name` is that of a camera or stream, or empty. A
    collector gets keys and clicks; its caption is shown; files run at their own speed.
    """

    def __init__(self, kind: str, name: str = "", collector: Collector | None = None):
        self._kind, self._name, self._collector = kind, name, collector
        self._picture, self._faces = None, []  # the latest, with boxes in its pixels
        self._start, self._zoom = 0.0, 1.0  # the frame is so many times larger
        with suppress(OSError):
            # The system's, ahead of that in OpenCV's wheels, which does not fit libX11
            # from 1.8 on: Qt lost events, and some windows stayed empty.
            ctypes.CDLL("libX11-xcb.so.1", ctypes.RTLD_GLOBAL)
        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
        except cv2.error:
            raise UserError(
                "this OpenCV has no windows (opencv-python-headless?); use --no-display"
            ) from None
        if collector:
            cv2.setMouseCallback(TITLE, self._click)

    def _click(self, event: int, x: int, y: int, *_) -> None:
        if event == cv2.EVENT_LBUTTONDOWN:
            self._collector.choose_at(x * self._zoom, y * self._zoom)

    def __call__(self, frame: Frame, predictions: Sequence[Prediction] = ()) -> bool:
        """Show a frame; return False if it is the last."""
        if not frame.stale or self._picture is None:
            self._take(frame, predictions)
        now = time.monotonic()
        self._start = max(self._start, now - frame.time)  # later if frames are late
        is_paced = self._collector and not self._name
        end = self._start + frame.time if is_paced else now
        if frame.still:
            end = now + PHOTO_SECONDS
        while True:
            cv2.imshow(TITLE, self._compose(frame))
            left = round(1000 * (end - time.monotonic()))
            key = read_key(50 if frame.still else max(1, min(left, 50)))
            if key in ("q", "Q", "\x1b") or not is_open():
                return False
            if key and self._collector:
                self._collector.press(key)
                key = ""
            if self._kind != "image" and (key or time.monotonic() >= end):
                return True

    def _take(self, frame: Frame, predictions: Sequence[Prediction]) -> None:
        self._picture, self._zoom, self._faces = frame.image, 1.0, []
        zoom, width = outputs.window_zoom(frame.image), frame.image.shape[1]
        if 1 < zoom <= min(frame.image.shape[:2]):  # thinner ones cannot be shrunk
            import imutils  # late, as only a window wants it

            size = {"height": outputs.WINDOW_HEIGHT}
            if zoom == width / outputs.WINDOW_WIDTH:
                size = {"width": outputs.WINDOW_WIDTH}
            self._picture, self._zoom = imutils.resize(frame.image, **size), zoom
        for face in predictions:
            *sides, confidence = face.box
            box = Face(*(round(side / self._zoom) for side in sides), confidence)
            self._faces.append(face._replace(box=box))

    def _compose(self, frame: Frame) -> np.ndarray:
        lines = self._collector.caption() if self._collector else []
        picture = self._picture.copy()
        if not frame.number:
            lines = [*lines[:1], f"waiting for {self._name}"]
        elif frame.stale >= STALL_SECONDS:
            lines = [*lines[:1], f"no picture from {self._name}, trying again"]
            grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
            picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
        else:
            selected = self._collector and self._collector.selected
            for face in self._faces:
                if selected and selected.track == face.track:
                    self._draw_selected(picture, face)
                else:
                    outputs.draw(picture, face, weight=1 if self._collector else 2)
        return with_caption(picture, lines) if lines else picture

    def _draw_selected(self, picture: np.ndarray, face: Prediction) -> None:
        outputs.draw(picture, face, weight=4)
        left, top, right, bottom, _ = face.box
        text, below = " ".join(self._collector.keys), min(bottom + 26, len(picture))
        corner = left + 12 + outputs.text_size(text, TEXT_SIZE)[0]
        picture[below - 26 : below, left:corner] = 0
        outputs.put_text(picture, text, (left + 6, below - 8), TEXT_SIZE)
        if time.monotonic() < self._collector.flash_end:
            corners = (left - 5, top - 5), (right + 5, bottom + 5)
            cv2.rectangle(picture, *corners, outputs.WHITE, 6)

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()


def read_key(milliseconds: int) -> str:
    """Wait for a plain character, Tab or Esc; return "" for none and other keys."""
    # The bits from 16 on are of keys held down with it; arrows are above 128.
    key = cv2.waitKeyEx(milliseconds) & 0xFFFF
    return chr(key) if key < 128 else ""


def is_open() -> bool:
    """Return whether the user has not closed the window."""
    try:
        return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # raised by OpenCV's Qt for a window that is gone
        return False


def with_caption(picture: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Put lines of text below a picture, (M, N, 3) uint8, padded to their width."""
    border = max(0, outputs.WINDOW_WIDTH - picture.shape[1])
    picture = cv2.copyMakeBorder(picture, 0, 0, 0, border, cv2.BORDER_CONSTANT)
    return np.vstack([picture, draw_lines(tuple(lines), picture.shape[1])])


@lru_cache(4)
def draw_lines(lines: tuple[str, ...], width: int) -> np.ndarray:
    """Draw lines of text, each as large as fits, as an image, (h, width, 3) uint8."""
    image = np.zeros((LINE_HEIGHT * len(lines) + 8, width, 3), np.uint8)
    for number, line in enumerate(lines, start=1):
        font = outputs.load_font(TEXT_SIZE)
        room = (width - 12) / outputs.text_size(line, TEXT_SIZE, font)[0]
        size, place = TEXT_SIZE * min(1, room), (6, number * LINE_HEIGHT)
        outputs.put_text(image, line, place, size, outputs.load_font(size))
    return image
