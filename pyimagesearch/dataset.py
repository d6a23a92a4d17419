"""The crops of a dataset, and what is known of them."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError, count_of, info, warn
from pyimagesearch.images import find_files, read_image
from pyimagesearch.labels import as_label
from pyimagesearch.manifest import MANIFEST_NAME, UNSURE, common_cut, name_source
from pyimagesearch.preprocessing import HEIGHT, WIDTH, shrink

import numpy as np


class Dataset(NamedTuple):
    """Crops in natural order of their paths, the same on every machine."""

    crops: np.ndarray
    """(n, height, width, 3) uint8 BGR."""
    labels: np.ndarray
    """(n,) of str: the folder directly below the dataset."""
    sources: np.ndarray
    """(n,) of str: the video or image that a crop was cut from, as its name says; the
    folder for crops whose names do not say."""
    paths: list[Path]
    margin: float
    """What the boxes were grown by, as a share of their size."""
    detector: str
    """Which one found most of the faces."""

    def subset(self, crops: np.ndarray) -> "Dataset":
        """Give some of the crops, by their places (n,) int."""
        return Dataset(
            self.crops[crops],
            self.labels[crops],
            self.sources[crops],
            [self.paths[crop] for crop in crops],
            *self[4:],
        )


def load_dataset(
    folder: Path, width: int = WIDTH, height: int = HEIGHT, min_classes: int = 2
) -> Dataset:
    """Load a folder that holds a folder of crops for each class; say what is in it.

    Hidden files are passed over; others that are no images are named on stderr and
    counted.

    Parameters
    ----------
    folder : Path
        Images may be at any depth below the folders of the classes.
    width, height : int
        What the network takes, in pixels.
    min_classes : int, default 2
        How many classes there must be.

    Raises
    ------
    UserError
        When there are fewer classes with images, or crops of different margins.
    """
    info("loading images...")
    if not folder.is_dir():
        raise UserError(f"no dataset {folder}; run gather_examples.py first")
    files = [path for path in find_files(folder) if path.name != MANIFEST_NAME]
    unsure = [path for path in files if path.relative_to(folder).parts[0] == UNSURE]
    if unsure:
        info(f"{count_of(len(unsure), 'file')} in {folder / UNSURE} wait to be sorted")
        files = [path for path in files if path not in set(unsure)]

    def load(path: Path) -> np.ndarray | None:
        image = read_image(path) if path.parent != folder else None
        return None if image is None else shrink(image, width, height)

    crops, paths = np.empty((len(files), height, width, 3), np.uint8), []
    strays = 0
    with ThreadPoolExecutor() as threads:
        for path, crop in zip(files, threads.map(load, files), strict=True):
            if path.parent == folder:
                strays += 1
            elif crop is None:
                warn(f"{path}: not a readable image; skipped")
            else:
                crops[len(paths)] = crop
                paths.append(path)
    if strays:
        warn(f"{folder}: {count_of(strays, 'file')} in no class's folder")
    if len(paths) < len(files):
        warn(f"skipped {len(files) - len(paths)} of {len(files)} files")
    labels = [as_label(path.relative_to(folder).parts[0]) for path in paths]
    classes = sorted(set(labels))
    if len(classes) < min_classes:
        raise UserError(
            f"{folder}: expected a folder of images for each class, such as "
            f"{folder / 'real'} and {folder / 'fake'}; found "
            + (f"only {folder / classes[0]}" if classes else "none")
        )
    dataset = Dataset(
        crops[: len(paths)],
        np.array(labels),
        np.array([name_source(path, folder) for path in paths]),
        paths,
        *common_cut(paths),
    )
    for label, sources in count_sources(dataset).items():
        images = count_of(sum(sources.values()), "image")
        info(f"{images} of {label}, {count_of(len(sources), 'source')}")
    return dataset


def count_sources(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Count crops by label and source."""
    counts = {}
    pairs = zip(dataset.labels.tolist(), dataset.sources.tolist(), strict=True)
    for (label, source), count in Counter(pairs).items():
        counts.setdefault(label, {})[source] = count
    return counts


def digest_crops(crops: Iterable[np.ndarray]) -> list[str]:
    """Give 8 hexadecimal digits for each crop, by which it can be known again."""
    return [hashlib.sha256(crop.tobytes()).hexdigest()[:8] for crop in crops]


def digest_sources(dataset: Dataset, learnt: np.ndarray) -> list[str]:
    """Give the digest of the first crop of every source among some, (m,) int."""
    first = {}
    for crop in learnt:
        first.setdefault((dataset.labels[crop], dataset.sources[crop]), crop)
    return digest_crops(dataset.crops[crop] for crop in first.values())


def share_of_sources(labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Say how often each crop should be learnt, so that sources count the same.

    Returns
    -------
    ndarray of shape (n,), dtype float64
        1 in the mean, in each class as well; within a class, the crops of every source
        sum to the same.
    """
    shares = np.empty(len(labels))
    for label in np.unique(labels):
        own = labels == label
        _, source, counts = np.unique(
            sources[own], return_inverse=True, return_counts=True
        )
        shares[own] = own.sum() / len(counts) / counts[source]
    return shares
