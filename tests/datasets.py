"""Datasets without pictures."""

from pathlib import Path

from pyimagesearch.dataset import Dataset

import numpy as np


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


def make_dataset(labels, sources, frames):
    crops = np.zeros((len(labels), 32, 32, 3), np.uint8)
    crops[:, 0, 0, 0] = np.arange(len(labels)) % 256
    paths = [Path(f"{number}.png") for number in range(len(labels))]
    sizes = np.full(len(labels), 100)
    fingerprints = np.full(len(labels), "")
    known = sizes, fingerprints, {}, 0.25, "res10"
    return Dataset(crops, labels, sources, frames, paths, *known)
