"""The crops of a dataset, and what is known of them."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError, count_of, info, warn
from pyimagesearch.crops import (
    FRAMES_NAME,
    MANIFEST_NAME,
    Search,
    common_cut,
    look_up,
    read_manifest,
    read_searches,
)
from pyimagesearch.faces import HEIGHT, WIDTH, shrink
from pyimagesearch.files import find_files
from pyimagesearch.names import ATTACK, BONA_FIDE, UNSURE, as_label, source_of
from pyimagesearch.video import HEIF_ADVICE, read_image

import numpy as np

MOST_DIGESTS = 10_000  # in le.pickle; of more crops, evenly spread ones


class Dataset(NamedTuple):
    """Crops in natural order of their paths, the same on every machine."""

    pool: np.ndarray  # (n + k, height, width, 3) uint8 BGR: crops, then recaptures
    labels: np.ndarray  # (n,) of str: the folder directly below the dataset
    sources: np.ndarray  # (n,) of str, see `names.source_of`
    frames: np.ndarray  # (n,) int: frame numbers, 0 if not known
    paths: list[Path]
    sizes: np.ndarray  # (n,) int: shorter side of the face's box in pixels
    fingerprints: np.ndarray  # (n,) of str: of the file it was cut from, "" if unknown
    searches: dict[tuple[str, str], Search]  # by label and source, of those known
    margin: float  # what the boxes were extended by, as a share of their size
    detector: str  # that found most faces

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
        return sorted(classes if len(classes) > 1 else {*classes, ATTACK})

    @property
    def truth(self) -> np.ndarray:
        """Places of the labels in `classes`, (n,) int."""
        return np.searchsorted(self.classes, self.labels)

    def subset(self, crops: np.ndarray) -> "Dataset":
        """Select crops by their indices, (n,) int, without recaptures."""
        return self._replace(
            pool=self.pool[crops],
            labels=self.labels[crops],
            sources=self.sources[crops],
            frames=self.frames[crops],
            paths=[self.paths[crop] for crop in crops],
            sizes=self.sizes[crops],
            fingerprints=self.fingerprints[crops],
        )


def load_dataset(
    folder: Path,
    width: int = WIDTH,
    height: int = HEIGHT,
    to_train: bool = True,
    simulates: bool = False,
) -> Dataset:
    """Load a folder that holds a folder of crops for each class; print what is in it.

    Images, at any depth below, are resized. A warning names files that are no images.
    Crops of different margins are a UserError, and so is a dataset `to_train` with that
    lacks real faces, or attacks unless training `simulates` them.
    """
    info("loading images...")
    if not folder.is_dir():
        raise UserError(
            f"no dataset {folder}; run gather_examples.py, or liveness_demo.py "
            f"--collect {folder}, first"
        )
    files = find_files(folder)
    tables = [path for path in files if path.name == FRAMES_NAME]
    files = [path for path in files if path.name not in (FRAMES_NAME, MANIFEST_NAME)]
    unsure = {path for path in files if path.relative_to(folder).parts[0] == UNSURE}
    if unsure:
        info(f"{folder / UNSURE}: {count_of(len(unsure), 'file')} yet to be sorted")
        files = [path for path in files if path not in unsure]
    total, files = len(files), [path for path in files if path.parent != folder]
    if len(files) < total:
        strays = count_of(total - len(files), "file")
        warn(f"{folder}: {strays} not in the folder of a class")

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
                is_heif = path.suffix.lower() in {".heic", ".heif"}
                reason = HEIF_ADVICE if is_heif else "not a readable image"
                warn(f"{path}: {reason}; skipped")
    if len(paths) < total:
        warn(f"skipped {total - len(paths)} of {total} files")
    places = [path.relative_to(folder).parts for path in paths]
    check_classes(folder, places, to_train, simulates)
    for name in sorted({place[0] for place in places}):
        if as_label(name) != name:
            info(f"{folder / name}: counts as {BONA_FIDE}")
    read = cache(read_manifest)
    margin, detector = common_cut(paths, read)
    known = {path: record.fingerprint for path, record in look_up(paths, read)}
    sources = [source_of(path, folder) for path in paths]
    dataset = Dataset(
        crops[: len(paths)],
        np.array([as_label(place[0]) for place in places]),
        np.array([source for source, _ in sources]),
        np.array([frame for _, frame in sources]),
        paths,
        np.round(np.array(sides) / (1 + 2 * margin)).astype(int),
        np.array([known.get(path, "") for path in paths]),
        find_searches(folder, tables),
        margin,
        detector,
    )
    for label, counts in count_sources(dataset).items():
        images = count_of(sum(counts.values()), "image")
        info(f"{images} of {label}, {count_of(len(counts), 'source')}")
    return dataset


def find_searches(folder: Path, tables: list[Path]) -> dict[tuple[str, str], Search]:
    """Read what each frames.csv of a dataset says, by label and source."""
    searches = {}
    for table in tables:
        names = table.parent.relative_to(folder).parts
        if names and names[0] != UNSURE:
            try:
                found = read_searches(table.parent)
            except UserError as error:
                warn(str(error))
                continue
            for source, search in found.items():
                source = "/".join([*names[1:], source])
                searches[as_label(names[0]), source] = search
    return searches


def check_classes(
    folder: Path, places: list[tuple[str, ...]], to_train: bool, simulates: bool
) -> None:
    """Raise a UserError for a dataset whose folders are not those of classes."""
    counts, below = Counter(place[0] for place in places), {}
    for name, *rest in places:
        below.setdefault(name, set()).add(as_label(rest[0]))
    splits = [name for name, classes in below.items() if {BONA_FIDE} < classes]
    classes, hint = {as_label(name) for name in counts}, ""
    if {BONA_FIDE} < classes or (simulates and classes == {BONA_FIDE}):
        return
    if not to_train and len(splits) < len(classes):
        return
    if splits:
        part = "train" if to_train else "test"
        best = max(splits, key=lambda name: (part in name.lower(), counts[name]))
        hint = f"; try --dataset {folder / best}"
    elif counts and all(map(str.isdigit, counts)):
        hint = "; which number is real cannot be known: rename the folders"
    raise UserError(
        f"{folder}: expected a folder of images for each class, {BONA_FIDE} and at "
        f"least one kind of attack, such as fake; found {', '.join(counts) or 'none'}"
        + hint
    )


def sources_of(dataset: Dataset) -> list[tuple[str, str]]:
    """Return label and source of each crop."""
    return list(zip(dataset.labels.tolist(), dataset.sources.tolist(), strict=True))


def count_sources(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Count crops by label and source."""
    counts = {}
    for (label, source), count in Counter(sources_of(dataset)).items():
        counts.setdefault(label, {})[source] = count
    return counts


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
