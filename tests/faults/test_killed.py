"""Programs that are killed, interrupted, or run twice at once."""

import csv
import json
import os
import random
import re
import signal
import subprocess
import time
import zipfile
from contextlib import suppress

from pyimagesearch.console import UserError
from pyimagesearch.crops import SourceList
from pyimagesearch.labels import load_labels
from pyimagesearch.models import load_classifier
from pyimagesearch.video import read_image

import cv2
import pytest
from damage import LINUX, command, run, start_program, tries


@pytest.mark.timeout(900)
def test_gathering_killed_at_any_moment_loses_and_tears_nothing(
    carphone, detector_folder, tmp_path
):
    arguments = ["-i", carphone, "-d", detector_folder, "-s", 2, "-o"]
    start = time.perf_counter()
    assert run("gather_examples.py", *arguments, tmp_path / "whole").returncode == 0
    seconds = time.perf_counter() - start
    whole = {p.name: p.read_bytes() for p in (tmp_path / "whole").glob("*.png")}
    rng = random.Random(0)
    for _ in tries(6, 200):
        process = subprocess.Popen(
            command("gather_examples.py", *arguments, tmp_path / "killed"),
            stdout=subprocess.DEVNULL,
        )
        try:
            process.wait(rng.uniform(0.3, 1) * seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for crop in (tmp_path / "killed").glob("*.png"):
            assert crop.read_bytes() == whole[crop.name]
            assert read_image(crop) is not None
            assert crop.stem[:-7] in SourceList(crop.parent).lines
        if rng.random() < 0.5:  # so that there is something to write again
            for crop in (tmp_path / "killed").glob("*.png"):
                if rng.random() < 0.5:
                    crop.unlink()
    assert run("gather_examples.py", *arguments, tmp_path / "killed").returncode == 0
    again = {p.name: p.read_bytes() for p in (tmp_path / "killed").glob("*.png")}
    assert again == whole
    with (tmp_path / "killed" / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["margin"] for row in rows} == {"0"}
    assert rows[-1]["searched"] == "60"


@pytest.mark.timeout(600)
def test_saving_killed_at_any_moment_leaves_the_old_file_or_the_new(tmp_path):
    path = tmp_path / "liveness.model"
    path.write_bytes(b"0" * 2_000_000)
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pyimagesearch.files import atomic_write\n"
        "print(flush=True)\n"
        "for i in range(10_000):\n"
        "    with atomic_write(Path(sys.argv[1])) as temporary:\n"
        "        with temporary.open('wb') as file:\n"
        "            for _ in range(20):\n"
        "                file.write(b'%d' % (i % 10) * 100_000)\n"
    )
    rng = random.Random(0)
    for _ in tries(8, 200):
        process = start_program(program, path)
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0, 0.2))
        process.kill()
        process.wait()
        process.stdout.close()
        content = path.read_bytes()
        assert len(content) == 2_000_000
        assert len(set(content)) == 1


