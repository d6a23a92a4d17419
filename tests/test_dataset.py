import itertools
import re
from pathlib import Path

from pyimagesearch.console import UserError
from pyimagesearch.crops import Source
from pyimagesearch.dataset import load_dataset
from pyimagesearch.faces import preprocess
from pyimagesearch.folds import split_dataset
from pyimagesearch.video import read_image

import cv2
import numpy as np
import pytest
from datasets import make_dataset, make_labels


def write_crops(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), np.full((40, 30, 3), 90, np.uint8))


HEADER = ",".join(Source._fields)


def write_list(folder, *lines):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sources.csv").write_text("\n".join([HEADER, *lines, ""]))


def persons_by_source(data):
    keys = zip(data.labels.tolist(), data.sources.tolist(), strict=True)
    return dict(zip(map("/".join, keys), data.persons.tolist(), strict=True))


def test_what_the_lists_say_comes_with_the_crops(tmp_path):
    counted = "0.25,YuNet,320,0.7,16,40,3"
    for folder in ("Live", "fake/anna", "unsure"):
        write_crops(tmp_path / folder, "a_000016.png")  # 30 wide
        write_list(
            tmp_path / folder, f"a,,{folder[0]}00d.mp4,{counted}", f"wall,,,{counted}"
        )
    data = load_dataset(tmp_path)
    labels = data.labels.tolist()
    keys = [("real", "a"), ("fake", "anna/a")]
    assert list(zip(labels, data.sources, strict=True)) == keys
    assert data.sizes.tolist() == [20, 20]
    assert data.fingerprints.tolist() == ["L00d.mp4", "f00d.mp4"]
    assert data.sessions.tolist() == ["L00d.mp4", "f00d.mp4"]
    assert (data.margin, data.detector) == (0.25, "YuNet")
    assert set(data.searches) == {*keys, ("real", "wall"), ("fake", "anna/wall")}
    search = Source("a", "", "f00d.mp4", 0.25, "YuNet", 320, 0.7, 16, 40, 3)
    assert data.searches["fake", "anna/a"] == search
    part = data.subset(np.array([1]))
    assert part.fingerprints.tolist() == part.sessions.tolist() == ["f00d.mp4"]
    assert (part.sizes.tolist(), part.persons.tolist()) == ([20], ["anna"])


def test_crops_without_a_line_are_counted_in_one_warning(tmp_path, capsys):
    write_crops(tmp_path, "real/a_000016.png", "real/b_000016.png", "fake/c_000016.png")
    write_list(tmp_path / "real", "a,,,0.5,,,,,,")
    data = load_dataset(tmp_path)
    assert (data.margin, data.detector) == (0.5, "")
    assert capsys.readouterr().err == (
        f"[WARN] {tmp_path}: 2 crops without a line in sources.csv, taken to have "
        "margin 0.5\n"
    )


def test_files_that_are_no_images_are_one_line(tmp_path, capsys):
    write_crops(tmp_path, "live/1/0.png", "spoof/1/0.png")
    for name in ("live/1/0_BB.txt", "live/1/1_BB.TXT", "spoof/readme"):
        (tmp_path / name).write_text("1 2 3 4")
    load_dataset(tmp_path)
    line = f"[WARN] {tmp_path}: ignored 3 files: .txt (2), readme (1)\n"
    assert capsys.readouterr().err == line


def test_who_is_filled_in_is_the_person_without_case(tmp_path):
    counted = "0,YuNet,320,0.7,16,40,3"
    names = ["real/a_000016.png", "real/b_000016.png", "fake/c_000016.png"]
    write_crops(tmp_path, *names, "fake/zoë-fake_000016.png")
    write_list(tmp_path / "real", f"a, ZOË ,1.mp4,{counted}", f"b,,2.mp4,{counted}")
    write_list(tmp_path / "fake", f"c,Zoe\u0308,3.mp4,{counted}")
    assert persons_by_source(load_dataset(tmp_path)) == {
        "real/a": "zoë",
        "real/b": "b",
        "fake/c": "zoë",
        "fake/zoë-fake": "zoë",
    }


