"""Where labelled frames go: a video, an image, a folder, a log; drawing.

All are sinks: they take a frame and its predictions, and return whether to go on.
"""

import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from pyimagesearch import files, video
from pyimagesearch.classifier import Prediction
from pyimagesearch.console import UserError, info
from pyimagesearch.inputs import Frame
from pyimagesearch.names import BONA_FIDE, UNSURE

import cv2
import numpy as np

WINDOW_WIDTH = 600  # pixels; wider frames are shrunk for the window, and only there
WINDOW_HEIGHT = 680  # so that upright frames, too, fit on a small screen
GREEN, AMBER, RED = (0, 200, 0), (0, 165, 255), (0, 0, 255)  # BGR
WHITE = 255, 255, 255
COLORS = {BONA_FIDE: GREEN, UNSURE: AMBER, "": WHITE}  # every other label is an attack
FONT = cv2.FONT_HERSHEY_SIMPLEX


@contextmanager
def open_output(path: Path, kind: str) -> Iterator[Callable[..., bool]]:
    """Open a sink that writes frames to a file or folder, but for stale ones.

    `kind` is that of the input: "image", "video", or "folder" for many of both, each
    of which gets its own .png or .mp4. Each file is written whole or not at all.
    """
    suffix = path.suffix.lower()
    if kind == "folder":
        if suffix in video.IMAGE_SUFFIXES | video.VIDEO_SUFFIXES:
            raise UserError(f"--output {path}: the output of a folder is a folder")
        path.mkdir(parents=True, exist_ok=True)
    else:
        files.check_writable(path)
        fit = video.IMAGE_SUFFIXES if kind == "image" else video.OUTPUT_SUFFIXES
        if suffix not in fit:
            raise UserError(
                f"--output {path}: the output is one {kind}, so the name must end in "
                f"one of {' '.join(sorted(fit))}"
            )
    with ExitStack() as stack:
        opened, append = None, None

        def write(frame: Frame, predictions: Sequence[Prediction]) -> bool:
            nonlocal opened, append
            if frame.stale:
                return True
            is_image, target = kind == "image" or frame.still, path
            if kind == "folder":
                target = path / f"{frame.source}{'.png' if is_image else '.mp4'}"
                target.parent.mkdir(parents=True, exist_ok=True)
            image = frame.image.copy()
            for face in predictions:
                draw(image, face)
            if is_image:
                with files.atomic_write(target) as temporary:
                    temporary.write_bytes(cv2.imencode(target.suffix, image)[1])
                return True
            if target != opened:
                stack.close()  # the video of the previous source
                opened, append = target, stack.enter_context(video.video_file(target))
            append(image, frame.time)
            return True

        yield write
    info(f"wrote {path}")


@contextmanager
def open_log(path: Path, classes: list[str]) -> Iterator[Callable[..., bool]]:
    """Open a sink that adds a whole line for each face to a .csv or .jsonl file."""
    if path.suffix not in (".csv", ".jsonl"):
        raise UserError(f"--log {path}: its name must end in .csv or .jsonl")
    columns = ["source", "frame", "time", "track"]
    columns += ["left", "top", "right", "bottom", "confidence"]
    columns += [*(f"p_{name}" for name in classes), "score", "decision"]
    is_csv = path.suffix == ".csv"
    files.check_writable(path)
    header = files.to_csv(columns) if is_csv else b""
    with closing(files.Appender(path, header)) as lines:

        def write(frame: Frame, predictions: Sequence[Prediction]) -> bool:
            for face in predictions:
                *box, confidence = face.box
                shares = (confidence, *face.probabilities, face.score)
                numbers = [round(float(share), 6) for share in shares]
                values = [frame.source, frame.number, round(frame.time, 3), face.track]
                values += [*box, *numbers, face.label]
                row = dict(zip(columns, values, strict=True))
                as_json = json.dumps(row).encode() + b"\n"
                lines.add(files.to_csv(values) if is_csv else as_json)
            return True

        yield write


def window_zoom(image: np.ndarray) -> float:
    """Return how many times an image, (M, N, 3), is larger than the window shows it."""
    height, width = image.shape[:2]
    return max(1.0, width / WINDOW_WIDTH, height / WINDOW_HEIGHT)


def draw(image: np.ndarray, prediction: Prediction, weight: int = 2) -> None:
    """Draw a face's box, of lines of `weight` pixels, and label into its BGR image."""
    height, width = image.shape[:2]
    zoom = window_zoom(image)
    size = 0.5 * zoom
    left, top, right, bottom, _ = prediction.box
    color = COLORS.get(prediction.label, RED)
    cv2.rectangle(image, (left, top), (right, bottom), color, round(weight * zoom))
    if not prediction.label:  # there is no network yet
        return
    text = f"{prediction.label}: {prediction.probability:.4f}"
    if prediction.label != UNSURE and prediction.probability < 0.5:
        # The threshold decided, or there are many kinds of attack.
        text = f"{prediction.label} (real: {prediction.score:.4f})"
    text = f"{text} {prediction.name}".rstrip()
    text = text.encode("utf-8", "backslashreplace").decode()  # names of bytes
    font = None if text.isascii() else load_font(size)
    w, h, below = text_size(text, size, font)
    x = max(0, min(left, width - w))
    y = top - below if top - below - h > 0 else min(top + h + below, height - below)
    cv2.rectangle(image, (x, y - h - below), (x + w, y + below), color, cv2.FILLED)
    put_text(image, text, (x, y), size, font)


def text_size(text: str, size: float, font=None) -> tuple[int, int, int]:
    """Return width, height above and height below the baseline, in pixels."""
    if font:
        left, top, right, bottom = font.getbbox(text, anchor="ls")
        return right - left, -top, bottom
    text = to_ascii(text)
    (width, height), below = cv2.getTextSize(text, FONT, size, max(1, round(2 * size)))
    return width, height, below


def put_text(image: np.ndarray, text: str, place, size: float, font=None) -> None:
    """Draw text as `cv2.putText` does, or with a font of `load_font`, in any script."""
    if font:
        from PIL import Image, ImageDraw

        canvas = Image.fromarray(image)
        ImageDraw.Draw(canvas).text(place, text, WHITE, font, anchor="ls")
        image[:] = canvas
    else:
        text, weight = to_ascii(text), round(2 * size)
        cv2.putText(image, text, place, FONT, size, WHITE, max(1, weight))


def load_font(size: float):
    """Return matplotlib's font, if it and Pillow are there, as large as OpenCV's."""
    with suppress(ImportError, OSError):
        from PIL import ImageFont  # first, as matplotlib needs it

        from matplotlib import get_data_path  # isort: skip

        path = f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf"
        return ImageFont.truetype(path, round(24 * size))


def to_ascii(text: str) -> str:
    """Replace what OpenCV cannot draw: é by e, and other scripts by ?."""
    parts = unicodedata.normalize("NFKD", text)
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    return plain.encode("ascii", "replace").decode()
