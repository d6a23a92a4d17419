"""Label every face that a camera, a video or an image shows as real or fake.

    python liveness_demo.py --model liveness.model --le le.pickle

shows camera 0 in a window until q or Esc is pressed or the window is closed.

    python liveness_demo.py --collect dataset

needs no network to begin with: label faces by pressing keys.
"""

import argparse
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

# Ours come first: they set what OpenCV reads when it is imported.
from pyimagesearch import collect, console, files, flags
from pyimagesearch.classifier import SMOOTH_SECONDS, FaceClassifier
from pyimagesearch.console import UserError, count_of, info, warn
from pyimagesearch.faces import DetectorPool, detect_in_frames
from pyimagesearch.inputs import open_frames
from pyimagesearch.labels import THRESHOLD, Labels, load_labels
from pyimagesearch.models import load_classifier
from pyimagesearch.names import BONA_FIDE
from pyimagesearch.outputs import open_log, open_output
from pyimagesearch.video import is_address
from pyimagesearch.window import Window, has_display

import numpy as np


def recognize(crop: np.ndarray) -> str | None:
    """Name the person in a crop, (h, w, 3) uint8 BGR, at native size.

    This is the place for your own face recognition: it is called for faces classified
    as real, and for no others. The name is shown after the label; None shows nothing.
    """
    return None


def label_frames(detected, classifier, sinks, counts, live=False, says=(info,)) -> bool:
    """Classify what `detect_in_frames` yields; hand it to the sinks until one ends it.

    Counts "frames" and faces by label; returns whether a sink ended it. A newer network
    is used from the next source on, or at once if `live`; `says` take a text about it.
    """
    source = None
    for frame, faces, _ in detected:
        is_new, source = frame.source != source, frame.source
        if is_new:
            classifier.reset()
        if (live or is_new) and (text := classifier.refresh()):
            for say in says:
                say(text)
        predictions = []
        if not frame.stale:
            predictions = classifier.classify(frame.image, faces, frame.time)
            counts.update(["frames", *(face.label for face in predictions)])
        for place, face in enumerate(predictions):
            if face.label == BONA_FIDE:
                predictions[place] = face._replace(name=recognize(face.crop) or "")
        if not all([sink(frame, predictions) for sink in sinks]):
            return True
    return False


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="label faces as real or fake")
    add = parser.add_argument
    flags.add_model_flags(parser, "that train.py wrote")
    exported = flags.MODEL.with_suffix(".onnx")
    if exported.exists() and not flags.MODEL.exists():
        parser.set_defaults(model=exported)
    flags.add_detector_flags(parser)
    what = "camera index, URL, video, image or folder of both (default: %(default)s)"
    add("-i", "--input", default="0", help=what)
    what = "write the labelled video or image here; for a folder, a folder"
    add("-o", "--output", type=flags.path, metavar="FILE", help=what)
    what = "append a line for every face of every frame to this .csv or .jsonl file"
    add("--log", type=flags.path, metavar="FILE", help=what)
    what = "seconds to average a face's scores over; 0 for none (default: %(default)s)"
    add("--smooth", type=flags.seconds, metavar="S", default=SMOOTH_SECONDS, help=what)
    what = "probability of real from which a face is real; with two, it is fake below "
    what += f"the lower one and unsure between them (default: {THRESHOLD})"
    add("--threshold", type=flags.fraction, nargs="+", metavar="P", help=what)
    what = "never give up reopening a camera or stream that died"
    add("--reconnect", action="store_true", help=what)
    what = "dataset that r and f in the window save the selected face to, real or fake"
    add("--collect", type=flags.path, metavar="FOLDER", help=what)
    what = "open no window; end with Ctrl-C"
    add("--no-display", action="store_true", help=what)
    args = parser.parse_args(argv)
    numbers = args.threshold or []
    if len(numbers) > 2 or numbers != sorted(numbers):
        parser.error("--threshold takes one number, or a lower and a higher one")
    return args


def look_up_labels(args: argparse.Namespace, has_window: bool) -> Labels:
    """Check the flags; read the labels of the network, or of a dataset before that."""
    files.check_distinct(model=args.model, le=args.le, output=args.output, log=args.log)
    if args.collect and not has_window:
        options = "--input", "0", "--output", str(args.collect / BONA_FIDE)
        command = console.command_line("gather_examples.py", *options)
        raise UserError(f"--collect needs a window; without one, use {command}")
    if not (args.model.exists() or args.le.exists()):
        if not args.collect:
            raise UserError(
                f"no network {args.model}: gather crops and run train.py, or collect "
                "crops in the window: python liveness_demo.py --collect dataset"
            )
        if args.log:
            raise UserError(f"--log {args.log}: no network, nothing to log")
        return collect.labels_of(args.collect)
    labels = load_labels(args.le)
    if args.threshold and BONA_FIDE not in labels.classes:
        raise UserError(
            f"{args.le}: no class is {BONA_FIDE}, so --threshold has no meaning; "
            f"the classes are {', '.join(labels.classes)}"
        )
    return labels


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    has_window = not args.no_display and has_display()
    labels = look_up_labels(args, has_window)
    numbers, pair = args.threshold or [THRESHOLD], (args.model, args.le)
    limits = numbers[0], numbers[-1]
    if not has_window and not args.no_display:
        warn("there is no display, so no window is opened")
    says, sinks, collector, counts = [info], [], None, Counter()
    with ExitStack() as stack:
        enter = stack.enter_context
        info("starting video stream...")
        frames = enter(closing(open_frames(args.input, patient=args.reconnect)))
        info("loading face detector...")
        detectors = DetectorPool(args.detector, args.detector_size, args.confidence)
        classifier = FaceClassifier(None, labels, detectors, args.smooth, limits, pair)
        if labels.classes:
            info("loading liveness detector...")
            classifier.replace(*load_classifier(*pair))
        kind = frames.kind  # waits for a file to be open, which outputs need
        if args.output:
            files.check_outside(args.output, args.input)
            sinks.append(enter(open_output(args.output, kind)))
        if args.log:
            sinks.append(enter(open_log(args.log, labels.classes)))
        if args.collect:
            collector = collect.Collector(args.collect, classifier, args.input, *pair)
            sinks.append(enter(closing(collector)))
            says.append(collector.note)
            if not (frames.live or is_address(args.input)):
                paths, root = map(Path, frames.files.values()), Path(args.input)
                frames.files = collector.name_files(paths, root)
        if args.output and kind == "folder":
            frames.files = files.keep_writable(frames.files, ".mp4", args.output)
        if has_window:
            name = frames.name if frames.live else ""
            sinks.append(enter(closing(Window(kind, name, collector))))
        start = time.perf_counter()
        try:
            shown = enter(closing(iter(frames)))
            detected = detect_in_frames(shown, detectors, ahead=not frames.live)
            enter(closing(detected))
            ended = label_frames(detected, classifier, sinks, counts, frames.live, says)
        finally:
            summarize(counts, time.perf_counter() - start)
        if not counts["frames"] and not ended:
            raise UserError(f"{args.input}: nothing could be read")


def summarize(counts: Counter, duration: float) -> None:
    """Print how many frames and faces there were."""
    frames = counts["frames"]
    labels = counts - Counter(frames=frames)
    faces = [
        f"{count} {label or 'without a label'} ({count / labels.total():.0%})"
        for label, count in sorted(labels.items())
    ]
    speed = f"{duration:.1f} s ({frames / duration:.1f} a second)"
    info(f"{count_of(frames, 'frame')} in {speed}; faces: {', '.join(faces) or 'none'}")


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return console.exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
