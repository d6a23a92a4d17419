"""What is true of all three commands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import gather_examples
import liveness_demo
import train
from pyimagesearch.labels import Labels, save_labels

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = {
    module.__name__: module for module in (gather_examples, train, liveness_demo)
}
HEAVY = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "h5py"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_answers_without_the_heavy_libraries_and_docstrings(name):
    program = (
        f"import sys, {name}\n"
        f"try: {name}.main(['--help'])\n"
        f"finally: assert not {HEAVY} & set(sys.modules)\n"
    )
    for option in ("-B", "-OO"):
        command = [sys.executable, option, "-c", program]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert done.stdout.startswith("usage: ")


@pytest.mark.skipif(os.name == "nt", reason="needs a Unix shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_the_demo_works_without_a_console_and_without_docstrings(
    closed, trained, carphone, detector_folder, tmp_path
):
    command = [sys.executable, "-OO", liveness_demo.__file__, "-i", carphone]
    command += ["-m", trained / "liveness.model", "-l", trained / "le.pickle"]
    command += ["-d", detector_folder, "--no-display", "--log", tmp_path / "log.csv"]
    words = ["sh", "-c", f'"$@" {closed}', "sh", *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 121


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
        ("train", ["--evaluate", "--epochs", "20"]),
        ("train", ["--evaluate", "--folds", "1"]),
        ("train", ["--evaluate", "--recipe", "steady"]),
        ("train", ["--evaluate", "--seed", "42"]),
        ("train", ["--evaluate", "--split", "video"]),
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
    error = capsys.readouterr().err
    assert "usage:" in error
    if "--evaluate" in arguments:  # the default too: it would not be used
        assert f"{arguments[1]} does not go with it" in error


def test_names_that_stdout_cannot_show_end_no_command(
    videos, dataset, detector_folder, tmp_path
):
    (tmp_path / "dataset" / "подделка").mkdir(parents=True)
    for crop in sorted((dataset / "fake").glob("*.png"))[:8]:
        shutil.copy(crop, tmp_path / "dataset" / "подделка")
    video = tmp_path / "Иван-real.mp4"
    shutil.copy(videos / "real.mp4", video)
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}

    def run(name, *arguments):
        command = [sys.executable, ROOT / f"{name}.py", *map(str, arguments)]
        options = {"cwd": tmp_path, "env": environment, "capture_output": True}
        done = subprocess.run(command, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode("cp1252")

    detector = ["-d", detector_folder]
    out = run("gather_examples", "-i", video, "-o", "dataset/real", "-s", 12, *detector)
    assert "saved 10 faces" in out
    name = "Иван-real_000120.png"
    assert (tmp_path / "dataset" / "real" / name).exists()
    assert name.encode("cp1252", "backslashreplace").decode() in out
    label = "подделка".encode("cp1252", "backslashreplace").decode()
    assert f" images of {label}, 1 source" in run("train", "--epochs", 1, "--folds", 1)
    options = ["--no-display", "--threshold", 1, *detector]
    assert label in run("liveness_demo", "-i", video, *options)


@pytest.mark.parametrize("thresholds", [["0.5"], ["0.7"], ["0.3", "0.7"]])
def test_a_threshold_for_a_network_without_real_faces_is_an_error(
    thresholds, trained, videos, detector_folder, tmp_path, capsys
):
    save_labels(Labels(["print", "replay"]), tmp_path / "le.pickle")
    arguments = ["-m", trained / "liveness.model", "-l", tmp_path / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", videos / "real.mp4", "--no-display"]
    assert liveness_demo.main([*map(str, arguments), "--threshold", *thresholds]) == 1
    error = capsys.readouterr().err
    assert "no class is real, so --threshold has no meaning" in error
    assert "print, replay" in error
    assert len(error.splitlines()) == 1
