"""What happens on a bad day. `make test-faults` tries more of everything."""

import csv
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import gather_examples
from pyimagesearch.artifacts import load_classifier, load_labels
from pyimagesearch.console import UserError
from pyimagesearch.frames import open_frames, read_image

import cv2
import numpy as np
import pytest

FULL = os.environ.get("FAULTS") == "full"
ENCODERS = sorted((Path(__file__).parent / "label_encoders").iterdir())


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


def run(script, *arguments, limit=None):
    """Run a script; `limit` is the most bytes that a file may have."""

    def restrict():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        cwd=Path(gather_examples.__file__).parent,
        capture_output=True,
        text=True,
        preexec_fn=restrict if limit else None,
    )


def assert_one_error(done, reason):
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    errors = [x for x in done.stderr.splitlines() if x.startswith("[ERROR] ")]
    assert len(errors) == 1
    assert reason in errors[0]


class Watch:
    """Notes what a pickle makes Python do that reading labels does not."""

    def __init__(self):
        self.active, self.seen = False, []
        sys.addaudithook(self.note)

    def note(self, event, arguments):
        if not self.active:
            return
        if event == "open" and arguments[1] in (None, "r", "rb"):
            return
        modules = ("encodings", "codecs")
        if event == "import" and str(arguments[0]).startswith(modules):
            return
        if event in ("exec", "compile") and "encodings" in str(arguments[0]):
            return
        watched = ("exec", "compile", "import", "open", "os.", "socket.", "subprocess.")
        if event.startswith((*watched, "shutil.", "ctypes.")):
            self.seen.append((event, arguments))


def test_damaged_labels_run_nothing_and_are_labels_or_refused(tmp_path):
    watch, path = Watch(), tmp_path / "le.pickle"
    originals = [path.read_bytes() for path in ENCODERS]
    for seed in tries(1500, 12_000):
        path.write_bytes(mutate(originals[seed % len(originals)], seed))
        watch.active = True
        try:
            labels = load_labels(path)
        except UserError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert all(isinstance(label, str) for label in labels.classes)
        finally:
            watch.active = False
    assert watch.seen == []


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'mkdir owned'\ntR.",
        b"\x80\x04cbuiltins\neval\n(\x8c\x14__import__('os').pid\x85R.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
        b"csklearn.preprocessing._label\nLabelEncoder.__init__.__globals__\n.",
        b"\x80\x02cnumpy\nndarray\n(I1000000000000\ntR.",
        b"\x80\x02]" + b"r\xff\xff\xff\x7f" + b".",
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"(" * 100_000 + b".",
        b"\x80\x02" + b"]" * 50_000 + b"a" * 50_000 + b".",
        b"\x80\x02ccopyreg\n_reconstructor\n(cos\n_wrap_close\ncbuiltins\nobject\nNtR.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(csubprocess\nPopen\nK\x00tR.",
        b"Pnumber one\n.",
        b"\x80\x04\x82\x01.",
    ],
)
def test_hostile_labels_run_nothing(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    watch = Watch()
    (tmp_path / "le.pickle").write_bytes(content)
    watch.active = True
    try:
        with pytest.raises(UserError, match="not the labels"):
            load_labels(tmp_path / "le.pickle")
    finally:
        watch.active = False
    assert watch.seen == []
    assert not (tmp_path / "owned").exists()


def test_a_damaged_or_strange_onnx_never_reaches_opencv(trained, tmp_path, monkeypatch):
    """OpenCV's reader crashes on about one in a hundred of these."""
    content = (trained / "liveness.onnx").read_bytes()
    load_classifier(trained / "liveness.onnx", trained / "le.pickle")
    monkeypatch.delattr(cv2.dnn, "readNetFromONNX")
    path = tmp_path / "liveness.onnx"
    for seed in tries(100, 2000):
        damaged = mutate(content, seed)
        if damaged == content:
            continue
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"not the network|neither a \.keras"):
            load_classifier(path, trained / "le.pickle")
    # Labels that do not vouch for any ONNX file: those of another training.
    path.write_bytes(content)
    with pytest.raises(UserError, match="exported with these labels"):
        load_classifier(path, ENCODERS[0])


@pytest.mark.parametrize("kind", ["png", "jpg", "mp4"])
@pytest.mark.timeout(600)
def test_damaged_media_are_read_or_refused(
    kind, face_image, carphone, tmp_path, capsys
):
    if kind == "mp4":
        content = carphone.read_bytes()
    else:
        content = cv2.imencode(f".{kind}", face_image)[1].tobytes()
    path = tmp_path / f"damaged.{kind}"
    for seed in tries(40, 700):
        path.write_bytes(mutate(content, seed))
        try:
            for frame in open_frames(str(path), skip=40):
                assert frame.image.dtype == np.uint8
                assert frame.image.ndim == 3
        except UserError as error:
            assert "damaged" in str(error)


