import os
import re
import unicodedata
from pathlib import Path

from pyimagesearch.console import UserError
from pyimagesearch.files import fingerprint_of
from pyimagesearch.names import (
    as_label,
    name_crop,
    name_files,
    person_of,
    source_of,
)

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("real", "real"),
        ("REAL", "real"),
        ("Live", "real"),
        ("bonafide", "real"),
        ("Bona-Fide", "real"),
        ("genuine", "real"),
        ("client", "real"),
        ("Fake", "Fake"),
        ("alive", "alive"),
        ("client1", "client1"),
    ],
)
def test_other_names_of_the_bona_fide_class_mean_real_in_upper_case_too(name, label):
    assert as_label(name) == label


@pytest.fixture
def write(tmp_path):
    """Write a file below `in`; returns its path."""

    def write(name, content=""):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content or name)
        return path

    return write


def owner(name, path):
    return name, fingerprint_of(path)


def test_folders_below_the_input_are_folders_of_the_source(write, tmp_path):
    files = [write(name) for name in ("a.jpg", "anna/near.mp4", "anna/old/near.mp4")]
    named = name_files(files, tmp_path / "in")
    assert list(named) == ["a", "anna/near", "anna/old/near"]
    assert list(named.values()) == [str(file) for file in files]
    single = tmp_path / "in" / "anna" / "near.mp4"
    assert name_files([single], single) == {"near": str(single)}


def test_a_second_file_of_that_stem_is_told_apart_by_its_suffix(write, tmp_path):
    files = [write(name) for name in ("anna/x.mov", "anna/x.MP4", "ben/x.mp4")]
    named = name_files(files, tmp_path / "in")
    assert list(named) == ["anna/x", "anna/x-mp4", "ben/x"]


def test_any_other_clash_costs_that_file_and_a_line(write, tmp_path, capsys):
    names = ["IMG_1.JPG", "IMG_1.jpg", "a-mov.png", "a.avi", "a.mov", "b.png"]
    files = [write(name) for name in names]
    named = name_files(files, tmp_path / "in")
    assert list(named) == ["IMG_1", "a-mov", "a", "b"]
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 2
    assert (
        "IMG_1.jpg: there are crops, or a file, of another IMG_1; rename it; "
        in error[0]
    )
    assert "a.mov: " in error[1]


def test_a_file_keeps_the_name_that_its_crops_have(write, tmp_path):
    anna, film, root = write("anna.mp4"), write("anna.mov"), tmp_path / "in"
    owners = {owner("anna", anna)}
    assert name_files([film, anna], root, owners) == {
        "anna-mov": str(film),
        "anna": str(anna),
    }
    assert name_files([film], root, owners) == {"anna-mov": str(film)}
    owners.add(owner("anna-mov", film))
    assert list(name_files([film, anna], root, owners)) == ["anna-mov", "anna"]
    assert name_files([film], root, owners) == {"anna-mov": str(film)}
    # Though nothing else has the short name.
    assert name_files([film], root, {owner("anna-mov", film)}) == {
        "anna-mov": str(film)
    }


@pytest.mark.parametrize("name", ["anna.mp4", "anna.MP4", "anna"])
def test_another_file_of_that_name_and_suffix_is_an_error_if_it_is_the_only_one(
    name, write, tmp_path, capsys
):
    owners = {owner("anna", write(f"one/{name.lower()}", "1"))}
    root = tmp_path / "in" / "two"
    other = write(f"two/{name}", "2")
    with pytest.raises(UserError, match=r"another anna; rename it$"):
        name_files([other], root, owners)
    bob = write("two/bob.mp4")
    assert name_files([other, bob], root, owners) == {"bob": str(bob)}
    assert "another anna; rename it; skipped" in capsys.readouterr().err


def test_crops_of_no_known_file_take_no_name(write, tmp_path):
    anna = write("anna.mp4")
    owners = {("anna", ""), owner("ben", anna)}
    assert name_files([anna], tmp_path / "in", owners) == {"anna": str(anna)}


