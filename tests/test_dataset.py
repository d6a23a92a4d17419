import itertools
import re
from contextlib import closing
from pathlib import Path

from pyimagesearch.console import UserError
from pyimagesearch.crops import CropFolder, Search
from pyimagesearch.dataset import count_sources, load_dataset
from pyimagesearch.faces import Face, preprocess
from pyimagesearch.folds import split_dataset
from pyimagesearch.inputs import Frame
from pyimagesearch.video import read_image

import cv2
import numpy as np
import pytest
from datasets import make_dataset, make_labels


def write_crops(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), np.full((40, 30, 3), 90, np.uint8))


def test_sizes_fingerprints_and_searches_come_with_the_crops(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_text("1")
    search = Search("a", "", 16, "YuNet", 320, 0.7, 40, 3)
    for folder in ("Live", "fake/anna", "unsure"):
        with closing(CropFolder(tmp_path / "data" / folder, 0.25, "YuNet")) as crops:
            (source,) = crops.name_sources({"a": str(tmp_path / "in" / "a.mp4")})
            frame = Frame(np.zeros((200, 200, 3), np.uint8), source, 16, 0.6)
            face = Face(50, 60, 90, 120, 0.9)  # 40 wide
            crops.save(crops.cut(frame.image, face), frame, 1, face)
            crops.record_search(search, is_whole=True)
    write_crops(tmp_path / "data", "fake/from-elsewhere.png")  # 30 wide
    with (tmp_path / "data" / "fake" / "crops.csv").open("w") as file:
        file.write((tmp_path / "data" / "Live" / "crops.csv").read_text())
        file.write("from-elsewhere.png,,,,,,,,0.25,YuNet,\n")
    data = load_dataset(tmp_path / "data")
    fingerprint = next(iter(data.searches.values())).fingerprint
    assert fingerprint.endswith(".mp4")
    labels = data.labels.tolist()
    assert list(zip(labels, data.sources, strict=True)) == [
        ("real", "a"),
        ("fake", "anna/a"),
        ("fake", "fake"),
    ]
    assert data.sizes.tolist() == [40, 40, 20]
    assert data.fingerprints.tolist() == [fingerprint, fingerprint, ""]
    search = search._replace(fingerprint=fingerprint)
    assert data.searches == {("fake", "anna/a"): search, ("real", "a"): search}
    part = data.subset(np.array([2]))
    assert (part.sizes.tolist(), part.fingerprints.tolist()) == ([20], [""])


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
    assert len(warnings) == 3
    assert "1 file not in the folder of a class" in warnings[0]
    assert "broken.png: not a readable image" in warnings[1]
    assert "skipped 2 of 7 files" in warnings[2]


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


def test_sources_are_counted_by_class():
    labels, sources, frames = make_labels(real={"a": 3, "b": 1}, fake={"a": 2})
    assert count_sources(make_dataset(labels, sources, frames)) == {
        "real": {"a": 3, "b": 1},
        "fake": {"a": 2},
    }


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
    assert "kept together: anna, ben" in capsys.readouterr().out


def test_an_iphones_photograph_is_named_with_what_to_do(tmp_path, capsys):
    write_crops(tmp_path, "real/0.png", "fake/0.png")
    (tmp_path / "real" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    assert len(load_dataset(tmp_path).labels) == 2
    assert re.search(r"IMG_1\.HEIC: .* convert .* skipped", capsys.readouterr().err)


@pytest.mark.parametrize("to_train", [True, False])
def test_no_crops_at_all_is_said(to_train, tmp_path):
    (tmp_path / "real").mkdir()
    with pytest.raises(UserError, match="found none"):
        load_dataset(tmp_path, to_train=to_train)
    with pytest.raises(UserError, match=r"run gather_examples\.py, or"):
        load_dataset(tmp_path / "missing")
