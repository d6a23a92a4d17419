"""How the three commands speak and how they end."""

import argparse
import os
import signal
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something that the user can put right; its text is the whole message."""


def info(text: str) -> None:
    """Print a result to stdout, in the tutorial's `[INFO] ...` form."""
    _print(f"[INFO] {text}", sys.stdout)


def warn(text: str) -> None:
    """Print a warning to stderr."""
    _print(f"[WARN] {text}", sys.stderr)


def _print(line: str, file) -> None:
    if "tqdm" in sys.modules:  # a progress bar, if there is one, makes room
        sys.modules["tqdm"].tqdm.write(line, file=file)
    else:
        print(line, file=file, flush=True)


def exit_status(command: Callable[[argparse.Namespace], None], args) -> int:
    """Run a command to its exit status.

    Parameters
    ----------
    command : callable
        Does the work; called with `args`.
    args : argparse.Namespace
        The parsed arguments.

    Returns
    -------
    int
        0 when done; 1 after one line for a UserError or an operating system error
        (no permission, disk full); 130 when interrupted. Any other exception is a bug
        and passes through. Terminated, it cleans up and leaves with status 143.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        command(args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UserError, OSError) as error:
        _print(f"[ERROR] {error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        _print("[INFO] interrupted", sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _terminate(_signal, _stack):
    raise SystemExit(143)


def fraction(text: str) -> float:
    """Parse a number from 0 to 1; for argparse."""
    if not 0 <= float(text) <= 1:
        raise ValueError
    return float(text)


def positive_int(text: str) -> int:
    """Parse a whole number from 1 on; for argparse."""
    if int(text) < 1:
        raise ValueError
    return int(text)
