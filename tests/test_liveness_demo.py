import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

import liveness_demo
from pyimagesearch.artifacts import Labels, Network
from pyimagesearch.faces import Face
from pyimagesearch.frames import read_image
from pyimagesearch.outputs import TITLE


@pytest.fixture
def demo(trained, detector_folder, capsys):
    """Run the command; returns its status, stdout and stderr."""

    def run(source, *options, model="liveness.model", le="le.pickle"):
        arguments = ["-m", trained / model, "-l", trained / le, "-d", detector_folder]
        arguments += ["-i", source, *options]
        status = liveness_demo.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def read_all(path):
    video = cv2.VideoCapture(str(path))
    images = []
    while (read := video.read())[0]:
        images.append(read[1])
    return images


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


def test_all_faces_go_into_one_call_and_only_real_ones_are_recognized(
    detector, group_photo, monkeypatch
):
    rows = [[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.5, 0.5]]
    fixed = FixedNetwork(*rows)
    network = Network(fixed.predict, height=32, width=32, classes=2)
    crops = []
    monkeypatch.setattr(
        liveness_demo, "recognize", lambda crop: crops.append(crop) or "Ada"
    )
    verdicts = liveness_demo.judge_faces(
        read_image(group_photo), detector, network, Labels(["fake", "real"]), 0.5
    )
    assert fixed.calls == [(5, 32, 32, 3)]
    found = [(v.label, round(v.probability, 1), v.name) for v in verdicts]
    assert found == [
        ("real", 0.9, "Ada"),
        ("fake", 0.8, None),
        ("real", 0.7, "Ada"),
        ("fake", 0.6, None),
        ("fake", 0.5, None),
    ]
    for crop, face in zip(crops, [verdicts[0].face, verdicts[2].face], strict=True):
        assert crop.shape == (face.bottom - face.top, face.right - face.left, 3)


def test_no_face_calls_nothing(detector):
    network = Network(None, height=32, width=32, classes=2)
    image = np.zeros((90, 90, 3), np.uint8)
    assert liveness_demo.judge_faces(image, detector, network, None, 0.5) == []


@pytest.mark.parametrize("size", [(90, 130), (480, 600), (1080, 1920)])
@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)])
def test_labels_stay_inside_the_picture(size, place):
    """What is drawn must be the same as on a larger picture, so that nothing is cut."""
    height, width = size
    side = height // 3
    top, left = round(place[0] * (height - side)), round(place[1] * (width - side))
    face = Face(left, top, left + side, top + side, 1.0)
    verdict = liveness_demo.Verdict(face, "fake", 0.98765, None)
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
    from sklearn.preprocessing import LabelEncoder

    from pyimagesearch.artifacts import save_labels

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
    assert "0 fake, 0 real" in text


def test_without_a_display_no_window_is_opened(demo, group_photo, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if sys.platform != "linux":
        pytest.skip("a display can be missing on Linux only")
    status, _, error = demo(group_photo)
    assert status == 0
    assert "no display" in error


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
    screen.find(TITLE)
    colored = 0
    while colored < 500:  # until it is drawn
        shot = screen.screenshot()
        colored = max(
            count_colour(shot, color)
            for color in (liveness_demo.GREEN, liveness_demo.RED)
        )
    screen.act(TITLE, "q")
    assert process.wait() == 0
    with process.stdout as out:
        assert "1 frames" in out.read()


def test_outputs_end_the_loop():
    frame = liveness_demo.Frame(np.zeros((9, 9, 3), np.uint8), "a", 1)

    def judge(_image):
        return []

    def count(*answers):
        answers = iter(answers)
        outputs = [lambda image: next(answers)]
        return liveness_demo.label_frames([frame] * 3, judge, outputs)["frames"]

    assert count(True, True, True) == 3
    assert count(True, False) == 2


def test_a_camera_that_is_not_there_is_one_line_and_leaves_no_thread(demo):
    before = threading.active_count()
    status, _, error = demo("97", "--no-display")
    assert status == 1
    assert "camera 97 gives no picture" in error
    assert threading.active_count() == before
