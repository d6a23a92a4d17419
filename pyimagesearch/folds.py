"""How a dataset is split, so that what is measured is new to the network."""

import re
from collections import Counter
from typing import NamedTuple

from pyimagesearch.console import UserError, info, warn
from pyimagesearch.dataset import Dataset
from pyimagesearch.images import IMAGE_SUFFIXES, VIDEO_SUFFIXES

import numpy as np

TEST_SHARE = 0.25  # the tutorial's
GROUPS_LISTED = 12
FOLDS = 4  # so that each network learns as large a share as the tutorial's
BLOCKS = 3  # where folds are blocks of frames, whose figures are not worth more time
# Crops left out on each side of a block of test crops, as a share of their video: so
# that no crop in the test was taken a moment before or after one in the training.
GAP_SHARE = 0.05


class Fold(NamedTuple):
    """Which crops a network learns and which it is measured on; some may be neither."""

    train: np.ndarray
    """(n,) int, sorted."""
    test: np.ndarray
    """(m,) int, sorted."""


def split_random(labels: np.ndarray, seed: int) -> Fold:
    """Split as the tutorial does, with the same shares of every class on both sides.

    Frames of one video come to stand on both sides, so what is measured is memory.
    """
    from sklearn.model_selection import train_test_split

    check_class_sizes(labels)
    train, test = train_test_split(
        np.arange(len(labels)),
        test_size=max(TEST_SHARE, len(set(labels)) / len(labels)),
        random_state=seed,
        stratify=labels,
    )
    return Fold(np.sort(train), np.sort(test))


