import csv
import json
import re
import signal
import subprocess
import sys
import threading
from collections import Counter

import liveness_demo
from pyimagesearch.artifacts import Labels, Network
from pyimagesearch.faces import Face, detect_faces
from pyimagesearch.frames import Frame, read_image
from pyimagesearch.outputs import TITLE

import cv2
import numpy as np
import pytest
from conftest import read_all


@pytest.fixture
def demo(trained, detector_folder, capsys):
    """Run the command; returns its status, stdout and stderr."""

    def run(source, *options, model="liveness.model", le="le.pickle"):
        arguments = ["-m", trained / model, "-l", trained / le, "-d", detector_folder]
        arguments += ["-i", source, *options]
        status = liveness_demo.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def count_colour(image, color):
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
    drawn = [liveness_demo.GREEN, liveness_demo.RED]
    for old, new in zip(before[::20], after[::20], strict=True):
        added = [count_colour(new, c) - count_colour(old, c) for c in drawn]
        assert max(added) > 500
    assert cv2.VideoCapture(str(out)).get(cv2.CAP_PROP_FPS) == pytest.approx(30, abs=1)


def test_an_image_comes_out_labelled(demo, group_photo, tmp_path):
    out = tmp_path / "out.png"
    status, text, _ = demo(group_photo, "--output", out, "--no-display")
    assert status == 0
    assert "1 frames" in text
    assert read_image(out).shape == (1080, 1920, 3)
    assert not np.array_equal(read_image(out), read_image(group_photo))


class FixedNetwork:
    def __init__(self, *rows):
        self.rows = np.array(rows, np.float32)
        self.calls = []

    def predict(self, batch):
        self.calls.append(batch.shape)
        return self.rows[: len(batch)]


def make_judge(fixed, classes=("fake", "real"), **options):
    network = Network(fixed.predict, height=32, width=32, classes=len(classes))
    return liveness_demo.Judge(network, Labels(list(classes)), **options)


def make_frame(image, number=1, source="a"):
    return Frame(image.copy(), source, number, (number - 1) / 25, 25.0)


def test_all_faces_go_into_one_call_and_only_real_ones_are_recognized(
    detector, group_photo, monkeypatch
):
    fixed = FixedNetwork([0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.7, 0.3])
    crops = []
    monkeypatch.setattr(
        liveness_demo, "recognize", lambda crop: crops.append(crop) or "Ada"
    )
    frame = make_frame(read_image(group_photo))
    verdicts = make_judge(fixed)(frame, detect_faces(detector, frame.image)[0])
    assert fixed.calls == [(5, 32, 32, 3)]
    found = [(v.label, round(v.probability, 1), v.name) for v in verdicts]
    assert found == [
        ("real", 0.9, "Ada"),
        ("fake", 0.8, None),
        ("real", 0.7, "Ada"),
        ("fake", 0.6, None),
        ("fake", 0.7, None),
    ]
    assert [v.track for v in verdicts] == [1, 2, 3, 4, 5]
    for crop, face in zip(crops, [verdicts[0].face, verdicts[2].face], strict=True):
        assert crop.shape == (face.bottom - face.top, face.right - face.left, 3)


def test_scores_are_averaged_and_the_hook_gets_the_smoothed_decision(
    detector, group_photo, monkeypatch
):
    calls = []
    monkeypatch.setattr(liveness_demo, "recognize", lambda crop: calls.append(1))
    image = read_image(group_photo)
    faces, _ = detect_faces(detector, image, confidence=0.98)
    for smooth, expected in ((0, [0.9, 0.1, 0.9]), (1, [0.9, 0.5, 1.9 / 3])):
        calls.clear()
        fixed = FixedNetwork()
        judge = make_judge(fixed, smooth=smooth)
        scores, labels = [], []
        for number, p in enumerate([0.9, 0.1, 0.9], start=1):
            fixed.rows = np.array([[1 - p, p]] * 5, np.float32)
            verdicts = judge(make_frame(image, number), faces)
            assert verdicts[0].probabilities[1] == np.float32(p)
            scores.append(verdicts[0].score)
            labels.append(verdicts[0].label)
        assert scores == pytest.approx(expected)
        assert len(calls) == labels.count("real") * len(verdicts)
    # Another video begins: nothing is left of the last one.
    assert judge(make_frame(image, 1, "b"), faces)[0].track == 1


def test_no_face_calls_nothing():
    fixed = FixedNetwork()
    assert make_judge(fixed)(make_frame(np.zeros((90, 90, 3), "u1")), []) == []
    assert fixed.calls == []


