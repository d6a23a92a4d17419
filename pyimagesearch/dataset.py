"""The crops of a dataset, what is known of them, and how they are split."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError, warn
from pyimagesearch.frames import natural_key, read_image
from pyimagesearch.manifest import NAME, common_margin
from pyimagesearch.preprocessing import HEIGHT, WIDTH, shrink

import numpy as np

TEST_SHARE = 0.25  # the tutorial's
# Crops left out on each side of a block of test crops, as a share of their video: so
# that no crop in the test was taken a moment before or after one in the training.
GAP_SHARE = 0.05
CROP_NAME = re.compile(r"(.+)_(\d{6,})(?:-\d+)?$")  # see gather_examples.name_crops


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

    def subset(self, crops: np.ndarray) -> "Dataset":
        """Give some of the crops, by their places (n,) int."""
        return Dataset(
            self.crops[crops],
            self.labels[crops],
            self.sources[crops],
            [self.paths[crop] for crop in crops],
            self.margin,
        )


def load_dataset(
    folder: Path, width: int = WIDTH, height: int = HEIGHT, least_classes: int = 2
) -> Dataset:
    """Load a folder that holds a folder of crops for each class.

    Hidden files are passed over; others that are no images are named on stderr and
    counted.

    Parameters
    ----------
    folder : Path
        Images may be at any depth below the folders of the classes.
    width, height : int
        What the network takes, in pixels.
    least_classes : int, default 2
        How many classes there must be.

    Raises
    ------
    UserError
        When there are fewer classes with images, or crops of different margins.
    """
    if not folder.is_dir():
        raise UserError(f"no dataset {folder}; run gather_examples.py first")
    files = sorted(
        (
            path
            for path in folder.rglob("*")
            if path.is_file()
            and path.name != NAME
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        ),
        key=natural_key,
    )

    def load(path: Path) -> np.ndarray | None:
        image = read_image(path) if path.parent != folder else None
        return None if image is None else shrink(image, width, height)

    crops, paths = np.empty((len(files), height, width, 3), np.uint8), []
    with ThreadPoolExecutor() as threads:
        for path, crop in zip(files, threads.map(load, files), strict=True):
            if crop is None:
                stray = path.parent == folder
                reason = "not in a class's folder" if stray else "not a readable image"
                warn(f"{path}: {reason}; skipped")
            else:
                crops[len(paths)] = crop
                paths.append(path)
    if len(paths) < len(files):
        warn(f"skipped {len(files) - len(paths)} of {len(files)} files")
    labels = [path.relative_to(folder).parts[0] for path in paths]
    classes = sorted(set(labels))
    if len(classes) < least_classes:
        raise UserError(
            f"{folder}: expected a folder of images for each class, such as "
            f"{folder / 'real'} and {folder / 'fake'}; found "
            + (f"only {folder / classes[0]}" if classes else "none")
        )
    return Dataset(
        crops[: len(paths)],
        np.array(labels),
        np.array([name_source(path, folder) for path in paths]),
        paths,
        common_margin(paths),
    )


def name_source(path: Path, folder: Path) -> str:
    """Tell from a crop's name which video or image it was cut from.

    A name that does not say stands for its folder: `real` for `real/0.png`.
    """
    named = CROP_NAME.match(path.stem)
    return named[1] if named else path.parent.relative_to(folder).as_posix()


class Split(NamedTuple):
    """Which crops are learnt from and which are measured on; some may be neither."""

    train: np.ndarray
    """(n,) int, sorted."""
    test: np.ndarray
    """(m,) int, sorted."""
    how: str
    """In words."""


def split_random(labels: np.ndarray, seed: int) -> Split:
    """Split as the tutorial does, with the same shares of every class on both sides.

    Frames of one video come to stand on both sides, so what is measured is memory.
    """
    from sklearn.model_selection import train_test_split

    require(labels, 2)
    train, test = train_test_split(
        np.arange(len(labels)),
        test_size=max(TEST_SHARE, len(set(labels)) / len(labels)),
        random_state=seed,
        stratify=labels,
    )
    return Split(np.sort(train), np.sort(test), "crops at random")


def split_videos(labels: np.ndarray, sources: np.ndarray, seed: int) -> Split:
    """Split so that what is measured is new to the network.

    Whole sources go to one side. Where a class has one source only, a block of
    consecutive crops of every source is measured on and those next to it are left out.

    Parameters
    ----------
    labels, sources : ndarray of shape (n,), of str
        In the order in which they were filmed.
    seed : int
        Chooses the sources, or the place of the blocks.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    require(labels, 2)
    classes = set(labels)
    fewest = min(len(set(sources[labels == label])) for label in classes)
    candidates = []
    if fewest > 1:
        folds = StratifiedGroupKFold(
            min(fewest, round(1 / TEST_SHARE)), shuffle=True, random_state=seed
        )
        candidates = [
            (train, test)
            for train, test in folds.split(labels, labels, sources)
            if set(labels[train]) == set(labels[test]) == classes
        ]
    if candidates:
        # Sources of different sizes are dealt the same way for every seed.
        train, test = candidates[seed % len(candidates)]
        return Split(train, test, "whole sources")
    return _split_blocks(labels, sources, seed)


def _split_blocks(labels: np.ndarray, sources: np.ndarray, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    train, test = [], []
    for label in sorted(set(labels)):
        own = labels == label
        # A source of one crop cannot be parted: such sources make one sequence.
        names, counts = np.unique(sources[own], return_counts=True)
        long = set(names[counts >= 2])
        groups = np.array([name if name in long else "" for name in sources])
        for name in sorted(set(groups[own])):
            crops = np.flatnonzero(own & (groups == name))
            n = len(crops)
            size = max(1, round(TEST_SHARE * n)) if n > 1 else 0
            gap = max(1, round(GAP_SHARE * n)) if n > 3 else 0
            start = rng.integers(0, n - size + 1)
            test += list(crops[start : start + size])
            train += list(crops[: max(0, start - gap)])
            train += list(crops[start + size + gap :])
    return Split(
        np.sort(train).astype(int), np.sort(test).astype(int), "blocks of frames"
    )


def require(labels: np.ndarray, least: int) -> None:
    """Raise a UserError for a class with fewer crops."""
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count < least:
            raise UserError(
                f"{count} crop of {label} is too few to learn from some and measure "
                "on others; gather more"
            )
