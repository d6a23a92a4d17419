import os
import shutil
import signal
import subprocess
import sys

from pyimagesearch.console import (
    PROJECT,
    UserError,
    command_line,
    count_of,
    exit_status,
    info,
    interrupt_as_event,
    listing,
    percent,
    warn,
)

import pytest


def raising(error):
    def command(_args):
        raise error

    return command


def test_the_status_of_a_command_that_is_done_is_0(capsys):
    assert exit_status(lambda args: info(f"did {args}"), "it") == 0
    assert capsys.readouterr().out == "[INFO] did it\n"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("wrong"), 1, "[ERROR] wrong\n"),
        (PermissionError(13, "Permission denied", "x"), 1, "[ERROR] x: Permission den"),
        (KeyboardInterrupt(), 130, "[INFO] interrupted\n"),
    ],
)
def test_an_error_that_a_user_can_cause_is_one_line(error, status, line, capsys):
    assert exit_status(raising(error), None) == status
    assert capsys.readouterr().err.startswith(line)


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ValueError, match="bug"):
        exit_status(raising(ValueError("bug")), None)


def test_a_terminated_command_cleans_up_and_exits_with_143(tmp_path):
    program = (
        "import os, signal\n"
        "from pyimagesearch.files import atomic_write\n"
        "from pyimagesearch.console import exit_status\n"
        "from pathlib import Path\n"
        "def command(folder):\n"
        "    with atomic_write(Path(folder, 'file')) as temporary:\n"
        "        temporary.write_text('half')\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        f"exit_status(command, {str(tmp_path)!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 143
    assert list(tmp_path.iterdir()) == []


HANGS_UP = (
    "import os, signal, time\n"
    "from pathlib import Path\n"
    "from pyimagesearch.console import exit_status, info, interrupt_as_event, warn\n"
)
HANDLED = (
    "def command(_):\n"
    "    try:\n"
    "        os.kill(os.getpid(), signal.SIGHUP)\n"
    "        info('goes on')\n"
    "    finally:\n"
    "        os.kill(os.getpid(), signal.SIGHUP)\n"
    "        info('cleaned up')\n"
    "raise SystemExit(exit_status(command, None))\n"
)
needs_sighup = pytest.mark.skipif(
    not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP"
)


@needs_sighup
@pytest.mark.parametrize("ignored", [False, True])
def test_a_command_that_is_hung_up_cleans_up_unless_that_is_ignored(ignored):
    ignore = "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" if ignored else ""
    command = [sys.executable, "-c", HANGS_UP + ignore + HANDLED]  # as nohup does
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == (0 if ignored else 128 + signal.SIGHUP)
    goes_on = "[INFO] goes on\n" if ignored else ""
    assert done.stdout == f"{goes_on}[INFO] cleaned up\n"
    assert done.stderr == ""


@needs_sighup
def test_hang_ups_can_be_an_event_as_often_as_they_come():
    before = signal.getsignal(signal.SIGHUP)
    with interrupt_as_event() as event:
        assert not event.is_set()
        for _ in range(2):  # from the kernel and from the shell
            signal.raise_signal(signal.SIGHUP)
        assert event.is_set()
    assert signal.getsignal(signal.SIGHUP) == before


@needs_sighup
@pytest.mark.parametrize("ends", [True, False])
def test_printing_to_a_terminal_that_is_gone_ends_nothing(ends, tmp_path):
    """A terminal closes under a command that may have been told so, or not."""
    program = HANGS_UP + (
        "from tqdm import tqdm\n"
        f"folder, ends = Path({str(tmp_path)!r}), {ends}\n"
        "def command(_):\n"
        "    if not ends:\n"
        "        signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "    with interrupt_as_event() as event, tqdm(total=9) as bar:\n"
        "        (folder / 'begun').touch()\n"
        "        while not event.is_set() and not (folder / 'closed').exists():\n"
        "            time.sleep(0.01)\n"
        "        info('a result'), warn('a warning')\n"
        "        bar.update(9)\n"
        "    (folder / 'done').touch()\n"
        "raise SystemExit(exit_status(command, None))\n"
    )
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", program]
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen(command, start_new_session=True, **terminal)
    os.close(theirs)
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
    os.close(ours)
    if ends:
        process.send_signal(signal.SIGHUP)
    (tmp_path / "closed").touch()
    assert process.wait() == 0
    assert (tmp_path / "done").exists()


def test_a_reader_of_the_output_that_goes_away_causes_no_traceback():
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


def test_results_go_to_stdout_and_warnings_to_stderr(capsys):
    info("a result")
    warn("a warning")
    assert capsys.readouterr() == ("[INFO] a result\n", "[WARN] a warning\n")


def test_only_one_of_a_thing_is_counted_in_the_singular():
    assert count_of(1, "frame") == "1 frame"
    assert count_of(0, "frame") == "0 frames"


@pytest.mark.parametrize(
    ("most", "listed"), [(3, "a, b, c"), (2, "a, b and 1 more"), (4, "a, b, c")]
)
def test_of_many_texts_the_first_are_listed_and_the_others_counted(most, listed):
    assert listing(["a", "b", "c"], most) == listed


def test_two_interrupts_at_once_exit_with_130(tmp_path):
    program = (
        "import os, signal, sys\n"
        "from pyimagesearch.console import exit_status\n"
        "def command(_):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    finally:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "status = exit_status(command, None)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "raise SystemExit(status)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 130
    assert done.stderr == b"[INFO] interrupted\n"


def test_the_first_interrupt_can_be_an_event_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupt_as_event() as event:
        assert not event.is_set()
        signal.raise_signal(signal.SIGINT)
        assert event.is_set()
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_ctrl_c_after_the_work_changes_nothing():
    program = (
        "import os, signal\n"
        "from pyimagesearch.console import exit_status\n"
        "status = exit_status(print, 'done')\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "raise SystemExit(status)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"done\n", b"")


def test_importing_leaves_the_logs_of_other_programs_alone():
    program = (
        "import os\n"
        "before = dict(os.environ)\n"
        "from pyimagesearch.classifier import FaceClassifier\n"
        "import cv2\n"
        "changed = {k for k in os.environ if os.environ[k] != before.get(k)}\n"
        "own = {'OPENCV_IO_MAX_IMAGE_PIXELS', 'LD_LIBRARY_PATH'}\n"
        "assert changed <= own, changed\n"
        "assert cv2.utils.logging.getLogLevel() != cv2.utils.logging.LOG_LEVEL_SILENT\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_what_stdout_and_stderr_cannot_show_is_escaped():
    program = (
        "from pyimagesearch.console import UserError, exit_status, info, warn\n"
        "def command(name):\n"
        "    info(name), print(name), warn(name)\n"
        "    raise UserError(name)\n"
        r"raise SystemExit(exit_status(command, '\u0418 \udce9'))" + "\n"
    )
    for encoding in ("cp1252", "utf-8", "ascii:strict"):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        name = "И \\udce9" if encoding == "utf-8" else "\\u0418 \\udce9"
        assert done.stdout == f"[INFO] {name}\n{name}\n"
        assert done.stderr == f"[WARN] {name}\n[ERROR] {name}\n"
        assert done.returncode == 1


@pytest.mark.skipif(os.name == "nt", reason="needs a Unix shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_without_a_console_nothing_fails_and_no_file_takes_its_number(closed, tmp_path):
    program = (
        "from pyimagesearch.console import exit_status, info, warn\n"
        "import os\n"
        "def command(path):\n"
        "    with open(path, 'w') as file:\n"
        "        info('a result'), print('a result'), warn('a warning')\n"
        "        os.write(1, b'from a library'), os.write(2, b'from a library')\n"
        "        file.write('whole')\n"
        "raise SystemExit(exit_status(command, 'file'))\n"
    )
    command = ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_text() == "whole"


@pytest.mark.parametrize("name", ["plain", "with space", "it's"])
def test_a_command_line_runs_the_script_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = command_line("train.py", "--dataset", name)
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert done.stderr.startswith(f"[ERROR] no dataset {name}; run gather_examples")


def test_a_command_line_is_as_short_as_it_may_be(monkeypatch):
    monkeypatch.chdir(PROJECT)
    python = PROJECT / ".venv" / "bin" / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", "/nowhere")
    assert command_line("train.py") == ".venv/bin/python train.py"
    monkeypatch.setattr(shutil, "which", lambda name: str(python))  # activated
    assert command_line("train.py", "-d", "a b") == "python train.py -d 'a b'"


def test_a_share_keeps_the_decimals_that_tell_it_from_0_and_100_percent():
    texts = ["0.0%", "0.02%", "50.0%", "99.96%", "100.0%"]
    assert [percent(share) for share in (0, 0.0002, 0.5, 0.9996, 1)] == texts


def test_of_a_long_list_the_first_and_the_number_of_others_are_named():
    assert listing(["a", "b"], 2) == "a, b"
    assert listing(list("abcdefg"), 3) == "a, b, c and 4 more"
