"""Where labelled frames go: a window, a video, an image, a folder, a log; drawing."""

import json
import os
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from pyimagesearch.classifier import Prediction
from pyimagesearch.collect import Collector
from pyimagesearch.console import UserError, warn
from pyimagesearch.encoder import SUFFIXES, Output, video_file
from pyimagesearch.files import Appender, atomic_write, check_writable, to_csv
from pyimagesearch.frames import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Frame
from pyimagesearch.names import BONA_FIDE, UNSURE

import cv2
import numpy as np

TITLE = "Frame"
WINDOW_WIDTH = 600  # pixels; wider frames are shrunk for the window, and only there
WINDOW_HEIGHT = 680  # the same, so that upright frames fit on a small screen
LINE_HEIGHT = 24  # of the text below the picture
DISPLAY_SECONDS = 10.0  # for a display to answer
PHOTO_SECONDS = 1.0  # how long each photograph of a folder stays in the window
GREEN, AMBER, RED = (0, 200, 0), (0, 165, 255), (0, 0, 255)  # BGR
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
COLORS = {BONA_FIDE: GREEN, UNSURE: AMBER}  # every other label is an attack
FONT = cv2.FONT_HERSHEY_SIMPLEX


def open_output(path: Path, kind: str) -> AbstractContextManager[Output]:
    """Open a file or folder that frames are written to, each file whole or not at all.

    `kind` is that of the input: "image", "video", or "folder" for many of both.
    """
    if kind == "folder":
        if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            reason = (
                f"the output of a folder is a folder; name one without {path.suffix}"
            )
            raise UserError(f"--output {path}: {reason}")
        path.mkdir(parents=True, exist_ok=True)
        return folder(path)
    check_writable(path)
    suffixes = IMAGE_SUFFIXES if kind == "image" else SUFFIXES
    if path.suffix.lower() not in suffixes:
        raise UserError(
            f"--output {path}: the output is one {kind}, so the name must end in one "
            f"of {' '.join(sorted(suffixes))}"
        )
    if kind == "video":
        return video_file(path)
    return nullcontext(lambda frame: write_image(path, frame))


