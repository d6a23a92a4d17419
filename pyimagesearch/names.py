"""Whose crop is this: the names of sources, crops, classes and persons.

A source (video, photograph or session) is named after its file and folders: anna/near.
A crop is <source>_<frame number>.png, further faces of that frame -2, -3, ...
"""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence, Set
from functools import cache
from pathlib import Path

from pyimagesearch.files import fingerprint_of, without
from pyimagesearch.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES

BONA_FIDE = "real"  # the class of real faces; every other one is a kind of attack
ATTACK = "fake"  # the class of attacks where their kinds are not told apart
BONA_FIDE_WORDS = {"real", "live", "bonafide", "bona-fide", "bona_fide", "bona fide"}
BONA_FIDE_WORDS |= {"genuine", "client"}  # other names for it
ATTACK_WORDS = {"fake", "spoof", "attack", "print", "replay", "mask", "photo", "video"}
UNSURE = "unsure"  # a label between two thresholds; a folder of crops yet to be sorted
CROP_NAME = re.compile(r"(.+)_(\d{6,})(?:-\d+)?$", re.DOTALL)
# Files of one name are told apart by their kind: anna-mov.
KIND = re.compile(f"-({'|'.join(IMAGE_SUFFIXES | VIDEO_SUFFIXES)})$".replace(".", ""))
SESSION = re.compile(r"-\d{8}-\d{6}$")  # when a camera was opened
NUMBER = re.compile(r"(^|-)\d+$|\d{3,}$")  # of a photograph in its series
# What cameras and programs call their pictures says nothing about the person.
LONGEST = 210  # bytes of a file's name, which with all that is added has at most 255
SERIES = re.compile(r"(img|image|pxl|dsc[fn]?|frame)[-\d]*")


def as_label(name: str) -> str:
    """Return the class that a folder's or label's name means: real for Live, REAL."""
    return BONA_FIDE if name.lower() in BONA_FIDE_WORDS else name


def shorten(source: str) -> str:
    """Cut the name of a source that is too long; it ends in digits of its digest."""
    folders, slash, name = source.rpartition("/")
    content = os.fsencode(name)
    if len(content) <= LONGEST:
        return source
    digits = hashlib.sha256(content).hexdigest()[:8]
    return f"{folders}{slash}{content[: LONGEST - 9].decode(errors='ignore')}-{digits}"


def name_files(
    files: Iterable[Path], root: Path, owners: Set[tuple[str, str]] = frozenset()
) -> dict[str, str]:
    """Name the source of each file after its place below `root`, without the suffix.

    `owners` are the sources that have crops, with the fingerprints of their files. A
    file that was gathered before keeps its name; beside another anna, anna.mov is
    anna-mov. A file that this does not tell apart, or that cannot be read, costs a
    warning, or is a UserError if there is no other. Returns paths by name.
    """
    prints, named, refused = {}, {}, []
    for name, fingerprint in owners:
        prints.setdefault(name, set()).add(fingerprint)
    for file in files:
        try:
            own = fingerprint_of(file) if owners else ""
        except OSError as error:
            refused.append(f"{file}: {error.strerror}")
            continue
        place = file.relative_to(root) if file != root else Path(file.name)
        short, kind = shorten(place.with_suffix("").as_posix()), file.suffix.lower()
        names, taken = [short, f"{short}-{kind[1:]}"], {}
        for name in names:
            others = prints.get(name, set()) - {"", own}
            others |= {named[name]} if name in named else set()
            taken[name] = {Path(other).suffix.lower() for other in others}
        known = [name for name in names if own and own in prints.get(name, ())]
        names = [short] if kind in taken[short] else names
        if free := [name for name in known or names if not taken[name]]:
            named[free[0]] = str(file)
        else:
            text = f"{file}: there are crops, or a file, of another {short}; rename it"
            refused.append(text)
    return without(refused, named)


def name_crop(source: str, frame: int, rank: int) -> str:
    """Name the crop of a frame's rank-th face, counted from 1."""
    return f"{source}_{frame:06d}" + (f"-{rank}" if rank > 1 else "") + ".png"


def source_of(place: Sequence[str]) -> tuple[str, int]:
    """Read source and frame number back from a crop's place in a dataset.

    A crop whose name does not say stands for its folder: anna, 0 for real/anna/0.png.
    """
    label, *folders, name = place
    named = CROP_NAME.match(Path(name).stem)
    if not named:
        return "/".join(folders or [label]), 0
    return "/".join([*folders, named[1]]), int(named[2])


def person_of(source: str, label: str, is_photo: bool) -> str:
    """Say whose face a source of a class shows, as far as its name tells.

    That is its first folder, or else its own name: anna for anna/near, anna-real,
    fake/anna-2 and, of a photograph, anna_017. Words for classes are no part of it.
    """
    *folders, name = unicodedata.normalize("NFC", source).lower().split("/")
    for folder in folders:
        if person := _leave_words_out(folder, label):
            return person
    person = _leave_words_out(KIND.sub("", name), label)
    if is_photo:
        person = NUMBER.sub("", person)
    return "" if is_photo and SERIES.fullmatch(person) else person


def _leave_words_out(name: str, label: str) -> str:
    def leave_out(word: re.Match) -> str:
        around = name[: word.start()][-1:] + name[word.end() :][:1]
        return word[0] if any(map(_is_letter, around)) else "-"

    name = _words(label).sub(leave_out, name)
    name = "".join(c if _is_letter(c) or c.isnumeric() else "-" for c in name)
    return re.sub("-+", "-", name).strip("-")


@cache
def _words(label: str) -> re.Pattern:
    label = unicodedata.normalize("NFC", label).lower()
    words = BONA_FIDE_WORDS | ATTACK_WORDS | (set() if label.isdigit() else {label})
    return re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))


def _is_letter(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LM" or category == "Cs"  # a byte that is no UTF-8
