"""Disks that are full, read-only, or go away."""

import re
import subprocess
import sys

import pytest
from damage import LINUX, assert_one_error, command, run


@pytest.mark.skipif(sys.platform == "win32", reason="files have no size limit there")
def test_gathering_on_a_full_disk_leaves_no_half_file(
    carphone, detector_folder, tmp_path
):
    arguments = ["-i", carphone, "-o", tmp_path / "out", "-d", detector_folder]
    done = run("gather_examples.py", *arguments, limit=4000)
    assert_one_error(done, "File too large")
    assert [p for p in (tmp_path / "out").iterdir() if p.suffix == ".png"] == []
    assert [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")] == []


@pytest.mark.skipif(sys.platform == "win32", reason="files have no size limit there")
def test_training_on_a_full_disk_keeps_the_old_files(dataset, tmp_path):
    for name in ("liveness.model", "le.pickle", "plot.png"):
        (tmp_path / name).write_text("yesterday's")
    arguments = ["-d", dataset, "-m", tmp_path / "liveness.model"]
    arguments += ["-l", tmp_path / "le.pickle", "-p", tmp_path / "plot.png"]
    done = run("train.py", *arguments, "--epochs", 1, "--folds", 1, limit=100_000)
    assert_one_error(done, "")
    contents = {path.name: path.read_text() for path in tmp_path.iterdir()}
    names = ("liveness.model", "le.pickle", "plot.png")
    assert contents == dict.fromkeys(names, "yesterday's")


@pytest.mark.skipif(sys.platform == "win32", reason="files have no size limit there")
def test_the_demo_on_a_full_disk_keeps_the_old_video_and_whole_lines(
    trained, videos, detector_folder, tmp_path
):
    arguments = ["-m", trained / "liveness.onnx", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", videos / "real.mp4", "--no-display"]
    out = tmp_path / "out.mp4"
    out.write_text("yesterday's")
    done = run("liveness_demo.py", *arguments, "-o", out, limit=100_000)
    assert_one_error(done, "out.mp4: the video cannot be written: ")
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert out.read_text() == "yesterday's"
    log = tmp_path / "log.csv"
    assert_one_error(
        run("liveness_demo.py", *arguments, "--log", log, limit=4970), "space left"
    )
    run("liveness_demo.py", *arguments, "--log", log)
    lines = log.read_text().splitlines()
    torn = [line for line in lines if line.count(",") != lines[0].count(",")]
    assert len(torn) <= 1
    assert len(lines) > 121


def test_an_output_that_is_a_file_is_one_line(carphone, detector_folder, tmp_path):
    (tmp_path / "file").touch()
    arguments = ["-i", carphone, "-o", tmp_path / "file", "-d", detector_folder]
    assert_one_error(run("gather_examples.py", *arguments), "File exists")


def run_mounted(folder, options, *arguments):
    """Run a script where `folder` is a file system of its own, in memory."""
    mount = f"mount -t tmpfs -o {options} none {folder}"
    unshare = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if subprocess.run([*unshare, mount], capture_output=True).returncode:
        pytest.skip("may not mount anything")
    script = f'"$@"; status=$?; ls -A {folder}; exit $status'
    return subprocess.run(
        [*unshare, f"{mount} && {script}", "sh", *command(*arguments)],
        capture_output=True,
        text=True,
    )


@LINUX
def test_a_disk_that_fills_up_keeps_what_was_saved(carphone, detector_folder, tmp_path):
    arguments = ["gather_examples.py", "-i", carphone, "-o", tmp_path, "-s", 1]
    arguments += ["-d", detector_folder]
    done = run_mounted(tmp_path, "size=256k", *arguments)
    assert_one_error(done, "No space left on device")
    saved = done.stdout.count("saved /")
    assert 0 < saved < 120
    assert f"saved {saved} faces" in done.stdout


@LINUX
def test_a_disk_that_a_video_fills_holds_none_of_it(
    trained, videos, detector_folder, tmp_path
):
    arguments = ["-m", trained / "liveness.onnx", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", videos / "fake.mp4", "--no-display"]
    arguments += ["-o", tmp_path / "out.mp4"]
    done = run_mounted(tmp_path, "size=256k", "liveness_demo.py", *arguments)
    assert_one_error(done, "out.mp4: the video cannot be written: No space left")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout.splitlines()[-1].startswith("[INFO] ")  # no file is listed


@LINUX
@pytest.mark.parametrize(
    "script", ["gather_examples.py", "train.py", "liveness_demo.py"]
)
def test_a_read_only_disk_is_one_line_before_the_work(
    script, carphone, dataset, trained, detector_folder, tmp_path
):
    detector = ["-d", detector_folder, "-i", carphone]
    arguments = {
        "gather_examples.py": [*detector, "-o", tmp_path / "crops"],
        "train.py": ["-d", dataset, "-m", tmp_path / "liveness.model"],
        "liveness_demo.py": [
            *(*detector, "-m", trained / "liveness.onnx", "--no-display"),
            *("-l", trained / "le.pickle", "-o", tmp_path / "out.mp4"),
        ],
    }[script]
    done = run_mounted(tmp_path, "size=1m,ro", script, *arguments)
    assert_one_error(done, "Read-only file system")
    assert "epoch" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="open folders cannot go there")
def test_a_folder_that_goes_away_is_one_line_and_keeps_whole_crops(
    videos, detector_folder, tmp_path
):
    """As when a memory stick is pulled out."""
    out = tmp_path / "out"
    arguments = ["-i", videos / "real.mp4", "-o", out, "-d", detector_folder, "-s", 1]
    process = subprocess.Popen(
        command("gather_examples.py", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if "saved /" in line:
            out.rename(tmp_path / "elsewhere")
            break
    rest, error = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in error
    assert "[ERROR] " in error
    assert "No such file" in error
    assert re.search(r"saved \d+ faces? to", rest)
    kept = list((tmp_path / "elsewhere").iterdir())
    assert any(path.suffix == ".png" for path in kept)
    assert not [path for path in kept if path.name.startswith(".")]