# TensorFlow is imported once; each training is a fork.
TRAININGS = """
import os, sys
import train
from pyimagesearch import models, plots, training
import tf2onnx
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(train.main(sys.argv[1:]))
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@LINUX
@pytest.mark.timeout(1800)
def test_training_killed_at_any_moment_leaves_old_files_or_new(dataset, tmp_path):
    paths = {
        flag: tmp_path / name
        for flag, name in {
            "-m": "liveness.model",
            "-l": "le.pickle",
            "-p": "plot.png",
            "--export": "liveness.onnx",
            "--report": "report.json",
        }.items()
    }
    arguments = [str(argument) for pair in paths.items() for argument in pair]
    arguments += ["-d", str(dataset), "--epochs", "1", "--folds", "2"]
    checks = {
        "-m": lambda path: zipfile.ZipFile(path).testzip() is None,
        "-l": lambda path: load_labels(path).classes == ["fake", "real"],
        "-p": lambda path: cv2.imread(str(path)).shape[1:] == (1200, 3),
        "--export": lambda path: not cv2.dnn.readNetFromONNX(str(path)).empty(),
        "--report": lambda path: json.loads(path.read_text())["history"],
    }
    trainings = start_program(TRAININGS, *arguments, stdin=subprocess.PIPE)

    def start():
        trainings.stdin.write("\n")
        trainings.stdin.flush()
        return int(trainings.stdout.readline())

    for _ in range(2):  # the second takes as long as those to come
        begun = time.perf_counter()
        start()
        assert trainings.stdout.readline() == "0\n"
        seconds = time.perf_counter() - begun
    rng, seen = random.Random(0), set()
    for number in tries(4, 200):
        for path in paths.values():
            path.write_text("yesterday's")
        child = start()
        if number == 0:  # as soon as the first new file is there
            while all(path.read_bytes() == b"yesterday's" for path in paths.values()):
                time.sleep(0.001)
        else:
            time.sleep(rng.uniform(0.2, 1) * seconds)
        with suppress(ProcessLookupError):  # it was quick
            os.kill(child, signal.SIGKILL)
        trainings.stdout.readline()
        for flag, path in paths.items():
            is_old = path.read_bytes() == b"yesterday's"
            seen.add((flag, is_old))
            assert is_old or checks[flag](path)
    assert len(seen) > len(paths)  # some were old and some were new
    start()
    assert trainings.stdout.readline() == "0\n"
    trainings.stdin.close()
    assert trainings.wait() == 0
    load_classifier(paths["-m"], paths["-l"])


@pytest.mark.timeout(900)
def test_the_demo_killed_at_any_moment_leaves_whole_lines_and_videos(
    trained, carphone, detector_folder, tmp_path
):
    log, out = tmp_path / "log.csv", tmp_path / "out.mp4"
    arguments = ["-m", trained / "liveness.onnx", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", carphone, "-o", out, "--log", log]
    arguments += ["--no-display"]
    begun = time.perf_counter()
    assert run("liveness_demo.py", *arguments).returncode == 0
    seconds = time.perf_counter() - begun
    whole, video = log.read_bytes(), out.read_bytes()
    columns, rng = whole.splitlines()[0].count(b","), random.Random(0)
    for _ in tries(6, 200):
        process = subprocess.Popen(
            command("liveness_demo.py", *arguments), stdout=subprocess.DEVNULL
        )
        try:
            process.wait(rng.uniform(0.1, 1) * seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        added = log.read_bytes().removeprefix(whole)
        assert added == b"" or added.endswith(b"\n")
        assert {line.count(b",") for line in added.splitlines()} <= {columns}
        whole += added
        assert out.read_bytes() == video
        for left in tmp_path.glob(".*.mp4"):
            left.unlink()
    assert len(whole.splitlines()) > 121


def test_two_trainings_to_one_path_leave_a_network_and_its_labels(dataset, tmp_path):
    arguments = ["-d", dataset, "-m", tmp_path / "m", "-l", tmp_path / "l"]
    arguments += ["-p", tmp_path / "p.png", "--epochs", 1, "--folds", 2]
    trainings = [
        subprocess.Popen(command("train.py", *arguments), stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [process.wait() for process in trainings] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l", "m", "p.png"]
    try:
        _, labels = load_classifier(tmp_path / "m", tmp_path / "l")
    except UserError as error:  # a short race remains; it is noticed
        assert "are of different trainings" in str(error)
    else:
        assert labels.classes == ["fake", "real"]
    assert read_image(tmp_path / "p.png").shape == (1230, 1200, 3)


def test_several_gathers_into_one_folder_lose_nothing(
    carphone, videos, detector_folder, tmp_path
):
    inputs = [carphone, carphone, videos / "real.mp4", videos / "fake.mp4"]
    processes = [
        subprocess.Popen(
            command(
                *("gather_examples.py", "-i", video, "-o", tmp_path / "out"),
                *("-d", detector_folder, "-s", 8),
            ),
            stdout=subprocess.DEVNULL,
        )
        for video in inputs
    ]
    assert [process.wait() for process in processes] == [0] * 4
    names = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert len(names) == 45
    lines = SourceList(tmp_path / "out").lines
    counts = {name: line.searched for name, line in lines.items()}
    assert counts == {"carphone_pristine": 15, "real": 15, "fake": 15}


def test_two_gathers_of_other_files_of_one_name_mix_nothing(
    carphone, videos, detector_folder, tmp_path
):
    inputs = [tmp_path / f"{number}" / "a.mp4" for number in (1, 2)]
    for path, video in zip(inputs, (carphone, videos / "real.mp4"), strict=True):
        path.parent.mkdir()
        path.write_bytes(video.read_bytes())
    processes = [
        subprocess.Popen(
            command(
                *("gather_examples.py", "-i", path, "-o", tmp_path / "out"),
                *("-d", detector_folder, "-s", 8),
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for path in inputs
    ]
    errors = [process.communicate()[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 1]
    (error,) = filter(None, errors)
    assert re.search("another program|is there already|crops, or a file, of", error)
    shapes = {read_image(p).shape[0] < 100 for p in (tmp_path / "out").glob("*.png")}
    assert len(shapes) == 1  # of the small video, or of the large one


def test_signals_leave_no_process_behind(trained, videos, detector_folder, tmp_path):
    arguments = ["-i", videos / "real.mp4", "-o", tmp_path / "out"]
    arguments += ["-d", detector_folder, "-s", "1"]
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = subprocess.Popen(
            command("gather_examples.py", *arguments),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4):
            process.stdout.readline()
        process.send_signal(number)
        out, _ = process.communicate()
        assert process.returncode == status
        assert "saved" in out.splitlines()[-1]
        assert not list((tmp_path / "out").glob(".*"))


def test_a_terminated_training_leaves_no_process_and_no_file(dataset, tmp_path):
    arguments = ["-d", dataset, "-m", tmp_path / "m", "-l", tmp_path / "l"]
    arguments += ["-p", tmp_path / "p.png", "--epochs", 10_000]
    process = subprocess.Popen(
        command("train.py", *arguments), stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if "training network for 10000 epochs" in line:
            break
    process.terminate()
    process.communicate()
    assert process.returncode == 143
    assert list(tmp_path.iterdir()) == []
