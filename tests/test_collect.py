import re
import shutil
import subprocess
import sys
from collections import Counter

import gather_examples
import liveness_demo
import train
from pyimagesearch import collect
from pyimagesearch.classifier import Prediction
from pyimagesearch.collect import Collector, name_keys
from pyimagesearch.dataset import load_dataset
from pyimagesearch.faces import Face
from pyimagesearch.frames import Frame
from pyimagesearch.images import read_image
from pyimagesearch.labels import Labels
from pyimagesearch.manifest import read_manifest
from pyimagesearch.outputs import TITLE

import numpy as np
import pytest

LABELS = Labels(["fake", "real"])
LARGE, SMALL = Face(0, 0, 40, 40, 0.9), Face(50, 50, 70, 70, 0.9)


def frame_of(number, source="camera"):
    image = np.random.default_rng(number).integers(0, 256, (90, 90, 3), np.uint8)
    return Frame(image, source, number, number / 25, 25.0)


def predict(box, label="real", score=0.9, track=1):
    return Prediction(
        box, label, score, score, np.array([1 - score, score]), track, None
    )


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so."""
    now = [100.0]
    monkeypatch.setattr(collect.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def open_collector(tmp_path):
    opened = []

    def open_collector(labels=LABELS, thresholds=(0.5, 0.5), by_key=True):
        folder = tmp_path / "dataset"
        opened.append(Collector(folder, labels, labels.detector, thresholds, by_key))
        return opened[-1]

    yield open_collector
    for collector in opened:
        collector.close()


def crops_in(folder):
    return sorted(path.name for path in folder.rglob("*.png"))


def test_every_class_has_a_key():
    assert name_keys(["fake", "real"]) == {"r": "real", "f": "fake"}
    assert name_keys(["print", "real", "replay"]) == {
        "r": "real",
        "f": "print",
        "1": "print",
        "2": "replay",
    }
    assert name_keys(["live", "spoof"]) == {"f": "live", "1": "live", "2": "spoof"}


def test_a_key_saves_the_crop_with_its_line(open_collector, clock, tmp_path):
    collector = open_collector(Labels(["fake", "real"], margin=0.5, detector="YuNet"))
    frame = frame_of(16)
    expected = frame.image[0:60, 0:60].copy()
    collector.see(frame, [predict(LARGE)])
    frame.image[:] = 0  # it is drawn onto
    collector.press(ord("f"))
    path = tmp_path / "dataset" / "fake" / "camera_000016.png"
    np.testing.assert_array_equal(read_image(path), expected)
    ((name, cut),) = read_manifest(path.parent).items()
    assert (name, *cut) == (path.name, "camera", 0.5, "YuNet", "")
    assert str(collector) == "real 0, fake 1"


def test_the_face_that_is_labelled_otherwise_is_taken_else_the_largest(
    open_collector, clock, tmp_path
):
    collector = open_collector()
    collector.see(frame_of(1), [predict(LARGE, "real"), predict(SMALL, "fake", 0.1, 2)])
    assert collector.target("r").box == SMALL
    assert collector.target("f").box == LARGE
    collector.press(ord("r"))
    assert crops_in(tmp_path) == ["camera_000001-2.png"]
    collector.see(frame_of(2), [predict(SMALL, "real", 0.9, 2), predict(LARGE, "real")])
    assert collector.target("r").box == LARGE
    collector.see(frame_of(3), [])
    assert collector.target("r") is None
    collector.press(ord("r"))
    assert len(crops_in(tmp_path)) == 1


def test_held_down_it_saves_five_a_second_each_of_another_frame(
    open_collector, clock, tmp_path
):
    collector = open_collector()
    for number in range(1, 31):  # one second of a camera of 30 frames
        collector.see(frame_of(number), [predict(LARGE)])
        collector.press(ord("r"))
        clock[0] += 1 / 30
    assert len(crops_in(tmp_path)) == 5
    clock[0] += 10  # a picture that stands still
    for _ in range(3):
        collector.press(ord("r"))
        clock[0] += 1
    assert len(crops_in(tmp_path)) == 6


def test_other_keys_do_nothing(open_collector, tmp_path):
    collector = open_collector()
    collector.see(frame_of(1), [predict(LARGE)])
    for key in (ord("x"), 13, 255, 0):
        collector.press(key)
    assert crops_in(tmp_path) == []


def test_a_disk_that_fills_up_is_said_and_the_rest_goes_on(
    open_collector, clock, tmp_path, monkeypatch, capsys
):
    collector = open_collector()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(collect.CropFolder, "save", full)
        collector.see(frame_of(1), [predict(LARGE)])
        collector.press(ord("r"))
    assert "No space left on device" in capsys.readouterr().err
    clock[0] += 1
    collector.see(frame_of(2), [predict(LARGE)])
    collector.press(ord("r"))
    assert crops_in(tmp_path) == ["camera_000002.png"]
    assert collector.saved == Counter(real=1)


def test_unsure_faces_are_kept_twice_a_second_a_track(open_collector, tmp_path):
    collector = open_collector(by_key=False)
    for number in range(1, 51):  # two seconds
        faces = [predict(LARGE, score=0.55), predict(SMALL, score=0.45, track=2)]
        collector.see(frame_of(number), [*faces, predict(LARGE, score=0.99, track=3)])
    names = crops_in(tmp_path / "dataset" / "unsure")
    assert len(names) == 8
    assert not [name for name in names if "-3" in name]


def test_between_two_thresholds_only_the_unsure_are_kept(open_collector, tmp_path):
    collector = open_collector(thresholds=(0.3, 0.9), by_key=False)
    collector.see(frame_of(1), [predict(LARGE, "real", 0.91)])
    assert crops_in(tmp_path) == []
    collector.see(frame_of(30), [predict(LARGE, "unsure", 0.6)])
    assert len(crops_in(tmp_path)) == 1


def test_a_face_that_changes_its_label_is_kept(open_collector, tmp_path):
    collector = open_collector(by_key=False)
    collector.see(frame_of(1), [predict(LARGE, "real", 0.95)])
    assert crops_in(tmp_path) == []
    collector.see(frame_of(2), [predict(LARGE, "fake", 0.05)])
    assert crops_in(tmp_path) == ["camera_000002.png"]


def test_no_more_than_a_stated_number_is_kept(open_collector, tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "UNSURE_LIMIT", 3)
    collector = open_collector(by_key=False)
    for number in range(0, 500, 25):
        collector.see(frame_of(number), [predict(LARGE, score=0.5)])
    assert len(crops_in(tmp_path)) == 3


def test_crops_that_were_sorted_by_hand_keep_their_margin(
    open_collector, dataset, tmp_path, capsys
):
    labels = Labels(["fake", "real"], margin=0.25)
    collector = open_collector(labels, by_key=False)
    for number in (1, 30, 60, 90):
        collector.see(frame_of(number), [predict(LARGE, score=0.5)])
    folder = tmp_path / "dataset"
    names = crops_in(folder)
    for label, own in (("real", names[:1]), ("fake", names[1:3])):
        (folder / label).mkdir()
        for name in own:
            shutil.move(folder / "unsure" / name, folder / label / name)
    data = load_dataset(folder)
    assert data.margin == 0.25
    assert data.labels.tolist() == ["fake", "fake", "real"]
    assert "1 file in" in capsys.readouterr().out


def test_what_to_run_next_is_said(open_collector, clock, capsys):
    collector = open_collector()
    assert "press r for real, f for fake" in capsys.readouterr().out
    collector.see(frame_of(1), [predict(LARGE)])
    collector.press(ord("f"))
    collector.close()
    out = capsys.readouterr().out
    assert "collected 1 crop in" in out
    assert "to learn them: python train.py --dataset" in out


@pytest.mark.timeout(240)
def test_from_a_wrong_label_to_another_network(
    screen, videos, dataset, trained, detector_folder, tmp_path, capsys
):
    """A window, real keys, a training meanwhile, and the demo takes its network."""
    model, le = tmp_path / "liveness.onnx", tmp_path / "le.pickle"
    shutil.copy(trained / "liveness.onnx", model)
    shutil.copy(trained / "le.pickle", le)
    (tmp_path / "many").mkdir()
    for number in range(40):
        (tmp_path / "many" / f"clip{number}.mp4").symlink_to(videos / "real.mp4")
    folder = tmp_path / "dataset"
    arguments = ["-m", model, "-l", le, "-d", detector_folder, "-i", tmp_path / "many"]
    process = subprocess.Popen(
        [sys.executable, "-u", liveness_demo.__file__]
        + [str(a) for a in [*arguments, "--collect", folder]],
        stdout=subprocess.PIPE,
        text=True,
    )
    screen.find(TITLE)
    while len(crops_in(folder / "real")) < 2:
        screen.act(TITLE, "r")
        assert process.poll() is None
    while len(crops_in(folder / "fake")) < 2:
        screen.act(TITLE, "f")
        assert process.poll() is None

    # What was saved are the crops that gather_examples.py cuts from these frames.
    for label in ("real", "fake"):
        for crop in (folder / label).glob("*.png"):
            source, number = crop.stem.rsplit("_", 1)
            options = ["-s", number.lstrip("0"), "-d", detector_folder]
            video = tmp_path / "many" / f"{source}.mp4"
            out = tmp_path / f"again-{label}"
            assert (
                gather_examples.main(list(map(str, ["-i", video, "-o", out, *options])))
                == 0
            )
            assert (out / crop.name).read_bytes() == crop.read_bytes()
            line = [
                x
                for x in (folder / label / "crops.csv").read_text().splitlines()
                if crop.name in x
            ]
            assert line[0] in (out / "crops.csv").read_text()

    shutil.copytree(dataset, folder, dirs_exist_ok=True)
    options = ["-d", folder, "-m", tmp_path / "liveness.model", "-l", le]
    options += ["-p", tmp_path / "p.png", "--export", model]
    options += ["--epochs", 1, "--folds", 1]
    assert train.main(list(map(str, options))) == 0
    for line in process.stdout:
        if "the network was replaced: going on with the new one" in line:
            break
    else:
        pytest.fail("the demo did not take the new network")
    screen.act(TITLE, "q")
    rest, _ = process.communicate()
    assert process.returncode == 0
    assert re.search(r"collected \d+ crops in", rest)


def test_a_pair_that_does_not_fit_yet_is_waited_for(trained, tmp_path, monkeypatch):
    from pyimagesearch import classifier

    monkeypatch.setattr(classifier, "LOOK_SECONDS", 0.0)
    names = ("liveness.onnx", "le.pickle")
    for name in names:
        shutil.copy(trained / name, tmp_path / name)
    files = classifier.ClassifierFiles(*(tmp_path / name for name in names))
    assert files.load_new() is None
    content = (tmp_path / "liveness.onnx").read_bytes()
    (tmp_path / "liveness.onnx").write_bytes(content[:-1])
    assert files.load_new() is None
    (tmp_path / "liveness.onnx").unlink()
    assert files.load_new() is None
    (tmp_path / "liveness.onnx").write_bytes(content)
    network, labels = files.load_new()
    assert network.classes == len(labels.classes) == 2
    assert files.load_new() is None