def write_image(path: Path, frame: Frame) -> bool:
    """Write a frame as an image; an Output once the path is given."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(cv2.imencode(path.suffix, frame.image)[1])
    return True


@contextmanager
def folder(path: Path) -> Iterator[Output]:
    """Yield an output that writes each source to its own file: .png or .mp4."""
    with ExitStack() as stack:
        source, write = None, None

        def write_to_its_file(frame: Frame) -> bool:
            nonlocal source, write
            place = path / f"{frame.source}.mp4"
            place.parent.mkdir(parents=True, exist_ok=True)
            if frame.still:
                return write_image(path / f"{frame.source}.png", frame)
            if frame.source != source:
                stack.close()  # the video of the previous source
                source = frame.source
                write = stack.enter_context(video_file(place))
            return write(frame)

        yield write_to_its_file


class FaceLog:
    """A .csv or .jsonl file that grows by whole lines; `tail -f` can follow it."""

    def __init__(self, path: Path, classes: list[str]):
        if path.suffix not in (".csv", ".jsonl"):
            raise UserError(f"--log {path}: its name must end in .csv or .jsonl")
        self._columns = ["source", "frame", "time", "track"]
        self._columns += ["left", "top", "right", "bottom", "confidence"]
        self._columns += [*(f"p_{name}" for name in classes), "score", "decision"]
        self._is_csv = path.suffix == ".csv"
        check_writable(path)
        self._lines = Appender(path, to_csv(self._columns) if self._is_csv else b"")

    def add(self, frame: Frame, prediction: Prediction) -> None:
        """Append the line of one face of a frame."""
        *box, confidence = prediction.box
        shares = (confidence, *prediction.probabilities, prediction.score)
        numbers = [round(float(share), 6) for share in shares]
        values = [frame.source, frame.number, round(frame.time, 3), prediction.track]
        values += [*box, *numbers, prediction.label]
        if self._is_csv:
            self._lines.add(to_csv(values))
        else:
            row = dict(zip(self._columns, values, strict=True))
            self._lines.add(json.dumps(row).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


def has_display() -> bool:
    """Return whether a window can be opened.

    Where it cannot, OpenCV aborts the process; so another process tries, with Qt's
    platform as it is set, and then with that of OpenCV's wheels.
    """
    if not sys.platform.startswith("linux"):
        return True
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    command = [sys.executable, "-c", "import cv2; cv2.namedWindow('test')"]
    options = {"capture_output": True, "errors": "replace", "timeout": DISPLAY_SECONDS}
    for platform in ({}, {"QT_QPA_PLATFORM": "xcb"}):
        try:
            trial = subprocess.run(command, env=os.environ | platform, **options)
        except subprocess.TimeoutExpired:
            return False
        # An OpenCV without windows does not abort but raises, which `window` explains.
        if trial.returncode >= 0:
            os.environ.update(platform)
            return True
    warn("no window can be opened: " + trial.stderr.split("\n")[0])
    return False


@contextmanager
def window(
    kind: str, collector: Collector | None = None, paced: bool = False
) -> Iterator[Output]:
    """Open a window and yield an output that shows frames in it.

    It returns False once q or Esc was pressed or the window was closed; a single image
    stays until then, a photograph of a folder for a while or until another key. Other
    keys go to the collector, whose caption stands below the picture. If `paced`, frames
    are shown at their times.
    """
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
    except cv2.error:
        raise UserError(
            "this OpenCV has no windows (opencv-python-headless?); use --no-display"
        ) from None

    start = 0.0

    def show(frame: Frame) -> bool:
        nonlocal start
        picture = shrink_to_window(frame.image)
        now = time.monotonic()
        start = max(start, now - frame.time)  # later if frames come too slowly
        end = start + frame.time if paced else now
        if frame.still:
            end = now + PHOTO_SECONDS
        while True:
            caption = collector.caption() if collector else []
            cv2.imshow(TITLE, with_caption(picture, caption) if caption else picture)
            left = round(1000 * (end - time.monotonic()))
            key = cv2.waitKey(50 if frame.still else max(1, min(left, 50)))
            if key & 0xFF in (ord("q"), ord("Q"), 27) or not is_window_open():
                return False
            if key >= 0 and collector:
                collector.press(key & 0xFF)
                key = -1
            if kind != "image" and (key >= 0 or time.monotonic() >= end):
                return True

    try:
        yield show
    finally:
        cv2.destroyAllWindows()


def is_window_open() -> bool:
    """Return whether the user has not closed the window."""
    try:
        return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # raised by OpenCV's Qt for a window that is gone
        return False


def shrink_to_window(image: np.ndarray) -> np.ndarray:
    """Fit an image, (M, N, 3) uint8 BGR, into WINDOW_WIDTH and WINDOW_HEIGHT."""
    height, width = image.shape[:2]
    zoom = window_zoom(image)
    if zoom == 1 or zoom > min(height, width):
        return image
    import imutils  # only needed for a window

    if width * WINDOW_HEIGHT >= height * WINDOW_WIDTH:
        return imutils.resize(image, width=WINDOW_WIDTH)
    return imutils.resize(image, height=WINDOW_HEIGHT)


def window_zoom(image: np.ndarray) -> float:
    """Return how many times an image, (M, N, 3), is larger than the window shows it."""
    height, width = image.shape[:2]
    return max(1.0, width / WINDOW_WIDTH, height / WINDOW_HEIGHT)


def draw(image: np.ndarray, prediction: Prediction, name: str | None = None) -> None:
    """Draw a face's box and label onto its image; the label stays inside the image."""
    height, width = image.shape[:2]
    zoom = window_zoom(image)
    size, weight = 0.5 * zoom, round(zoom)
    left, top, right, bottom, _ = prediction.box
    color = COLORS.get(prediction.label, RED)
    if not prediction.label:  # there is no network yet
        cv2.rectangle(image, (left, top), (right, bottom), WHITE, round(2 * zoom))
        return
    text = f"{prediction.label}: {prediction.probability:.4f}"
    if prediction.label != UNSURE and prediction.probability < 0.5:
        # The threshold decided, or there are many kinds of attack.
        text = f"{prediction.label} (real: {prediction.score:.4f})"
    if name:
        text += f" {name}"
    text = text.encode("utf-8", "backslashreplace").decode()  # names of bytes
    w, h, below = text_size(text, size, weight)
    x = max(0, min(left, width - w))
    y = top - below if top - below - h > 0 else min(top + h + below, height - below)
    cv2.rectangle(image, (left, top), (right, bottom), color, round(2 * zoom))
    cv2.rectangle(image, (x, y - h - below), (x + w, y + below), color, cv2.FILLED)
    put_text(image, text, (x, y), size, WHITE, weight)


