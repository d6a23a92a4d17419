import csv
import multiprocessing
import os
import sys
from contextlib import closing
from pathlib import Path

from pyimagesearch import crops as crops_module
from pyimagesearch.console import UserError
from pyimagesearch.crops import (
    COLUMNS,
    CropFolder,
    CropRecord,
    Search,
    common_cut,
    read_manifest,
    read_searches,
)
from pyimagesearch.faces import Face
from pyimagesearch.files import find_files, fingerprint_of, to_csv
from pyimagesearch.inputs import Frame
from pyimagesearch.video import read_image

import numpy as np
import pytest

FACE = Face(1, 2, 30, 40, 0.98765)


def save_crop(folder, source, number=1, value=0):
    """Save the crop of a face in a frame of one color."""
    frame = Frame(np.full((90, 90, 3), value, np.uint8), source, number, 0.6)
    return folder.save(folder.cut(frame.image, FACE), frame, 1, FACE)


def save_crops(path, *sources, margin=0.0, detector="res10"):
    """Save one crop of each source, in one session."""
    with closing(CropFolder(path, margin, detector)) as folder:
        return [save_crop(folder, source) for source in sources]


def read_rows(folder):
    with (folder / "crops.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_file(path, content):
    """Write a file that crops may come from; returns its path as a str."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return str(path)


def test_a_line_says_where_a_crop_was_cut_from(tmp_path):
    video = write_file(tmp_path / "in" / "a.mp4", "1")
    with closing(CropFolder(tmp_path / "out", 0.5, "YuNet")) as folder:
        (source,) = folder.name_sources({"a": video})
        save_crop(folder, source, 16)
    fingerprint = fingerprint_of(Path(video))
    assert read_manifest(tmp_path / "out") == {
        "a_000016.png": CropRecord("a", 0.5, "YuNet", fingerprint)
    }
    assert read_rows(tmp_path / "out") == [
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
            "fingerprint": fingerprint,
        }
    ]


def test_a_crop_is_its_box_and_the_margin_around_it(tmp_path):
    image = np.arange(90 * 90 * 3, dtype=np.uint32).reshape(90, 90, 3).astype(np.uint8)
    for margin, expected in (
        (0, image[2:40, 1:30]),
        (0.5, image[0:59, 0:44]),  # as far as the image goes
    ):
        with closing(CropFolder(tmp_path / str(margin), margin, "res10")) as folder:
            frame = Frame(image, "a", 16, 0.6)
            path = folder.save(folder.cut(image, FACE), frame, 1, FACE)
        assert path == tmp_path / str(margin) / "a_000016.png"
        np.testing.assert_array_equal(read_image(path), expected)


def test_a_crop_is_saved_and_listed_once(tmp_path):
    for _ in range(2):
        save_crops(tmp_path, "a", "a", margin=0.25)
    assert len(read_rows(tmp_path)) == 1
    # Not even if it was deleted meanwhile.
    (tmp_path / "a_000001.png").unlink()
    save_crops(tmp_path, "a", margin=0.25)
    assert len(read_rows(tmp_path)) == 1
    assert read_manifest(tmp_path) == {"a_000001.png": CropRecord("a", 0.25)}


def test_a_crop_of_another_file_is_listed_again(tmp_path):
    videos = [write_file(tmp_path / f"in{n}" / "a.mp4", f"{n}") for n in (1, 2)]
    for video in (videos[0], videos[0], videos[1]):
        with closing(CropFolder(tmp_path / "out", 0.0, "res10")) as folder:
            save_crop(folder, *folder.name_sources({"a": video}))
        (tmp_path / "out" / "a_000001.png").unlink()
    assert len(read_rows(tmp_path / "out")) == 2
    (record,) = read_manifest(tmp_path / "out").values()
    assert record.fingerprint == fingerprint_of(Path(videos[1]))


def test_unusual_names_are_read_back(tmp_path):
    sources = ['quo"te, comma', "new\nline", "größe"]
    save_crops(tmp_path, *sources)
    records = read_manifest(tmp_path)
    assert list(records) == [f"{source}_000001.png" for source in sources]
    assert [record.source for record in records.values()] == sources


def write_many(path, writer):
    with closing(CropFolder(path, 0.5, "res10")) as folder:
        for number in range(200):
            save_crop(folder, f"{writer}" + 100 * "x", number)


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
    assert {row["margin"] for row in rows} == {"0.5"}
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {row["file"] for row in rows} | {"crops.csv"}
    assert len(files) == 601


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n",
        b"file,source,margin\na_000001.png,a,0\n",
        f'{",".join(COLUMNS)}\n"{200_000 * "x"}'.encode(),
        b"\xff\n",
    ],
    ids=["other columns", "too few columns", "a quote that never ends", "no text"],
)
def test_another_crops_csv_is_refused(content, tmp_path):
    (tmp_path / "crops.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"crops\.csv: not a list of crops"):
        read_manifest(tmp_path)


def test_a_line_that_a_full_disk_cut_short_is_replaced_by_the_next_run(
    tmp_path, capsys
):
    save_crops(tmp_path, "a")
    manifest = tmp_path / "crops.csv"
    whole = manifest.read_bytes()
    for torn in (b"b_000001.png", b"b_000001.png,b,1,1,2,30,40,0.9", b"b_000001.png,b"):
        manifest.write_bytes(whole + torn)
        assert read_manifest(tmp_path)["b_000001.png"] is None
        assert "ignored 1 bad line" in capsys.readouterr().err
        save_crops(tmp_path, "b")
        capsys.readouterr()
        assert read_manifest(tmp_path)["b_000001.png"] == CropRecord("b")
        assert capsys.readouterr().err == ""
        (tmp_path / "b_000001.png").unlink()


def test_a_bad_line_costs_a_warning_not_the_margin_of_the_others(tmp_path, capsys):
    crops = save_crops(tmp_path, "a", "b", "c", margin=0.25)
    manifest = tmp_path / "crops.csv"
    lines = manifest.read_text().splitlines()
    lines[2] = lines[2].replace("0.25", "25. Jan")
    manifest.write_text("\n".join(lines) + "\n")
    assert common_cut(crops) == (0.25, "res10")
    warning = f"[WARN] {manifest}: ignored 1 bad line, the first of b_000001.png\n"
    assert capsys.readouterr().err == warning
    save_crops(tmp_path, "a", margin=0.25)
    assert capsys.readouterr().err == warning


def test_where_no_line_can_be_read_the_margin_is_not_guessed(tmp_path):
    crops = save_crops(tmp_path, "a", margin=0.25)
    manifest = tmp_path / "crops.csv"
    manifest.write_text(manifest.read_text().replace("0.25", "25. Jan"))
    with pytest.raises(UserError, match=r"margin is not known; gather them again"):
        common_cut(crops)


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_a_crops_csv_that_a_spreadsheet_saved_is_read_and_written_on(
    delimiter, quoting, tmp_path
):
    """With a byte order mark, decimal commas and a column of the user's own."""
    save_crops(tmp_path, "größe; a,b", "b", margin=0.25)
    before, rows = read_manifest(tmp_path), read_rows(tmp_path)
    with (tmp_path / "crops.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting)
        writer.writerow([*COLUMNS, "notes"])
        for row in rows:
            row["margin"] = row["margin"].replace(".", ",")
            writer.writerow([*row.values(), "mine"])
    assert read_manifest(tmp_path) == before
    for source in ("c", "d"):
        save_crops(tmp_path, source, margin=0.25)
    text = (tmp_path / "crops.csv").read_bytes()
    assert text.startswith(",".join([*COLUMNS, "notes\n"]).encode())
    assert list(read_manifest(tmp_path).values())[2:] == [
        CropRecord("c", 0.25),
        CropRecord("d", 0.25),
    ]
    assert [row["notes"] for row in read_rows(tmp_path)] == ["mine"] * 2 + [None] * 2
    assert len(read_rows(tmp_path)) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_a_name_that_is_no_utf_8_is_written_and_read_back(tmp_path):
    source = os.fsdecode(b"caf\xe9")
    (crop,) = save_crops(tmp_path, source, margin=0.25)
    assert b"caf\xe9_000001.png,caf\xe9,1," in (tmp_path / "crops.csv").read_bytes()
    assert read_manifest(tmp_path) == {crop.name: CropRecord(source, 0.25)}
    assert save_crops(tmp_path, source, margin=0.25) == [None]
    assert common_cut(find_files(tmp_path, {".png"})) == (0.25, "res10")


def test_crops_without_a_manifest_are_the_tutorials(tmp_path):
    assert read_manifest(tmp_path) == {}
    assert common_cut([tmp_path / "0.png"]) == (0.0, "res10")
    assert common_cut([]) == (0.0, "res10")


def test_the_detector_of_most_crops_counts(tmp_path):
    save_crops(tmp_path / "real", "a", "b", detector="YuNet")
    save_crops(tmp_path / "fake", "c")
    assert common_cut(sorted(tmp_path.rglob("*.png"))) == (0.0, "YuNet")


def test_a_crop_that_was_sorted_by_hand_is_looked_up_where_it_was_saved(tmp_path):
    (crop,) = save_crops(tmp_path / "unsure", "a", margin=0.5, detector="YuNet")
    (tmp_path / "real").mkdir()
    moved = crop.rename(tmp_path / "real" / crop.name)
    assert common_cut([moved]) == (0.5, "YuNet")


def test_different_margins_are_refused_with_an_example_of_each(tmp_path):
    (real,) = save_crops(tmp_path / "real", "a", margin=0.5)
    (fake,) = save_crops(tmp_path / "fake", "a", margin=0.25)
    assert common_cut([real]) == (0.5, "res10")
    with pytest.raises(
        UserError, match=r"real/a_0.*\.png .* 0\.5, .*fake/a_0.*\.png .* 0\.25"
    ):
        common_cut([real, fake])
    with pytest.raises(UserError, match=r"margin 0;"):
        common_cut([real, tmp_path / "real" / "unlisted.png"])


def test_a_folder_of_another_margin_is_refused(tmp_path):
    save_crops(tmp_path, "a", margin=0.5)
    with pytest.raises(UserError, match=r"holds crops with margin 0\.5, not 0\.25"):
        CropFolder(tmp_path, 0.25, "res10")


def count_open_files(folder):
    paths = Path("/proc/self/fd").iterdir()
    return sum(path.resolve().is_relative_to(folder) for path in paths if path.exists())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux")
def test_crops_csv_is_opened_once_and_closed(tmp_path):
    folder = CropFolder(tmp_path, 0.0, "res10")
    for number in range(5):
        save_crop(folder, "a", number)
        assert count_open_files(tmp_path) == 1
    folder.close()
    assert count_open_files(tmp_path) == 0


def test_a_folder_that_nothing_was_saved_to_stays_empty(tmp_path):
    save_crops(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_crop_is_overwritten(tmp_path):
    with closing(CropFolder(tmp_path, 0.0, "res10")) as folder:
        path = save_crop(folder, "a", value=7)
        before = path.read_bytes()
        assert save_crop(folder, "a", value=7) is None
        with pytest.raises(UserError, match="shows something else; nothing was overwr"):
            save_crop(folder, "a", value=8)
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", [7, 8])
def test_a_crop_that_another_program_writes_meanwhile_is_kept(
    value, tmp_path, monkeypatch
):
    theirs = CropFolder(tmp_path, 0.0, "res10")
    write_new = crops_module.write_new

    def write_second(path, png):  # between the look and the writing
        monkeypatch.setattr(crops_module, "write_new", write_new)
        save_crop(theirs, "a", value=7)
        return write_new(path, png)

    monkeypatch.setattr(crops_module, "write_new", write_second)
    with closing(theirs), closing(CropFolder(tmp_path, 0.0, "res10")) as folder:
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
    with closing(CropFolder(out, 0.0, "res10")) as folder:
        (source,) = folder.name_sources({"anna": anna})
        save_crop(folder, source)
    assert source == "anna"
    both = {"anna-mov": film, "anna-mp4": anna}
    for _ in range(2):
        with closing(CropFolder(out, 0.0, "res10")) as folder:
            assert folder.name_sources(both) == {"anna-mov": film, "anna": anna}
            save_crop(folder, "anna-mov", value=1)
    # Another file of that very name and suffix is refused before anything is saved.
    other = write_file(tmp_path / "other" / "anna.mp4", "3")
    with (
        closing(CropFolder(out, 0.0, "res10")) as folder,
        pytest.raises(UserError, match="holds crops of another anna"),
    ):
        folder.name_sources({"anna": other})


def test_a_name_is_free_once_its_crops_are_gone(tmp_path):
    one = write_file(tmp_path / "one" / "anna.mp4", "1")
    other = write_file(tmp_path / "other" / "anna.mp4", "2")
    out = tmp_path / "out"
    with closing(CropFolder(out, 0.0, "res10")) as folder:
        save_crop(folder, *folder.name_sources({"anna": one}))
    (out / "anna_000001.png").unlink()
    with closing(CropFolder(out, 0.0, "res10")) as folder:
        save_crop(folder, *folder.name_sources({"anna": other}))
    with closing(CropFolder(out, 0.0, "res10")) as folder:
        assert folder.name_sources({"anna": other}) == {"anna": other}
        with pytest.raises(UserError, match="another anna"):
            folder.name_sources({"anna": one})


def test_a_name_is_taken_as_soon_as_it_is_given(tmp_path):
    one = write_file(tmp_path / "one" / "anna.mp4", "1")
    other = write_file(tmp_path / "other" / "anna.mp4", "2")
    with closing(CropFolder(tmp_path / "out", 0.0, "res10")) as folder:
        assert folder.name_sources({"anna": one}) == {"anna": one}
        with pytest.raises(UserError, match="another anna"):
            folder.name_sources({"anna": other})


SEARCH = Search("a", "", 16, "YuNet", 320, 0.7, 40, 3)


def record(path, *searches, is_whole=True):
    with closing(CropFolder(path, 0.0, "YuNet")) as folder:
        for search in searches:
            folder.record_search(search, is_whole)


def test_a_source_has_one_line_in_frames_csv_whatever_comes_again(tmp_path):
    other = SEARCH._replace(source="b, c", confidence=0.123456)
    record(tmp_path, SEARCH, other)
    frames = tmp_path / "frames.csv"
    before = frames.read_bytes()
    assert read_searches(tmp_path) == {"a": SEARCH, "b, c": other}
    record(tmp_path, SEARCH, other)
    assert frames.read_bytes() == before
    again = SEARCH._replace(skip=4, searched=160, faceless=9)
    record(tmp_path, again)
    assert read_searches(tmp_path) == {"a": again, "b, c": other}
    assert len(frames.read_text().splitlines()) == 3
    record(tmp_path, SEARCH._replace(searched=5), is_whole=False)  # interrupted
    assert read_searches(tmp_path) == {"a": again, "b, c": other}
    new = SEARCH._replace(source="new")
    record(tmp_path, new, is_whole=False)
    assert read_searches(tmp_path)["new"] == new


def test_a_killed_run_leaves_the_last_line_of_a_source_to_count(tmp_path):
    record(tmp_path, SEARCH)
    folder = CropFolder(tmp_path, 0.0, "YuNet")
    again = SEARCH._replace(faceless=4)
    folder.record_search(again, is_whole=True)  # and never closed
    assert read_searches(tmp_path) == {"a": again}


def test_lines_that_others_added_meanwhile_are_kept(tmp_path):
    record(tmp_path, SEARCH)
    with closing(CropFolder(tmp_path, 0.0, "YuNet")) as folder:
        other = SEARCH._replace(source="other")
        record(tmp_path, other)
        again = SEARCH._replace(faceless=4)
        folder.record_search(again, is_whole=True)
    assert read_searches(tmp_path) == {"a": again, "other": other}


def test_runs_at_the_same_time_lose_no_line_when_one_of_them_replaces_lines(tmp_path):
    record(tmp_path, SEARCH)
    names = ["b", "c"]
    with closing(CropFolder(tmp_path, 0.0, "YuNet")) as folder:
        folder.record_search(SEARCH._replace(source="b"), is_whole=True)
        record(tmp_path, SEARCH._replace(skip=4))  # which replaces the file
        folder.record_search(SEARCH._replace(source="c"), is_whole=True)
    others = {name: SEARCH._replace(source=name) for name in names}
    assert read_searches(tmp_path) == {"a": SEARCH._replace(skip=4), **others}


@pytest.mark.parametrize(
    ("faults", "count"),
    [
        ({"faceless": 50}, 1),
        ({"searched": 0, "faceless": 0}, 1),
        ({"faceless": -1}, 1),
        ({"confidence": "nan"}, 1),
        ({"searched": "forty"}, 1),
        ({}, 0),
    ],
)
def test_numbers_that_cannot_be_are_ignored_with_a_warning(
    faults, count, tmp_path, capsys
):
    with (tmp_path / "frames.csv").open("wb") as file:
        file.write(to_csv(Search._fields))
        file.write(to_csv((SEARCH._asdict() | faults).values()))
    assert len(read_searches(tmp_path)) == 1 - count
    error = capsys.readouterr().err
    assert ("ignored 1 bad line" in error) == bool(count)


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_frames_csv_is_read_as_a_spreadsheet_saves_it_without_bad_lines(
    delimiter, tmp_path
):
    lines = [
        [*Search._fields, "notes"],
        ["a", "", 16, "YuNet", 320, "0,7" if delimiter != "," else "0.7", 40, 3, "x"],
        ["torn", "", 16, "Yu"],
        ["b", "", "often", "YuNet", 320, "0.7", 40, 3, ""],
    ]
    with (tmp_path / "frames.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter).writerows(lines)
    assert read_searches(tmp_path) == {"a": SEARCH}
    new = SEARCH._replace(source="new")
    record(tmp_path, new)
    assert read_searches(tmp_path) == {"a": SEARCH, "new": new}
    record(tmp_path, SEARCH._replace(skip=1))
    assert b",x\n" not in (tmp_path / "frames.csv").read_bytes()  # of the old line
    header, *lines = (tmp_path / "frames.csv").read_text().splitlines()
    assert header.endswith("faceless,notes")
    assert len(lines) == 4  # those that cannot be read are not thrown away


@pytest.mark.parametrize("content", [b"wheat,rye\n1,2\n", b"\xff\n", b"\x89PNG\r\n"])
def test_another_frames_csv_is_refused_and_kept(content, tmp_path):
    (tmp_path / "frames.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"frames\.csv: not a list of frames"):
        CropFolder(tmp_path, 0.0, "YuNet")
    assert (tmp_path / "frames.csv").read_bytes() == content