def group_sources(labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Name what each crop's source shows, whether real or fake: anna for anna-real.

    A person's real footage and the attacks made of it have the same name but for the
    class's, and must not be parted: the network would learn the face. Nor must
    photographs be that differ in a number only, as those that were taken of a video.

    Returns
    -------
    ndarray of shape (n,), of str
    """
    classes = "|".join(re.escape(label) for label in sorted(set(labels), key=len)[::-1])
    # A class's name as a word of its own, not within another one.
    word = re.compile(rf"(?<![^\W\d_])({classes})(?![^\W\d_])", re.IGNORECASE)
    # gather_examples.py tells files of one name apart by their kind: anna-mov.
    kind = "|".join(suffix[1:] for suffix in sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
    kind = re.compile(rf"-({kind})$")
    names = {}
    for source in set(sources):
        name = re.sub(r"[\W_]+", "-", word.sub("-", source.lower())).strip("-")
        names[source] = kind.sub("", name)
    sizes = Counter(zip(labels, sources, strict=True))
    videos = {names[source] for (_, source), size in sizes.items() if size > 1}
    photos = set(names.values()) - videos
    stems = {name: re.sub(r"[-\d]*\d$", "", name) for name in photos}
    series = Counter(stems.values())
    stems = {name: stem for name, stem in stems.items() if series[stem] > 1}
    names = {source: stems.get(name, name) for source, name in names.items()}
    return np.array([names[source] for source in sources])


def split_videos(
    labels: np.ndarray, sources: np.ndarray, count: int | None, seed: int
) -> tuple[list[Fold], str]:
    """Split into folds so that what is measured is new to the network.

    Each crop is measured in one fold. A person's sources stay together. Where a class
    has sources of one person only, the folds are blocks of consecutive crops of every
    source, and the crops next to the block are left out.

    Parameters
    ----------
    labels, sources : ndarray of shape (n,), of str
        In the order in which they were filmed.
    count : int or None
        How many folds; fewer where there are fewer persons. Of 1, that many are made
        that a quarter is measured; None is FOLDS, or BLOCKS.
    seed : int

    Returns
    -------
    folds : list of Fold
    how : str
        In words.
    """
    check_class_sizes(labels)
    groups = group_sources(labels, sources)
    classes = set(labels)
    fewest = min(len(set(groups[labels == label])) for label in classes)
    smallest = min(Counter(labels).values())  # of more folds, scikit-learn warns
    parts = count if count and count > 1 else FOLDS
    most = min(parts, len(set(groups)), smallest)
    for folds in range(most if fewest > 1 else 1, 1, -1):
        from sklearn.model_selection import StratifiedGroupKFold  # takes a second

        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        split = [Fold(*fold) for fold in splitter.split(labels, labels, groups)]
        if all(set(labels[fold.train]) == classes and len(fold.test) for fold in split):
            return split, "whole sources"
    blocks = _split_blocks(labels, sources, parts if count else BLOCKS)
    return blocks, "blocks of frames"


def _split_blocks(labels: np.ndarray, sources: np.ndarray, count: int) -> list[Fold]:
    keys = np.array([f"{a}\0{b}" for a, b in zip(labels, sources, strict=True)])
    # A source of few crops cannot be parted: a class's small ones make one sequence.
    sizes = Counter(keys)
    keys = np.array(
        [
            key if sizes[key] >= count else label
            for key, label in zip(keys, labels, strict=True)
        ]
    )
    trains, tests = [[] for _ in range(count)], [[] for _ in range(count)]
    for key in np.unique(keys):
        crops = np.flatnonzero(keys == key)
        n = len(crops)
        gap = max(1, round(GAP_SHARE * n)) if n >= 2 * count else 0
        for fold, block in enumerate(np.array_split(np.arange(n), min(count, n))):
            start, end = block[0], block[-1] + 1
            tests[fold].append(crops[start:end])
            trains[fold] += [crops[: max(0, start - gap)], crops[end + gap :]]
        for fold in range(min(count, n), count):
            trains[fold].append(crops)
    return [
        Fold(*(np.sort(np.concatenate(side)).astype(int) for side in sides))
        for sides in zip(trains, tests, strict=True)
        if sides[1]
    ]


def split_dataset(
    dataset: Dataset, kind: str, count: int | None, seed: int
) -> tuple[list[Fold], str]:
    """Split a dataset into folds, and say what the figures will be worth.

    Parameters
    ----------
    dataset : Dataset
    kind : str
        "video" or "random"; the latter gives one fold, as the tutorial does.
    count : int or None
        How many folds; of 1, a quarter is measured. None is FOLDS, or BLOCKS.
    seed : int

    Returns
    -------
    folds : list of Fold
    how : str
        In words.
    """
    labels, sources = dataset.labels, dataset.sources
    folds, how = split_videos(labels, sources, count, seed)
    is_by_video = how == "whole sources"
    if kind == "random":
        folds, how = [split_random(labels, seed)], "crops at random"
        if is_by_video:
            warn(
                "with --split random, crops of one video stand on both sides, and the "
                "figures are optimistic; --split video keeps videos apart"
            )
    elif not is_by_video:
        warn(
            "a class has crops of one video or person only, or too few, so the network "
            "is measured on a part of the videos that it has seen another part of; to "
            "learn how it does on others, gather from two videos of each or more "
            "(photographs that differ in a number only count as one)"
        )
    if count == 1:
        folds = [folds[seed % len(folds)]]
    if how == "whole sources":
        describe_groups(labels, group_sources(labels, sources))
    if len(folds) > 1:
        info(f"split by {how} into {len(folds)} folds; all crops are learnt in the end")
    else:
        train, test = map(len, folds[0])
        info(f"split by {how}: training on {train} images, measuring on {test}")
    return folds, how


def describe_groups(labels: np.ndarray, groups: np.ndarray) -> None:
    """Say what belongs together, where it is little, and what has no counterpart."""
    classes = {name: set(labels[groups == name]) for name in sorted(set(groups))}
    if len(classes) <= GROUPS_LISTED:
        info(f"kept together: {', '.join(name or 'no name' for name in classes)}")
    alone = [name for name, own in classes.items() if len(own) == 1]
    if alone:
        listed = ", ".join(alone[:GROUPS_LISTED])
        rest = f", and {len(alone) - GROUPS_LISTED} more" * (len(alone) > GROUPS_LISTED)
        warn(
            f"only real or only fake: {listed}{rest}; the network may learn these "
            "faces rather than what is fake, so name the real and the fake footage "
            "of a person alike (anna-real, anna-fake)"
        )


def check_class_sizes(labels: np.ndarray) -> None:
    """Raise a UserError for a class of which none would be left to learn from."""
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count < 2:
            raise UserError(
                f"{count} crop of {label} is too few to learn from some and measure "
                "on others; gather more"
            )
