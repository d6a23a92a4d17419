"""How the commands speak and end, and the flags that they share."""

import argparse
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyimagesearch

import cv2

MODEL, LE = Path("liveness.model"), Path("le.pickle")  # where they are by default
is_command = False  # whether one of our commands is running, or another program


class UserError(Exception):
    """A problem that the user can fix; its text is the whole message."""


def info(text: str) -> None:
    """Print a result to stdout, in the tutorial's `[INFO] ...` form."""
    _print(f"[INFO] {text}", sys.stdout)


def warn(text: str) -> None:
    """Print a warning to stderr."""
    _print(f"[WARN] {text}", sys.stderr)


def command_line(script: str, *arguments: str) -> str:
    """Write the command that runs one of our scripts from here, ready to paste."""
    python, here = Path(sys.executable), Path.cwd()
    if Path(shutil.which("python") or "") == python:
        python = "python"
    elif python.is_relative_to(here):  # .venv/bin/python
        python = python.relative_to(here)
    project = Path(pyimagesearch.__file__).parent.parent
    words = [python, script if project == here else project / script, *arguments]
    join = subprocess.list2cmdline if os.name == "nt" else shlex.join
    return join(map(str, words))


def _print(line: str, file) -> None:
    if "tqdm" in sys.modules:  # which moves the progress bar out of the way
        sys.modules["tqdm"].tqdm.write(line, file=file)
    else:
        print(line, file=file, flush=True)


def exit_status(command: Callable[[argparse.Namespace], None], args) -> int:
    """Run a command and return its exit status.

    That is 0 when done; 1 after one line for a UserError or an operating system error
    (no permission, disk full); 130 when interrupted, after which further Ctrl-C are
    ignored so that nothing is left half done. Any other exception is a bug and passes
    through. SIGTERM cleans up and exits with status 143.
    """
    silence_libraries()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name may be in no encoding of theirs
            stream.reconfigure(errors="backslashreplace")
    handlers = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, _terminate),
        signal.SIGINT: signal.signal(signal.SIGINT, _interrupt),
    }
    try:
        command(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output is gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UserError as error:
        _print(f"[ERROR] {error}", sys.stderr)
        return 1
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else error
        _print(f"[ERROR] {reason}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        _print("[INFO] interrupted", sys.stderr)
        del handlers[signal.SIGINT]  # ignored until the process has ended
        return 130
    finally:
        for number, handler in handlers.items():
            # In a command nothing but the end of the process follows.
            is_over = handler is pyimagesearch._leave
            signal.signal(number, signal.SIG_IGN if is_over else handler)
    return 0


def silence_libraries() -> None:
    """Keep the libraries from burying our one line; the user's settings win."""
    global is_command
    is_command = True
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _terminate(_signal, _stack):
    raise SystemExit(143)


def _interrupt(_signal, _stack):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def interrupt_as_event() -> Iterator[threading.Event]:
    """Let the first Ctrl-C set an event; a second one interrupts as usual."""
    event = threading.Event()

    def set_event(_signal, _stack):
        event.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, set_event)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def add_model_flags(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add --model and --le, the files that training hands to the demo."""
    file = {"type": path, "metavar": "FILE"}
    what = f"network {purpose} (default: %(default)s)"
    parser.add_argument("-m", "--model", **file, default=MODEL, help=what)
    what = f"label encoder {purpose} (default: %(default)s)"
    parser.add_argument("-l", "--le", **file, default=LE, help=what)


def report_path(text: str) -> Path:
    """Parse the path of a report; for argparse."""
    if path(text).suffix.lower() not in (".html", ".json"):
        raise argparse.ArgumentTypeError("the name must end in .html or .json")
    return Path(text)


def path(text: str) -> Path:
    """Parse a path; for argparse. An empty one would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def fraction(text: str) -> float:
    """Parse a number from 0 to 1; for argparse."""
    return _parse(text, float, 0, 1, "a number from 0 to 1")


def seconds(text: str) -> float:
    """Parse a time from 0 seconds to a day; for argparse."""
    return _parse(text, float, 0, 86400, "a number of seconds from 0 to 86400")


def positive_int(text: str) -> int:
    """Parse a whole number from 1 on; for argparse."""
    return _parse(text, int, 1, 1 << 31, "a positive whole number")


def side_int(text: str) -> int:
    """Parse the side of an image in pixels; for argparse."""
    return _parse(text, int, 32, 4096, "a whole number from 32 to 4096")


def seed_int(text: str) -> int:
    """Parse a random seed; for argparse."""
    return _parse(text, int, 0, (1 << 32) - 1, "a whole number from 0 to 4294967295")


def _parse(text: str, kind: type, low: float, high: float, expected: str):
    try:
        if low <= kind(text) <= high:
            return kind(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")


def count_of(number: int, noun: str) -> str:
    """Format a count: 1 frame, 2 frames."""
    return f"{number} {noun}" + "s" * (number != 1)


def listing(texts: Sequence[str], most: int) -> str:
    """List texts, or the first of many and how many more there are."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
