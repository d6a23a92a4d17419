import csv
import json
import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import liveness_demo
from pyimagesearch import outputs
from pyimagesearch.backend import keras
from pyimagesearch.classifier import Prediction
from pyimagesearch.faces import DetectorPool, Face, detect_in_frames
from pyimagesearch.inputs import Frame, open_frames
from pyimagesearch.labels import load_labels, save_labels
from pyimagesearch.video import read_image
from pyimagesearch.window import TITLE

import av
import cv2
import keras_2
import numpy as np
import pytest
from conftest import NEEDS_RES10, read_all, run_ffmpeg, start_screen, write_video
from sklearn.preprocessing import LabelEncoder


@pytest.fixture
def demo(trained, detector_folder, capsys):
    """Run the command; returns its status, stdout and stderr."""

    def run(source, *options, model="liveness.model", le="le.pickle"):
        arguments = ["-m", trained / model, "-l", trained / le, "-d", detector_folder]
        arguments += ["-i", source, *options]
        status = liveness_demo.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def count_color(image, color):
    return (np.abs(image.astype(int) - color).max(axis=2) < 60).sum()


def test_a_video_comes_out_labelled(demo, videos, tmp_path):
    out = tmp_path / "labelled" / "out.mp4"
    status, text, _ = demo(videos / "real.mp4", "-o", out, "--no-display")
    assert status == 0
    assert "120 frames in" in text
    assert f"wrote {out}" in text
    before, after = read_all(videos / "real.mp4"), read_all(out)
    assert len(after) == len(before) == 120
    assert after[0].shape == before[0].shape
    drawn = [outputs.GREEN, outputs.RED]
    for old, new in zip(before[::20], after[::20], strict=True):
        added = [count_color(new, c) - count_color(old, c) for c in drawn]
        assert max(added) > 500
    assert cv2.VideoCapture(str(out)).get(cv2.CAP_PROP_FPS) == pytest.approx(30, abs=1)


def test_an_unreadable_video_is_one_line_before_any_output_is_made(demo, tmp_path):
    (tmp_path / "text.mp4").write_text("I am no video")
    outputs = ["-o", tmp_path / "out.mp4", "--log", tmp_path / "log.csv"]
    status, _, error = demo(tmp_path / "text.mp4", *outputs, "--no-display")
    assert status == 1
    assert "text.mp4: neither an image nor a video that can be read" in error
    assert len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]


def test_an_image_comes_out_labelled(demo, group_photo, tmp_path):
    out = tmp_path / "out.png"
    status, text, _ = demo(group_photo, "--output", out, "--no-display")
    assert status == 0
    assert "1 frame in" in text
    assert read_image(out).shape == (1080, 1920, 3)
    assert not np.array_equal(read_image(out), read_image(group_photo))


def make_frame(number=1, source="a", shape=(90, 90, 3)):
    return Frame(np.zeros(shape, np.uint8), source, number, (number - 1) / 25)


def predict(face, label, score=0.9, probability=0.9, crop=None):
    rows = np.array([1 - score, score])
    return Prediction(face, label, score, probability, rows, 1, crop)


class FixedDetectors:
    """Stand for a DetectorPool that finds one face in each image."""

    def detect(self, image):
        return FACES[:1], 0


class FixedClassifier:
    """Stands for a FaceClassifier that gives each face of an image its label."""

    def __init__(self, *labels):
        self.labels, self.resets, self.seen = labels, 0, []

    def reset(self):
        self.resets += 1

    def refresh(self):
        return ""

    def classify(self, image, faces, seconds):
        self.seen.append(seconds)
        return [
            predict(face, label, crop=image[face.top : face.bottom])
            for face, label in zip(faces, self.labels, strict=True)
        ]


FACES = [Face(10 * i, 10, 10 * i + 8, 30, 0.9) for i in range(4)]


class Shown(list):
    """A sink that remembers what it is shown, and ends it after so many frames."""

    def __init__(self, most=99):
        super().__init__()
        self.most = most

    def __call__(self, frame, predictions):
        self.append((frame, predictions))
        return len(self) < self.most


def test_only_real_faces_are_recognized(monkeypatch):
    crops = []
    monkeypatch.setattr(
        liveness_demo, "recognize", lambda crop: crops.append(crop.copy()) or "Ada"
    )
    classifier = FixedClassifier("real", "fake", "unsure", "real")
    shown, counts = Shown(), Counter()
    liveness_demo.label_frames([(make_frame(), FACES, 0)], classifier, [shown], counts)
    ((_, predictions),) = shown
    assert [face.name for face in predictions] == ["Ada", "", "", "Ada"]
    assert [crop.shape for crop in crops] == [(20, 90, 3)] * 2
    assert counts == {"frames": 1, "real": 2, "fake": 1, "unsure": 1}


