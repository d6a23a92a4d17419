"""The window that shows labelled frames, and takes keys and clicks."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import lru_cache

from pyimagesearch.classifier import Prediction
from pyimagesearch.collect import STALL_SECONDS, Collector
from pyimagesearch.console import UserError
from pyimagesearch.faces import Face
from pyimagesearch.frames import Frame
from pyimagesearch.outputs import (
    BLACK,
    WHITE,
    WINDOW_WIDTH,
    draw,
    load_font,
    put_text,
    shrink_to_window,
    text_size,
)

import cv2
import numpy as np

TITLE = "Liveness detection"
LINE_HEIGHT = 24  # of the text below the picture
TEXT_SIZE = 0.6  # of the same, as `cv2.putText` counts
DISPLAY_SECONDS = 10.0  # for a display to answer
PHOTO_SECONDS = 1.0  # how long each photograph of a folder stays in the window
ESCAPE = "\x1b"


def has_display() -> bool:
    """Return whether a window can be opened.

    Where it cannot, OpenCV aborts the process; so another process tries.
    """
    if not sys.platform.startswith("linux"):
        return True
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    command = [sys.executable, "-c", "import cv2; cv2.namedWindow('test')"]
    try:
        trial = subprocess.run(command, capture_output=True, timeout=DISPLAY_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    # An OpenCV without windows does not abort but raises, which Window explains.
    return trial.returncode >= 0


class Window:
    """A sink that shows frames until q or Esc is pressed or the window is closed.

    `kind` is that of the input: a single image stays until then, a photograph of a
    folder for a while or until another key is pressed. Other keys, and clicks on faces,
    go to the collector, whose caption stands below the picture; frames of files are
    then shown at their times. `name` is that of a camera or stream, or empty.
    """

    def __init__(self, kind: str, name: str = "", collector: Collector | None = None):
        self._kind, self._name, self._collector = kind, name, collector
        self._start = 0.0
        self._picture, self._faces = None, []  # the latest one, and its predictions
        self._zoom = 1.0  # how many times the frame is larger than the picture
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
            self._picture, self._faces = shrink_to_window(frame.image), predictions
            self._zoom = frame.image.shape[1] / self._picture.shape[1]
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
            if key in ("q", "Q", ESCAPE) or not is_open():
                return False
            if key and self._collector:
                self._collector.press(key)
                key = ""
            if self._kind != "image" and (key or time.monotonic() >= end):
                return True

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
            for face in self._faces:
                self._draw(picture, face)
        return with_caption(picture, lines) if lines else picture

    def _draw(self, picture: np.ndarray, face: Prediction) -> None:
        *sides, confidence = face.box
        box = Face(*(round(side / self._zoom) for side in sides), confidence)
        face = face._replace(box=box)
        if not (collector := self._collector):
            draw(picture, face)
            return
        selected = collector.selected
        if not selected or selected.track != face.track:
            draw(picture, face, weight=1)
            return
        draw(picture, face, weight=4)
        place = box.left, min(box.bottom + 20, picture.shape[0] - 8)
        for color, weight in ((BLACK, 3), (WHITE, 1)):  # readable on any background
            put_text(picture, " ".join(collector.keys), place, TEXT_SIZE, color, weight)
        if collector.just_saved == face.track:
            corners = (box.left - 5, box.top - 5), (box.right + 5, box.bottom + 5)
            cv2.rectangle(picture, *corners, WHITE, 6)

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()


def read_key(milliseconds: int) -> str:
    """Wait for a plain character, Tab or Esc; return "" for none and other keys."""
    # The bits above 16 are for the keys held down with it; arrows are above 128.
    key = cv2.waitKeyEx(milliseconds) & 0xFFFF
    return chr(key) if key < 128 else ""


def is_open() -> bool:
    """Return whether the user has not closed the window."""
    try:
        return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # raised by OpenCV's Qt for a window that is gone
        return False


def with_caption(picture: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Put lines of text below a picture, where they cover no face.

    A picture that is narrower than the window is padded, so that they can be read.
    """
    border = max(0, WINDOW_WIDTH - picture.shape[1])
    picture = cv2.copyMakeBorder(picture, 0, 0, 0, border, cv2.BORDER_CONSTANT)
    return np.vstack([picture, draw_caption(tuple(lines), picture.shape[1])])


@lru_cache(4)
def draw_caption(lines: tuple[str, ...], width: int) -> np.ndarray:
    """Write lines of text, each as large as fits, as an image, (h, width, 3) uint8."""
    image = np.zeros((LINE_HEIGHT * len(lines) + 8, width, 3), np.uint8)
    for number, line in enumerate(lines, start=1):
        room = (width - 12) / text_size(line, TEXT_SIZE, 1, load_font(TEXT_SIZE))[0]
        size = TEXT_SIZE * min(1, room)
        place = 6, number * LINE_HEIGHT
        put_text(image, line, place, size, WHITE, 1, load_font(size))
    return image
