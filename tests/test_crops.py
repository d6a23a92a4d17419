import csv
import multiprocessing
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

from pyimagesearch import crops as crops_module
from pyimagesearch import files as files_module
from pyimagesearch.console import UserError
from pyimagesearch.crops import (
    CropFolder,
    Source,
    SourceList,
    common_margin,
    find_crops,
    read_lists,
)
from pyimagesearch.faces import Face, crop_face
from pyimagesearch.files import find_files, fingerprint_of
from pyimagesearch.inputs import Frame
from pyimagesearch.names import name_files
from pyimagesearch.video import IMAGE_SUFFIXES, read_image

import numpy as np
import pytest
from conftest import write_image

FACE = Face(1, 2, 30, 40, 0.98765)
YUNET = SimpleNamespace(name="YuNet", size=320, confidence=0.7)
HOW = "YuNet", 320, 0.7, 16
HEADER = ",".join(Source._fields)
LINE = Source("a", "", "", 0, *HOW, 40, 3)


def open_folder(path, margin=0.0, **files):
    """Open a folder for the crops of files, as gather_examples.py does."""
    folder = CropFolder(path, margin, YUNET, 16)
    for file in files.values():
        folder.files |= name_files([Path(file)], Path(file), folder.owners)
    return folder


def save_crop(folder, source, number=1, value=0):
    """Save the crop of a face in a frame of one color."""
    frame = Frame(np.full((90, 90, 3), value, np.uint8), source, number, 0.6)
    return folder.save(crop_face(frame.image, FACE, folder.margin), frame, 1)


def save_crops(path, *sources, margin=0.0):
    """Save one crop of each source, in one session."""
    folder = open_folder(path, margin)
    return [save_crop(folder, source) for source in sources]


def record(path, source="a", searched=40, faceless=3, is_whole=True):
    open_folder(path).record_search(source, searched, faceless, is_whole)


