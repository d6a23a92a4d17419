"""The flags that commands share, and types of values for argparse."""

import argparse
import os
from contextlib import suppress
from functools import partial
from pathlib import Path

from pyimagesearch.console import PROJECT

MODEL, LE = Path("liveness.model"), Path("le.pickle")  # where they are by default
DETECTORS = PROJECT / "face_detector"  # the same, wherever a command is run from
if not (
    {".onnx", ".caffemodel"} & {file.suffix for file in DETECTORS.glob("*")}
    or os.access(DETECTORS if DETECTORS.exists() else PROJECT, os.W_OK)
):  # installed by somebody else
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    DETECTORS = Path(data, "pyimagesearch", "face_detector")


def path(text: str) -> Path:
    """Parse a path. An empty one would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def number(kind: type, low: float, high: float, expected: str, text: str):
    """Parse a number, from `low` to `high`; `expected` is for the error."""
    with suppress(ValueError):
        if low <= kind(text) <= high:
            return kind(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")


fraction = partial(number, float, 0, 1, "a number from 0 to 1")
seconds = partial(number, float, 0, 86400, "a number of seconds from 0 to 86400")
positive_int = partial(number, int, 1, 1 << 31, "a positive whole number")
side_int = partial(number, int, 32, 4096, "a whole number from 32 to 4096")  # pixels
seed_int = partial(number, int, 0, (1 << 32) - 1, "a whole number from 0 to 4294967295")


def add_model_flags(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add --model and --le, the files that training hands to the demo."""
    file = {"type": path, "metavar": "FILE"}
    what = f"network {purpose} (default: %(default)s)"
    parser.add_argument("-m", "--model", **file, default=MODEL, help=what)
    what = f"label encoder {purpose} (default: %(default)s)"
    parser.add_argument("-l", "--le", **file, default=LE, help=what)


def add_detector_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a command that finds faces."""
    add = parser.add_argument
    what = "face detector: yunet, res10 (the tutorial's), or the path of its file or "
    what += "folder, in which YuNet comes first (default: %(default)s)"
    add("-d", "--detector", type=path, default=DETECTORS, metavar="PATH", help=what)
    what = "longer side of YuNet's input; 640 pixels find smaller faces (default: 320)"
    add("--detector-size", type=side_int, metavar="N", help=what)
    what = "ignore detections not above this, 0 to 1 (default: 0.7, or 0.5 with res10)"
    add("-c", "--confidence", type=fraction, metavar="P", help=what)
