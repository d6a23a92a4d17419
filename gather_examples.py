"""Gather face crops from a video, an image, or a folder of them.

    python gather_examples.py --input videos/real.mp4 --output dataset/real
    python gather_examples.py --input videos/fake.mp4 --output dataset/fake

writes one PNG a face, named <video>_<frame number>.png, and notes it in crops.csv
beside it. Running it again changes nothing; other videos add to the folder; no crop is
ever overwritten.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from pyimagesearch.artifacts import write_new
from pyimagesearch.console import (
    UserError,
    exit_status,
    fraction,
    info,
    positive_int,
)
from pyimagesearch.faces import Detectors, Face, crop_face, search_frames
from pyimagesearch.frames import (
    IMAGE_SUFFIXES,
    FileFrames,
    Frame,
    LiveFrames,
    map_ahead,
    open_frames,
    read_image,
)
from pyimagesearch.manifest import Manifest, common_margin
from pyimagesearch.outputs import has_display, window

import cv2
import numpy as np
from tqdm import tqdm


def gather(
    frames: Iterable[Frame],
    detectors: Detectors,
    output: Path,
    counts: Counter,
    confidence: float = 0.5,
    all_faces: bool = False,
    margin: float = 0.0,
) -> None:
    """Save the face crops of some frames.

    Parameters
    ----------
    frames : iterable of Frame
        Each is searched for faces.
    detectors : Detectors
    output : Path
        An existing folder; every crop is noted in its crops.csv.
    counts : Counter
        Counts frames by "searched" and "faceless", and faces by "saved", "kept" (the
        same crop was there already) and "dropped" (too small or outside the frame).
    confidence : float, default 0.5
        Detections that are not above it are ignored, in [0, 1].
    all_faces : bool, default False
        Keep every face of a frame rather than the surest only.
    margin : float, default 0
        Grow the boxes by this share of their size on each side.

    Raises
    ------
    UserError
        When another picture has a crop's name.
    """
    manifest = Manifest(output)

    def find_crops() -> Iterator[tuple[Frame, str, Face]]:
        for frame, faces, dropped in search_frames(frames, detectors, confidence):
            counts["searched"] += 1
            counts["dropped"] += dropped
            counts["faceless"] += not faces
            for name, face in name_crops(frame, faces if all_faces else faces[:1]):
                yield frame, name, face

    def save(found: tuple[Frame, str, Face]) -> None:
        frame, name, face = found
        path, crop = output / name, crop_face(frame.image, face, margin)
        kept = is_saved(path, crop)
        manifest.add(name, frame.source, frame.number, face, margin)
        if kept or not save_crop(path, crop):
            counts["kept"] += 1
        else:
            counts["saved"] += 1
            info(f"saved {path} to disk")

    # Crops are written while faces are searched for, one after the other.
    with closing(find_crops()) as found:
        for _ in map_ahead(save, found, threads=1):
            pass


def name_crops(frame: Frame, faces: list[Face]) -> Iterator[tuple[str, Face]]:
    """Name the crops of a frame: video_000016.png, then video_000016-2.png, ..."""
    for place, face in enumerate(faces, start=1):
        suffix = f"-{place}" if place > 1 else ""
        yield f"{frame.source}_{frame.number:06d}{suffix}.png", face


def is_saved(path: Path, crop: np.ndarray) -> bool:
    """Tell whether this very crop is there; raise a UserError if another is."""
    if not path.exists():
        return False
    if np.array_equal(read_image(path), crop):
        return True
    raise UserError(
        f"{path} is there already and shows something else; nothing was "
        "overwritten: rename the video or name another --output"
    )


def save_crop(path: Path, crop: np.ndarray) -> bool:
    """Write a crop as PNG, or return False if another program was faster."""
    png = cv2.imencode(".png", crop)[1].tobytes()
    return write_new(path, png) or not is_saved(path, crop)


def check_margin(folder: Path, margin: float) -> None:
    """Raise a UserError if the folder holds crops of another margin."""
    crops = [path for path in folder.iterdir() if path.suffix in IMAGE_SUFFIXES]
    if crops and (theirs := common_margin(crops)) != margin:
        raise UserError(
            f"{folder} holds crops with margin {theirs:g}, not {margin:g}; gather with "
            "that --margin or into another --output"
        )


def watched(frames: FileFrames | LiveFrames) -> Iterator[Frame]:
    """Pass the frames on, with a progress bar where stderr is a terminal.

    What a camera sees is shown in a window as well, where there is a screen; q ends it.
    """
    with ExitStack() as stack:
        bar = tqdm(total=frames.total, unit=" frames", disable=None)
        stack.enter_context(bar)
        show = None
        if frames.live and has_display():
            show = stack.enter_context(window(frames.kind))
        for frame in stack.enter_context(closing(iter(frames))):
            bar.update(frames.read - bar.n)
            yield frame
            if show and not show(frame):
                return


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "-i",
        "--input",
        required=True,
        help="video, image, folder of videos and images, camera index, or http(s) or "
        "rtsp address",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where the crops go, such as dataset/real; made if missing",
    )
    parser.add_argument(
        "-d",
        "--detector",
        type=Path,
        default=Path("face_detector"),
        metavar="FOLDER",
        help="where the face detector is (default: %(default)s)",
    )
    parser.add_argument(
        "-c",
        "--confidence",
        type=fraction,
        default=0.5,
        metavar="P",
        help="ignore detections that are not surer, 0 to 1 (default: %(default)s)",
    )
    parser.add_argument(
        "-s",
        "--skip",
        type=positive_int,
        default=16,
        metavar="N",
        help="search every N-th frame of a video (default: %(default)s)",
    )
    parser.add_argument(
        "--all-faces",
        action="store_true",
        help="keep every face of a frame, not only the surest",
    )
    parser.add_argument(
        "--margin",
        type=fraction,
        default=0.0,
        metavar="M",
        help="grow the box by this share of its width and height on each side, 0 to 1 "
        "(default: %(default)s)",
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    info("loading face detector...")
    detectors = Detectors(args.detector)
    counts = Counter()
    with closing(open_frames(args.input, args.skip)) as frames:
        args.output.mkdir(parents=True, exist_ok=True)
        check_margin(args.output, args.margin)
        try:
            with closing(watched(frames)) as readable:
                gather(
                    readable,
                    detectors,
                    args.output,
                    counts,
                    args.confidence,
                    args.all_faces,
                    args.margin,
                )
        finally:
            info(
                f"read {frames.read} frames, searched {counts['searched']}, "
                f"{counts['faceless']} without a face; saved {counts['saved']} faces "
                f"to {args.output}, {counts['kept']} were there already, "
                f"{counts['dropped']} too small"
            )
    if not frames.read:
        raise UserError(f"{args.input}: nothing could be read")
    if not counts["searched"]:
        raise UserError(
            f"{args.input}: {frames.read} frames, fewer than --skip {args.skip}"
        )
    if not counts["saved"] + counts["kept"]:
        raise UserError(
            f"{args.input}: no face found in {counts['searched']} frames; film closer "
            "and in better light, or try a smaller --confidence or --skip"
        )


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