def test_a_file_that_goes_away_costs_a_line(write, tmp_path, capsys):
    anna, gone = write("anna.mp4"), tmp_path / "in" / "gone.mp4"
    owners = {owner("ben", anna)}
    assert list(name_files([gone, anna], tmp_path / "in", owners)) == ["anna"]
    assert "gone.mp4: No such file or directory; skipped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("real/anna-kitchen_000016.png", ("anna-kitchen", 16)),
        ("real/anna_1_000016.png", ("anna_1", 16)),
        ("real/anna_000016-2.png", ("anna", 16)),
        ("real/a_1234567.png", ("a", 1234567)),
        ("real/0.png", ("real", 0)),
        ("real/a_16.png", ("real", 0)),
        ("real/bob/0.png", ("bob", 0)),
        ("real/bob/frame_000001.png", ("bob/frame", 1)),
        ("real/bob/monday/frame_000001.png", ("bob/monday/frame", 1)),
        ("real/bob/monday/1.png", ("bob/monday", 0)),
    ],
)
def test_source_and_frame_are_read_from_a_crops_name_and_folders(name, source):
    assert source_of(name.split("/")) == source


@pytest.mark.parametrize("source", ["anna", "anna_1", "anna_000016", "a/b-2", "7"])
@pytest.mark.parametrize(("frame", "rank"), [(1, 1), (16, 2), (1_234_567, 12)])
def test_a_crops_name_gives_its_source_back(source, frame, rank):
    name = name_crop(source, frame, rank)
    assert source_of(["real", *name.split("/")]) == (source, frame)


def test_crops_are_named_by_their_source_and_frame():
    assert name_crop("anna", 16, 1) == "anna_000016.png"
    assert name_crop("anna", 16, 3) == "anna_000016-3.png"


@pytest.mark.parametrize(
    ("source", "person"),
    [
        ("anna", "anna"),
        ("anna-real", "anna"),
        ("fake_anna", "anna"),
        ("anna-kitchen", "anna-kitchen"),
        ("real-anna-kitchen", "anna-kitchen"),
        ("anna_fake_kitchen", "anna-kitchen"),
        ("real-anna-2", "anna-2"),
        ("REAL anna", "anna"),
        ("anna (Fake)", "anna"),
        ("print of anna, photo", "of-anna"),
        ("real2", "2"),
        ("fake", ""),
        ("unreal", "unreal"),
        ("surreal-1", "surreal-1"),
        ("realise", "realise"),
        ("anna-fakes", "anna-fakes"),
        ("größe-real", "größe"),
        ("realé", "realé"),
        ("reale\u0301", "realé"),
        ("camera0", "camera0"),
    ],
)
def test_a_videos_name_without_words_for_classes_is_the_person(source, person):
    assert person_of(source, "real", is_photo=False) == person


WORDS = "real live bonafide genuine client fake spoof attack print replay mask photo"


@pytest.mark.parametrize("word", [*WORDS.split(), "video", "bona_fide", "Bona-Fide"])
@pytest.mark.parametrize("pattern", ["anna-{}", "{}_anna", "{}/anna/near", "anna {}/x"])
def test_words_for_classes_are_no_part_of_a_person(word, pattern):
    assert person_of(pattern.format(word), "fake", is_photo=False) == "anna"


def test_the_classs_own_folder_is_such_a_word_unless_it_is_digits():
    assert person_of("anna-silicone", "Silicone", is_photo=False) == "anna"
    assert person_of("anna-silicone", "fake", is_photo=False) == "anna-silicone"
    assert person_of("anna-1", "1", is_photo=False) == "anna-1"
    assert person_of("c-c++", "c++", is_photo=False) == "c"


PATTERNS = [
    "{n}-{c}",
    "{c}-{n}",
    "{c}_{n}",
    "{n}_{c}",
    "{c} {n}",
    "{n}.{c}",
    "{c}--{n}",
]


@pytest.mark.parametrize("seed", range(20))
def test_a_person_is_recognized_however_the_footage_is_named(seed):
    rng = np.random.default_rng(seed)
    people = ["anna", "bob-2", "surreal", "Fakeh", "c", "größe 7", "x_y"]
    found = {}
    for person in people:
        for label in ("real", "fake", "fake-print", "c++"):
            word = rng.choice([label, label.upper()])
            source = rng.choice(PATTERNS).format(n=person, c=word)
            found.setdefault(person, set()).add(person_of(source, label, False))
    assert {len(own) for own in found.values()} == {1}
    assert len(set.union(*found.values())) == len(people)