def test_photographs_are_known_by_their_file_or_by_having_frame_1_only(tmp_path):
    counted = "0,YuNet,320,0.7,16,40,3"
    for source in ("anna-1", "anna-2", "ben-1", "ben-2"):
        write_crops(tmp_path, f"real/{source}_000001.png", f"fake/{source}_000001.png")
    write_crops(tmp_path, "fake/ben-1_000016.png")
    write_list(
        tmp_path / "real", f"anna-1,,1.mp4,{counted}", f"anna-2,,2.jpg,{counted}"
    )
    data = load_dataset(tmp_path)
    assert persons_by_source(data) == {
        "real/anna-1": "anna-1",  # a video
        "real/anna-2": "anna",
        "real/ben-1": "ben",
        "real/ben-2": "ben",
        "fake/anna-1": "anna",
        "fake/anna-2": "anna",
        "fake/ben-1": "ben-1",  # a video
        "fake/ben-2": "ben",
    }
    sessions = dict(zip(data.paths, data.sessions.tolist(), strict=True))
    assert len(set(sessions.values())) == 4  # two videos, two series


def test_sessions_before_one_camera_are_one_person_until_somebody_says_otherwise(
    tmp_path,
):
    cut = "0,YuNet,320,0.7,,,"
    sessions = [f"camera0-2026010{n}-120000" for n in (1, 2, 3)]
    for session in sessions:
        write_crops(tmp_path, f"real/{session}_000016.png")
        write_crops(tmp_path, f"fake/{session}_000032.png")
    file = "camera0-20260104-120000"  # a file of such a name is no session
    write_crops(tmp_path, f"fake/{file}_000016.png")
    for label in ("real", "fake"):
        lines = [f"{session},,,{cut}" for session in sessions]
        write_list(tmp_path / label, *lines, f"{file},,1.mp4,{cut}")
    data = load_dataset(tmp_path)
    assert set(data.persons) == {"camera0", file}
    assert len(set(data.sessions)) == 4
    write_list(tmp_path / "real", f"{sessions[1]},Ben,,{cut}", f"{file},,1.mp4,{cut}")
    assert set(load_dataset(tmp_path).persons) == {"camera0", "ben", file}


def test_sources_of_one_file_are_one_person_and_that_is_said(tmp_path, capsys):
    counted = "0,YuNet,320,0.7,16,40,3"
    names = ["real/anna-real", "real/film", "fake/anna-fake", "fake/film-fake"]
    write_crops(tmp_path, *(f"{name}_000016.png" for name in [*names, "real/ben"]))
    lines = [f"anna-real,,f00d.mp4,{counted}", f"film,,f00d.mp4,{counted}"]
    write_list(tmp_path / "real", *lines)
    persons = persons_by_source(load_dataset(tmp_path))
    assert len({persons[name] for name in names}) == 1
    assert persons["real/ben"] == "ben"
    out = capsys.readouterr().out
    assert "[INFO] one file, so one person: real/anna-real = real/film\n" in out
    write_list(tmp_path / "real", lines[0], f"film,Carl,f00d.mp4,{counted}")
    assert persons_by_source(load_dataset(tmp_path))["fake/anna-fake"] == "carl"


def test_a_file_that_was_gathered_as_real_and_as_attack_is_refused(tmp_path):
    counted = "0,YuNet,320,0.7,16,40,3"
    write_crops(tmp_path, "real/anna_000016.png", "fake/anna2_000016.png")
    write_list(tmp_path / "real", f"anna,,f00d.mp4,{counted}")
    # The keys of the demo saved this one, while the film was shown.
    write_list(tmp_path / "fake", "anna2,,f00d.mp4,0,YuNet,320,0.7,,,")
    load_dataset(tmp_path)
    write_list(tmp_path / "fake", f"anna2,,f00d.mp4,{counted}")
    with pytest.raises(
        UserError,
        match="fake/anna2, real/anna: one file, as real and as attack",
    ):
        load_dataset(tmp_path)
    load_dataset(tmp_path, to_train=False)
    (tmp_path / "fake" / "anna2_000016.png").unlink()
    write_crops(tmp_path, "fake/b_000016.png")
    load_dataset(tmp_path)