def draw_collecting(image: np.ndarray, collector: Collector) -> None:
    """Mark the faces that the keys would save."""
    zoom = window_zoom(image)
    keys_of = {}
    for key in collector.keys:
        if target := collector.target(key):
            keys_of.setdefault(target.box, []).append(key)
    for box, keys in keys_of.items():
        below = min(box.bottom + round(16 * zoom), image.shape[0] - round(8 * zoom))
        text = f"save: {' '.join(keys)}"
        for color, weight in ((BLACK, 3), (WHITE, 1)):  # readable on any background
            place, thickness = (box.left, below), round(weight * zoom)
            put_text(image, text, place, 0.5 * zoom, color, thickness)


def with_caption(image: np.ndarray, lines: list[str]) -> np.ndarray:
    """Put lines of text below an image, where they cover no face.

    An image that is narrower than the window is padded, so that they can be read.
    """
    height, width = image.shape[:2]
    border = 0, LINE_HEIGHT * len(lines) + 8, 0, max(0, WINDOW_WIDTH - width)
    image = cv2.copyMakeBorder(image, *border, cv2.BORDER_CONSTANT)
    for number, line in enumerate(lines, start=1):
        room = (image.shape[1] - 12) / text_size(line, 0.6, 1)[0]
        place = 6, height + number * LINE_HEIGHT
        put_text(image, line, place, 0.6 * min(1, room), WHITE, 1)
    return image


def text_size(text: str, size: float, weight: int) -> tuple[int, int, int]:
    """Return width, height above and height below the baseline, in pixels."""
    if font := find_font(text, size):
        left, top, right, bottom = font.getbbox(text, anchor="ls")
        return right - left, -top, bottom
    (width, height), below = cv2.getTextSize(to_ascii(text), FONT, size, weight)
    return width, height, below


def put_text(image: np.ndarray, text: str, place, size: float, color, weight: int):
    """Draw text as `cv2.putText` does, but in any script if Pillow is installed."""
    if not (font := find_font(text, size)):
        cv2.putText(image, to_ascii(text), place, FONT, size, color, weight)
        return
    from PIL import Image, ImageDraw

    mask = Image.new("L", image.shape[1::-1])
    stroke = max(0, weight - 1) // 2
    ImageDraw.Draw(mask).text(place, text, 255, font, anchor="ls", stroke_width=stroke)
    image[np.asarray(mask) > 127] = color


def find_font(text: str, size: float):
    """Return matplotlib's font for text that OpenCV cannot draw, if it is there."""
    if text.isascii():
        return None
    try:
        from matplotlib import get_data_path
        from PIL import ImageFont

        path = f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf"
        return ImageFont.truetype(path, round(24 * size))
    except (ImportError, OSError):
        return None


def to_ascii(text: str) -> str:
    """Replace what OpenCV cannot draw: é by e, and other scripts by ?."""
    parts = unicodedata.normalize("NFKD", text)
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    return plain.encode("ascii", "replace").decode()
