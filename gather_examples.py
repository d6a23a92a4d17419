"""Gather face crops from a video, an image, a folder of them, or a camera.

    python gather_examples.py --input videos/real.mp4 --output dataset/real
    python gather_examples.py --input videos/fake.mp4 --output dataset/fake

writes one PNG for each face, named <video>_<frame number>.png, and lines in sources.csv
that say how each video was searched. Folders below the input are folders below the
output. Running it again changes nothing, other videos add crops, none is overwritten.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import groupby
from pathlib import Path

# Ours come first: they set what OpenCV reads when it is imported.
from pyimagesearch import console, flags, names
from pyimagesearch.console import UserError, count_of, info, listing, warn
from pyimagesearch.crops import SOURCES_NAME, CropFolder
from pyimagesearch.faces import DetectorPool, crop_face, detect_in_frames
from pyimagesearch.files import check_outside, keep_writable
from pyimagesearch.inputs import Frame, Frames, hide_password, open_frames
from pyimagesearch.names import BONA_FIDE, as_label
from pyimagesearch.video import is_address
from pyimagesearch.window import Window, has_display

from tqdm import tqdm


def gather(
    frames: Iterable[Frame],
    detectors: DetectorPool,
    output: CropFolder,
    counts: Counter,
    all_faces: bool,
) -> set[str]:
    """Save the most confident face of each frame, or all of its faces.

    Counts frames as "searched", "faceless" and "several" (faces), faces as "saved",
    "kept" (the same crop was there already) and "dropped" (too small or outside the
    frame). Returns the sources with a crop. Another picture of its name is a UserError.
    """
    with_crop = set()
    with closing(detect_in_frames(frames, detectors)) as detected:
        for source, found in groupby(detected, key=lambda item: item[0].source):
            own, is_whole = Counter(), False
            try:
                for frame, faces, dropped in found:
                    own.update(searched=1, faceless=int(not faces), dropped=dropped)
                    own["several"] += len(faces) > 1
                    chosen = faces if all_faces else faces[:1]
                    for rank, face in enumerate(chosen, start=1):
                        crop = crop_face(frame.image, face, output.margin)
                        path = output.save(crop, frame, rank)
                        own["saved" if path else "kept"] += 1
                        with_crop.add(source)
                        if path:
                            info(f"saved {path} to disk")
                is_whole = True
            finally:
                counts.update(own)
                output.record_search(source, own["searched"], own["faceless"], is_whole)
    return with_crop


def with_progress(frames: Frames) -> Iterator[Frame]:
    """Yield the frames; show a progress bar, and a camera's in a window that q ends."""
    with ExitStack() as stack:
        bar = tqdm(total=frames.total, unit=" frames", disable=None)  # on a terminal
        stack.enter_context(bar)
        show = None
        if frames.live and has_display():
            show = stack.enter_context(closing(Window(frames.kind, frames.name)))
        for frame in stack.enter_context(closing(iter(frames))):
            bar.update(frames.read - bar.n)
            if not frame.stale:
                yield frame
            if show and not show(frame):
                return


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="gather face crops from any footage")
    add = parser.add_argument
    what = "video, image, folder of them, camera index, or address (http, rtsp, ...)"
    add("-i", "--input", required=True, help=what)
    what = "where the crops go, such as dataset/real; made if missing"
    add("-o", "--output", type=flags.path, metavar="FOLDER", required=True, help=what)
    flags.add_detector_flags(parser)
    what = "search every N-th frame of a video (default: %(default)s)"
    add("-s", "--skip", type=flags.positive_int, metavar="N", default=16, help=what)
    what = "keep every face of a frame, not only the most confident one"
    add("--all-faces", action="store_true", help=what)
    what = "extend the box by this share on each side, 0 to 1 (default: %(default)s)"
    add("--margin", type=flags.fraction, default=0.0, metavar="M", help=what)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    info("loading face detector...")
    detectors = DetectorPool(args.detector, args.detector_size, args.confidence)
    counts = Counter()
    check_outside(args.output, args.input)
    with closing(open_frames(args.input, args.skip)) as frames:
        kind = frames.kind  # waits for a file to be open, before a folder is made
        output = CropFolder(args.output, args.margin, detectors, args.skip)
        if not (frames.live or is_address(args.input)):
            files = map(Path, frames.files.values())
            files = names.name_files(files, Path(args.input), output.owners)
            ending = names.name_crop("", 1, 1)
            frames.files = output.files = keep_writable(files, ending, args.output)
            warn_of_other_classes(output.files, args.output)
        try:
            with closing(with_progress(frames)) as shown:
                with_crop = gather(shown, detectors, output, counts, args.all_faces)
        finally:
            searched = count_of(counts["searched"], "frame")
            info(
                f"read {count_of(frames.read, 'frame')}, searched {counts['searched']}"
                f", {counts['faceless']} without a face; saved "
                f"{count_of(counts['saved'], 'face')} to {args.output}, "
                f"{counts['kept']} were there already, {counts['dropped']} too small "
                "or outside the frame"
            )
    if counts["several"] and not args.all_faces:
        info(
            f"{counts['several']} of {searched} show several faces; the most confident "
            "one was saved: look through the crops, or use --all-faces"
        )
    source = hide_password(args.input) if is_address(args.input) else args.input
    shown = frames.name if frames.live else source
    if not frames.read:
        raise UserError(f"{shown}: nothing could be read")
    if not with_crop:
        how = "film closer and in better light, or try a smaller --confidence or --skip"
        raise UserError(f"{shown}: no face found in {searched}; {how}")
    if kind == "folder" and (without := set(frames.files) - with_crop):
        count = count_of(len(without), "file")
        info(f"{count} without a crop: {listing(sorted(without), 5)}")
    print_next(args, source if frames.live or is_address(source) else None)


