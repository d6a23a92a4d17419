import csv
import multiprocessing

from pyimagesearch.console import UserError
from pyimagesearch.faces import Face
from pyimagesearch.manifest import Manifest, common_margin, read_margins

import pytest

FACE = Face(1, 2, 30, 40, 0.98765)


def read_rows(folder):
    with (folder / "crops.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_says_where_a_crop_was_cut_from(tmp_path):
    Manifest(tmp_path).add("a_000016.png", "a", 16, FACE, 0.5)
    assert read_rows(tmp_path) == [
        {
            "file": "a_000016.png",
            "source": "a",
            "frame": "16",
            "left": "1",
            "top": "2",
            "right": "30",
            "bottom": "40",
            "confidence": "0.9877",
            "margin": "0.5",
        }
    ]


def test_a_crop_is_noted_once(tmp_path):
    for _ in range(2):
        manifest = Manifest(tmp_path)
        manifest.add("a.png", "a", 1, FACE, 0.25)
        manifest.add("a.png", "a", 1, FACE, 0.25)
    assert len(read_rows(tmp_path)) == 1
    assert read_margins(tmp_path) == {"a.png": 0.25}


def test_odd_names_come_back(tmp_path):
    names = ['quo"te, comma.png', "new\nline.png", "größe.png"]
    manifest = Manifest(tmp_path)
    for name in names:
        manifest.add(name, "a", 1, FACE, 0.0)
    assert list(read_margins(tmp_path)) == names


def write_many(folder, writer):
    manifest = Manifest(folder)
    for number in range(200):
        manifest.add(f"{writer}_{number:06d}.png", "x" * 100, number, FACE, 0.5)


def test_programs_that_write_at_once_lose_and_tear_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=write_many, args=(tmp_path, writer))
        for writer in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    rows = read_rows(tmp_path)
    assert len(rows) == 600
    assert len({row["file"] for row in rows}) == 600
    assert {row["margin"] for row in rows} == {"0.5"}
    assert [path.name for path in tmp_path.iterdir()] == ["crops.csv"]


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"file,margin\nx,wide\n", b"\xff\n"]
)
def test_another_crops_csv_is_refused(content, tmp_path):
    (tmp_path / "crops.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"crops\.csv: not a list of crops"):
        read_margins(tmp_path)


def test_crops_without_a_manifest_have_no_margin(tmp_path):
    assert read_margins(tmp_path) == {}
    assert common_margin([tmp_path / "0.png"]) == 0
    assert common_margin([]) == 0


def test_different_margins_are_refused_with_an_example_of_each(tmp_path):
    for label, margin in (("real", 0.5), ("fake", 0.25)):
        (tmp_path / label).mkdir()
        Manifest(tmp_path / label).add("a.png", "a", 1, FACE, margin)
    real, fake = tmp_path / "real" / "a.png", tmp_path / "fake" / "a.png"
    assert common_margin([real]) == 0.5
    with pytest.raises(UserError, match=r"real/a\.png .* 0\.5, .*fake/a\.png .* 0\.25"):
        common_margin([real, fake])
    with pytest.raises(UserError, match=r"margin 0;"):
        common_margin([real, tmp_path / "real" / "unlisted.png"])
