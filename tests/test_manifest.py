import csv
import multiprocessing
from contextlib import closing
from pathlib import Path

from pyimagesearch import manifest
from pyimagesearch.console import UserError
from pyimagesearch.faces import Face
from pyimagesearch.frames import Frame
from pyimagesearch.images import read_image
from pyimagesearch.manifest import (
    COLUMNS,
    FIRST_COLUMNS,
    CropFolder,
    Cut,
    Line,
    Manifest,
    common_cut,
    name_crop,
    name_source,
    read_manifest,
)

import numpy as np
import pytest

FACE = Face(1, 2, 30, 40, 0.98765)


def note(folder, *names, frame=1, **line):
    with closing(Manifest(folder)) as manifest:
        for name in names:
            manifest.add(name, frame, FACE, Line(**{"source": "a"} | line))


def read_rows(folder):
    with (folder / "crops.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_says_where_a_crop_was_cut_from(tmp_path):
    line = Line("a", 0.5, "YuNet", "0123456789abcdef.mp4")
    note(tmp_path, "a_000016.png", frame=16, **line._asdict())
    assert read_manifest(tmp_path) == {"a_000016.png": line}
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
            "detector": "YuNet",
            "fingerprint": "0123456789abcdef.mp4",
        }
    ]


def test_a_crop_is_noted_once(tmp_path):
    for _ in range(2):
        note(tmp_path, "a.png", "a.png", margin=0.25)
    assert len(read_rows(tmp_path)) == 1
    assert read_manifest(tmp_path) == {"a.png": Line("a", 0.25)}


def test_a_crop_of_another_file_is_noted_again(tmp_path):
    note(tmp_path, "a.png", fingerprint="1.mp4")
    note(tmp_path, "a.png", fingerprint="1.mp4")
    note(tmp_path, "a.png", fingerprint="2.mp4")
    assert len(read_rows(tmp_path)) == 2
    assert read_manifest(tmp_path)["a.png"].fingerprint == "2.mp4"


def test_odd_names_come_back(tmp_path):
    names = ['quo"te, comma.png', "new\nline.png", "größe.png"]
    note(tmp_path, *names)
    assert list(read_manifest(tmp_path)) == names


def write_many(folder, writer):
    names = [name_crop(str(writer), number) for number in range(200)]
    note(folder, *names, source="x" * 100, margin=0.5)


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
        read_manifest(tmp_path)


def test_crops_without_a_manifest_have_no_margin(tmp_path):
    assert read_manifest(tmp_path) == {}
    assert common_cut([tmp_path / "0.png"]) == Cut()
    assert common_cut([]) == Cut()


def test_different_margins_are_refused_with_an_example_of_each(tmp_path):
    for label, margin in (("real", 0.5), ("fake", 0.25)):
        (tmp_path / label).mkdir()
        note(tmp_path / label, "a.png", margin=margin)
    real, fake = tmp_path / "real" / "a.png", tmp_path / "fake" / "a.png"
    assert common_cut([real]) == Cut(0.5)
    with pytest.raises(UserError, match=r"real/a\.png .* 0\.5, .*fake/a\.png .* 0\.25"):
        common_cut([real, fake])
    with pytest.raises(UserError, match=r"margin 0;"):
        common_cut([real, tmp_path / "real" / "unlisted.png"])


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


@pytest.mark.parametrize("source", ["anna", "anna_1", "anna_000016", "anna-2", "7"])
@pytest.mark.parametrize(("frame", "place"), [(1, 1), (16, 2), (1_234_567, 12)])
def test_a_crops_name_tells_its_source(source, frame, place):
    name = name_crop(source, frame, place)
    assert name_source(Path("data/real") / name, Path("data")) == source


def test_the_names_are_the_tutorials_with_the_source_before_the_number():
    assert name_crop("anna", 16) == "anna_000016.png"
    assert name_crop("anna", 16, 3) == "anna_000016-3.png"


def count_open_files(folder):
    paths = Path("/proc/self/fd").iterdir()
    return sum(path.resolve().is_relative_to(folder) for path in paths if path.exists())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux")
def test_a_manifest_opens_its_file_once_and_closes_it(tmp_path):
    manifest = Manifest(tmp_path)
    for number in range(5):
        manifest.add(name_crop("a", number), number, FACE, Line("a"))
        assert count_open_files(tmp_path) == 1
    manifest.close()
    assert count_open_files(tmp_path) == 0


