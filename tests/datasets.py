"""Datasets that are made up."""

from pathlib import Path

from pyimagesearch.crops import SOURCES_NAME, Source
from pyimagesearch.dataset import Dataset, load_dataset, tell_persons
from pyimagesearch.files import to_csv

import cv2
import numpy as np

CLASSES = ["print", "real", "replay"]
SEARCH = Source("", "", "", 0, "YuNet", 320, 0.7, 16, 40, 0)
# Class, source, crops, side of their faces in pixels, scores.
FOOTAGE = [
    ("real", "anna-real", 20, 100, [0.9] * 18 + [0.2] * 2),
    ("real", "ben-real", 24, 40, [0.4] * 24),
    ("print", "anna-print", 22, 100, [0.1] * 21 + [0.8]),
    ("print", "ben-print", 2, 100, [0.3, 0.2]),
    ("replay", "anna-replay", 21, 200, [0.7] * 20 + [0.0]),
]
SEARCHES = {
    "real": [SEARCH._replace(source="anna-real", fingerprint="f00d.mp4", faceless=4)],
    "print": [
        SEARCH._replace(source="anna-print", searched=22),
        SEARCH._replace(source="carl-print", searched=10, faceless=10),
    ],
    "mask": [SEARCH._replace(source="carl-mask", faceless=40)],
}


def make_labels(**sources):
    """Labels, sources and frame numbers of crops: make_labels(real={"a": 10}, ...).

    A source of one crop is a photograph.
    """
    rows = [
        (label, source, frame)
        for label, counts in sources.items()
        for source, count in counts.items()
        for frame in range(1, count + 1)
    ]
    return tuple(map(np.array, zip(*rows, strict=True)))


def random_dataset(rng):
    """Draw how many crops there are of which sources of which classes."""
    persons = [f"person{number}" for number in range(rng.integers(1, 12))]
    most = rng.choice([1, 3, 30])
    classes = ["real", "fake", "print"][: rng.integers(2, 4)]
    counts = {
        label: {
            f"{person}-{label}" if rng.random() < 0.5 else person: rng.integers(
                1, most + 1
            )
            for person in persons
            if rng.random() < 0.7
        }
        or {"only": 2}
        for label in classes
    }
    for sources in counts.values():
        if sum(sources.values()) < 2:
            sources["more"] = 2
    return make_labels(**counts)


def persons_of(labels, sources, frames):
    """Whose faces they are, as far as names tell: (n,) of str."""
    keys = list(zip(labels.tolist(), sources.tolist(), strict=True))
    return tell_persons(keys, frames, [Source()] * len(keys), strict=True)[0]


def make_dataset(labels, sources, frames):
    crops = np.zeros((len(labels), 32, 32, 3), np.uint8)
    crops[:, 0, 0, 0] = np.arange(len(labels)) % 256
    paths = [Path(f"{number}.png") for number in range(len(labels))]
    sizes = np.full(len(labels), 100)
    fingerprints = np.full(len(labels), "")
    known = sizes, fingerprints, {}, 0.25, "res10"
    persons = persons_of(labels, sources, frames)
    return Dataset(crops, labels, sources, frames, persons, sources, paths, *known)


def make_footage(tmp_path):
    """Write crops of FOOTAGE and what SEARCHES says; returns dataset, probabilities."""
    folder, scores = tmp_path / "footage", {}
    for label, source, crops, side, own in FOOTAGE:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(1, crops + 1):
            path = folder / label / f"{source}_{number:06d}.png"
            assert cv2.imwrite(
                str(path), np.full((side + 9, side, 3), number, np.uint8)
            )
            scores[path] = own[number - 1]
    for label, searches in SEARCHES.items():
        (folder / label).mkdir(exist_ok=True)
        lines = map(to_csv, [Source._fields, *searches])
        (folder / label / SOURCES_NAME).write_bytes(b"".join(lines))
    dataset = load_dataset(folder)
    real = np.array([scores[path] for path in dataset.paths])
    return dataset, np.stack([0.9 * (1 - real), real, 0.1 * (1 - real)], axis=1)
