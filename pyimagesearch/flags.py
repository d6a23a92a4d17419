"""The flags that commands share, and types of values for argparse."""

import argparse
import os
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
    what = "face detector: yunet, res10 (the tutorial's), the path of its file, or a "
    what += "folder, in which YuNet comes first; a path wins over a name (default: "
    what += "%(default)s)"
    add("-d", "--detector", type=path, default=DETECTORS, metavar="PATH", help=what)
    what = "longer side of YuNet's input, in pixels; 640 finds smaller faces (default: "
    what += "320)"
    add("--detector-size", type=side_int, metavar="N", help=what)
    what = "ignore detections that are not above this confidence, 0 to 1 (default: "
    what += "0.7, or 0.5 with res10)"
    add("-c", "--confidence", type=fraction, metavar="P", help=what)


def path(text: str) -> Path:
    """Parse a path. An empty one would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def report_path(text: str) -> Path:
    """Parse the path of a report."""
    if path(text).suffix.lower() not in (".html", ".json"):
        raise argparse.ArgumentTypeError("the name must end in .html or .json")
    return Path(text)


def fraction(text: str) -> float:
    """Parse a number from 0 to 1."""
    return _parse(text, float, 0, 1, "a number from 0 to 1")


def seconds(text: str) -> float:
    """Parse a time from 0 seconds to a day."""
    return _parse(text, float, 0, 86400, "a number of seconds from 0 to 86400")


def positive_int(text: str) -> int:
    """Parse a whole number from 1 on."""
    return _parse(text, int, 1, 1 << 31, "a positive whole number")


def side_int(text: str) -> int:
    """Parse the side of an image in pixels."""
    return _parse(text, int, 32, 4096, "a whole number from 32 to 4096")


def seed_int(text: str) -> int:
    """Parse a random seed."""
    return _parse(text, int, 0, (1 << 32) - 1, "a whole number from 0 to 4294967295")


def _parse(text: str, kind: type, low: float, high: float, expected: str):
    try:
        if low <= kind(text) <= high:
            return kind(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
