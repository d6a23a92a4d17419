"""The crops of a dataset, and what is known of them."""

import hashlib
import math
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from pyimagesearch import names
from pyimagesearch.console import UserError, count_of, info, listing, warn
from pyimagesearch.crops import LIST_NAMES, Source, common_margin, line_of, read_lists
from pyimagesearch.faces import HEIGHT, WIDTH, shrink
from pyimagesearch.files import find_files, is_left_out
from pyimagesearch.inputs import warn_of_others
from pyimagesearch.names import BONA_FIDE, UNSURE, as_label, source_of
from pyimagesearch.video import IMAGE_SUFFIXES, read_image

import numpy as np

SPLITS = {"train", "val", "test", "dev"}  # folders of some datasets
MOST_DIGESTS = 10_000  # in le.pickle; of more crops, evenly spread ones


class Dataset(NamedTuple):
    """Crops in natural order of their paths, the same on every machine."""

    pool: np.ndarray  # (n + k, height, width, 3) uint8 BGR: crops, then recaptures
    labels: np.ndarray  # (n,) of str: the folder directly below the dataset
    sources: np.ndarray  # (n,) of str, see `names.source_of`
    frames: np.ndarray  # (n,) int: frame numbers, 0 if not known
    persons: np.ndarray  # (n,) of str: whose face it is, see `tell_persons`
    sessions: np.ndarray  # (n,) of str: its video, session or series of photographs
    paths: list[Path]
    sizes: np.ndarray  # (n,) int: shorter side of the face's box in pixels
    fingerprints: np.ndarray  # (n,) of str: of the file it was cut from, "" if unknown
    searches: dict[tuple[str, str], Source]  # by label and source, of those counted
    margin: float  # what the boxes were extended by, as a share of their size
    detector: str  # that found most faces, "" if unknown

    @property
    def crops(self) -> np.ndarray:
        """The crops without recaptures, (n, height, width, 3) uint8 BGR."""
        return self.pool[: len(self.labels)]

    @property
    def recaptures(self) -> np.ndarray:
        """As many of each real crop, in order, (k, height, width, 3) uint8 BGR."""
        return self.pool[len(self.labels) :]

    @property
    def classes(self) -> list[str]:
        """Names of the network's outputs, in alphabetical order."""
        classes = set(self.labels.tolist())
        return sorted(classes if len(classes) > 1 else {*classes, names.ATTACK})

    @property
    def truth(self) -> np.ndarray:
        """Places of the labels in `classes`, (n,) int."""
        return np.searchsorted(self.classes, self.labels)

    def subset(self, crops: np.ndarray) -> "Dataset":
        """Select crops by their indices, (n,) int, without recaptures."""
        known = self._asdict().items()
        chosen = {key: own[crops] for key, own in known if isinstance(own, np.ndarray)}
        return self._replace(paths=[self.paths[crop] for crop in crops], **chosen)