def test_four_people_in_folders_make_four_folds_of_whole_people(tmp_path, capsys):
    people = ["anna", "ben", "carla", "dan"]
    for label, person in itertools.product(("real", "print"), people):
        for name in ("near_000016", "near_000032", "evening_000016", "IMG_1_000001"):
            write_crops(tmp_path, f"{label}/{person}/{name}.png")
    data = load_dataset(tmp_path)
    folds, how = split_dataset(data, "video", None, 0)
    assert (len(folds), how) == (4, "whole sources")
    tested = [set(data.persons[fold.test].tolist()) for fold in folds]
    assert sorted(map(sorted, tested)) == [[person] for person in people]
    assert "4 persons: anna, ben, carla, dan; person in" in capsys.readouterr().out


@pytest.mark.parametrize("to_train", [True, False])
def test_persons_above_the_classes_are_known(to_train, tmp_path):
    """As in CelebA-Spoof; not everybody is in both classes."""
    for name in ("1042/live/1", "1042/spoof/2", "1043/live/3", "1044/spoof/4"):
        write_crops(tmp_path, f"{name}.png")
    write_crops(tmp_path, "1042/live/film_000016.png")
    write_list(tmp_path / "1042" / "live", "film,,f00d.mp4,0,YuNet,320,0.7,16,40,3")
    data = load_dataset(tmp_path, to_train=to_train)
    assert data.labels.tolist() == ["real", "real", "spoof", "real", "spoof"]
    assert data.persons.tolist() == ["1042"] * 3 + ["1043", "1044"]
    assert data.sources.tolist()[:3] == ["1042", "1042/film", "1042"]
    assert list(data.searches) == [("real", "1042/film")]


def test_a_folder_of_a_class_that_cannot_be_read_is_refused(
    tmp_path, as_nobody, capsys
):
    write_crops(tmp_path, "real/0.png", "fake/0.png", ".hidden/0.png", "real/a/0.png")
    for name in ("fake", ".hidden", "real/a"):
        (tmp_path / name).chmod(0)
    with as_nobody(), pytest.raises(UserError, match="of a class cannot be read"):
        load_dataset(tmp_path)
    (tmp_path / "fake").chmod(0o755)
    with as_nobody():
        assert len(load_dataset(tmp_path).labels) == 2
    path = tmp_path / "real" / "a"
    assert f"1 path cannot be read: {path}\n" in capsys.readouterr().err


