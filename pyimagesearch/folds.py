"""How a dataset is split, so that the crops that are measured are new to a network."""

from collections import Counter
from typing import NamedTuple

from pyimagesearch.console import UserError, count_of, info, listing, warn
from pyimagesearch.dataset import Dataset
from pyimagesearch.names import ATTACK, BONA_FIDE

import numpy as np

SHOWN = 12  # names of persons
FOLDS = 4  # so that each network learns as large a share as the tutorial's
BLOCKS = 3  # of frames, whose figures are optimistic and not worth more time
GAP_SHARE = 0.05  # of a video, left out around its test crops: neighbours look alike


class Fold(NamedTuple):
    """Which crops a network learns and which are measured; some may be neither."""

    train: np.ndarray  # (n,) int, sorted
    test: np.ndarray  # (m,) int, sorted


def split_random(labels: np.ndarray, seed: int) -> Fold:
    """Split as the tutorial does: frames of one video end up on both sides."""
    from sklearn.model_selection import train_test_split

    check_class_sizes(labels)
    train, test = train_test_split(
        np.arange(len(labels)),
        test_size=max(0.25, len(set(labels)) / len(labels)),  # the tutorial's share
        random_state=seed,
        stratify=labels,
    )
    return Fold(np.sort(train), np.sort(test))


def split_videos(
    labels: np.ndarray, sessions: np.ndarray, persons: np.ndarray, count, seed: int
) -> tuple[list[Fold], str]:
    """Split into folds by video; each crop is measured in one of them.

    A person's footage stays together if each class is of two persons or more, otherwise
    a session's if each class has three. Of less, the folds are blocks of consecutive
    crops of every session, and the crops next to the block are left out. Labels,
    sessions and persons, (n,) of str, are in the order of filming. `count` folds are
    made, or fewer if there is too little; None makes FOLDS, or BLOCKS; 1 makes FOLDS.
    Returns the folds, and "whole sources", "whole sessions" or "blocks of frames".
    """
    check_class_sizes(labels)
    classes = set(labels)
    smallest = min(Counter(labels).values())  # for more folds, scikit-learn warns
    parts = count if count and count > 1 else FOLDS
    ways = (persons, 2, "whole sources"), (sessions, 3, "whole sessions")
    for groups, least, how in ways:
        if min(len(set(groups[labels == label])) for label in classes) < least:
            continue
        for folds in range(min(parts, len(set(groups)), smallest), 1, -1):
            from sklearn.model_selection import StratifiedGroupKFold  # takes a second

            splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
            split = [Fold._make(own) for own in splitter.split(labels, labels, groups)]
            if all(set(labels[f.train]) == classes and len(f.test) for f in split):
                return split, how
    blocks = _split_blocks(labels, sessions, parts if count else BLOCKS)
    return blocks, "blocks of frames"


def _split_blocks(labels: np.ndarray, sessions: np.ndarray, count: int) -> list[Fold]:
    pairs = list(zip(labels, sessions, strict=True))
    sizes = Counter(pairs)
    # Sessions with too few crops to divide: those of a class make one sequence.
    keys = np.array(["\0".join(p) if sizes[p] >= count else p[0] for p in pairs])
    is_train = np.ones((count, len(labels)), bool)
    is_test = ~is_train
    order = np.argsort(keys, kind="stable")
    _, starts = np.unique(keys[order], return_index=True)
    for crops in np.split(order, starts[1:]):
        n = len(crops)
        gap = max(1, round(GAP_SHARE * n)) if n >= 2 * count else 0
        for fold, block in enumerate(np.array_split(np.arange(n), min(count, n))):
            is_test[fold, crops[block]] = True
            around = crops[max(0, block[0] - gap) : block[-1] + 1 + gap]
            is_train[fold, around] = False
    return [
        Fold(np.flatnonzero(train), np.flatnonzero(test))
        for train, test in zip(is_train, is_test, strict=True)
        if test.any()
    ]


def split_dataset(
    dataset: Dataset, kind: str, count: int | None, seed: int
) -> tuple[list[Fold], str]:
    """Split a dataset into folds, and print what the figures will mean.

    `kind` is "video" or "random", which gives one fold, as in the tutorial. `count` and
    the result are those of `split_videos`, but a count of 1 returns one fold.
    """
    labels, persons = dataset.labels, dataset.persons
    if set(labels) == {BONA_FIDE}:
        warn(
            "only real faces: attacks are simulated, and nothing is measured, as there "
            "are no true ones; such networks had an EER of 14 to 57 % (chance: 50)"
        )
        warn(f"film a phone that shows these faces, gather it as {ATTACK}, train again")
        return [Fold(np.arange(len(labels)), np.arange(0))], "nothing is held out"
    folds, how = split_videos(labels, dataset.sessions, persons, count, seed)
    if kind == "random":
        if how == "whole sources":
            warn(
                "with --split random, frames of one video are on both sides, so the "
                "figures are optimistic; --split video keeps videos apart"
            )
        folds, how = [split_random(labels, seed)], "crops at random"
    else:
        describe_persons(labels, persons)
    if how in ("whole sessions", "blocks of frames"):
        who = "one person" if len(set(persons)) == 1 else "one person in a class"
        text = f"{who}; {how} held out: says nothing about other people"
        if how == "blocks of frames":
            text += ", nor other videos: gather three of each class, or two people"
        warn(text)
    if count == 1:
        folds = [folds[seed % len(folds)]]
    if len(folds) > 1:
        info(f"split by {how} into {len(folds)} folds; the final network learns all")
    else:
        train, test = map(len, folds[0])
        info(f"split by {how}: training on {train} images, testing on {test}")
    return folds, how


def describe_persons(labels: np.ndarray, persons: np.ndarray) -> None:
    """Print who the persons are, and who is in one class only."""
    classes = {name or "no name": set() for name in np.unique(persons).tolist()}
    for name, label in zip(persons.tolist(), labels, strict=True):
        classes[name or "no name"].add(label)
    count = count_of(len(classes), "person")
    info(f"{count}: {listing([*classes], SHOWN)}; person in sources.csv corrects it")
    if alone := [name for name, own in classes.items() if len(own) == 1]:
        warn(
            f"only real or only fake: {listing(alone, SHOWN)}; the network may "
            "learn these faces instead of what makes a fake: name the real and the "
            "fake footage of a person alike (anna-real, anna-fake)"
        )


def check_class_sizes(labels: np.ndarray) -> None:
    """Raise a UserError for a class too small to be learnt and measured."""
    label, count = Counter(labels.tolist()).most_common()[-1]
    if count < 2:
        text = "some are learnt and others measured; gather more"
        raise UserError(f"{count} crop of {label} is too few: {text}")