def class_folder(output: Path) -> Path:
    """Return the folder of the class: dataset/real for dataset/real/anna."""
    above = output.parent
    is_person = as_label(above.name) == BONA_FIDE or (above.parent / BONA_FIDE).is_dir()
    return above if is_person else output


def warn_of_other_classes(sources: Iterable[str], output: Path) -> None:
    """Warn of folders of the input that are named as another class than the output."""
    own = as_label(class_folder(output).name.lower())
    # Folders "photo" and "video" may be of photographs and videos of real faces.
    words = {BONA_FIDE, *names.ATTACK_WORDS} - {"photo", "video", own}
    folders = {folder for source in sources for folder in source.split("/")[:-1]}
    others = [name for name in sorted(folders) if as_label(name.lower()) in words]
    if others:
        warn(f"{listing(others, 5)}: named as another class than {output}")


def print_next(args: argparse.Namespace, source: str | None) -> None:
    """Print the command for the other class, of that source if any, or to train."""
    folder = class_folder(args.output)
    dataset, own = folder.parent, as_label(folder.name)
    lists = [*dataset.glob(f"*/{SOURCES_NAME}"), *dataset.glob(f"*/*/{SOURCES_NAME}")]
    labels = {as_label(path.relative_to(dataset).parts[0]) for path in lists}
    if BONA_FIDE in labels and labels - {BONA_FIDE, names.UNSURE}:
        info(f"next: {console.command_line('train.py', '--dataset', str(dataset))}")
        return
    other = names.ATTACK if own == BONA_FIDE else BONA_FIDE
    options = ["--input", source or f"videos/{other}.mp4"]
    options += ["--output", str(dataset / other)]
    defaults = parse_args(options)
    for name, value in vars(args).items():
        if name not in ("input", "output") and value != getattr(defaults, name):
            options.append(f"--{name.replace('_', '-')}")
            options += [] if value is True else [str(value)]
    info(f"next: {console.command_line('gather_examples.py', *options)}")


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return console.exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
