"""Clips of the sample, longer than its own videos, and with an attack more.

real is the "carphone" sequence, forwards and backwards; replay is that on the simulated
phone of videos/make_sample.py; photo is one frame of it, held still on the same phone.
"""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.footage import to_and_fro
from pyimagesearch.fetch import fetch
from pyimagesearch.frames import Frame
from pyimagesearch.outputs import video_file
from pyimagesearch.sources import open_frames
from videos import make_sample

import numpy as np

FRAMES = 480  # 16 seconds: five clips of three seconds


def write(folder: Path, count: int = FRAMES) -> list[Path]:
    """Write real/real.mp4, replay/replay.mp4 and photo/photo.mp4; give their paths."""
    return [
        write_video(folder / name / f"{name}.mp4", itertools.islice(shown, count))
        for name, shown in show().items()
    ]


def show() -> dict[str, Iterator[np.ndarray]]:
    """Give endless pictures, (432, 528, 3) uint8 BGR, by the name of what they show."""
    with tempfile.TemporaryDirectory() as folder:
        files = {make_sample.SEQUENCE: make_sample.SHA256}
        (path,) = fetch(make_sample.PACKAGE, files, Path(folder))
        images = [frame.image for frame in open_frames(str(path))]
    return {
        "real": make_sample.as_filmed(to_and_fro(images)),
        "replay": make_sample.as_replayed(to_and_fro(images)),
        "photo": make_sample.as_replayed(itertools.repeat(images[0])),
    }


def write_video(path: Path, images: Iterator[np.ndarray]) -> Path:
    """Write images as a video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fps = make_sample.FPS
    with video_file(path) as write:
        for number, image in enumerate(images, start=1):
            write(Frame(image, path.stem, number, (number - 1) / fps, fps))
    return path