def test_a_new_source_resets_the_classifier():
    frames = [make_frame(1), make_frame(2), make_frame(1, "b"), make_frame(1)]
    classifier = FixedClassifier()
    detected = [(frame, [], 0) for frame in frames]
    liveness_demo.label_frames(detected, classifier, [], Counter())
    assert classifier.resets == 3
    assert classifier.seen == [frame.time for frame in frames]


@pytest.mark.parametrize("live", [True, False])
def test_a_new_network_is_never_used_within_a_file(live):
    class Refreshing(FixedClassifier):
        refreshed = 0

        def refresh(self):
            self.refreshed += 1
            return f"network {self.refreshed}"

    frames = [make_frame(1), make_frame(2), make_frame(1, "b"), make_frame(2, "b")]
    detected = [(frame, [], 0) for frame in frames]
    said = []
    liveness_demo.label_frames(
        detected, Refreshing(), [], Counter(), live=live, says=[said.append]
    )
    assert len(said) == (4 if live else 2)


def test_stale_frames_are_shown_but_neither_classified_nor_counted():
    fresh = make_frame()
    frames = [fresh, fresh._replace(stale=0.5), fresh._replace(stale=9.0)]
    shown, counts, classifier = Shown(), Counter(), FixedClassifier("real")
    searched = detect_in_frames(frames, FixedDetectors(), ahead=False)
    liveness_demo.label_frames(searched, classifier, [shown], counts, live=True)
    assert [len(predictions) for _, predictions in shown] == [1, 0, 0]
    assert [frame.stale for frame, _ in shown] == [0.0, 0.5, 9.0]
    assert counts == {"frames": 1, "real": 1}
    assert len(classifier.seen) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-i", "missing.mp4"], "missing.mp4: no such file"),
        (["-m", "missing.model"], "no model missing.model; run train.py first"),
        (["-l", "missing.pickle"], "no labels missing.pickle; run train.py first"),
        (["-d", "missing"], "no face detector in missing"),
        (["-o", "out.gif"], "out.gif"),
        (["--log", "l.txt"], "l.txt: its name must end in .csv or .jsonl"),
        (["-o", "out.png"], "the name must end in one of .mkv .mov .mp4"),
    ],
)
def test_user_errors_exit_1_with_one_line(options, reason, demo, videos):
    status, _, error = demo(videos / "real.mp4", "--no-display", *options)
    assert status == 1
    assert reason in error
    assert len(error.splitlines()) == 1