def load_dataset(
    folder: Path, width=WIDTH, height=HEIGHT, to_train=True, simulates=False
) -> Dataset:
    """Load a folder that holds a folder of crops for each class; print what is in it.

    Images, at any depth, are resized. Crops of different margins are a UserError, as
    is a training without real faces, or without attacks that it does not simulate.
    """
    info("loading images...")
    if not folder.is_dir():
        text = f"run gather_examples.py, or liveness_demo.py --collect {folder}, first"
        raise UserError(f"no dataset {folder}; {text}")
    files, lists = find_images(folder)

    def load(path: Path) -> tuple[np.ndarray, int] | None:
        image = read_image(path)
        if image is None:
            return None
        return shrink(image, width, height), min(image.shape[:2])

    crops, paths, sides = np.empty((len(files), height, width, 3), np.uint8), [], []
    with ThreadPoolExecutor() as threads:
        for path, loaded in zip(files, threads.map(load, files), strict=True):
            if loaded:
                crops[len(paths)], side = loaded
                sides.append(side)
                paths.append(path)
            else:
                warn(f"{path}: not a readable image; skipped")
    if len(paths) < len(files):
        warn(f"skipped {len(files) - len(paths)} of {len(files)} images")
    are_nested = check_classes(folder, paths, to_train, simulates)

    def place_of(path: Path) -> list[str]:
        place = list(path.relative_to(folder).parts)
        return [place[1], place[0], *place[2:]] if are_nested else place

    places = [place_of(path) for path in paths]
    for name in sorted({place[0] for place in places}):
        if as_label(name) != name:
            info(f"{folder / name}: counts as {BONA_FIDE}")
    margin, unlisted = common_margin(paths, lists)
    if unlisted:
        what = f"without a line in sources.csv, taken to have margin {margin:g}"
        warn(f"{folder}: {count_of(unlisted, 'crop')} {what}")
    searches = {}
    for parent, own in lists.items():
        for line in own.lines.values():
            label, *source = place_of(parent / line.source)
            if line.searched and label != UNSURE:
                searches[as_label(label), "/".join(source)] = line
    labels = [as_label(place[0]) for place in places]
    sources, frames = zip(*map(source_of, places), strict=True)
    keys = list(zip(labels, sources, strict=True))
    lines = [line_of(path, lists) or Source() for path in paths]
    persons, sessions = tell_persons(keys, frames, lines, to_train)
    detectors = Counter(line.detector for line in lines if line.detector)
    for label, count in Counter(labels).items():
        own = count_of(len({key for key in keys if key[0] == label}), "source")
        info(f"{count_of(count, 'image')} of {label}, {own}")
    return Dataset(
        crops[: len(paths)],
        np.array(labels),
        np.array(sources),
        np.array(frames),
        persons,
        sessions,
        paths,
        np.round(np.array(sides) / (1 + 2 * margin)).astype(int),
        np.array([line.fingerprint for line in lines]),
        searches,
        margin,
        max(detectors, key=detectors.get, default=""),
    )


def find_images(folder: Path) -> tuple[list[Path], dict]:
    """Find the images in the folders of classes, and the lists beside them."""
    files = find_files(folder, says=True)
    for path in folder.iterdir():
        is_open = is_left_out(path.name) or os.access(path, os.R_OK | os.X_OK)
        if path.is_dir() and not is_open:
            raise UserError(f"{path}: the folder of a class cannot be read")
    below = [path for path in files if path.parent != folder]
    if strays := len(files) - len(below):
        warn(f"{folder}: {count_of(strays, 'file')} not in the folder of a class")
    files = [path for path in below if path.name not in LIST_NAMES]
    known = [path for path in files if path.relative_to(folder).parts[0] != UNSURE]
    if unsure := len(files) - len(known):
        info(f"{folder / UNSURE}: {count_of(unsure, 'file')} yet to be sorted")
    images = [path for path in known if path.suffix.lower() in IMAGE_SUFFIXES]
    warn_of_others(folder, sorted({*known} - {*images}))
    return images, read_lists(below)


def check_classes(
    folder: Path, paths: list[Path], to_train: bool, simulates: bool
) -> bool:
    """Return whether the folders of classes, which there must be, are in persons'."""
    below, hint = defaultdict(Counter), ""
    for path in paths:
        name, inner, *_ = path.relative_to(folder).parts
        below[name][as_label(inner)] += 1
    classes = {as_label(name) for name in below}
    if {BONA_FIDE} < classes or (simulates and classes == {BONA_FIDE}):
        return False
    splits = [name for name, own in below.items() if {BONA_FIDE} < own.keys()]
    known = set().union(*(below[name] for name in splits))
    are_nested = bool(splits) and all(own.keys() <= known for own in below.values())
    if are_nested and SPLITS.isdisjoint(map(str.lower, below)):
        return True
    if not to_train and below and not are_nested:
        return False
    if splits:
        part = "train" if to_train else "test"
        best = max(splits, key=lambda name: (part in name.lower(), below[name].total()))
        hint = f"; try --dataset {folder / best}"
    elif below and all(map(str.isdigit, below)):
        hint = "; which number is real cannot be known: rename the folders"
    found = ", ".join(below) or "none"
    raise UserError(
        f"{folder}: expected a folder of images for each class, {BONA_FIDE} and at "
        f"least one kind of attack, such as fake; found {found}{hint}"
    )