@pytest.mark.parametrize(
    ("probabilities", "thresholds", "expected"),
    [
        ([0.5, 0.5], (0.5, 0.5), ("real", 0.5)),
        ([0.6, 0.4], (0.5, 0.5), ("fake", 0.6)),
        ([0.4, 0.6], (0.7, 0.7), ("fake", 0.4)),
        ([0.4, 0.6], (0.3, 0.7), ("unsure", 0.6)),
        ([0.3, 0.7], (0.3, 0.7), ("real", 0.7)),
        ([0.71, 0.29], (0.3, 0.7), ("fake", 0.71)),
    ],
)
def test_thresholds(probabilities, thresholds, expected):
    label, score, probability = liveness_demo.decide(
        np.array(probabilities), ["fake", "real"], thresholds
    )
    assert (label, probability) == expected
    assert score == probabilities[1]


def test_several_kinds_of_attack_and_no_class_named_real():
    three = np.array([0.35, 0.25, 0.4])
    decide = liveness_demo.decide
    assert decide(three, ["mask", "print", "real"], (0.5, 0.5))[0] == "mask"
    assert decide(three, ["real", "mask", "print"], (0.3, 0.3))[0] == "real"
    assert decide(three, ["a", "b", "c"], (0.5, 0.5)) == ("c", 0.4, 0.4)


@pytest.mark.parametrize("size", [(90, 130), (480, 600), (1080, 1920)])
@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)])
def test_labels_stay_inside_the_picture(size, place):
    """What is drawn must be the same as on a larger picture, so that nothing is cut."""
    height, width = size
    side = height // 3
    top, left = round(place[0] * (height - side)), round(place[1] * (width - side))
    face = Face(left, top, left + side, top + side, 1.0)
    verdict = liveness_demo.Verdict(face, None, 1, "fake", 0.01235, 0.98765)
    image = np.zeros((height, width, 3), np.uint8)
    liveness_demo.draw(image, [verdict])
    zoom = max(1.0, width / 600)
    text_size, _ = cv2.getTextSize(
        "fake: 0.9876", cv2.FONT_HERSHEY_SIMPLEX, 0.5 * zoom, round(zoom)
    )
    white = np.argwhere((image > 250).all(axis=2))
    extent = white.max(axis=0) - white.min(axis=0)
    assert extent[1] > 0.9 * text_size[0]
    assert extent[0] > 0.8 * text_size[1]


