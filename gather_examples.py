"""Gather face crops from a video, an image, a folder of them, or a camera.

    python gather_examples.py --input videos/real.mp4 --output dataset/real
    python gather_examples.py --input videos/fake.mp4 --output dataset/fake

writes one PNG for each face, named <video>_<frame number>.png, and a line in crops.csv
that says where it was cut from. Running it again changes nothing; other videos add to
the folder; no crop is ever overwritten.
"""

import pyimagesearch

if __name__ == "__main__":
    pyimagesearch.leave_on_interrupt()

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import groupby
from pathlib import Path

# Ours come first: they set what OpenCV reads when it is imported.
from pyimagesearch import console
from pyimagesearch.console import UserError, count_of, info
from pyimagesearch.crops import MANIFEST_NAME, CropFolder, Search, usual_detector
from pyimagesearch.faces import (
    DetectorPool,
    add_detector_flags,
    detect_in_frames,
    warn_of_other_detector,
)
from pyimagesearch.files import check_outside
from pyimagesearch.frames import FileFrames, Frame, is_address
from pyimagesearch.live import LiveFrames, hide_password, open_frames
from pyimagesearch.names import ATTACK, BONA_FIDE, UNSURE, as_label
from pyimagesearch.outputs import has_display, window

from tqdm import tqdm

NAMES_LISTED = 5


def gather(
    frames: Iterable[Frame],
    detectors: DetectorPool,
    output: CropFolder,
    counts: Counter,
    skip: int,
    confidence: float | None = None,
    all_faces: bool = False,
) -> set[str]:
    """Save the most confident face of each frame, or all of its faces.

    Counts frames as "searched" and "faceless", and faces as "saved", "kept" (the same
    crop was there already) and "dropped" (too small or outside the frame); the frames
    of each source are also recorded in the output. Another picture that has a crop's
    name is a UserError. Returns the sources with a crop.
    """
    with_crop = set()
    if confidence is None:
        confidence = detectors.confidence
    how = skip, detectors.name, detectors.size, confidence
    with closing(detect_in_frames(frames, detectors, confidence)) as detected:
        for source, found in groupby(detected, key=lambda item: item[0].source):
            own, is_whole = Counter(), False
            try:
                for frame, faces, dropped in found:
                    own["searched"] += 1
                    own["dropped"] += dropped
                    own["faceless"] += not faces
                    chosen = faces if all_faces else faces[:1]
                    for place, face in enumerate(chosen, start=1):
                        crop = output.cut(frame.image, face)
                        path = output.save(crop, frame, place, face)
                        own["saved" if path else "kept"] += 1
                        with_crop.add(source)
                        if path:
                            info(f"saved {path} to disk")
                is_whole = True
            finally:
                counts.update(own)
                search = Search(source, "", *how, own["searched"], own["faceless"])
                output.record_search(search, is_whole)
    return with_crop


def with_progress(frames: FileFrames | LiveFrames) -> Iterator[Frame]:
    """Yield the frames, with a progress bar where stderr is a terminal.

    Those of a camera are also shown in a window, if there is a display; q ends it.
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
    add = parser.add_argument
    what = "video, image, folder of them, camera index, or address (http, rtsp, ...)"
    add("-i", "--input", required=True, help=what)
    folder = {"type": console.path, "metavar": "FOLDER"}
    what = "where the crops go, such as dataset/real; made if missing"
    add("-o", "--output", **folder, required=True, help=what)
    add_detector_flags(parser)
    number = {"type": console.positive_int, "metavar": "N"}
    what = "search every N-th frame of a video (default: %(default)s)"
    add("-s", "--skip", **number, default=16, help=what)
    what = "keep every face of a frame, not only the most confident one"
    add("--all-faces", action="store_true", help=what)
    what = "extend the box by this share of its width and height on each side, 0 to 1 "
    what += "(default: %(default)s)"
    add("--margin", type=console.fraction, default=0.0, metavar="M", help=what)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    info("loading face detector...")
    wanted = usual_detector(args.output)
    detectors = DetectorPool(args.detector, wanted, args.detector_size)
    warn_of_other_detector(detectors.name, wanted)
    counts = Counter()
    check_outside(args.output, args.input)
    with closing(open_frames(args.input, args.skip)) as frames:
        kind = frames.kind  # waits for a file to be open, before a folder is made
        output = CropFolder(args.output, args.margin, detectors.name)
        if not frames.live:
            frames.files = output.name_sources(frames.files)
        try:
            with closing(output), closing(with_progress(frames)) as shown:
                options = args.skip, args.confidence, args.all_faces
                with_crop = gather(shown, detectors, output, counts, *options)
        finally:
            summarize(frames.read, counts, args.output)
        shown = frames.name if frames.live else args.input
    if not frames.read:
        raise UserError(f"{shown}: nothing could be read")
    if not with_crop:
        raise UserError(
            f"{shown}: no face found in {count_of(counts['searched'], 'frame')}; "
            "film closer and in better light, or try a smaller --confidence or --skip"
        )
    if kind == "folder" and (without := set(frames.files) - with_crop):
        listed = ", ".join(sorted(without)[:NAMES_LISTED])
        more = f", and {len(without) - NAMES_LISTED} more"
        listed += more * (len(without) > NAMES_LISTED)
        info(f"{count_of(len(without), 'file')} without a crop: {listed}")
    print_next(args, frames.live)


def print_next(args: argparse.Namespace, live: bool) -> None:
    """Print the command that gathers the other class, or trains if both are there."""
    folder, above = args.output, args.output.parent
    depths = ["*"]
    if as_label(above.name) == BONA_FIDE or (above.parent / BONA_FIDE).is_dir():
        folder, depths = above, ["*", "*/*"]  # of a person: dataset/real/anna
    dataset, own = folder.parent, as_label(folder.name)
    manifests = [p for d in depths for p in dataset.glob(f"{d}/{MANIFEST_NAME}")]
    labels = {as_label(path.relative_to(dataset).parts[0]) for path in manifests}
    if BONA_FIDE in labels and labels - {BONA_FIDE, UNSURE}:
        info(f"next: {console.command_line('train.py', '--dataset', str(dataset))}")
        return
    other = ATTACK if own == BONA_FIDE else BONA_FIDE
    source, when = args.input, ""
    if is_address(source):
        source = hide_password(source)
    elif not live:  # anna-fake.mp4 for anna-real.mp4
        file = Path(source)
        word = re.compile(re.escape(folder.name), re.IGNORECASE)
        name, found = word.subn(other, file.name)
        file = file.with_name(name if found else other + file.suffix)
        source, when = str(file), "" if file.exists() else ", when it is filmed"
    options = ["--input", source, "--output", str(dataset / other)]
    defaults = parse_args(options)
    for name, value in vars(args).items():
        if name not in ("input", "output") and value != getattr(defaults, name):
            options.append(f"--{name.replace('_', '-')}")
            options += [] if value is True else [str(value)]
    info(f"next{when}: {console.command_line('gather_examples.py', *options)}")


def summarize(read: int, counts: Counter, output) -> None:
    """Print how many frames were read and what became of their faces."""
    info(
        f"read {count_of(read, 'frame')}, searched {counts['searched']}, "
        f"{counts['faceless']} without a face; saved "
        f"{count_of(counts['saved'], 'face')} to {output}, {counts['kept']} were there "
        f"already, {counts['dropped']} too small or outside the frame"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return console.exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
