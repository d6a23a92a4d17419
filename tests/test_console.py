import subprocess
import sys

from pyimagesearch.console import (
    UserError,
    exit_status,
    fraction,
    info,
    positive_int,
    warn,
)

import pytest


def raising(error):
    def command(_args):
        raise error

    return command


def test_done_is_0(capsys):
    assert exit_status(lambda args: info(f"did {args}"), "it") == 0
    assert capsys.readouterr().out == "[INFO] did it\n"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("wrong"), 1, "[ERROR] wrong\n"),
        (PermissionError(13, "Permission denied", "x"), 1, "[ERROR] [Errno 13]"),
        (KeyboardInterrupt(), 130, "[INFO] interrupted\n"),
    ],
)
def test_what_a_user_can_cause_is_one_line(error, status, line, capsys):
    assert exit_status(raising(error), None) == status
    assert capsys.readouterr().err.startswith(line)


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ValueError, match="bug"):
        exit_status(raising(ValueError("bug")), None)


def test_terminated_it_cleans_up_and_leaves_with_143(tmp_path):
    program = (
        "import os, signal\n"
        "from pyimagesearch.artifacts import replacing\n"
        "from pyimagesearch.console import exit_status\n"
        "from pathlib import Path\n"
        "def command(folder):\n"
        "    with replacing(Path(folder, 'file')) as temporary:\n"
        "        temporary.write_text('half')\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        f"exit_status(command, {str(tmp_path)!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 143
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_is_no_traceback():
    program = (
        "from pyimagesearch.console import exit_status, info\n"
        "def command(_):\n"
        "    for i in range(100_000): info(i)\n"
        "raise SystemExit(exit_status(command, None))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1


def test_results_and_warnings_go_apart(capsys):
    info("a result")
    warn("a warning")
    assert capsys.readouterr() == ("[INFO] a result\n", "[WARN] a warning\n")


@pytest.mark.parametrize("text", ["-0.1", "1.1", "nan", "much"])
def test_no_fraction(text):
    with pytest.raises(ValueError):
        fraction(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many"])
def test_no_positive_int(text):
    with pytest.raises(ValueError):
        positive_int(text)


def test_numbers():
    assert (fraction("0"), fraction("0.25"), fraction("1")) == (0, 0.25, 1)
    assert positive_int("16") == 16
