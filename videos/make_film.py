"""Write the film of the README, from the sample videos and the network of `make demo`.

    python -m videos.make_film

writes docs/demo.webp: three seconds of the labelled real face, then of its replay.
"""

import tempfile
from itertools import islice
from pathlib import Path

import liveness_demo
from videos.make_sample import FOLDER

import av

FILM = Path("docs/demo.webp")
NETWORK = ["--model", "demo/liveness.onnx", "--le", "demo/le.pickle"]
FRAMES, STEP = 90, 2  # of each video: three seconds, at half its rate
QUALITY = 70


def label(video: Path, folder: Path) -> list:
    """Run the demo on a video; return pictures of Pillow that show its labels."""
    output = folder / video.name
    arguments = ["--input", str(video), "--output", str(output), "--no-display"]
    if status := liveness_demo.main([*NETWORK, *arguments]):
        raise SystemExit(status)
    with av.open(output) as film:
        frames = islice(film.decode(video=0), 0, FRAMES, STEP)
        return [frame.to_image() for frame in frames]


def main() -> None:
    """Write the film."""
    with tempfile.TemporaryDirectory() as folder:
        videos = FOLDER / "real.mp4", FOLDER / "fake.mp4"
        first, *others = [
            picture for video in videos for picture in label(video, Path(folder))
        ]
    first.save(
        FILM,
        save_all=True,
        append_images=others,
        duration=67,  # milliseconds
        loop=0,
        quality=QUALITY,
        method=6,
    )
    print(f"{FILM}: {FILM.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