def tell_persons(
    keys: list[tuple[str, str]], frames: Sequence, lines: list[Source], strict: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Say whose face each crop shows, and of which session it is, both (n,) of str.

    That is what the line of its source says, or `names.person_of`; sources of one file
    show one person. A person's photographs are one session, as they may have been taken
    from one video. Keys (label and source), frame numbers and lines are those of the
    crops. If `strict`, a file that was gathered as real and as attack is a UserError.
    """
    videos = {key for key, frame in zip(keys, frames, strict=True) if frame != 1}
    persons, sessions, files, same = {}, {}, {}, []
    known = dict(zip(keys, lines, strict=True))
    for key, line in known.items():
        kind = Path(line.fingerprint).suffix
        is_photo = kind in IMAGE_SUFFIXES if kind else key not in videos
        given = unicodedata.normalize("NFC", line.person).strip().lower()
        name = key[1] if line.fingerprint else names.SESSION.sub("", key[1])
        persons[key] = given or names.person_of(name, key[0], is_photo)
        photos = f"photographs of {persons[key]}"
        sessions[key] = photos if is_photo else line.fingerprint or key[1]
        if line.fingerprint:
            own = files.setdefault(line.fingerprint, [])
            own.insert(0 if given else len(own), key)
    for own in files.values():
        shown, found = ["/".join(key) for key in own], {persons[key] for key in own}
        if strict and {BONA_FIDE} < {key[0] for key in own if known[key].searched}:
            text = "one file, as real and as attack; delete the wrong crops"
            raise UserError(f"{', '.join(shown)}: {text}")
        if len(found) > 1:
            same.append(" = ".join(shown))
            first = persons[own[0]]
            persons = {k: first if v in found else v for k, v in persons.items()}
    if same:
        info(f"one file, so one person: {listing(same, 5)}")
    return np.array([persons[k] for k in keys]), np.array([sessions[k] for k in keys])


def sources_of(dataset: Dataset) -> list[tuple[str, str]]:
    """Return label and source of each crop."""
    return list(zip(dataset.labels.tolist(), dataset.sources.tolist(), strict=True))


def digest_crops(crops: Iterable[np.ndarray]) -> list[str]:
    """Return 12 hexadecimal digits for each crop."""
    return [hashlib.sha256(crop.tobytes()).hexdigest()[:12] for crop in crops]


def digest_dataset(dataset: Dataset) -> str:
    """Return the SHA-256 of crops and labels."""
    content = hashlib.sha256(np.ascontiguousarray(dataset.crops))  # tobytes() copies
    content.update("\0".join(dataset.labels).encode("utf-8", "surrogateescape"))
    return content.hexdigest()


def list_files(dataset: Dataset) -> list[dict]:
    """Say of each source what is known of its file, ready for JSON."""
    keys = sources_of(dataset)
    fingerprints = dict(zip(keys, dataset.fingerprints.tolist(), strict=True))
    crops, searches = Counter(keys), dataset.searches
    return [
        {
            "label": key[0],
            "source": key[1],
            "crops": crops[key],
            "fingerprint": fingerprints.get(key, ""),
            "search": searches[key]._asdict() if key in searches else None,
        }
        for key in sorted(crops.keys() | searches.keys())
    ]


def count_learnt(dataset: Dataset, learnt: list[str]) -> int:
    """Count the sources of which a training has learnt, as `digest_learnt` says."""
    known, files = set(learnt), dataset.fingerprints.tolist()
    marks = zip(sources_of(dataset), digest_crops(dataset.crops), files, strict=True)
    return len({source for source, *own in marks if not known.isdisjoint(own)})


def digest_learnt(dataset: Dataset, learnt: np.ndarray) -> list[str]:
    """Return fingerprints of the files of crops, (m,) int, and digests of the crops."""
    spread = learnt[:: math.ceil(len(learnt) / MOST_DIGESTS)]
    files = set(dataset.fingerprints[learnt].tolist()) - {""}
    return sorted(files) + digest_crops(dataset.crops[crop] for crop in spread)
