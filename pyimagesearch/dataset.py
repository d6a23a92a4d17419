"""The crops of a dataset, and what is known of them."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError, count_of, info, warn
from pyimagesearch.crops import MANIFEST_NAME, common_cut
from pyimagesearch.faces import HEIGHT, WIDTH, shrink
from pyimagesearch.frames import find_files, read_image
from pyimagesearch.names import UNSURE, as_label, source_of

import numpy as np


class Dataset(NamedTuple):
    """Crops in natural order of their paths, the same on every machine."""

    crops: np.ndarray  # (n, height, width, 3) uint8 BGR
    labels: np.ndarray  # (n,) of str: the folder directly below the dataset
    sources: np.ndarray  # (n,) of str, see `names.source_of`
    paths: list[Path]
    margin: float  # what the boxes were extended by, as a share of their size
    detector: str  # that found most faces

    def subset(self, crops: np.ndarray) -> "Dataset":
        """Select crops by their indices, (n,) int."""
        return self._replace(
            crops=self.crops[crops],
            labels=self.labels[crops],
            sources=self.sources[crops],
            paths=[self.paths[crop] for crop in crops],
        )


def load_dataset(
    folder: Path, width: int = WIDTH, height: int = HEIGHT, min_classes: int = 2
) -> Dataset:
    """Load a folder that holds a folder of crops for each class; print what is in it.

    Images may be at any depth below the folders of the classes; they are resized to
    `width` and `height`. Hidden files are ignored; a warning names files that are no
    images. Too few classes or crops of different margins are a UserError.
    """
    info("loading images...")
    if not folder.is_dir():
        raise UserError(f"no dataset {folder}; run gather_examples.py first")
    files = [path for path in find_files(folder) if path.name != MANIFEST_NAME]
    unsure = {path for path in files if path.relative_to(folder).parts[0] == UNSURE}
    if unsure:
        info(f"{folder / UNSURE}: {count_of(len(unsure), 'file')} yet to be sorted")
        files = [path for path in files if path not in unsure]

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
        warn(f"{folder}: {count_of(strays, 'file')} not in the folder of a class")
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
    margin, detector = common_cut(paths)
    dataset = Dataset(
        crops[: len(paths)],
        np.array(labels),
        np.array([source_of(path, folder) for path in paths]),
        paths,
        margin,
        detector,
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
    """Return 8 hexadecimal digits for each crop, to recognize it later."""
    return [hashlib.sha256(crop.tobytes()).hexdigest()[:8] for crop in crops]


def digest_sources(dataset: Dataset, learnt: np.ndarray) -> list[str]:
    """Return the digest of each source's first crop among those learnt, (m,) int."""
    first = {}
    for crop in learnt:
        first.setdefault((dataset.labels[crop], dataset.sources[crop]), crop)
    return digest_crops(dataset.crops[crop] for crop in first.values())
