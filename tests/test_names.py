import os
from pathlib import Path

from pyimagesearch.console import UserError
from pyimagesearch.files import fingerprint_of
from pyimagesearch.names import (
    as_label,
    name_crop,
    name_files,
    persons_of,
    resolve_names,
    source_of,
)

import numpy as np
import pytest
from datasets import make_labels


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


def test_files_are_named_by_their_stem_and_told_apart_by_folder_and_suffix():
    files = ["a.jpg", "a.png", "b.mp4", "alice/1.png", "bob/1.png"]
    named = name_files([Path("in") / file for file in files], Path("in"))
    assert list(named) == ["a-jpg", "a-png", "b", "alice-1", "bob-1"]
    assert [Path(path) for path in named.values()] == [Path("in") / x for x in files]


def test_a_single_file_is_named_by_its_stem():
    path = Path("in") / "anna.mp4"
    assert name_files([path], path) == {"anna": str(path)}


def test_no_file_is_lost_where_a_folder_gives_it_anothers_name():
    files = ["a/x.png", "a-x.png", "b/x.png", "a-x-png.png"]
    named = name_files([Path("in") / file for file in files], Path("in"))
    assert sorted(map(Path, named.values())) == sorted(Path("in") / x for x in files)


@pytest.fixture
def write(tmp_path):
    """Write a file; returns its path and its fingerprint."""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return str(path), fingerprint_of(path)

    return write


def test_files_get_the_names_that_their_crops_have(write, tmp_path):
    anna, film = write("anna.mp4", "1"), write("anna.mov", "2")
    both = {"anna-mov": film[0], "anna-mp4": anna[0]}
    # Into an empty folder, they go as they are named.
    expected = {"anna-mov": film, "anna-mp4": anna}
    assert resolve_names(both, {}, tmp_path) == expected
    # Where anna.mp4 was gathered by itself before, it stays anna.
    owners = {"anna": anna[1]}
    expected = {"anna-mov": film, "anna": anna}
    assert resolve_names(both, owners, tmp_path) == expected
    owners["anna-mov"] = film[1]
    assert resolve_names(both, owners, tmp_path) == expected
    # The same holds for one of them.
    assert resolve_names({"anna": anna[0]}, owners, tmp_path) == {"anna": anna}
    assert resolve_names({"anna": film[0]}, owners, tmp_path) == {"anna-mov": film}


def test_a_file_avoids_the_name_that_anothers_crops_have(write, tmp_path):
    film, owners = write("anna.mov", "2"), {"anna": write("anna.mp4", "1")[1]}
    assert resolve_names({"anna": film[0]}, owners, tmp_path) == {"anna-mov": film}


@pytest.mark.parametrize("name", ["anna.mp4", "anna.MP4", "anna"])
def test_another_file_of_that_name_and_suffix_is_refused(name, write, tmp_path):
    _, known = write(f"one/{name.lower()}", "1")
    path, _ = write(f"other/{name}", "2")
    with pytest.raises(UserError, match=r"holds crops of another anna; .* rename"):
        resolve_names({"anna": path}, {"anna": known}, tmp_path)


def test_crops_without_a_fingerprint_take_no_name(write, tmp_path):
    anna = write("anna.mp4", "1")
    assert resolve_names({"anna": anna[0]}, {"anna": ""}, tmp_path) == {"anna": anna}


def test_the_owners_that_were_passed_are_left_as_they_are(write, tmp_path):
    owners = {}
    resolve_names({"anna": write("anna.mp4", "1")[0]}, owners, tmp_path)
    assert owners == {}


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
    assert source_of(Path("data") / name, Path("data")) == source


@pytest.mark.parametrize("source", ["anna", "anna_1", "anna_000016", "anna-2", "7"])
@pytest.mark.parametrize(("frame", "rank"), [(1, 1), (16, 2), (1_234_567, 12)])
def test_a_crops_name_gives_its_source_back(source, frame, rank):
    name = name_crop(source, frame, rank)
    assert source_of(Path("data/real") / name, Path("data")) == (source, frame)


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
        ("real2", "2"),
        ("fake", ""),
        ("unreal", "unreal"),
        ("surreal-1", "surreal-1"),
        ("realise", "realise"),
        ("anna-fakes", "anna-fakes"),
        ("größe-real", "größe"),
        ("realé", "realé"),
    ],
)
def test_a_sources_name_without_the_class_is_the_person(source, person):
    crops = make_labels(real={source: 2}, fake={"someone": 2})
    assert persons_of(*crops).tolist() == [person] * 2 + ["someone"] * 2


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
    classes = ["real", "fake", "fake-print", "c++"]
    people = ["anna", "bob-2", "surreal", "Fakeh", "c", "größe 7", "x_y"]
    named = [
        (
            label,
            rng.choice(PATTERNS).format(n=person, c=rng.choice([label, label.upper()])),
        )
        for person in people
        for label in classes
    ]
    labels, sources = map(np.array, zip(*named, strict=True))
    persons = persons_of(labels, sources, np.full(len(labels), 16))
    persons = persons.reshape(len(people), len(classes))
    assert [set(row) for row in persons] == [{row[0]} for row in persons]
    assert len(set(persons[:, 0])) == len(people)