@pytest.mark.timeout(900)
def test_gather_killed_at_any_moment_loses_and_tears_nothing(
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
            [
                *(sys.executable, gather_examples.__file__),
                *map(str, [*arguments, tmp_path / "killed"]),
            ],
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
        if rng.random() < 0.5:  # so that there is something to write again
            for crop in (tmp_path / "killed").glob("*.png"):
                if rng.random() < 0.5:
                    crop.unlink()
    assert run("gather_examples.py", *arguments, tmp_path / "killed").returncode == 0
    again = {p.name: p.read_bytes() for p in (tmp_path / "killed").glob("*.png")}
    assert again == whole
    with (tmp_path / "killed" / "crops.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["file"] for row in rows) == sorted(whole)
    assert {row["margin"] for row in rows} == {"0"}


@pytest.mark.timeout(600)
def test_saving_killed_at_any_moment_leaves_the_old_file_or_the_new(tmp_path):
    path = tmp_path / "liveness.model"
    path.write_bytes(b"0" * 2_000_000)
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pyimagesearch.artifacts import replacing\n"
        "print(flush=True)\n"
        "for i in range(10_000):\n"
        "    with replacing(Path(sys.argv[1])) as temporary:\n"
        "        with temporary.open('wb') as file:\n"
        "            for _ in range(20):\n"
        "                file.write(b'%d' % (i % 10) * 100_000)\n"
    )
    rng = random.Random(0)
    for _ in tries(8, 200):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
        )
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0, 0.2))
        process.kill()
        process.wait()
        process.stdout.close()
        content = path.read_bytes()
        assert len(content) == 2_000_000
        assert len(set(content)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="files have no size limit there")
def test_gather_on_a_full_disk(carphone, detector_folder, tmp_path):
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
    done = run("train.py", *arguments, "--epochs", 1, limit=100_000)
    assert_one_error(done, "")
    contents = {path.name: path.read_text() for path in tmp_path.iterdir()}
    names = ("liveness.model", "le.pickle", "plot.png")
    assert contents == dict.fromkeys(names, "yesterday's")


@pytest.mark.skipif(sys.platform == "win32", reason="files have no size limit there")
def test_the_demo_on_a_full_disk(trained, videos, detector_folder, tmp_path):
    arguments = ["-m", trained / "liveness.onnx", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", videos / "real.mp4", "--no-display"]
    out = tmp_path / "out.mp4"
    out.write_text("yesterday's")
    done = run("liveness_demo.py", *arguments, "-o", out, limit=100_000)
    assert_one_error(done, "is the disk full?")
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert out.read_text() == "yesterday's"
    log = tmp_path / "log.csv"
    assert_one_error(
        run("liveness_demo.py", *arguments, "--log", log, limit=5000), "space left"
    )
    run("liveness_demo.py", *arguments, "--log", log)
    lines = log.read_text().splitlines()
    torn = [line for line in lines if line.count(",") != lines[0].count(",")]
    assert len(torn) <= 1
    assert len(lines) > 121


def test_a_folder_that_cannot_be_written_to(carphone, detector_folder, tmp_path):
    (tmp_path / "file").touch()
    arguments = ["-i", carphone, "-o", tmp_path / "file", "-d", detector_folder]
    assert_one_error(run("gather_examples.py", *arguments), "File exists")


def test_several_gathers_into_one_folder_lose_nothing(
    carphone, videos, detector_folder, tmp_path
):
    inputs = [carphone, carphone, videos / "real.mp4", videos / "fake.mp4"]
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, gather_examples.__file__, "-i", str(video)),
                *("-o", str(tmp_path / "out"), "-d", str(detector_folder), "-s", "8"),
            ],
            stdout=subprocess.DEVNULL,
        )
        for video in inputs
    ]
    assert [process.wait() for process in processes] == [0] * 4
    names = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert len(names) == 45
    with (tmp_path / "out" / "crops.csv").open(newline="") as file:
        assert {row["file"] for row in csv.DictReader(file)} == names


@pytest.mark.parametrize(
    "name",
    ["with space.mp4", "größe ☃.mp4", "-dash.mp4", "new\nline.mp4", "x" * 200 + ".mp4"],
)
def test_odd_names(name, carphone, detector_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(carphone.read_bytes())
    arguments = [f"--input={name}", "-o", "out", "-d", str(detector_folder)]
    assert gather_examples.main([*arguments, "-s", "60"]) == 0
    assert len(list(Path("out").glob("*.png"))) == 2
    assert gather_examples.main([*arguments, "-s", "60"]) == 0
    assert len((tmp_path / "out" / "crops.csv").read_text().splitlines()) >= 3


def test_links_that_go_round_and_folders_that_look_like_images(
    carphone, detector_folder, tmp_path
):
    folder = tmp_path / "in"
    (folder / "folder.png").mkdir(parents=True)
    (folder / "loop").symlink_to(folder)
    (folder / "nowhere.png").symlink_to(folder / "missing.png")
    (folder / "linked.mp4").symlink_to(carphone)
    arguments = ["-i", folder, "-o", tmp_path / "out", "-d", detector_folder]
    assert gather_examples.main([str(argument) for argument in arguments]) == 0
    assert len(list((tmp_path / "out").glob("linked_*.png"))) == 7


def test_a_picture_of_too_many_pixels_is_refused(tmp_path):
    """20 000 x 20 000, all black, in half a megabyte."""
    path = tmp_path / "bomb.png"
    assert cv2.imwrite(str(path), np.zeros((20_000, 20_000), np.uint8))
    program = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from pyimagesearch.frames import read_image\n"
        "assert read_image(Path(sys.argv[1])) is None\n"
        # Not ru_maxrss, which begins with that of the process that started this one.
        "status = Path('/proc/self/status')\n"
        "text = status.read_text() if status.exists() else 'VmHWM: 0 kB'\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', text)[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        cwd=Path(gather_examples.__file__).parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 500_000  # kilobytes


def test_signals_leave_no_process_behind(trained, videos, detector_folder, tmp_path):
    arguments = ["-i", videos / "real.mp4", "-o", tmp_path / "out"]
    arguments += ["-d", detector_folder, "-s", "1"]
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = subprocess.Popen(
            [sys.executable, gather_examples.__file__, *map(str, arguments)],
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


def test_pickles_of_the_trainings_own_labels_are_small(trained):
    content = (trained / "le.pickle").read_bytes()
    assert len(content) < 1000
    assert pickle.loads(content).margin == 0
