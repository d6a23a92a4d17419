from pathlib import Path

from pyimagesearch.console import UserError
from pyimagesearch.dataset import count_sources, load_dataset
from pyimagesearch.faces import preprocess
from pyimagesearch.frames import read_image

import cv2
import numpy as np
import pytest
from datasets import make_dataset, make_labels


def write_crops(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), np.full((40, 30, 3), 90, np.uint8))


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
    assert "broken.png: not a readable image" in warnings[0]
    assert "1 file not in the folder of a class" in warnings[1]
    assert "skipped 2 of 7 files" in warnings[2]


def test_a_subset_has_its_crops_and_what_is_known_of_them():
    labels, sources = make_labels(real={"a": 3}, fake={"b": 3})
    part = make_dataset(labels, sources).subset(np.array([1, 4]))
    assert part.crops[:, 0, 0, 0].tolist() == [1, 4]
    assert part.labels.tolist() == ["real", "fake"]
    assert part.sources.tolist() == ["a", "b"]
    assert part.paths == [Path("1.png"), Path("4.png")]
    assert part.margin == 0.25


def test_sources_are_counted_by_class():
    labels, sources = make_labels(real={"a": 3, "b": 1}, fake={"a": 2})
    assert count_sources(make_dataset(labels, sources)) == {
        "real": {"a": 3, "b": 1},
        "fake": {"a": 2},
    }


def test_one_class_is_enough_to_be_measured(tmp_path):
    write_crops(tmp_path, "real/0.png", "real/1.png")
    with pytest.raises(UserError, match=r"found only .*real"):
        load_dataset(tmp_path)
    assert load_dataset(tmp_path, min_classes=1).labels.tolist() == ["real"] * 2
    assert load_dataset(tmp_path, 48, 64, 1).crops.shape == (2, 64, 48, 3)


@pytest.mark.parametrize("least", [1, 2])
def test_no_crops_at_all_is_said(least, tmp_path):
    (tmp_path / "real").mkdir()
    with pytest.raises(UserError, match="found none"):
        load_dataset(tmp_path, min_classes=least)
    with pytest.raises(UserError, match=r"run gather_examples\.py first"):
        load_dataset(tmp_path / "missing")