def test_crops_come_in_natural_order_and_others_are_named(dataset, tmp_path, capsys):
    for crop in sorted((dataset / "real").glob("*.png"))[:3]:
        (tmp_path / "real").mkdir(exist_ok=True)
        (tmp_path / "real" / crop.name).write_bytes(crop.read_bytes())
    write_crops(tmp_path, "fake/10.png", "fake/9.png")
    (tmp_path / "notes.txt").write_text("stray")
    (tmp_path / "real" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (tmp_path / "real" / ".DS_Store").write_text("hidden")
    data = load_dataset(tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in data.paths]
    assert names == [
        "fake/9.png",
        "fake/10.png",
        "real/real_000002.png",
        "real/real_000004.png",
        "real/real_000006.png",
    ]
    assert data.labels.tolist() == ["fake"] * 2 + ["real"] * 3
    assert data.sources.tolist() == ["fake"] * 2 + ["real"] * 3
    for crop, path in zip(data.crops, data.paths, strict=True):
        image = preprocess([read_image(path)])[0]
        np.testing.assert_array_equal(crop.astype(np.float32) / 255, image)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 4
    assert "1 file not in the folder of a class" in warnings[0]
    assert "broken.png: not a readable image" in warnings[1]
    assert "skipped 1 of 6 images" in warnings[2]
    assert "3 crops without a line in sources.csv" in warnings[3]


def test_a_subset_has_its_crops_and_what_is_known_of_them():
    labels, sources, frames = make_labels(real={"a": 3}, fake={"b": 3})
    part = make_dataset(labels, sources, frames).subset(np.array([1, 4]))
    assert part.crops[:, 0, 0, 0].tolist() == [1, 4]
    assert part.labels.tolist() == ["real", "fake"]
    assert part.sources.tolist() == ["a", "b"]
    assert part.frames.tolist() == [2, 2]
    assert part.paths == [Path("1.png"), Path("4.png")]
    assert part.margin == 0.25
    assert part.truth.tolist() == [1, 0]


def test_one_class_is_enough_to_be_measured(tmp_path):
    write_crops(tmp_path, "real/0.png", "real/1.png")
    with pytest.raises(UserError, match=r"at least one kind of attack, .* found real$"):
        load_dataset(tmp_path)
    data = load_dataset(tmp_path, 48, 64, to_train=False)
    assert data.labels.tolist() == ["real"] * 2
    assert data.crops.shape == (2, 64, 48, 3)


def test_attacks_only_are_measured_but_not_learnt(tmp_path):
    write_crops(tmp_path, "print/0.png", "replay/0.png")
    with pytest.raises(
        UserError, match=r"expected .*, real and .* found print, replay"
    ):
        load_dataset(tmp_path)
    assert set(load_dataset(tmp_path, to_train=False).labels) == {"print", "replay"}


@pytest.mark.parametrize("to_train", [True, False])
@pytest.mark.parametrize("classes", [("real", "fake"), ("Live", "print", "replay")])
def test_folders_of_train_val_and_test_are_no_classes(to_train, classes, tmp_path):
    for split in ("test", "train", "val"):
        write_crops(tmp_path, *(f"{split}/{name}/0.png" for name in classes))
    part = tmp_path / ("train" if to_train else "test")
    with pytest.raises(UserError, match=f"try --dataset {part}$"):
        load_dataset(tmp_path, to_train=to_train)
    assert len(load_dataset(tmp_path / "train").labels) == len(classes)


def test_which_number_is_real_is_not_guessed(tmp_path):
    write_crops(tmp_path, "0/0.png", "1/0.png")
    with pytest.raises(UserError, match="which number is real cannot be known"):
        load_dataset(tmp_path)


def test_other_names_of_the_bona_fide_class_are_one_class_and_said_once(
    tmp_path, capsys
):
    write_crops(tmp_path, "live/0.png", "live/1.png", "real/2.png", "fake/3.png")
    assert load_dataset(tmp_path).labels.tolist() == ["fake"] + ["real"] * 3
    out = capsys.readouterr().out
    assert out.count(f"{tmp_path / 'live'}: counts as real") == 1
    assert "3 images of real, 2 sources" in out


def test_frames_in_a_folder_for_each_person_are_a_source_each(tmp_path, capsys):
    names = [
        f"{label}/{person}/frame_{number:06d}.png"
        for label, person in itertools.product(("real", "fake"), ("anna", "ben"))
        for number in (1, 2)
    ]
    write_crops(tmp_path, *names)
    data = load_dataset(tmp_path)
    assert data.sources.tolist() == (["anna/frame"] * 2 + ["ben/frame"] * 2) * 2
    assert data.frames.tolist() == [1, 2] * 4
    _, how = split_dataset(data, "video", None, 0)
    assert how == "whole sources"
    assert (
        "2 persons: anna, ben; person in sources.csv corrects it"
        in capsys.readouterr().out
    )


def test_an_iphones_photograph_is_named_with_what_to_do(tmp_path, capsys):
    write_crops(tmp_path, "real/0.png", "fake/0.png")
    (tmp_path / "real" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    assert len(load_dataset(tmp_path).labels) == 2
    assert re.search(
        r"ignored 1 file: .heic \(1\); .* convert", capsys.readouterr().err
    )


@pytest.mark.parametrize("to_train", [True, False])
def test_no_crops_at_all_is_said(to_train, tmp_path):
    (tmp_path / "real").mkdir()
    with pytest.raises(UserError, match="found none"):
        load_dataset(tmp_path, to_train=to_train)
    with pytest.raises(UserError, match=r"run gather_examples\.py, or"):
        load_dataset(tmp_path / "missing")
