"""Time what grows with the number of sources: python -m benchmarks.sources [COUNT]."""

import sys
import time
from pathlib import Path

from pyimagesearch.crops import Source
from pyimagesearch.dataset import Dataset, digest_learnt, tell_persons
from pyimagesearch.folds import describe_persons, split_videos

import numpy as np


def main(count: int = 96_000) -> None:
    """Print seconds for photographs of as many persons, and for clips of two."""
    labels = np.tile(["fake", "real"], count // 2)
    sources = np.array([f"person{number}x" for number in range(len(labels))])
    frames = np.ones(len(labels), int)
    crops = np.zeros((len(labels), 32, 32, 3), np.uint8)
    paths = [Path(f"{source}.png") for source in sources]
    keys = list(zip(labels.tolist(), sources.tolist(), strict=True))
    lines = [Source()] * len(keys)
    persons, sessions = tell_persons(keys, frames, lines, True)
    known = paths, frames, labels, {}, 0.0, "res10"
    dataset = Dataset(crops, labels, sources, frames, persons, sessions, *known)
    clips = [np.repeat(names, 3) for names in (labels, sources, labels)]
    works = {
        "persons": lambda: tell_persons(keys, frames, lines, True),
        "listing": lambda: describe_persons(labels, persons),
        "folds": lambda: split_videos(labels, sessions, persons, None, 0),
        "sessions": lambda: split_videos(*clips, None, 0),
        "digests": lambda: digest_learnt(dataset, np.arange(len(labels))),
    }
    for name, work in works.items():
        start = time.perf_counter()
        work()
        print(f"{name:<8} {time.perf_counter() - start:6.2f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
