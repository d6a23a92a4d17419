from pathlib import Path

from pyimagesearch.console import UserError
from pyimagesearch.dataset import (
    load_dataset,
    name_source,
    split_random,
    split_videos,
)
from pyimagesearch.frames import read_image
from pyimagesearch.preprocessing import preprocess

import cv2
import numpy as np
import pytest


def write_crops(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), np.full((40, 30, 3), 90, np.uint8))


def make_labels(**sources):
    """Labels and sources of crops: make_labels(real={"a": 10}, ...)."""
    rows = [
        (label, source)
        for label, counts in sources.items()
        for source, count in counts.items()
        for _ in range(count)
    ]
    labels, names = zip(*rows, strict=True)
    return np.array(labels), np.array(names)


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
    assert "notes.txt: not in a class's folder" in warnings[0]
    assert "broken.png: not a readable image" in warnings[1]
    assert "skipped 2 of 7 files" in warnings[2]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("real/anna-kitchen_000016.png", "anna-kitchen"),
        ("real/anna_1_000016.png", "anna_1"),
        ("real/anna_000016-2.png", "anna"),
        ("real/a_1234567.png", "a"),
        ("real/0.png", "real"),
        ("real/a_16.png", "real"),
        ("real/bob/0.png", "real/bob"),
    ],
)
def test_the_source_is_told_from_the_name(name, source):
    assert name_source(Path("data") / name, Path("data")) == source


def test_whole_sources_go_to_one_side():
    labels, sources = make_labels(
        real={f"r{i}": 20 + i for i in range(6)},
        fake={f"f{i}": 40 - i for i in range(5)},
    )
    for seed in range(10):
        train, test, how = split_videos(labels, sources, seed)
        assert how == "whole sources"
        assert not set(sources[train]) & set(sources[test])
        assert set(labels[train]) == set(labels[test]) == {"real", "fake"}
        assert len(train) + len(test) == len(labels)
        assert 0.15 < len(test) / len(labels) < 0.4
    splits = [split_videos(labels, sources, seed).test for seed in range(10)]
    assert len({tuple(test) for test in splits}) > 1
    np.testing.assert_array_equal(splits[3], split_videos(labels, sources, 3).test)


def test_a_name_in_both_classes_stays_on_one_side():
    """Somebody's real video and the replay of it, both named after them."""
    people = {f"person{i}": 10 for i in range(8)}
    labels, sources = make_labels(real=people, fake=people)
    train, test, _ = split_videos(labels, sources, 0)
    assert not set(sources[train]) & set(sources[test])


def test_two_sources_in_each_class_are_enough():
    labels, sources = make_labels(real={"a": 30, "b": 9}, fake={"c": 10, "d": 20})
    train, test, how = split_videos(labels, sources, 0)
    assert how == "whole sources"
    assert set(labels[train]) == set(labels[test]) == {"real", "fake"}


@pytest.mark.parametrize("seed", range(10))
def test_one_source_in_a_class_gives_blocks_with_a_gap(seed):
    labels, sources = make_labels(real={"a": 100}, fake={"b": 60, "c": 40})
    train, test, how = split_videos(labels, sources, seed)
    assert how == "blocks of frames"
    assert not set(train) & set(test)
    for source in "abc":
        own = np.flatnonzero(sources == source)
        block = np.intersect1d(own, test)
        assert len(block) == len(own) / 4
        assert block[-1] - block[0] == len(block) - 1
        learnt = np.intersect1d(own, train)
        nearest = min(abs(learnt[:, None] - block[None]).ravel())
        assert nearest > len(own) * 0.05
        assert len(learnt) + len(block) >= len(own) * 0.9


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_few_crops_leave_some_on_both_sides(count):
    labels, sources = make_labels(real={"a": count}, fake={"b": count})
    for seed in range(20):
        train, test, _ = split_videos(labels, sources, seed)
        assert set(labels[train]) == set(labels[test]) == {"real", "fake"}


def test_photographs_one_crop_each_can_be_split():
    singles = {f"photo{i}": 1 for i in range(20)}
    labels, sources = make_labels(real={"video": 40}, fake=singles)
    train, test, how = split_videos(labels, sources, 0)
    assert how == "blocks of frames"
    assert set(labels[train]) == set(labels[test]) == {"real", "fake"}


@pytest.mark.parametrize("split", [split_random, lambda a, s: split_videos(a, a, s)])
def test_a_class_of_one_crop_is_named(split):
    labels = np.array(["real"] * 9 + ["fake"])
    with pytest.raises(UserError, match="1 crop of fake"):
        split(labels, 0)


def test_random_keeps_the_shares_of_the_classes():
    labels = np.array(["real"] * 100 + ["fake"] * 20)
    train, test, _ = split_random(labels, 42)
    assert (labels[test] == "fake").sum() == 5
    assert len(test) == 30
    assert not set(train) & set(test)
    assert len(split_random(np.array(list("aabbcc")), 0).test) == 3


def test_one_class_is_enough_to_be_measured(tmp_path):
    write_crops(tmp_path, "real/0.png", "real/1.png")
    with pytest.raises(UserError, match=r"found only .*real"):
        load_dataset(tmp_path)
    assert load_dataset(tmp_path, least_classes=1).labels.tolist() == ["real"] * 2
    assert load_dataset(tmp_path, 48, 64, 1).crops.shape == (2, 64, 48, 3)


@pytest.mark.parametrize("least", [1, 2])
def test_no_crops_at_all_is_said(least, tmp_path):
    (tmp_path / "real").mkdir()
    with pytest.raises(UserError, match="found none"):
        load_dataset(tmp_path, least_classes=least)
    with pytest.raises(UserError, match=r"run gather_examples\.py first"):
        load_dataset(tmp_path / "missing")
