"""What is true of all three commands."""

import re
import subprocess
import sys
from pathlib import Path

import gather_examples
import liveness_demo
import train

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = {
    module.__name__: module for module in (gather_examples, train, liveness_demo)
}
HEAVY = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "h5py"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_answers_without_the_heavy_libraries(name):
    program = (
        f"import sys, {name}\n"
        f"try: {name}.main(['--help'])\n"
        f"finally: assert not {HEAVY} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("usage: ")
    assert SCRIPTS[name].__doc__.splitlines()[0][:40] in done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_flag_but_help_says_what_it_does(name, capsys):
    with pytest.raises(SystemExit) as end:
        SCRIPTS[name].main(["--help"])
    assert end.value.code == 0
    flags = re.split(r"\n  (?=-)", capsys.readouterr().out)[1:]
    assert len(flags) > 5
    for flag in flags:
        usage, text = re.split(r"\s{2,}|\n", flag.strip(), maxsplit=1)
        assert usage.startswith("-")
        assert len(text.split()) >= 3, usage


GATHER = ["-i", "a", "-o", "b"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("gather_examples", []),
        ("gather_examples", ["-i", "a"]),
        ("gather_examples", [*GATHER, "-s", "0"]),
        ("gather_examples", [*GATHER, "-c", "1.5"]),
        ("gather_examples", [*GATHER, "--margin", "-1"]),
        ("train", ["--epochs", "0"]),
        ("train", ["--folds", "0"]),
        ("train", ["--folds", "two"]),
        ("train", ["--split", "halves"]),
        ("train", ["--recipe", "secret"]),
        ("liveness_demo", ["--threshold", "0.7", "0.3"]),
        ("liveness_demo", ["--threshold", "0.1", "0.2", "0.3"]),
        ("liveness_demo", ["--threshold", "2"]),
        ("liveness_demo", ["unknown"]),
    ],
)
def test_wrong_arguments_exit_2_with_the_usage(name, arguments, capsys):
    with pytest.raises(SystemExit) as end:
        SCRIPTS[name].main(arguments)
    assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err
