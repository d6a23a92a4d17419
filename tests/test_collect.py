import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import gather_examples
import liveness_demo
import train
from pyimagesearch import collect
from pyimagesearch.classifier import FaceClassifier
from pyimagesearch.collect import STALL_SECONDS, Collector, labels_of, name_keys
from pyimagesearch.console import UserError
from pyimagesearch.crops import CropFolder, Source, SourceList
from pyimagesearch.faces import DetectorPool, Face
from pyimagesearch.inputs import Frame
from pyimagesearch.labels import Labels
from pyimagesearch.models import Network
from pyimagesearch.video import read_image
from pyimagesearch.window import TITLE

import numpy as np
import pytest
from conftest import write_image

LABELS = Labels(["fake", "real"])
YUNET = SimpleNamespace(name="YuNet", size=320, confidence=0.7)
LARGE, SMALL = Face(0, 0, 40, 40, 0.9), Face(50, 50, 70, 70, 0.9)


def frame_of(number, source="camera"):
    image = np.random.default_rng(number).integers(0, 256, (90, 90, 3), np.uint8)
    return Frame(image, source, number, number / 25)


def see(collector, frame, *boxes):
    """Let a collector see faces, as its classifier follows them."""
    classifier = collector._classifier
    collector(frame, classifier.classify(frame.image, boxes, frame.time))