def test_photographs_whose_names_differ_in_a_number_only_are_one_person():
    labels, sources, frames = make_labels(
        real={"anna1": 1, "anna2": 1, "IMG_0017": 1, "bob": 1},
        fake={"IMG_0018": 1, "film1": 9, "film2": 9},
    )
    persons = dict(zip(sources, persons_of(labels, sources, frames), strict=True))
    assert persons["anna1"] == persons["anna2"]
    assert persons["IMG_0017"] == persons["IMG_0018"]
    assert len(set(persons.values())) == 5


def test_a_person_stays_together_where_some_of_the_footage_is_a_photograph():
    labels, sources, frames = make_labels(
        real={"anna1-real": 20, "anna2-real": 20},
        fake={"anna1-fake": 1, "anna2-fake": 1},
    )
    persons = dict(zip(sources, persons_of(labels, sources, frames), strict=True))
    for number in (1, 2):
        assert persons[f"anna{number}-real"] == persons[f"anna{number}-fake"]


def test_two_files_of_one_name_show_one_person():
    labels, sources, frames = make_labels(real={"anna": 9, "anna-mp4": 9, "bob-mov": 9})
    assert set(persons_of(labels, sources, frames)) == {"anna", "bob"}


def test_the_first_folder_below_the_class_is_the_person():
    """One name for all, as `ffmpeg -i anna.mp4 frame_%06d.png` gives it."""
    labels, sources, frames = make_labels(
        real={"anna/monday/frame": 9, "anna/phone/frame": 9, "ben/frame": 9},
        fake={"Anna/frame": 9, "ben-fake/frame": 9, "fake/carl/frame": 9},
    )
    persons = dict(zip(sources, persons_of(labels, sources, frames), strict=True))
    assert list(persons.values()) == ["anna", "anna", "ben", "anna", "ben", "carl"]


def test_folders_whose_names_differ_in_a_number_are_different_persons():
    crops = make_labels(real={"client1/IMG": 1, "client2/IMG": 1}, fake={"film": 9})
    assert set(persons_of(*crops)) == {"1", "2", "film"}


@pytest.mark.parametrize("word", ["live", "BonaFide", "bona_fide", "genuine", "client"])
def test_other_names_of_the_bona_fide_class_are_no_part_of_a_person(word):
    crops = make_labels(real={f"anna-{word}": 9}, fake={"anna-fake": 9})
    assert set(persons_of(*crops)) == {"anna"}
    crops = make_labels(alive={f"anna-{word}": 9}, fake={"anna-fake": 9})
    assert len(set(persons_of(*crops))) == 2  # what it means here is not known


def test_names_that_are_no_utf_8_are_told_apart():
    """As in a zip from Windows: one of Cyrillic letters, another of them, a café."""
    names = [name.encode("cp1251") for name in ("иван", "анна")] + [b"caf\xe9"]
    real, fake = (
        {os.fsdecode(name + end): 9 for name in names} for end in (b"-real", b"_fake")
    )
    persons = persons_of(*make_labels(real=real, fake=fake)).reshape(2, 3, 9)
    assert persons[0].tolist() == persons[1].tolist()
    assert set(persons.flat) == set(map(os.fsdecode, names))


def test_a_class_named_by_a_digit_takes_no_digits_from_a_person():
    crops = make_labels(**{"0": {"anna-1": 9, "person10": 9}, "1": {"anna-10": 9}})
    assert set(persons_of(*crops)) == {"anna-1", "person10", "anna-10"}


def test_photographs_of_several_faces_stay_with_their_series():
    sources = np.array(["anna-1", "anna-1", "anna-2", "film-1", "film-2"])
    frames = np.array([1, 1, 1, 16, 16])
    persons = persons_of(np.array(["real"] * 5), sources, frames)
    assert persons.tolist() == ["anna", "anna", "anna", "film-1", "film-2"]


def test_real_and_fake_of_one_number_belong_together():
    labels, sources, frames = make_labels(
        real={f"real{n}": 9 for n in (1, 2)}, fake={f"fake{n}": 9 for n in (1, 2)}
    )
    assert set(persons_of(labels, sources, frames)) == {"1", "2"}
