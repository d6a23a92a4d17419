"""Gather face crops from a video, an image, or a folder of them.

    python gather_examples.py --input videos/real.mp4 --output dataset/real
    python gather_examples.py --input videos/fake.mp4 --output dataset/fake

writes one PNG a face, named <video>_<frame number>.png, and notes it in crops.csv
beside it. Running it again changes nothing; other videos add to the folder; no crop is
ever overwritten.
"""

import pyimagesearch

if __name__ == "__main__":
    pyimagesearch.leave_on_interrupt()

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing

from pyimagesearch.cameras import LiveFrames

# Ours come first: they set what OpenCV reads when it is imported.
from pyimagesearch.console import (
    UserError,
    count_of,
    exit_status,
    fraction,
    info,
    path,
    positive_int,
)
from pyimagesearch.detectors import add_detector_flags, warn_of_other_detector
from pyimagesearch.faces import Detectors, Face, detect_in_frames
from pyimagesearch.files import check_outside
from pyimagesearch.frames import FileFrames, Frame
from pyimagesearch.manifest import CropFolder
from pyimagesearch.outputs import has_display, window
from pyimagesearch.prefetch import map_ahead
from pyimagesearch.sources import open_frames

from tqdm import tqdm


def gather(
    frames: Iterable[Frame],
    detectors: Detectors,
    output: CropFolder,
    counts: Counter,
    confidence: float | None = None,
    all_faces: bool = False,
) -> None:
    """Save the face crops of some frames.

    Parameters
    ----------
    frames : iterable of Frame
        Each is searched for faces.
    detectors : Detectors
    output : CropFolder
    counts : Counter
        Counts frames by "searched" and "faceless", and faces by "saved", "kept" (the
        same crop was there already) and "dropped" (too small or outside the frame).
    confidence : float, optional
        As for `detect_faces`.
    all_faces : bool, default False
        Keep every face of a frame rather than the most confident one only.

    Raises
    ------
    UserError
        When another picture has a crop's name.
    """

    def find_faces() -> Iterator[tuple[Frame, int, Face]]:
        for frame, faces, dropped in detect_in_frames(frames, detectors, confidence):
            counts["searched"] += 1
            counts["dropped"] += dropped
            counts["faceless"] += not faces
            for place, face in enumerate(faces if all_faces else faces[:1], start=1):
                yield frame, place, face

    def save(found: tuple[Frame, int, Face]) -> None:
        frame, _, face = found
        path = output.save(output.cut(frame.image, face), *found)
        counts["saved" if path else "kept"] += 1
        if path:
            info(f"saved {path} to disk")

    # Crops are written while faces are searched for, one after the other.
    with closing(find_faces()) as found:
        for _ in map_ahead(save, found, threads=1):
            pass


def with_progress(frames: FileFrames | LiveFrames) -> Iterator[Frame]:
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
        type=path,
        required=True,
        metavar="FOLDER",
        help="where the crops go, such as dataset/real; made if missing",
    )
    add_detector_flags(parser)
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
        help="keep every face of a frame, not only the most confident one",
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
    detectors = Detectors(args.detector, size=args.detector_size)
    if args.detector.is_dir():
        warn_of_other_detector(detectors.name)
    counts = Counter()
    check_outside(args.output, args.input)
    with closing(open_frames(args.input, args.skip)) as frames:
        output = CropFolder(args.output, args.margin, detectors.name)
        if not frames.live:
            frames.files = output.name_sources(frames.files)
        try:
            with closing(output), closing(with_progress(frames)) as readable:
                gather(
                    readable,
                    detectors,
                    output,
                    counts,
                    args.confidence,
                    args.all_faces,
                )
        finally:
            read = count_of(frames.read, "frame")
            saved = count_of(counts["saved"], "face")
            info(
                f"read {read}, searched {counts['searched']}, {counts['faceless']} "
                f"without a face; saved {saved} to {args.output}, {counts['kept']} "
                f"were there already, {counts['dropped']} too small or outside the "
                "frame"
            )
    if not frames.read:
        raise UserError(f"{args.input}: nothing could be read")
    if not counts["searched"]:
        raise UserError(
            f"{args.input}: {count_of(frames.read, 'frame')}, fewer than --skip "
            f"{args.skip}"
        )
    if not counts["saved"] + counts["kept"]:
        raise UserError(
            f"{args.input}: no face found in {count_of(counts['searched'], 'frame')}; "
            "film closer and in better light, or try a smaller --confidence or --skip"
        )


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