def judge(batch):
    return np.tile(np.float32([0.1, 0.9]), (len(batch), 1))


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so."""
    now = [100.0]
    monkeypatch.setattr(collect.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture(scope="module")
def detectors(detector_folder):
    return DetectorPool(detector_folder)


@pytest.fixture
def open_collector(tmp_path, detectors, monkeypatch):
    commands = "python train.py", "python again"
    monkeypatch.setattr(collect, "next_commands", lambda *_: commands)
    opened = []

    def open_collector(labels=LABELS):
        network = Network(judge, 32, 32, 2) if labels.classes else None
        classifier = FaceClassifier(network, labels, detectors)
        opened.append(Collector(tmp_path / "dataset", classifier))
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
        "1": "print",
        "2": "replay",
    }
    assert name_keys(["fake", "print", "real"]) == {
        "r": "real",
        "f": "fake",
        "1": "print",
    }
    assert name_keys(["live", "spoof"]) == {"1": "live", "2": "spoof"}


def test_a_key_saves_the_crop_and_a_line_of_its_source(open_collector, clock, tmp_path):
    collector = open_collector(Labels(["fake", "real"], margin=0.5))
    frame = frame_of(16)
    expected = frame.image[0:60, 0:60].copy()
    see(collector, frame, LARGE)
    collector.press("f")
    path = tmp_path / "dataset" / "fake" / "camera_000016.png"
    np.testing.assert_array_equal(read_image(path), expected)
    (line,) = SourceList(path.parent).lines.values()
    assert line == Source("camera", "", "", 0.5, "YuNet", 320, 0.7)
    assert collector.saved == {"fake": 1}


TWO = "two faces in view: click the one you mean, or press Tab"


def test_of_two_faces_a_key_saves_the_one_that_was_clicked(
    open_collector, clock, tmp_path
):
    collector = open_collector()
    see(collector, frame_of(1), LARGE, SMALL)
    assert collector.selected is None
    collector.press("f")
    assert collector.caption()[1] == TWO
    assert crops_in(tmp_path) == []
    collector.choose_at(49, 60)  # beside both
    assert collector.selected is None
    collector.choose_at(60, 60)
    assert collector.selected.box == SMALL
    clock[0] += 1
    collector.press("f")
    assert crops_in(tmp_path) == ["camera_000001-2.png"]
    path = tmp_path / "dataset" / "fake" / "camera_000001-2.png"
    np.testing.assert_array_equal(read_image(path), frame_of(1).image[50:70, 50:70])


def test_tab_selects_one_face_after_the_other_from_left_to_right(open_collector, clock):
    collector = open_collector()
    boxes = [Face(x, 5, x + 20, 30, 0.9) for x in (60, 0, 30)]
    see(collector, frame_of(1), *boxes)
    chosen = []
    for _ in range(4):
        clock[0] += 1
        collector.press("\t")
        chosen.append(collector.selected.box.left)
    assert chosen == [0, 30, 60, 0]


def test_a_face_stays_selected_as_long_as_its_track_lives(open_collector):
    collector = open_collector()
    see(collector, frame_of(1), LARGE, SMALL)
    collector.choose_at(60, 60)
    see(collector, frame_of(2), SMALL._replace(left=51), LARGE)
    assert collector.selected.box.left == 51
    see(collector, frame_of(3), LARGE)  # it is missed in one frame
    assert collector.selected is None
    see(collector, frame_of(4), LARGE, SMALL)
    assert collector.selected.box == SMALL
    see(collector, frame_of(30), LARGE)
    assert collector.selected.box == LARGE  # alone
    see(collector, frame_of(31), LARGE, SMALL)
    assert collector.selected is None


def test_the_advice_does_not_change_when_a_face_is_missed_in_one_frame(open_collector):
    collector = open_collector(NO_NETWORK)
    see(collector, frame_of(1), LARGE)
    alone = collector.caption()[1]
    see(collector, frame_of(2))
    assert collector.caption()[1] == alone
    see(collector, frame_of(3), LARGE, SMALL)
    assert collector.caption()[1] == TWO
    collector.choose_at(60, 60)
    see(collector, frame_of(4), LARGE)
    assert collector.caption()[1] == alone


def test_no_face_is_selected_in_another_video(open_collector):
    collector = open_collector()
    see(collector, frame_of(1), LARGE, SMALL)
    collector.choose_at(60, 60)
    collector._classifier.reset()
    see(collector, frame_of(1, "other"), LARGE, SMALL)
    assert collector.selected is None


def test_keys_act_on_a_picture_until_it_is_out_of_date(open_collector, clock, tmp_path):
    collector = open_collector()
    see(collector, frame_of(1), LARGE)
    collector(frame_of(1)._replace(stale=STALL_SECONDS - 1), [])
    collector.press("r")
    assert crops_in(tmp_path) == ["camera_000001.png"]
    collector(frame_of(1)._replace(stale=STALL_SECONDS), [])
    clock[0] += 1
    collector.press("f")
    assert len(crops_in(tmp_path)) == 1


def test_a_key_held_down_saves_five_crops_a_second_of_different_frames(
    open_collector, clock, tmp_path
):
    collector = open_collector()
    for number in range(1, 31):  # one second of a camera of 30 frames
        frame = frame_of(number)
        see(collector, frame, LARGE)
        collector.press("r")
        clock[0] += 1 / 30
    assert len(crops_in(tmp_path)) == 5
    clock[0] += 10  # a still picture
    for _ in range(3):
        collector.press("r")
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
    see(collector, frame_of(16), LARGE)
    collector.press("R")  # with caps lock on
    assert crops_in(folder) == crops_in(tmp_path) == ["camera_000016.png"]
    assert collector.saved == {"real": 1}


def test_the_key_for_real_saves_into_real_if_both_are_there(
    open_collector, clock, tmp_path
):
    for name in ("genuine", "real"):
        (tmp_path / "dataset" / name).mkdir(parents=True)
    collector = open_collector()
    see(collector, frame_of(16), LARGE)
    collector.press("r")
    assert crops_in(tmp_path / "dataset" / "real") == ["camera_000016.png"]


def test_crops_of_another_file_of_that_name_are_never_mixed(
    open_collector, clock, tmp_path
):
    for number in (1, 2):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "anna.mp4").write_text(f"{number}")
    collector = open_collector()
    files = [tmp_path / f"{number}" / "anna.mp4" for number in (1, 2)]
    named = {"anna": str(files[0])}
    assert collector.name_files(files[:1], tmp_path / "1") == named
    see(collector, frame_of(1, "anna"), LARGE)
    collector.press("f")
    assert open_collector().name_files(files[:1], tmp_path / "1") == named
    with pytest.raises(UserError, match="crops, or a file, of another anna"):
        open_collector().name_files(files[1:], tmp_path / "2")


def test_other_keys_do_nothing(open_collector, tmp_path):
    collector = open_collector()
    see(collector, frame_of(1), LARGE)
    for key in ("x", "\r", "\x00"):
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
        see(collector, frame_of(1), LARGE)
        collector.press("r")
    assert "No space left on device" in capsys.readouterr().err
    clock[0] += 1
    see(collector, frame_of(2), LARGE)
    collector.press("r")
    assert crops_in(tmp_path) == ["camera_000002.png"]
    assert collector.saved == Counter(real=1)


def test_the_end_says_what_was_saved_and_what_comes_next(
    open_collector, clock, tmp_path, capsys
):
    folder = tmp_path / "dataset"
    for key, counts, following in (
        ("x", "0 crops in {} (real 0, fake 0)", None),
        ("f", "1 crop in {} (real 0, fake 1)", "python again"),
        ("r", "1 crop in {} (real 1, fake 0)", "python train.py"),
    ):
        collector = open_collector()
        assert "press r for real, f for fake" in capsys.readouterr().out
        see(collector, frame_of(1), LARGE)
        collector.press(key)
        collector.close()
        lines = [f"[INFO] collected {counts.format(folder)}"]
        lines += [f"[INFO] next: {following}"] if following else []
        assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize(
    ("given", "train", "demo"),
    [
        (["0", "liveness.model", "le.pickle"], [], []),
        (
            ["http://me:secret@cam/a.mjpg", "m.model", "l.pickle"],
            ["--le", "l.pickle", "--model", "m.model"],
            ["--le", "l.pickle", "--input", "http://cam/a.mjpg", "--model", "m.model"],
        ),
        (
            ["a#1.mp4", "liveness.onnx", "le.pickle"],
            ["--export", "liveness.onnx"],
            ["--input", "a#1.mp4", "--model", "liveness.onnx"],
        ),
        (
            ["1", "my/net.onnx", "le.pickle"],
            ["--export", "my/net.onnx", "--model", "my/net.model"],
            ["--input", "1", "--model", "my/net.onnx"],
        ),
    ],
)
def test_the_next_commands_keep_what_was_given(given, train, demo):
    source, *files = given
    commands = collect.next_commands(Path("my set"), source, *map(Path, files))
    words = [shlex.split(command) for command in commands]
    assert words[0][-len(train) - 2 :] == ["--dataset", "my set", *train]
    assert words[1][-len(demo) - 2 :] == ["--collect", "my set", *demo]


NO_NETWORK = Labels([])


def press(collector, clock, key, times=1):
    """Press a key before as many views of a face."""
    for _ in range(times):
        clock[0] += 1
        frame = frame_of(int(clock[0]))
        see(collector, frame, LARGE)
        collector.press(key)


def test_the_caption_leads_from_nothing_to_a_network(
    open_collector, clock, tmp_path, monkeypatch
):
    monkeypatch.setattr(collect, "NOTE_SECONDS", 0.0)
    write_image(tmp_path / "dataset" / "real" / "of-another-run.png")
    collector = open_collector(NO_NETWORK)
    counts, advice = collector.caption()
    assert counts == "real 1 of 8, fake 0 of 8 | r real, f fake, u undo, q quit"
    assert advice == "no face found: come nearer, face the light"
    see(collector, frame_of(1), LARGE)
    advice = "look into the camera and press r: near, far, turned"
    assert collector.caption()[1] == advice
    see(collector, frame_of(2), LARGE, SMALL)
    assert collector.caption()[1] == TWO
    press(collector, clock, "r", 7)
    counts, advice = collector.caption()
    assert counts.startswith("real 8, fake 0 of 8 |")
    picture = "hold up a phone that shows your picture or video, and press f"
    assert advice == picture
    press(collector, clock, "f", 8)
    assert collector.caption()[1] == "enough to begin: run  python train.py"


def read_new(collector, clock):
    """Read from the caption how many crops are not yet learnt."""
    clock[0] += 60  # after the next look at the files, and the last note
    advice = collector.caption()[1]
    if advice == "where a label is wrong, press the key of the right one":
        return 0
    return int(re.fullmatch(r"(\d+) crops? not yet learnt: run  .*", advice)[1])


def test_not_yet_learnt_is_what_is_newer_than_the_reading_of_the_dataset(
    open_collector, clock, tmp_path
):
    """Also what is saved while the training goes on, and what others save or delete."""
    for number in range(8):
        write_image(tmp_path / "dataset" / "real" / f"{number}.png")
        write_image(tmp_path / "dataset" / "fake" / f"{number}.png")
    now = time.time()
    collector = open_collector(LABELS._replace(read_at=now + 1))
    see(collector, frame_of(1), LARGE)
    assert read_new(collector, clock) == 0
    gathered = tmp_path / "dataset" / "real" / "8.png"
    write_image(gathered)
    os.utime(gathered, (now + 2, now + 2))
    assert read_new(collector, clock) == 1
    collector._classifier.labels = LABELS._replace(read_at=now + 3)
    assert read_new(collector, clock) == 0
    collector._classifier.labels = LABELS._replace(read_at=0.0)
    assert read_new(collector, clock) == 17
    gathered.unlink()
    assert read_new(collector, clock) == 16
    assert collector.caption()[0].startswith("real 8, fake 8 |")


def test_labels_that_do_not_say_when_have_learnt_what_was_there_before(
    open_collector, clock, tmp_path
):
    for number in range(8):
        for label in ("real", "fake"):
            path = tmp_path / "dataset" / label / f"{number}.png"
            write_image(path)
            os.utime(path, (0, 0))
    collector = open_collector()
    press(collector, clock, "r")
    clock[0] += 60
    press(collector, clock, "f")
    assert read_new(collector, clock) == 2


def test_the_files_are_looked_up_at_most_once_a_second(open_collector, clock, tmp_path):
    collector = open_collector()
    assert collector.caption()[0].startswith("real 0 of 8")
    write_image(tmp_path / "dataset" / "real" / "gathered.png")
    clock[0] += 0.9
    assert collector.caption()[0].startswith("real 0 of 8")
    press(collector, clock, "r")  # one more is counted at once
    clock[0] += 0.2
    assert collector.caption()[0].startswith("real 2 of 8")


def test_u_on_a_learnt_crop_says_how_long_the_network_knows_it(open_collector, clock):
    collector = open_collector()
    press(collector, clock, "r", 2)
    collector._classifier.labels = LABELS._replace(read_at=time.time() + 1)
    press(collector, clock, "u")
    known = "undid the last real; the network knows it until the next training"
    assert collector.caption()[1] == known
    collector._classifier.labels = LABELS._replace(read_at=0.0)
    press(collector, clock, "u")
    assert collector.caption()[1] == "undid the last real"


def test_without_a_network_the_kinds_of_attack_are_those_of_the_dataset(
    open_collector, tmp_path
):
    for name in ("print", "live", "replay", "unsure", ".hidden"):
        (tmp_path / "dataset" / name).mkdir(parents=True)
    collector = open_collector(NO_NETWORK)
    assert collector.keys == {"r": "real", "1": "print", "2": "replay"}
    counts = "real 0 of 8, print 0 of 8, replay 0 of 8"
    keys = "r real, 1 print, 2 replay, u undo, q quit"
    assert collector.caption()[0] == f"{counts} | {keys}"


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
        see(collector, frame, LARGE)
        collector.press("r")

    for number in range(1, 6):  # an unmoving face in front of a noisy camera
        show(number, still + rng.integers(0, 9, still.shape).astype(np.uint8))
    assert len(crops_in(tmp_path)) == 1
    assert collector.caption()[1].startswith("move a little")
    show(6, frame_of(2).image)
    show(7, still + 4)  # the same as before the other one
    assert len(crops_in(tmp_path)) == 2
    clock[0] += 1
    collector.press("f")  # which has no such view yet
    assert len(crops_in(tmp_path)) == 3


def test_u_takes_back_the_last_crops_of_this_run(open_collector, clock, tmp_path):
    write_image(tmp_path / "dataset" / "real" / "of-another-run.png")
    collector = open_collector(NO_NETWORK)
    press(collector, clock, "u")
    assert collector.caption()[1] == "nothing to undo"
    press(collector, clock, "r", 2)
    press(collector, clock, "f")
    lines = (tmp_path / "dataset" / "real" / "sources.csv").read_text()
    crops = crops_in(tmp_path)
    (tmp_path / "dataset" / "fake" / crops[2]).unlink()  # the user was faster
    press(collector, clock, "u")
    assert collector.caption()[1] == "undid the last fake"
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
        collector.press("u")
        clock[0] += 1 / 30
    assert len(crops_in(tmp_path)) == 2


def test_a_crop_taken_back_may_be_saved_again(open_collector, clock, tmp_path):
    collector = open_collector()
    see(collector, frame_of(1), LARGE)
    for key in "rur":
        clock[0] += 1
        collector.press(key)
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
    collector.press("r")
    assert collector.caption()[1] == "no face found: come nearer, face the light"
    see(collector, frame_of(1))
    collector.press("f")
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
