"""How the commands speak and end."""

import argparse
import logging
import math
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

import cv2

PROJECT = Path(__file__).parent.parent  # the folder of the scripts

# Streams that are missing, as under pythonw or after `>&-`, are the null device.
for number, name in ((1, "stdout"), (2, "stderr")):
    if getattr(sys, name) is None:
        setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        try:
            os.fstat(number)
        except OSError:  # libraries write to the number
            os.dup2(getattr(sys, name).fileno(), number)


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
    words = [python, script if here == PROJECT else PROJECT / script, *arguments]
    join = subprocess.list2cmdline if os.name == "nt" else shlex.join
    return join(map(str, words))


def _print(line: str, file) -> None:
    _leave_dead_terminal()
    if "tqdm" in sys.modules:  # which moves the progress bar out of the way
        sys.modules["tqdm"].tqdm.write(line, file=file)
    else:
        print(line, file=file, flush=True)


def _leave_dead_terminal() -> None:
    for stream in (1, 2):
        try:
            os.write(stream, b"")
        except OSError:  # the work goes on
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def exit_status(command: Callable[[argparse.Namespace], None], args) -> int:
    """Run a command and return its exit status.

    That is 0 when done; 1 after one line for a UserError or OSError; 130 if
    interrupted. Other exceptions are bugs and pass through. SIGTERM and SIGHUP clean
    up and exit with 143 or 129. Afterwards, Ctrl-C is ignored: the process must end.
    """
    silence_libraries()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name may be in no encoding of theirs
            stream.reconfigure(errors="backslashreplace")
    endings = signal.SIGTERM, *hang_up()
    for number in (signal.SIGINT, *endings):
        signal.signal(number, _end)
    try:
        command(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output is gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UserError, OSError) as error:
        file = getattr(error, "filename", None)
        _print(f"[ERROR] {f'{file}: {error.strerror}' if file else error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        _print("[INFO] interrupted", sys.stderr)
        return 130
    finally:
        for number in endings:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 0


def silence_libraries() -> None:
    """Keep the libraries from burying our one line; the user's settings win."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def hang_up() -> list[int]:
    """Return SIGHUP, where the system has it and it is not ignored, as by nohup."""
    number = getattr(signal, "SIGHUP", None)
    return [number] if number and signal.getsignal(number) != signal.SIG_IGN else []


def _end(number, _stack):
    signal.signal(number, signal.SIG_IGN)  # a terminal that closes sends several
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    _leave_dead_terminal()
    raise SystemExit(128 + number)


@contextmanager
def interrupt_as_event() -> Iterator[threading.Event]:
    """Let Ctrl-C or SIGHUP set an event; a second Ctrl-C interrupts as usual."""
    event = threading.Event()

    def set_event(number, _stack):
        _leave_dead_terminal()
        event.set()
        if number == signal.SIGINT:
            signal.signal(number, before[number])

    before = {n: signal.signal(n, set_event) for n in (signal.SIGINT, *hang_up())}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def count_of(number: int, noun: str) -> str:
    """Format a count: 1 frame, 2 frames."""
    return f"{number} {noun}" + "s" * (number != 1)


def listing(texts: Sequence[str], most: int) -> str:
    """List texts, or the first of many: a, b, c and 4 more."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def percent(share: float) -> str:
    """Format a share with a decimal, or as many as tell it from 0 and 100 %."""
    decimals, margin = 1, 100 * min(share, 1 - share)
    if margin > 0:
        decimals = max(decimals, -math.floor(math.log10(margin)))
    return f"{share:.{decimals}%}"