@pytest.mark.parametrize(
    ("source", "person"),
    [
        ("anna-1", "anna"),
        ("anna_017", "anna"),
        ("anna017", "anna"),
        ("anna1", "anna1"),
        ("anna2", "anna2"),
        ("person10-fake", "person10"),
        ("anna/IMG_0001", "anna"),
        ("anna1/IMG_0001", "anna1"),
        ("real-3", ""),
    ],
)
def test_a_photographs_number_is_no_part_of_a_person(source, person):
    assert person_of(source, "real", is_photo=True) == person


def test_what_cameras_call_photographs_is_one_person():
    names = ["frame0001", "DSC00012", "0001", "IMG_0017", "IMG_20240101_0018", "12"]
    assert {person_of(name, "real", is_photo=True) for name in names} == {""}
    videos = {person_of(name, "real", is_photo=False) for name in names}
    assert len(videos) == len(names)


def test_real_and_fake_videos_of_one_number_belong_together():
    numbers = [
        {person_of(f"{label}{n}", label, is_photo=False) for label in ("real", "fake")}
        for n in (1, 2)
    ]
    assert numbers == [{"1"}, {"2"}]


def test_two_files_of_one_name_show_one_person():
    for name in ("anna-mov", "anna-real-MOV", "anna-jpeg"):
        assert person_of(name, "real", is_photo=False) == "anna"


@pytest.mark.parametrize(
    ("source", "person"),
    [
        ("anna/monday/frame", "anna"),
        ("Anna/frame", "anna"),
        ("ben-fake/frame", "ben"),
        ("fake/carl/frame", "carl"),
        ("print/photo/dora/1/x", "dora"),
        ("01/near", "01"),
        ("client007/near", "007"),
        ("fake/near", "near"),
    ],
)
def test_the_first_folder_that_is_more_than_words_for_classes_is_the_person(
    source, person
):
    for is_photo in (True, False):
        assert person_of(source, "fake", is_photo) == person


def test_names_in_any_script_are_told_apart():
    """Vowels of Hindi are marks, not letters; Zoë may be written in two ways."""
    names = ["सीता", "सुता", "रीता", "Zoë", "Zoé", "สมชาย", "Иван"]
    assert len({person_of(name, "real", False) for name in names}) == len(names)
    for name in names:
        forms = {
            person_of(unicodedata.normalize(form, f"{name}-{label}"), label, False)
            for form in ("NFC", "NFD")
            for label in ("real", "fake")
        }
        assert forms == {name.lower()}
    # A mark makes another word of one for a class.
    assert person_of("real\u0902", "real", False) != ""


def test_names_that_are_no_utf_8_are_told_apart():
    """As in a zip from Windows: one of Cyrillic letters, another of them, a café."""
    names = [name.encode("cp1251") for name in ("иван", "анна")] + [b"caf\xe9"]
    for name in names:
        persons = {
            person_of(os.fsdecode(name + end), label, is_photo=False)
            for end, label in ((b"-real", "real"), (b"_fake", "fake"))
        }
        assert persons == {os.fsdecode(name)}


@pytest.mark.parametrize("letter", ["a", "é", "素"])
def test_a_name_too_long_for_what_is_added_is_cut(letter, tmp_path):
    title = letter * (249 // len(letter.encode()))
    others = [f"{title[:-1]}{end}" for end in "bc"]
    files = [Path("in", "anna", f"{name}.mp4") for name in [title, *others, "short"]]
    named = name_files(files, Path("in"))
    assert list(named.values()) == list(map(str, files))
    *long, short = named
    assert short == "anna/short"
    for name in long:
        assert re.fullmatch(rf"anna/{letter}+-[0-9a-f]{{8}}", name)
        added = f"{name}-20261130-101500-jpeg_000000016-12.png"
        assert 200 < len(added.removeprefix("anna/").encode()) <= 255
    assert len({*long}) == 3
    assert name_files(files, Path("in")) == named
