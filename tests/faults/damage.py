"""What the fault tests share; `make test-faults` tries more of everything."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FULL = os.environ.get("FAULTS") == "full"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
# Ends a program with the peak of its memory in kilobytes. Not ru_maxrss, which begins
# with that of the process that started it.
PRINT_PEAK = """
import re
with open("/proc/self/status") as status:
    print(re.search(r"VmHWM:\\s+(\\d+)", status.read())[1])
"""


def tries(few, many):
    return range(many if FULL else few)


def mutate(content, seed):
    """Damage a file at some random places."""
    rng = random.Random(seed)
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        place = rng.randrange(len(content))
        match rng.randrange(4):
            case 0:
                content[place] = rng.randrange(256)
            case 1:
                content[place] ^= 1 << rng.randrange(8)
            case 2:
                del content[place : place + rng.randrange(1, 9)]
            case 3:
                content[place:place] = rng.randbytes(rng.randrange(1, 9))
        content = content or bytearray(b"\0")
    return bytes(content)


def command(script, *arguments):
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


def run(script, *arguments, limit=None):
    """Run a script; `limit` is the most bytes that a file may have."""

    def restrict():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        command(script, *arguments),
        capture_output=True,
        text=True,
        preexec_fn=restrict if limit else None,
    )


def start_program(program, *arguments, **options):
    """Start Python on a program that can import our modules and this one."""
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        **options,
    )


def assert_one_error(done, reason):
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    errors = [x for x in done.stderr.splitlines() if x.startswith("[ERROR] ")]
    assert len(errors) == 1
    assert reason in errors[0]


class Watch:
    """Records what reading a file makes Python do, beyond reading it."""

    def __init__(self, *watched):
        self.active, self.seen, self.watched = False, [], watched
        sys.addaudithook(self.note)

    def note(self, event, arguments):
        if not self.active or not event.startswith(self.watched):
            return
        if event == "open" and arguments[1] in (None, "r", "rb"):
            return
        modules = ("encodings", "codecs")
        if event == "import" and str(arguments[0]).startswith(modules):
            return
        if event in ("exec", "compile") and "encodings" in str(arguments[0]):
            return
        self.seen.append((event, arguments))

    def __enter__(self):
        self.active = True

    def __exit__(self, *_):
        self.active = False