def test_the_tutorials_and_ours_hdf5_and_labels_must_fit(
    demo, videos, trained, tmp_path, capsys
):
    from pyimagesearch.artifacts import save_labels

    from sklearn.preprocessing import LabelEncoder

    save_labels(LabelEncoder().fit(["fake", "mask", "real"]), tmp_path / "three")
    status, _, error = demo(videos / "real.mp4", "--no-display", le=tmp_path / "three")
    assert status == 1
    assert "tells 2 classes apart" in error
    assert "names 3" in error


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-i", "missing.mp4"], "missing.mp4: no such file"),
        (["-m", "missing.model"], "no model missing.model; run train.py first"),
        (["-l", "missing.pickle"], "no labels missing.pickle; run train.py first"),
        (["-d", "missing"], "no face detector in missing"),
        (["-o", "out.gif"], "out.gif"),
        (["-o", "out.png"], "its name must end in one of .avi .mkv .mov .mp4 .webm"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_1(options, reason, demo, videos):
    status, _, error = demo(videos / "real.mp4", "--no-display", *options)
    assert status == 1
    assert reason in error
    assert len(error.splitlines()) == 1


def test_a_video_without_faces_goes_through(demo, tmp_path):
    path = tmp_path / "blank.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 64))
    for _ in range(3):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
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


def wait_for_label(screen):
    screen.find(TITLE)
    while not any(
        count_colour(screen.screenshot(), color) > 500
        for color in (liveness_demo.GREEN, liveness_demo.RED)
    ):
        pass


@pytest.mark.timeout(120)
def test_the_window_shows_the_labels_and_q_ends_it(
    screen, group_photo, trained, detector_folder
):
    arguments = ["-m", trained / "liveness.model", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", group_photo]
    process = subprocess.Popen(
        [sys.executable, liveness_demo.__file__, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for_label(screen)
    screen.act(TITLE, "q")
    assert process.wait() == 0
    with process.stdout as out:
        assert "1 frames" in out.read()


def test_outputs_end_the_loop():
    def count(*answers):
        answers, counts = iter(answers), Counter()
        searched = [(make_frame(np.zeros((9, 9, 3), np.uint8)), [], 0)] * 3
        outputs = [lambda frame: next(answers)]
        liveness_demo.label_frames(searched, lambda *_: [], outputs, None, counts)
        return counts["frames"]

    assert count(True, True, True) == 3
    assert count(True, False) == 2


def test_a_folder_comes_out_as_a_folder(demo, carphone, group_photo, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(carphone.read_bytes())
    (folder / "b.jpg").write_bytes(group_photo.read_bytes())
    status, text, _ = demo(folder, "-o", tmp_path / "out", "--no-display")
    assert status == 0
    assert "121 frames" in text
    assert len(read_all(tmp_path / "out" / "a.mp4")) == 120
    assert read_image(tmp_path / "out" / "b.png").shape == (1080, 1920, 3)


def test_the_input_is_never_written_over(demo, carphone, tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(carphone.read_bytes())
    for source in (video, tmp_path):
        status, _, error = demo(source, "-o", source, "--no-display")
        assert status == 1
        assert "that is the input" in error
    assert video.read_bytes() == carphone.read_bytes()


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


def test_the_log_refuses_other_names_and_columns(demo, group_photo, tmp_path):
    status, _, error = demo(group_photo, "--log", tmp_path / "l.txt", "--no-display")
    assert status == 1
    assert "must end in .csv or .jsonl" in error
    (tmp_path / "l.csv").write_text("other,columns\n")
    status, _, error = demo(group_photo, "--log", tmp_path / "l.csv", "--no-display")
    assert status == 1
    assert "with other columns" in error
    assert (tmp_path / "l.csv").read_text() == "other,columns\n"


def test_a_report_hands_over_its_threshold(demo, group_photo, tmp_path):
    report, log = tmp_path / "report.json", tmp_path / "log.jsonl"
    report.write_text('{"development_threshold": 1.0}')
    options = ["--log", log, "--no-display", "--report", report]
    assert demo(group_photo, *options)[0] == 0
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert {row["decision"] for row in rows if row["score"] < 1} <= {"fake"}
    for content in ("{}", "no json", '{"development_threshold": null}', "[]"):
        report.write_text(content)
        status, _, error = demo(group_photo, *options)
        assert status == 1
        assert "no report with a threshold" in error


@pytest.mark.parametrize("values", [["0.7", "0.3"], ["0.1", "0.2", "0.3"], ["2"]])
def test_wrong_thresholds_are_status_2(values, capsys):
    with pytest.raises(SystemExit) as end:
        liveness_demo.main(["--threshold", *values])
    assert end.value.code == 2


def test_both_kinds_of_network_decide_the_same(demo, videos, group_photo, tmp_path):
    """On frames with none, one and five faces."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "one.mp4").write_bytes((videos / "fake.mp4").read_bytes())
    (folder / "five.jpg").write_bytes(group_photo.read_bytes())
    assert cv2.imwrite(str(folder / "none.png"), np.zeros((90, 90, 3), np.uint8))
    rows = {}
    for model in ("liveness.model", "liveness.onnx"):
        log = tmp_path / f"{model}.jsonl"
        assert demo(folder, "--no-display", "--log", log, model=model)[0] == 0
        rows[model] = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows["liveness.model"]) >= 125
    for one, other in zip(*rows.values(), strict=True):
        assert one["decision"] == other["decision"]
        assert one["p_real"] == pytest.approx(other["p_real"], abs=1e-4)


def test_onnx_needs_neither_tensorflow_nor_scikit_learn(
    trained, detector_folder, group_photo
):
    program = (
        "import sys, liveness_demo\n"
        "status = liveness_demo.main(sys.argv[1:])\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib', 'tqdm'}\n"
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
    assert "1 frames" in done.stdout


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
@pytest.mark.timeout(120)
def test_stopped_in_the_middle_the_video_plays_and_the_log_is_whole(
    number, status, trained, detector_folder, videos, tmp_path
):
    out, log = tmp_path / "out.mp4", tmp_path / "log.jsonl"
    arguments = ["-m", trained / "liveness.onnx", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", videos / "real.mp4", "-o", out]
    arguments += ["--log", log, "--no-display"]
    process = subprocess.Popen(
        [sys.executable, liveness_demo.__file__, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
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
@pytest.mark.timeout(120)
def test_the_window_ends_a_video_too(
    action, screen, trained, detector_folder, videos, tmp_path
):
    arguments = ["-m", trained / "liveness.onnx", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "-i", videos / "real.mp4"]
    process = subprocess.Popen(
        [sys.executable, liveness_demo.__file__, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for_label(screen)
    screen.act(TITLE, action)
    text, _ = process.communicate()
    assert process.returncode == 0
    frames = int(re.search(r"(\d+) frames in", text)[1])
    assert 0 < frames < 120


def test_a_camera_that_is_not_there_is_one_line_and_leaves_no_thread(demo):
    before = threading.active_count()
    status, _, error = demo("97", "--no-display")
    assert status == 1
    assert "camera 97 gives no picture" in error
    assert threading.active_count() == before