def test_a_manifest_that_nothing_was_added_to_makes_no_file(tmp_path):
    note(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_crop_that_another_program_writes_meanwhile_is_kept(tmp_path, monkeypatch):
    frame = Frame(np.full((90, 90, 3), 7, np.uint8), "a", 16, 0.6, 25.0)
    with closing(CropFolder(tmp_path, 0.0, "res10")) as folder:
        crop = folder.cut(frame.image, FACE)
        path = folder.save(crop, frame, 1, FACE)
        assert path == tmp_path / "a_000016.png"
        assert folder.save(crop, frame, 1, FACE) is None
        with pytest.raises(UserError, match="shows something else"):
            folder.save(crop + 1, frame, 1, FACE)
        # It comes between the look and the writing.
        monkeypatch.setattr(manifest, "write_new", lambda *_: False)
        answers = iter([False, True])
        monkeypatch.setattr(folder, "_holds", lambda *_: next(answers))
        assert folder.save(crop, frame, 2, FACE) is None
    np.testing.assert_array_equal(read_image(path), frame.image[2:40, 1:30])


@pytest.mark.parametrize("count", range(FIRST_COLUMNS, len(COLUMNS)))
def test_a_manifest_of_before_gets_its_new_columns(count, tmp_path):
    row = ["b.png", "b", "1", "1", "2", "30", "40", "0.9", "0", "YuNet"][:count]
    old = f"{','.join(COLUMNS[:count])}\n{','.join(row)}\n"
    (tmp_path / "crops.csv").write_text(old)
    note(tmp_path, "a.png", detector="YuNet", fingerprint="1.mp4")
    detector = "YuNet" if count > FIRST_COLUMNS else "res10"
    assert read_manifest(tmp_path) == {
        "b.png": Line("b", 0.0, detector),
        "a.png": Line("a", 0.0, "YuNet", "1.mp4"),
    }
    assert set(read_rows(tmp_path)[0]) == set(COLUMNS)


def write_files(folder, **contents):
    """Write files of these contents; gives their paths by stem, as they are named."""
    for name, content in contents.items():
        path = folder / name.replace("_", ".")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content)
        yield path.stem, str(path)


def test_a_file_keeps_its_name_whatever_comes_beside_it(tmp_path):
    files, out = tmp_path / "in", tmp_path / "out"
    anna, film = dict(write_files(files, anna_mp4="1")), str(files / "anna.mov")
    (files / "anna.mov").write_text("2")

    def name_and_save(names):
        with closing(CropFolder(out, 0.0, "res10")) as folder:
            named = folder.name_sources(names)
            for number, source in enumerate(named, start=1):
                image = np.full((90, 90, 3), number, np.uint8)
                frame = Frame(image, source, 16, 0.6, 25.0)
                folder.save(folder.cut(image, FACE), frame, 1, FACE)
            return list(named)

    assert name_and_save(anna) == ["anna"]
    both = {"anna-mov": film, "anna-mp4": anna["anna"]}
    for _ in range(2):
        with closing(CropFolder(out, 0.0, "res10")) as folder:
            assert list(folder.name_sources(both)) == ["anna-mov", "anna"]
    # By itself, too, as its crops are another's.
    with closing(CropFolder(out, 0.0, "res10")) as folder:
        assert list(folder.name_sources({"anna": film})) == ["anna-mov"]

    # Another file of that very name and ending is refused, before anything is saved.
    other = dict(write_files(tmp_path / "other", anna_mp4="3"))
    with (
        closing(CropFolder(out, 0.0, "res10")) as folder,
        pytest.raises(UserError, match=r"holds crops of another anna; .* rename"),
    ):
        folder.name_sources(other)
    bare = dict(write_files(tmp_path / "bare", ben="1"))
    assert name_and_save(bare) == ["ben"]
    with (
        closing(CropFolder(out, 0.0, "res10")) as folder,
        pytest.raises(UserError, match="another ben"),
    ):
        folder.name_sources(dict(write_files(tmp_path / "other", ben="2")))
    # Once the crops are gone, the name is free.
    for crop in out.glob("*.png"):
        crop.unlink()
    assert name_and_save(other) == ["anna"]
    with closing(CropFolder(out, 0.0, "res10")) as folder:
        assert list(folder.name_sources(other)) == ["anna"]
        with pytest.raises(UserError, match="another anna"):
            folder.name_sources(anna)
