import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import gather_examples
import liveness_demo
import train
from pyimagesearch import collect
from pyimagesearch.classifier import Prediction
from pyimagesearch.collect import Collector, labels_of, name_keys
from pyimagesearch.console import UserError
from pyimagesearch.crops import CropFolder, Source, SourceList
from pyimagesearch.faces import Face, crop_face
from pyimagesearch.frames import Frame, read_image
from pyimagesearch.labels import Labels
from pyimagesearch.outputs import TITLE

import numpy as np
import pytest
from conftest import write_image

LABELS = Labels(["fake", "real"])
YUNET = SimpleNamespace(name="YuNet", size=320, confidence=0.7)
LARGE, SMALL = Face(0, 0, 40, 40, 0.9), Face(50, 50, 70, 70, 0.9)


def frame_of(number, source="camera"):
    image = np.random.default_rng(number).integers(0, 256, (90, 90, 3), np.uint8)
    return Frame(image, source, number, number / 25)


def predict(box, label="real", score=0.9, frame=None, margin=0.0):
    crop = crop_face((frame or frame_of(1)).image, box, margin)
    return Prediction(box, label, score, score, np.array([1 - score, score]), 1, crop)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so."""
    now = [100.0]
    monkeypatch.setattr(collect.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def open_collector(tmp_path):
    opened = []

    def open_collector(labels=LABELS):
        opened.append(Collector(tmp_path / "dataset", labels, YUNET))
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


def test_a_key_saves_the_crop_and_a_line_of_its_source(open_collector, clock, tmp_path):
    collector = open_collector(Labels(["fake", "real"], margin=0.5))
    frame = frame_of(16)
    expected = frame.image[0:60, 0:60].copy()
    collector.see(frame, [predict(LARGE, frame=frame, margin=0.5)])
    frame.image[:] = 0  # it is drawn onto
    collector.press(ord("f"))
    path = tmp_path / "dataset" / "fake" / "camera_000016.png"
    np.testing.assert_array_equal(read_image(path), expected)
    (line,) = SourceList(path.parent).lines.values()
    assert line == Source("camera", "", "", 0.5, "YuNet", 320, 0.7)
    assert collector.saved == {"fake": 1}


def test_a_key_saves_the_face_labelled_otherwise_or_else_the_largest(
    open_collector, clock, tmp_path
):
    collector = open_collector()
    collector.see(frame_of(1), [predict(LARGE, "real"), predict(SMALL, "fake", 0.1)])
    assert collector.target("r").box == SMALL
    assert collector.target("f").box == LARGE
    collector.press(ord("r"))
    assert crops_in(tmp_path) == ["camera_000001-2.png"]
    collector.see(frame_of(2), [predict(SMALL, "real"), predict(LARGE, "real")])
    assert collector.target("r").box == LARGE
    collector.see(frame_of(3), [])
    assert collector.target("r") is None
    collector.press(ord("r"))
    assert len(crops_in(tmp_path)) == 1


def test_a_key_held_down_saves_five_crops_a_second_of_different_frames(
    open_collector, clock, tmp_path
):
    collector = open_collector()
    for number in range(1, 31):  # one second of a camera of 30 frames
        frame = frame_of(number)
        collector.see(frame, [predict(LARGE, frame=frame)])
        collector.press(ord("r"))
        clock[0] += 1 / 30
    assert len(crops_in(tmp_path)) == 5
    clock[0] += 10  # a still picture
    for _ in range(3):
        collector.press(ord("r"))
        clock[0] += 1
    assert len(crops_in(tmp_path)) == 6


@pytest.mark.parametrize("name", ["live", "REAL", "Bona Fide", "genuine"])
def test_the_key_for_real_saves_into_the_folder_that_is_there(
    name, open_collector, clock, tmp_path
):
    folder = tmp_path / "dataset" / name
    folder.mkdir(parents=True)
    (tmp_path / "dataset" / "fake.txt").touch()
    collector = open_collector()
    collector.see(frame_of(16), [predict(LARGE)])
    collector.press(ord("R"))  # with caps lock on
    assert crops_in(folder) == crops_in(tmp_path) == ["camera_000016.png"]
    assert collector.saved == {"real": 1}


def test_the_key_for_real_saves_into_real_if_both_are_there(
    open_collector, clock, tmp_path
):
    for name in ("genuine", "real"):
        (tmp_path / "dataset" / name).mkdir(parents=True)
    collector = open_collector()
    collector.see(frame_of(16), [predict(LARGE)])
    collector.press(ord("r"))
    assert crops_in(tmp_path / "dataset" / "real") == ["camera_000016.png"]


def test_crops_of_another_file_of_that_name_are_never_mixed(
    open_collector, clock, tmp_path
):
    for number in (1, 2):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "anna.mp4").write_text(f"{number}")
    collector = open_collector()
    files = [str(tmp_path / f"{number}" / "anna.mp4") for number in (1, 2)]
    named = {"anna": files[0]}
    assert collector.name_files(files[:1], tmp_path / "1") == named
    collector.see(frame_of(1, "anna"), [predict(LARGE)])
    collector.press(ord("f"))
    assert open_collector().name_files(files[:1], tmp_path / "1") == named
    with pytest.raises(UserError, match="crops, or a file, of another anna"):
        open_collector().name_files(files[1:], tmp_path / "2")


def test_other_keys_do_nothing(open_collector, tmp_path):
    collector = open_collector()
    collector.see(frame_of(1), [predict(LARGE)])
    for key in (ord("x"), 13, 255, 0):
        collector.press(key)
    assert crops_in(tmp_path) == []


def test_a_full_disk_is_reported_and_the_demo_goes_on(
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


def test_the_end_says_what_was_saved_and_what_comes_next(
    open_collector, clock, tmp_path, capsys
):
    for key, counts, expected in (
        ("f", "real 0, fake 1", ["liveness_demo.py", "--collect"]),
        ("r", "real 1, fake 0", ["train.py", "--dataset"]),
    ):
        collector = open_collector()
        assert "press r for real, f for fake" in capsys.readouterr().out
        collector.see(frame_of(1), [predict(LARGE)])
        collector.press(ord(key))
        collector.close()
        folder = tmp_path / "dataset"
        collected, following = capsys.readouterr().out.splitlines()
        assert collected == f"[INFO] collected 1 crop in {folder} ({counts})"
        _, _, _, script, *options = shlex.split(following)
        assert [Path(script).name, *options] == [*expected, str(folder)]


NO_NETWORK = Labels([])


def press(collector, clock, key, times=1):
    """Press a key before as many views of a face."""
    for _ in range(times):
        clock[0] += 1
        frame = frame_of(int(clock[0]))
        collector.see(frame, [predict(LARGE, "", frame=frame)])
        collector.press(ord(key))


def test_the_caption_leads_from_nothing_to_a_network(
    open_collector, clock, tmp_path, monkeypatch
):
    monkeypatch.setattr(collect, "NOTE_SECONDS", 0.0)
    folder, model = tmp_path / "dataset", tmp_path / "liveness.model"
    write_image(folder / "real" / "of-another-run.png")
    collector = open_collector(NO_NETWORK)
    counts, advice = collector.caption()
    assert counts == "real 1 of 8, fake 0 of 8 | r real, f fake, u undo, q quit"
    assert "press r" in advice
    press(collector, clock, "r", 7)
    counts, advice = collector.caption()
    assert counts.startswith("real 8, fake 0 of 8 |")
    assert "phone" in advice
    assert "press f" in advice
    press(collector, clock, "f", 8)
    assert re.fullmatch(
        f"enough to begin: run  .*train.py --dataset {folder}", collector.caption()[1]
    )
    model.touch()  # newer than all crops
    collector.compare_with(model)
    assert collector.caption()[1].startswith("where a label is wrong")
    press(collector, clock, "r", 2)
    assert collector.caption()[1].startswith("2 crops not yet learnt: run  ")
    press(collector, clock, "u")
    assert collector.caption()[1].startswith("1 crop not yet learnt: run  ")
    os.utime(model, (0, 0))  # older than all of them
    collector.compare_with(model)
    assert collector.caption()[1].startswith("17 crops not yet learnt: run  ")


def test_without_a_network_the_kinds_of_attack_are_those_of_the_dataset(
    open_collector, tmp_path
):
    for name in ("print", "live", "replay", "unsure", ".hidden"):
        (tmp_path / "dataset" / name).mkdir(parents=True)
    keys = {"r": "real", "f": "print", "1": "print", "2": "replay"}
    assert open_collector(NO_NETWORK).keys == keys


def test_without_a_network_crops_are_cut_as_those_of_the_dataset(tmp_path):
    assert labels_of(tmp_path / "none") == Labels([], 0.0)
    folder = tmp_path / "dataset" / "fake"
    crop = np.zeros((20, 20, 3), np.uint8)
    CropFolder(folder, 0.5, YUNET).save(crop, frame_of(1), 1)
    assert labels_of(tmp_path / "dataset") == Labels([], 0.5)


def test_nearly_the_same_view_is_not_saved_again(open_collector, clock, tmp_path):
    collector = open_collector()
    still = frame_of(1).image // 2
    rng = np.random.default_rng(0)

    def show(number, image):
        clock[0] += 1
        frame = Frame(image, "camera", number, clock[0])
        collector.see(frame, [predict(LARGE, frame=frame)])
        collector.press(ord("r"))

    for number in range(1, 6):  # an unmoving face in front of a noisy camera
        show(number, still + rng.integers(0, 9, still.shape).astype(np.uint8))
    assert len(crops_in(tmp_path)) == 1
    assert collector.caption()[1].startswith("move a little")
    show(6, frame_of(2).image)
    show(7, still + 4)  # the same as before the other one
    assert len(crops_in(tmp_path)) == 2
    clock[0] += 1
    collector.press(ord("f"))  # which has no such view yet
    assert len(crops_in(tmp_path)) == 3


def test_u_takes_back_the_last_crops_of_this_run(open_collector, clock, tmp_path):
    write_image(tmp_path / "dataset" / "real" / "of-another-run.png")
    collector = open_collector(NO_NETWORK)
    press(collector, clock, "u")
    assert collector.caption()[1] == "nothing to take back"
    press(collector, clock, "r", 2)
    press(collector, clock, "f")
    lines = (tmp_path / "dataset" / "real" / "sources.csv").read_text()
    crops = crops_in(tmp_path)
    (tmp_path / "dataset" / "fake" / crops[2]).unlink()  # the user was faster
    press(collector, clock, "u")
    assert collector.caption()[1] == "took back the last fake"
    press(collector, clock, "U")
    assert crops_in(tmp_path) == [crops[0], crops[-1]]
    assert collector.saved == Counter(real=1, fake=0)
    press(collector, clock, "u", 3)
    assert crops_in(tmp_path) == ["of-another-run.png"]
    assert (tmp_path / "dataset" / "real" / "sources.csv").read_text() == lines
    assert collector.caption()[0].startswith("real 1 of 8, fake 0 of 8 |")


def test_u_held_down_takes_back_five_crops_a_second(open_collector, clock, tmp_path):
    collector = open_collector()
    press(collector, clock, "r", 7)
    clock[0] += 1
    for _ in range(30):
        collector.press(ord("u"))
        clock[0] += 1 / 30
    assert len(crops_in(tmp_path)) == 2


def test_a_crop_taken_back_may_be_saved_again(open_collector, clock, tmp_path):
    collector = open_collector()
    collector.see(frame_of(1), [predict(LARGE)])
    for key in "rur":
        clock[0] += 1
        collector.press(ord(key))
    assert crops_in(tmp_path) == ["camera_000001.png"]
    assert len(SourceList(tmp_path / "dataset" / "real").lines) == 1


def test_a_crop_that_cannot_be_deleted_is_kept_and_reported(
    open_collector, clock, tmp_path, monkeypatch, capsys
):
    collector = open_collector()
    press(collector, clock, "r")

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        press(collector, clock, "u")
    assert "not deleted: Read-only file system" in capsys.readouterr().err
    press(collector, clock, "u")
    assert crops_in(tmp_path) == []


def test_a_crop_of_an_earlier_run_is_neither_counted_nor_deleted(
    open_collector, clock, tmp_path
):
    press(open_collector(), clock, "r")
    clock[0] -= 1
    collector = open_collector()
    press(collector, clock, "r")
    assert "already" in collector.caption()[1]
    press(collector, clock, "u")
    assert len(crops_in(tmp_path)) == 1
    assert collector.saved.total() == 0


def test_a_key_before_the_first_face_says_so(open_collector, clock, tmp_path):
    collector = open_collector(NO_NETWORK)
    collector.press(ord("r"))
    assert collector.caption()[1] == "no face in view"
    collector.see(frame_of(1), [])
    collector.press(ord("f"))
    assert crops_in(tmp_path) == []


@pytest.mark.timeout(240)
def test_crops_collected_by_key_train_a_network_that_the_demo_takes(
    screen, videos, dataset, trained, detector_folder, tmp_path, capsys
):
    """A real window and real keys; a training while the demo runs."""
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
            line = SourceList(folder / label).lines[source]
            again = SourceList(out).lines[source]
            assert line == again._replace(skip=None, searched=None, faceless=None)

    shutil.copytree(dataset, folder, dirs_exist_ok=True)
    options = ["-d", folder, "-m", tmp_path / "liveness.model", "-l", le]
    options += ["-p", tmp_path / "p.png", "--export", model]
    options += ["--epochs", 1, "--folds", 1]
    assert train.main(list(map(str, options))) == 0
    for line in process.stdout:
        if "using the new network" in line:
            break
    else:
        pytest.fail("the demo did not take the new network")
    screen.act(TITLE, "q")
    rest, _ = process.communicate()
    assert process.returncode == 0
    assert re.search(r"collected \d+ crops in", rest)