def test_without_a_network_one_line_says_how_to_get_one(
    demo, videos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    files = ["-m", "new.model", "-l", "new.pickle", "--no-display"]
    status, _, error = demo(videos / "real.mp4", *files)
    assert status == 1
    assert error.startswith("[ERROR] no network new.model: gather crops and run train")
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_model_the_exported_one_is_taken(
    trained, detector_folder, group_photo, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("liveness.onnx", "le.pickle"):
        shutil.copy(trained / name, name)
    options = ["-d", str(detector_folder), "-i", str(group_photo), "--no-display"]
    assert liveness_demo.main(options) == 0
    assert liveness_demo.parse_args([]).model == Path("liveness.onnx")
    assert liveness_demo.parse_args(["-m", "a.model"]).model == Path("a.model")
    shutil.copy(trained / "liveness.model", "liveness.model")
    assert liveness_demo.parse_args([]).model == Path("liveness.model")


@pytest.mark.parametrize("files", [[], ["-m", "new.model", "-l", "new.pickle"]])
@pytest.mark.parametrize("options", [["--no-display"], []])
def test_collecting_without_a_window_is_refused_with_the_command_that_needs_none(
    files, options, demo, videos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(liveness_demo, "has_display", lambda: False)
    collect = ["--collect", "my dataset"]
    status, _, error = demo(videos / "real.mp4", *files, *collect, *options)
    assert (status, len(error.splitlines())) == (1, 1)
    words = shlex.split(error)
    expected = ["--input", "0", "--output", str(Path("my dataset", "real"))]
    assert words[-4:] == expected
    assert words[-5].endswith("gather_examples.py")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-l", "new.pickle"], "no labels new.pickle"),
        (["-m", "new.model"], "no model new.model"),
        (
            ["-m", "new.model", "-l", "new.pickle", "--log", "a.csv"],
            "nothing to log",
        ),
    ],
)
def test_one_file_of_a_network_or_a_log_without_one_is_an_error(
    options, reason, demo, videos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(liveness_demo, "has_display", lambda: True)
    status, _, error = demo(videos / "real.mp4", *options, "--collect", "dataset")
    assert (status, len(error.splitlines())) == (1, 1)
    assert reason in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(300)
def test_from_nothing_to_a_network_in_one_window(
    screen, camera_server, carphone, detector_folder, start_demo, tmp_path
):
    """A camera, the window's keys, a training beside it, and then labels."""
    views = [cv2.resize(image, (640, 480)) for image in read_all(carphone)[::40]]
    replays = [cv2.GaussianBlur(view, (0, 0), 6) // 2 + 110 for view in views]
    folder, files = tmp_path / "my dataset", ["-m", "liveness.onnx", "-l", "le.pickle"]
    options = [*files, "-i", camera_server.url, "--collect", folder.name]
    process = start_demo(*options, "-d", detector_folder, cwd=tmp_path)
    screen.find(TITLE)
    for key, name, images in (("r", "real", views), ("f", "fake", replays)):
        for image in images:
            camera_server.show(image)
            saved = len(list(folder.rglob("*.png")))
            while len(list(folder.rglob("*.png"))) == saved:
                screen.act(TITLE, key)
                threading.Event().wait(0.5)  # pressed too often, keys queue up
                assert process.poll() is None
        assert len(list((folder / name).glob("*.png"))) >= 3
    command = ["--dataset", folder.name, "--export", "liveness.onnx"]
    script = liveness_demo.__file__.replace("liveness_demo", "train")
    options = [*command, "--folds", "1", "--epochs", "20"]
    subprocess.run([sys.executable, script, *options], cwd=tmp_path, check=True)
    for line in process.stdout:
        if "using the new network" in line:
            break
    wait_for_label(screen, process)
    screen.act(TITLE, "q")
    rest, _ = process.communicate()
    assert process.returncode == 0
    assert "without a label" in rest
    words = shlex.split(rest.splitlines()[-1])
    assert words[:2] == ["[INFO]", "next:"]
    assert sorted(words[-4:]) == sorted(command)


def test_a_video_without_faces_is_no_error(demo, tmp_path):
    path = tmp_path / "blank.avi"
    write_video(path, [np.zeros((64, 64, 3), np.uint8)] * 3)
    status, text, _ = demo(path, "--no-display")
    assert status == 0
    assert "3 frames" in text
    assert "faces: none" in text


def test_without_a_display_no_window_is_opened(demo, group_photo, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if sys.platform != "linux":
        pytest.skip("a display can be missing on Linux only")
    status, _, error = demo(group_photo)
    assert status == 0
    assert "no display" in error


@pytest.mark.skipif(sys.platform != "linux", reason="a display is never missing there")
def test_a_display_that_does_not_answer_costs_no_output(
    carphone, trained, detector_folder, tmp_path
):
    """Qt would abort the process after the work has begun."""
    arguments = ["-m", trained / "liveness.onnx", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", carphone, "-o", tmp_path / "out.mp4"]
    done = subprocess.run(
        [sys.executable, liveness_demo.__file__, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"DISPLAY": ":997"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == (
        "[WARN] there is no display, so no window is opened"
    )
    assert len(read_all(tmp_path / "out.mp4")) == 120


def read_times(path):
    return [frame.time for frame in open_frames(str(path))]


PAUSE = "setpts='if(lt(N,25),PTS,PTS+150/TB)'"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("slow.mov", ["-c:v", "libx264", "-r", "211.222"]),
        ("odd.mkv", ["-c:v", "ffv1", "-r", "200/3", "-vf", "scale=531:433"]),
        ("pause.mkv", ["-c:v", "libx264", "-fps_mode", "passthrough", "-vf", PAUSE]),
        ("browser.webm", ["-c:v", "libvpx", "-live", "1"]),
    ],
)
def test_a_labelled_video_has_its_sources_frames_and_times(
    name, options, demo, videos, tmp_path
):
    source, out = tmp_path / name, tmp_path / "out.mp4"
    run_ffmpeg("-i", videos / "real.mp4", "-t", 2, *options, source)
    if name == "browser.webm":  # a MediaRecorder gives no DefaultDuration
        content = source.read_bytes()
        place = content.index(b"\x23\xe3\x83\x84")
        source.write_bytes(
            content[:place] + b"\xec\x86" + bytes(6) + content[place + 8 :]
        )
    assert demo(source, "-o", out, "--no-display")[0] == 0
    assert read_times(out) == pytest.approx(read_times(source), abs=0.001)
    with av.open(str(out)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        assert (codec.width % 2, codec.height % 2) == (0, 0)


@pytest.fixture
def start_demo():
    """Start the command in a process of its own; ends it if the test does not."""
    with ExitStack() as stack:

        def start(*arguments, cwd=None):
            process = subprocess.Popen(
                [sys.executable, liveness_demo.__file__, *map(str, arguments)],
                cwd=cwd,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def screen():
    """A virtual screen of its own, without windows of earlier tests."""
    with start_screen() as screen:
        yield screen


def read_image_of(camera):
    return cv2.imdecode(np.frombuffer(camera.jpeg, np.uint8), cv2.IMREAD_COLOR)


def wait_for_label(screen, process):
    screen.find(TITLE)
    while not any(
        count_color(screen.screenshot(), color) > 500
        for color in (outputs.GREEN, outputs.RED)
    ):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)  # the process needs the cores


@pytest.mark.timeout(300)
def test_the_window_shows_the_labels_and_q_ends_it(
    screen, group_photo, trained, detector_folder, start_demo
):
    arguments = ["-m", trained / "liveness.model", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", group_photo]
    process = start_demo(*arguments)
    wait_for_label(screen, process)
    screen.act(TITLE, "q")
    assert process.wait() == 0
    with process.stdout as out:
        assert "1 frame in" in out.read()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", [[], ["--reconnect"]])
def test_a_stream_that_stops_is_shown_grey_and_q_ends_it(
    options, screen, camera_server, trained, detector_folder, start_demo
):
    image = cv2.resize(read_image_of(camera_server), (640, 480))
    camera_server.show(image)
    arguments = ["-m", trained / "liveness.onnx", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", camera_server.url, *options]
    process = start_demo(*arguments)
    wait_for_label(screen, process)
    camera_server.stalled.set()
    while np.ptp(screen.screenshot()[:400, :600], axis=2).max() > 0:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)  # the process needs the cores
    screen.act(TITLE, "q")
    out, _ = process.communicate()
    assert process.returncode == 0
    assert re.search(r"[1-9]\d* frames in", out)


@pytest.mark.timeout(300)
def test_a_stream_that_never_comes_is_waited_for_until_q(
    screen, camera_server, trained, detector_folder, start_demo
):
    camera_server.stalled.set()
    arguments = ["-m", trained / "liveness.onnx", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", camera_server.url, "--reconnect"]
    process = start_demo(*arguments)
    screen.find(TITLE)
    while not screen.screenshot()[450:520, :600].any():  # what it waits for
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    screen.act(TITLE, "q")
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "0 frames in" in out


def test_the_loop_ends_when_a_sink_returns_false():
    for most in (2, 99):
        first, second = Shown(most), Shown()
        detected = [(make_frame(), [], 0)] * 3
        classifier, sinks = FixedClassifier(), [first, second]
        ended = liveness_demo.label_frames(detected, classifier, sinks, Counter())
        assert ended == (most == 2)
        assert len(first) == len(second) == (2 if ended else 3)


def test_the_output_of_a_folder_is_a_folder(demo, carphone, group_photo, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(carphone.read_bytes())
    (folder / "b.jpg").write_bytes(group_photo.read_bytes())
    status, text, _ = demo(folder, "-o", tmp_path / "out", "--no-display")
    assert status == 0
    assert "121 frames" in text
    assert len(read_all(tmp_path / "out" / "a.mp4")) == 120
    assert read_image(tmp_path / "out" / "b.png").shape == (1080, 1920, 3)


def test_the_input_is_never_overwritten(demo, carphone, tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(carphone.read_bytes())
    for source, reason in (
        (video, "that is the input; name another file"),
        (tmp_path, f"is inside --input {tmp_path}"),
    ):
        status, _, error = demo(source, "-o", source, "--no-display")
        assert status == 1
        assert reason in error
    assert video.read_bytes() == carphone.read_bytes()


def test_an_output_that_cannot_be_written_costs_its_file(demo, carphone, tmp_path):
    title, out = "t" * 245, tmp_path / "out"
    for name in (f"{title}.mp4", "blocked/a.mp4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(carphone.read_bytes())
    out.mkdir()
    (out / "blocked").touch()
    status, said, error = demo(tmp_path / "in", "-o", out, "--no-display")
    assert status == 0
    assert "out/blocked/a.mp4: cannot be written: " in error
    assert "120 frames in" in said
    (film,) = out.glob("*.mp4")
    long = tmp_path / ("o" * 252 + ".mp4")
    assert film.name.startswith("ttt")
    status, said, error = demo(carphone, "-o", long, "--no-display")
    assert status == 1
    assert f"{long}: File name too long" in error
    assert "frames in" not in said


def test_the_output_of_a_folder_must_be_a_folder_outside_it(
    demo, group_photo, tmp_path
):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(group_photo.read_bytes())
    for output, reason in (
        (tmp_path / "out.flv", "the output of a folder is a folder"),
        (tmp_path / "in" / "out", "so the next run would read it"),
    ):
        status, _, error = demo(tmp_path / "in", "-o", output, "--no-display")
        assert status == 1
        assert reason in error
        assert not output.exists()


def test_an_output_may_not_be_another_file_of_the_command(demo, trained, group_photo):
    before = (trained / "liveness.model").read_bytes()
    status, _, error = demo(group_photo, "-o", trained / "liveness.model")
    assert status == 1
    assert "--model and --output are the same file" in error
    assert (trained / "liveness.model").read_bytes() == before


def test_swapped_model_and_labels_are_recognized(demo, trained, group_photo):
    for model in ("liveness.model", "liveness.onnx"):
        status, _, error = demo(group_photo, model="le.pickle", le=model)
        assert status == 1
        assert "are --model and --le swapped?" in error


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_the_log_has_a_line_for_every_face(name, demo, group_photo, tmp_path):
    for _ in range(2):  # a second run adds to the first
        status, _, _ = demo(group_photo, "--log", tmp_path / name, "--no-display")
        assert status == 0
    lines = (tmp_path / name).read_text().splitlines()
    if name.endswith("csv"):
        rows = list(csv.DictReader(lines))
    else:
        rows = [json.loads(line) for line in lines]
    assert len(rows) == 10
    assert rows[:5] == rows[5:]
    for track, row in enumerate(rows[:5], start=1):
        row = {
            key: float(value) if key.startswith("p_") else value
            for key, value in row.items()
        }
        assert row["source"] == "face_detection_input"
        assert int(row["track"]) == track
        assert row["p_fake"] + row["p_real"] == pytest.approx(1, abs=1e-5)
        assert float(row["score"]) == row["p_real"]
        assert row["decision"] == ("real" if row["p_real"] >= 0.5 else "fake")
        assert 0 <= int(row["left"]) < int(row["right"]) <= 1920


@pytest.mark.parametrize(
    ("thresholds", "decisions"),
    [([0], {"real"}), ([1], {"fake"}), ([0, 1], {"unsure"})],
)
def test_the_threshold_decides(thresholds, decisions, demo, videos, tmp_path):
    log = tmp_path / "log.jsonl"
    options = ["--log", log, "--no-display", "--threshold", *thresholds]
    assert demo(videos / "fake.mp4", *options)[0] == 0
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows) > 100
    assert {row["decision"] for row in rows if row["score"] < 1} == decisions


def copy_as_keras(trained, folder):
    path = folder / "liveness.keras"
    path.write_bytes((trained / "liveness.model").read_bytes())
    return path


def test_every_kind_of_model_gives_the_same_decisions(
    demo, trained, detector_folder, videos, group_photo, tmp_path
):
    """On frames with none, one and five faces, of the same detector."""
    plain = keras.models.load_model(copy_as_keras(trained, tmp_path), compile=False)
    keras_2.write_hdf5(plain, tmp_path / "tutorials.model")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "one.mp4").write_bytes((videos / "fake.mp4").read_bytes())
    (folder / "five.jpg").write_bytes(group_photo.read_bytes())
    assert cv2.imwrite(str(folder / "none.png"), np.zeros((90, 90, 3), np.uint8))
    rows = {}
    encoder = LabelEncoder().fit(["real", "fake"])
    (tmp_path / "tutorials.pickle").write_bytes(pickle.dumps(encoder))
    pairs = {
        "liveness.model": "le.pickle",
        "liveness.onnx": "le.pickle",
        tmp_path / "tutorials.model": tmp_path / "tutorials.pickle",
    }
    for model, le in pairs.items():
        log = tmp_path / f"{len(rows)}.jsonl"
        options = ["-d", next(detector_folder.glob("*.onnx")), "--log", log]
        status, _, error = demo(folder, "--no-display", *options, model=model, le=le)
        assert status == 0, error
        rows[model] = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows["liveness.model"]) >= 125
    for one, *others in zip(*rows.values(), strict=True):
        for other in others:
            assert one["decision"] == other["decision"]
            assert one["p_real"] == pytest.approx(other["p_real"], abs=1e-4)


@NEEDS_RES10
def test_yunet_finds_the_faces_unless_res10_is_named(
    trained, group_photo, tmp_path, monkeypatch, capsys
):
    """Also with a label file of an older version, trained on the crops of res10."""
    monkeypatch.chdir(tmp_path)  # the detectors are found from anywhere
    encoder = pickle.loads((trained / "le.pickle").read_bytes())
    encoder.detector = "res10"
    (tmp_path / "le.pickle").write_bytes(pickle.dumps(encoder))
    image = read_image(group_photo)
    arguments = ["-m", trained / "liveness.onnx", "-i", group_photo, "--no-display"]
    for options, name in (([], "yunet"), (["-d", "res10"], "res10")):
        log = tmp_path / f"{name}.jsonl"
        words = [*arguments, "--log", log, *options]
        assert liveness_demo.main([str(word) for word in words]) == 0
        assert capsys.readouterr().err == ""
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        faces, _ = DetectorPool(Path(name)).detect(image)
        assert [row["left"] for row in rows] == [face.left for face in faces]


def test_model_and_labels_of_different_trainings_are_refused(
    demo, trained, videos, tmp_path
):
    labels = load_labels(trained / "le.pickle")
    save_labels(labels._replace(model_sha256="0" * 64), tmp_path / "le.pickle")
    status, _, error = demo(
        videos / "real.mp4", "--no-display", le=tmp_path / "le.pickle"
    )
    assert status == 1
    assert "are of different trainings; use two files of one" in error


def test_onnx_needs_neither_tensorflow_nor_scikit_learn(
    trained, detector_folder, group_photo
):
    program = (
        "import sys, liveness_demo\n"
        "status = liveness_demo.main(sys.argv[1:])\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib', 'tqdm'}\n"
        "heavy.add('av')  # which reads and writes videos\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "raise SystemExit(status)\n"
    )
    arguments = ["-m", trained / "liveness.onnx", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", group_photo, "--no-display"]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "1 frame in" in done.stdout


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
@pytest.mark.timeout(300)
def test_when_interrupted_the_video_plays_and_the_log_is_whole(
    number, status, trained, detector_folder, videos, tmp_path, start_demo
):
    out, log = tmp_path / "out.mp4", tmp_path / "log.jsonl"
    arguments = ["-m", trained / "liveness.onnx", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", videos / "real.mp4", "-o", out]
    arguments += ["--log", log, "--no-display"]
    process = start_demo(*arguments)
    while not log.exists() or log.read_bytes().count(b"\n") < 10:
        assert process.poll() is None
    process.send_signal(number)
    text, _ = process.communicate()
    assert process.returncode == status
    assert "frames in" in text
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert 10 <= len(rows) < 120
    # The last frame may be logged but not written yet.
    assert len(rows) - 1 <= len(read_all(out)) <= len(rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "out.mp4"]


@pytest.mark.parametrize("action", ["Escape", "close"])
@pytest.mark.timeout(300)
def test_closing_the_window_ends_a_video(
    action, screen, trained, detector_folder, videos, start_demo, tmp_path
):
    long = read_all(videos / "real.mp4") * 40  # to be seen before it is over
    write_video(tmp_path / "long.mp4", long)
    arguments = ["-m", trained / "liveness.onnx", "-l", trained / "le.pickle"]
    log = tmp_path / "log.csv"
    arguments += ["-d", detector_folder, "-i", tmp_path / "long.mp4", "--log", log]
    process = start_demo(*arguments)
    while not log.exists() or len(log.read_bytes().splitlines()) < 3:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    screen.act(TITLE, action)
    text, _ = process.communicate()
    assert process.returncode == 0
    frames = int(re.search(r"(\d+) frames in", text)[1])
    assert 0 < frames < len(long)


def test_a_missing_camera_is_one_line_and_leaves_no_thread(demo):
    before = threading.active_count()
    status, _, error = demo("97", "--no-display")
    assert status == 1
    assert "camera 97 gives no picture" in error
    assert threading.active_count() == before