def read_rows(folder):
    with (folder / "sources.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_file(path, content):
    """Write a file that crops may come from; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def write_list(folder, *lines, header=HEADER):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sources.csv").write_text("\n".join([header, *lines, ""]))


def margin_of(folder):
    files = find_files(folder)
    crops = [path for path in files if path.suffix in IMAGE_SUFFIXES]
    return common_margin(crops, read_lists(files))


def test_a_line_says_how_a_source_is_searched_and_a_second_one_what_came_of_it(
    tmp_path,
):
    video = write_file(tmp_path / "in" / "a.mp4", "1")
    folder = open_folder(tmp_path / "out", 0.5, a=video)
    save_crop(folder, "a", 16)
    before = {
        "source": "a",
        "person": "",
        "fingerprint": fingerprint_of(video),
        "margin": "0.5",
        "detector": "YuNet",
        "detector_size": "320",
        "confidence": "0.7",
        "skip": "16",
        "searched": "",
        "faceless": "",
    }
    assert read_rows(tmp_path / "out") == [before]
    save_crop(folder, "a", 32)
    folder.record_search("a", 40, 3, is_whole=True)
    after = before | {"searched": "40", "faceless": "3"}
    assert read_rows(tmp_path / "out") == [before, after]
    line = Source("a", "", fingerprint_of(video), 0.5, *HOW, 40, 3)
    assert SourceList(tmp_path / "out").lines == {"a": line}


def test_a_crop_is_its_box_and_the_margin_around_it(tmp_path):
    image = np.arange(90 * 90 * 3, dtype=np.uint32).reshape(90, 90, 3).astype(np.uint8)
    for margin, expected in (
        (0, image[2:40, 1:30]),
        (0.5, image[0:59, 0:44]),  # as far as the image goes
    ):
        folder = open_folder(tmp_path / str(margin), margin)
        frame = Frame(image, "a", 16, 0.6)
        path = folder.save(crop_face(image, FACE, folder.margin), frame, 1)
        assert path == tmp_path / str(margin) / "a_000016.png"
        np.testing.assert_array_equal(read_image(path), expected)


def test_folders_of_a_source_are_folders_of_its_crops_and_have_their_own_list(tmp_path):
    folder = open_folder(tmp_path)
    path = save_crop(folder, "anna/old/near", 16)
    assert path == tmp_path / "anna" / "old" / "near_000016.png"
    folder.record_search("anna/old/near", 40, 3, is_whole=True)
    folder.record_search("ben/wall", 7, 7, is_whole=True)  # without any crop
    (line,) = SourceList(path.parent).lines.values()
    assert line == LINE._replace(source="near")
    assert list(SourceList(tmp_path / "ben").lines) == ["wall"]
    assert not (tmp_path / "sources.csv").exists()


def test_a_line_comes_before_the_crop(tmp_path, monkeypatch):
    """A kill between them leaves no crop without a line."""

    def kill(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files_module, "write_new", kill)
    write_list(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        save_crops(tmp_path, "a")
    monkeypatch.undo()
    assert not list(tmp_path.glob("*.png"))
    assert list(SourceList(tmp_path).lines) in ([], ["a"])
    save_crops(tmp_path, "a")
    assert len(read_rows(tmp_path)) == 1


def test_nothing_unchanged_is_written_again(tmp_path):
    for _ in range(2):
        folder = open_folder(tmp_path, 0.25)
        save_crop(folder, "a")
        save_crop(folder, "a")
        folder.record_search("a", 40, 3, is_whole=True)
    assert len(read_rows(tmp_path)) == 2
    # Not even if the crop was deleted meanwhile.
    (tmp_path / "a_000001.png").unlink()
    save_crops(tmp_path, "a", margin=0.25)
    assert len(read_rows(tmp_path)) == 2


def test_an_interrupted_search_replaces_no_counts(tmp_path):
    record(tmp_path, searched=5, faceless=1, is_whole=False)
    assert SourceList(tmp_path).lines["a"][-2:] == (5, 1)
    record(tmp_path)
    record(tmp_path, searched=7, is_whole=False)
    assert SourceList(tmp_path).lines == {"a": LINE}
    record(tmp_path, searched=80)
    assert SourceList(tmp_path).lines["a"].searched == 80


def test_a_new_line_keeps_the_person_that_somebody_filled_in_meanwhile(tmp_path):
    folder = open_folder(tmp_path)
    save_crop(folder, "a")
    text = (tmp_path / "sources.csv").read_text()
    (tmp_path / "new").write_text(text.replace("a,,", "a,Anna B.,"))
    (tmp_path / "new").replace(tmp_path / "sources.csv")  # as editors do
    folder.record_search("a", 40, 3, is_whole=True)
    assert SourceList(tmp_path).lines == {"a": LINE._replace(person="Anna B.")}


def test_lines_of_other_programs_are_read_before_a_sources_first_line(tmp_path):
    folder, other = open_folder(tmp_path), open_folder(tmp_path)
    save_crop(folder, "a")
    other.record_search("b", 40, 3, is_whole=True)
    folder.record_search("b", 40, 3, is_whole=True)
    assert [row["source"] for row in read_rows(tmp_path)] == ["a", "b"]


def test_a_list_that_nobody_else_wrote_to_is_not_read_again(tmp_path, monkeypatch):
    folder, read = open_folder(tmp_path), []
    save_crop(folder, "a")
    read_csv = crops_module.read_csv
    monkeypatch.setattr(
        crops_module, "read_csv", lambda text: read.append(text) or read_csv(text)
    )
    for number in range(5):
        save_crop(folder, f"b{number}")
    assert all(text.count(b"\n") == 1 for text in read)  # the header


def test_another_file_gets_its_own_line_where_the_crops_of_the_first_are_gone(tmp_path):
    files = [write_file(tmp_path / f"in{n}" / "a.mp4", f"{n}") for n in (1, 2)]
    for file in (files[0], files[0], files[1]):
        save_crop(open_folder(tmp_path / "out", a=file), "a")
        (tmp_path / "out" / "a_000001.png").unlink()
    assert len(read_rows(tmp_path / "out")) == 2
    (line,) = SourceList(tmp_path / "out").lines.values()
    assert line.fingerprint == fingerprint_of(files[1])


def test_lines_without_crops_own_no_name(tmp_path):
    one = write_file(tmp_path / "one" / "anna.mp4", "1")
    other = write_file(tmp_path / "other" / "anna.mp4", "2")
    out = tmp_path / "out"
    save_crop(open_folder(out, anna=one), "anna")
    with pytest.raises(UserError, match="another anna"):
        open_folder(out, anna=other)
    (out / "anna_000001.png").unlink()
    save_crop(open_folder(out, anna=other), "anna")
    with pytest.raises(UserError, match="another anna"):
        open_folder(out, anna=one)


def test_a_program_that_takes_the_same_name_for_another_file_ends_this_one(tmp_path):
    files = [write_file(tmp_path / f"{n}" / "a.mp4", f"{n}") for n in (1, 2)]
    folders = [open_folder(tmp_path / "out", a=file) for file in files]
    save_crop(folders[0], "a", 1)
    with pytest.raises(UserError, match=r"out/a: another program is saving crops"):
        save_crop(folders[1], "a", 2)
    assert len(read_rows(tmp_path / "out")) == 1


def test_unusual_names_are_read_back(tmp_path):
    sources = ['quo"te, comma', "new\nline", "größe", " a;b\t", "1"]
    crops = save_crops(tmp_path, *sources, margin=0.25)
    assert list(SourceList(tmp_path).lines) == sources
    assert common_margin(crops, read_lists(find_files(tmp_path))) == (0.25, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_a_name_that_is_no_utf_8_is_written_and_read_back(tmp_path):
    source = os.fsdecode(b"caf\xe9")
    save_crops(tmp_path, source, margin=0.25)
    assert (
        b"\ncaf\xe9,,,0.25,YuNet,320,0.7,16,,\n"
        in (tmp_path / "sources.csv").read_bytes()
    )
    assert save_crops(tmp_path, source, margin=0.25) == [None]
    assert margin_of(tmp_path) == (0.25, 0)


def write_many(path, writer, names):
    folder = open_folder(path, 0.5)
    for number in range(100):
        save_crop(folder, names.format(number=number, writer=writer), number)


@pytest.mark.parametrize(("names", "count"), [("{writer}-{number}", 300), ("a", 1)])
def test_programs_that_write_at_once_lose_and_tear_nothing(names, count, tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=write_many, args=(tmp_path, writer, names))
        for writer in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 3
    rows = read_rows(tmp_path)
    assert count <= len(rows) <= count + 2  # both may begin a source at a time
    assert len({row["source"] for row in rows}) == count
    assert {row["margin"] for row in rows} == {"0.5"}
    assert len(list(tmp_path.iterdir())) == max(100, count) + 1
    assert margin_of(tmp_path) == (0.5, 0)


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"a,b\n1,2\n", "a, b, without source, person"),
        (b"source,margin\na,0\n", "source, margin, without person, fing"),
        (b"\xff\n", "without source"),
        (b"", "without source"),
        (b"\x89PNG\r\n", "without source"),
    ],
)
def test_a_list_of_other_columns_is_refused_and_kept(content, columns, tmp_path):
    (tmp_path / "sources.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"sources\.csv: not a list .*{columns}"):
        open_folder(tmp_path)
    assert (tmp_path / "sources.csv").read_bytes() == content


@pytest.mark.parametrize(
    "torn",
    [
        "b",
        "b,,f00d.mp4,0",
        "b,,,25. Jan,YuNet,320,0.7,16,40,3",
        "b,,,,YuNet,320,0.7,16,40,3",
        "b,,,nan,YuNet,320,0.7,16,40,3",
        "b,,,2,YuNet,320,0.7,16,40,3",
        "b,,,0,YuNet,320,0.7,16,40,50",
        "b,,,0,YuNet,320,0.7,16,0,0",
        "b,,,0,YuNet,320,0.7,16,forty,3",
        "b,,,0,YuNet,320,0.7,16,40,",
        "b,,c,,,0,YuNet,320,0.7,16,40,3",  # the next line was appended to it
        f'"{200_000 * "x"}',
    ],
)
def test_a_torn_row_is_a_warning_with_its_number(torn, tmp_path, capsys):
    good = "a,,,0,YuNet,320,0.7,16,40,3"
    write_list(tmp_path, good, torn)
    assert SourceList(tmp_path).lines == {"a": LINE}
    path = tmp_path / "sources.csv"
    assert capsys.readouterr().err == f"[WARN] {path}: row 3 cannot be read\n"


def test_a_row_that_a_full_disk_cut_short_is_ended_and_replaced(tmp_path, capsys):
    write_list(tmp_path, "a,,,0,YuNet,320,0.7,16,40,3")
    with (tmp_path / "sources.csv").open("a") as file:
        file.write("b,,f00d.mp4,0")
    save_crops(tmp_path, "b")
    assert "row 3 cannot be read" in capsys.readouterr().err
    lines = (tmp_path / "sources.csv").read_text().splitlines()
    assert lines[2:] == ["b,,f00d.mp4,0", "b,,,0,YuNet,320,0.7,16,,"]
    assert list(SourceList(tmp_path).lines) == ["a", "b"]


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_a_list_that_a_spreadsheet_saved_is_read_and_written_on(
    delimiter, quoting, tmp_path, capsys
):
    """With a byte order mark, decimal commas, other columns and an empty row."""
    save_crops(tmp_path, "größe; a,b", "b", margin=0.25)
    rows, path = read_rows(tmp_path), tmp_path / "sources.csv"
    columns = ["notes", *reversed(Source._fields)]
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, columns, delimiter=delimiter, quoting=quoting)
        writer.writeheader()
        for row in rows:
            decimal = {"margin": "0,25", "confidence": "0,7", "notes": "mine"}
            writer.writerow(row | decimal)
        writer.writerow(dict.fromkeys(columns, ""))
    before = path.read_bytes()
    how = 0.25, *HOW, None, None
    expected = {name: Source(name, "", "", *how) for name in ("größe; a,b", "b")}
    assert SourceList(tmp_path).lines == expected
    for source in ("c", "d, e"):
        save_crops(tmp_path, source, margin=0.25)
        expected[source] = Source(source, "", "", *how)
    assert SourceList(tmp_path).lines == expected
    assert path.read_bytes().startswith(before)
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file, delimiter=delimiter))
    assert {len(row) for row in rows} == {len(columns)}
    assert capsys.readouterr().err == ""


def test_a_user_may_write_a_list_of_sources_and_margins(tmp_path):
    """As for crops that were collected by an earlier version."""
    write_image(tmp_path / "camera0-20260101-120000_000001.png")
    write_list(tmp_path, "camera0-20260101-120000,Anna,,0.5,,,,,,")
    assert margin_of(tmp_path) == (0.5, 0)


def test_crops_without_a_line_have_the_margin_of_the_others(tmp_path):
    save_crops(tmp_path / "real", "a", "b", margin=0.5)
    write_image(tmp_path / "fake" / "c_000016.png")
    write_image(tmp_path / "real" / "b_000002-2.png")
    write_image(tmp_path / "real" / "d_000002.png")
    assert margin_of(tmp_path) == (0.5, 2)
    assert margin_of(tmp_path / "fake") == (0.0, 1)
    for name in ("a_000001", "b_000001", "b_000002-2"):
        (tmp_path / "real" / f"{name}.png").unlink()
    assert margin_of(tmp_path) == (0.5, 2)  # though no crop of these has a line


def test_a_moved_folder_keeps_its_list(tmp_path):
    save_crops(tmp_path / "real", "anna/near", margin=0.5)
    (tmp_path / "other").mkdir()
    (tmp_path / "real" / "anna").rename(tmp_path / "other" / "ben")
    assert margin_of(tmp_path / "other") == (0.5, 0)


def test_different_margins_are_refused_with_an_example_of_each(tmp_path):
    save_crops(tmp_path / "data" / "real", "a", margin=0.5)
    save_crops(tmp_path / "data" / "fake", "a", margin=0.25)
    with pytest.raises(
        UserError, match=r"fake/a_0.*\.png .* 0\.25, .*real/a_0.*\.png .* 0\.5"
    ):
        margin_of(tmp_path / "data")
    save_crops(tmp_path / "one", "a", margin=0.5)
    write_image(tmp_path / "one" / "0.png")  # from elsewhere
    with pytest.raises(UserError, match=r"0\.png was cut with margin 0, "):
        margin_of(tmp_path / "one")


def test_a_folder_of_another_margin_is_refused(tmp_path):
    save_crops(tmp_path, "anna/a", margin=0.5)
    with pytest.raises(UserError, match=r"holds crops with margin 0\.5, not 0\.25"):
        open_folder(tmp_path, 0.25)


OLD = "file,source,frame,left,top,right,bottom,confidence,margin,detector,fingerprint"


def write_old_list(folder, margin):
    write_image(folder / "a_000016.png")
    row = f"a_000016.png,a,16,1,2,3,4,0.9,{margin},YuNet,"
    (folder / "crops.csv").write_text(f"{OLD}\n{row}\n")
    (folder / "frames.csv").write_text("source\na\n")


def test_the_list_of_an_earlier_version_is_no_longer_read(tmp_path, capsys):
    write_old_list(tmp_path, "0")
    assert margin_of(tmp_path) == (0.0, 1)
    names = f"{tmp_path / 'crops.csv'}, {tmp_path / 'frames.csv'}"
    warning = f"[WARN] {names}: no longer read; gather again for a sources.csv\n"
    assert capsys.readouterr().err == warning
    assert save_crop(open_folder(tmp_path), "b")


@pytest.mark.parametrize("margin", ["0.5", '"0,5"', "25. Jan"])
def test_of_another_margin_it_says_what_to_do(margin, tmp_path, capsys):
    write_old_list(tmp_path, margin)
    with pytest.raises(
        UserError,
        match=r"crops\.csv: its crops have margin .*; delete them and gather again with"
        r" --margin .*; .* collected need a sources\.csv with a line for each session",
    ):
        margin_of(tmp_path)
    write_list(tmp_path, "a,,,0.5,,,,,,")
    assert margin_of(tmp_path) == (0.5, 0)
    write_list(tmp_path, "b,,,0,,,,,,")  # they were gathered again
    assert margin_of(tmp_path) == (0.0, 1)


def test_no_file_is_left_open(tmp_path):
    if not Path("/proc/self/fd").exists():
        pytest.skip("asks Linux")
    folder = open_folder(tmp_path)
    for number in range(5):
        save_crop(folder, f"a{number}", number)
        paths = [path for path in Path("/proc/self/fd").iterdir() if path.exists()]
        assert not any(path.resolve().is_relative_to(tmp_path) for path in paths)


def test_a_folder_that_nothing_was_saved_to_stays_empty(tmp_path):
    save_crops(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_crop_is_overwritten(tmp_path):
    folder = open_folder(tmp_path)
    path = save_crop(folder, "a", value=7)
    before = path.read_bytes()
    assert save_crop(folder, "a", value=7) is None
    with pytest.raises(UserError, match="shows something else; nothing was overwr"):
        save_crop(folder, "a", value=8)
    assert path.read_bytes() == before
    # Nor is a line written about crops of another file, if theirs has none.
    (tmp_path / "sources.csv").unlink()
    with pytest.raises(UserError, match="shows something else"):
        save_crop(open_folder(tmp_path), "a", value=8)
    assert not (tmp_path / "sources.csv").exists()


def test_crops_that_are_there_get_a_line_when_they_are_gathered_again(tmp_path):
    save_crops(tmp_path, "a")
    (tmp_path / "sources.csv").unlink()
    assert save_crops(tmp_path, "a") == [None]
    assert list(SourceList(tmp_path).lines) == ["a"]


@pytest.mark.parametrize("value", [7, 8])
def test_a_crop_that_another_program_writes_meanwhile_is_kept(
    value, tmp_path, monkeypatch
):
    theirs, folder = open_folder(tmp_path), open_folder(tmp_path)
    save_crop(folder, "a", number=2)
    write_new = files_module.write_new

    def write_second(path, png):  # between the look and the writing
        monkeypatch.setattr(files_module, "write_new", write_new)
        save_crop(theirs, "a", value=7)
        return write_new(path, png)

    monkeypatch.setattr(files_module, "write_new", write_second)
    if value == 7:
        assert save_crop(folder, "a", value=value) is None
    else:
        with pytest.raises(UserError, match="shows something else"):
            save_crop(folder, "a", value=value)
    assert set(read_image(tmp_path / "a_000001.png").flat) == {7}


def test_a_file_keeps_its_name_whatever_comes_beside_it(tmp_path):
    anna = write_file(tmp_path / "in" / "anna.mp4", "1")
    film = write_file(tmp_path / "in" / "anna.mov", "2")
    out = tmp_path / "out"
    save_crop(open_folder(out, anna=anna), "anna")
    for _ in range(2):
        folder = open_folder(out)
        folder.files = name_files([film, anna], tmp_path / "in", folder.owners)
        assert folder.files == {"anna-mov": str(film), "anna": str(anna)}
        save_crop(folder, "anna-mov", value=1)


def test_crops_are_found_by_class_without_the_systems_folders(tmp_path):
    assert find_crops(tmp_path / "missing") == {}
    names = ["live/a.png", "real/b/c.JPG", "print/d.txt", "@eaDir/e.png", "f.png"]
    for name in names:
        write_file(tmp_path / name, "")
    assert find_crops(tmp_path) == {
        "real": [tmp_path / "live" / "a.png", tmp_path / "real" / "b" / "c.JPG"],
        "print": [],
    }


DOCS = (Path(__file__).parent.parent / "docs" / "data.md").read_text()
ROW = re.compile(r"^\| (.*) \| `(.*?)`.* \| `(.*\(.*)` \| (\d+) \|$", re.MULTILINE)


@pytest.mark.parametrize("row", ROW.findall(DOCS))
def test_the_lines_in_the_docs_fill_in_the_persons_of_public_data_sets(
    row, tmp_path, monkeypatch
):
    _, source, pattern, person = row
    save_crops(tmp_path / "dataset" / "real", source, f"anna/{source}")
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code.replace(r"client(\d+)", pattern), {})
    for folder in ("real", "real/anna"):
        (line,) = SourceList(tmp_path / "dataset" / folder).lines.values()
        assert (line.source, line.person) == (source, person)


def test_the_list_of_sources_in_the_docs_can_be_read(tmp_path):
    (text,) = re.findall(r"```\n(source,.*?)```", DOCS, re.DOTALL)
    (tmp_path / "sources.csv").write_text(text)
    lines = SourceList(tmp_path).lines.values()
    assert [(line.source, line.person, line.searched) for line in lines] == [
        ("near", "", 31),
        ("evening", "anna", 28),
        ("camera0-20260514-184501", "ben", 40),
    ]
