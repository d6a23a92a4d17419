"""Whose crop is this: the names of sources, crops, classes and persons.

A source (a video, an image, a camera session) is named after its file, a crop
<source>_<frame number>.png, further faces of that frame -2, -3, ... What remains of a
source's name without the class's word says whose face it shows: anna for anna-real.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pyimagesearch.console import UserError
from pyimagesearch.files import fingerprint_of
from pyimagesearch.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_address

import numpy as np

BONA_FIDE = "real"  # the class of real faces; every other one is a kind of attack
ATTACK = "fake"  # the class of attacks where their kinds are not told apart
BONA_FIDE_WORDS = {"real", "live", "bonafide", "bona-fide", "bona_fide", "bona fide"}
BONA_FIDE_WORDS |= {"genuine", "client"}  # other names for it
UNSURE = "unsure"  # a label between two thresholds; a folder of crops yet to be sorted
CROP_NAME = re.compile(r"(.+)_(\d{6,})(?:-\d+)?$")
# In a name, \udc80 to \udcff are bytes that are no UTF-8: mostly letters.
SEPARATORS = re.compile(r"(?:_|[^\w\udc80-\udcff])+")
# Files of one name are told apart by their kind: anna-mov.
KIND = re.compile(
    rf"-({'|'.join(sorted(s[1:] for s in IMAGE_SUFFIXES | VIDEO_SUFFIXES))})$"
)


def as_label(name: str) -> str:
    """Return the class that a folder's or label's name means: real for Live, REAL."""
    return BONA_FIDE if name.lower() in BONA_FIDE_WORDS else name


def name_files(files: list[Path], root: Path) -> dict[str, str]:
    """Give each file a source name of its own; return paths by name.

    The name is the file's stem, after its folders below `root`; where two files still
    share it, the suffix is added.
    """
    stems = {}
    for file in files:
        parts = file.relative_to(root).parts[:-1] if file != root else ()
        stems.setdefault("-".join([*parts, file.stem]), []).append(file)
    named = {}
    for stem, same in stems.items():
        for file in same:
            name = stem if len(same) == 1 else f"{stem}-{file.suffix[1:]}"
            while name in named:  # a/x.mp4 beside a-x.mp4
                name += "-again"
            named[name] = str(file)
    return named


def resolve_names(
    files: Mapping[str, str], owners: Mapping[str, str], folder: Path
) -> dict[str, tuple[str, str]]:
    """Keep the names that files have in a folder of crops, and avoid those taken.

    `files` are paths by name, from `name_files`; `owners` gives, for each source with
    crops in the folder, the fingerprint of its file, or "". Returns path and
    fingerprint by name: `anna-mov` beside the crops of `anna.mp4`. If crops of other
    files have every name that there is for one, that is a UserError.
    """
    owners, named = dict(owners), {}
    for name, file in files.items():
        kind = Path(file).suffix
        own = "" if is_address(file) else fingerprint_of(Path(file))
        short = name.removesuffix(f"-{kind[1:]}")
        long = f"{short}-{kind[1:]}"
        candidates = {c: owners.get(c, "") for c in (short, long, name)}
        if own and own in candidates.values():  # gathered before
            choices = [c for c, owner in candidates.items() if owner == own]
        elif candidates[name] and Path(candidates[name]).suffix == kind.lower():
            choices = []  # two files of one name would look like one
        else:
            choices = [c for c in (name, long) if not candidates[c]]
        choice = next((c for c in choices if c not in named), None)
        if choice is None:
            raise UserError(
                f"{file}: {folder} holds crops of another {name}; nothing was "
                "overwritten: rename the file or name another folder"
            )
        owners[choice], named[choice] = own, (file, own)
    return named


def name_crop(source: str, frame: int, rank: int) -> str:
    """Name the crop of a frame's rank-th face, counted from 1."""
    return f"{source}_{frame:06d}" + (f"-{rank}" if rank > 1 else "") + ".png"


def source_of(crop: Path, dataset: Path) -> tuple[str, int]:
    """Read source and frame number back from a crop's place in a dataset.

    The folders between that of the class and the crop are part of the source's name:
    anna/frame for real/anna/frame_000001.png. A crop whose name does not say stands for
    its folder: anna, 0 for real/anna/0.png.
    """
    folders = crop.parent.relative_to(dataset).parts
    named = CROP_NAME.match(crop.stem)
    source = "/".join([*folders[1:], named[1]] if named else folders[1:] or folders)
    return source, int(named[2]) if named else 0


def persons_of(
    labels: np.ndarray, sources: np.ndarray, frames: np.ndarray
) -> np.ndarray:
    """Name whose face each crop's source shows: anna for anna-real and anna-fake.

    A person's real footage and the attacks made from it must stay together in a split,
    or the network learns the face. So must photographs whose names differ in a number
    only: they may have been taken from one video. Where sources are in folders, the
    first folder is the person. Labels, sources and names are (n,) of str, frame numbers
    (n,) int.
    """
    words = {label for label in set(labels) if not label.isdigit()}
    words |= BONA_FIDE_WORDS if BONA_FIDE in words else set()
    classes = "|".join(re.escape(word) for word in sorted(words, key=len)[::-1])
    # A class's name as a word of its own, not inside another word.
    word = re.compile(rf"(?<![^\W\d_])({classes or '(?!)'})(?![^\W\d_])", re.IGNORECASE)
    names = {}
    for source in set(sources):
        name = word.sub("-", source.lower()).strip("-_/ ").partition("/")[0]
        names[source] = KIND.sub("", SEPARATORS.sub("-", name).strip("-"))
    # What makes a video is its frame numbers: a photograph's is 1.
    videos = {names[source] for source in set(sources[frames != 1])}
    videos |= {name for source, name in names.items() if "/" in source}
    photos = set(names.values()) - videos
    stems = {name: re.sub(r"[-\d]*\d$", "", name) for name in photos}
    series = Counter(stems.values())
    stems = {name: stem for name, stem in stems.items() if series[stem] > 1}
    names = {source: stems.get(name, name) for source, name in names.items()}
    return np.array([names[source] for source in sources])
