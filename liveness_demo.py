"""Label every face that a camera, a video or an image shows as real or fake.

    python liveness_demo.py --model liveness.model --le le.pickle

shows camera 0 in a window until q or Esc is pressed or the window is closed.

    python liveness_demo.py --collect dataset

needs no network to begin with: it saves the faces that you tell it by keys.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

# Ours come first: they set what OpenCV reads when it is imported.
from pyimagesearch import console, flags
from pyimagesearch.classifier import SMOOTH_SECONDS, FaceClassifier, ModelReloader
from pyimagesearch.collect import Collector, labels_of
from pyimagesearch.console import UserError, count_of, info, warn
from pyimagesearch.faces import DetectorPool, Face, detect_in_frames
from pyimagesearch.files import check_distinct, check_outside
from pyimagesearch.frames import Frame, is_address
from pyimagesearch.labels import THRESHOLD, Labels, load_labels
from pyimagesearch.live import open_frames
from pyimagesearch.models import load_classifier
from pyimagesearch.names import BONA_FIDE
from pyimagesearch.outputs import (
    FaceLog,
    Output,
    draw,
    draw_collecting,
    has_display,
    open_output,
    window,
)

import numpy as np


def recognize(crop: np.ndarray) -> str | None:
    """Name the person in a crop, (h, w, 3) uint8 BGR, at native size.

    This is the place for your own face recognition: it is called for faces classified
    as real, and for no others. The name is shown after the label; None shows nothing.
    """
    return None


def label_frames(
    detected: Iterable[tuple[Frame, list[Face], int]],
    classifier: FaceClassifier,
    outputs: list[Output],
    log: FaceLog | None,
    counts: Counter,
    collector: Collector | None = None,
    reloader: ModelReloader | None = None,
) -> None:
    """Classify, log and draw frame after frame until they, or an output, end it.

    `detected` comes from `detect_in_frames`; its frames are drawn onto. Counts the
    "frames", and the faces by label.
    """
    source = None
    for frame, faces, _ in detected:
        counts["frames"] += 1
        if frame.source != source:
            classifier.reset()
            source = frame.source
        network = classifier.network
        note = reloader.refresh(classifier) if reloader else None
        if note and collector:
            collector.note(note)
            if classifier.network is not network:  # it was not refused
                collector.compare_with(reloader.model)
        predictions = classifier.classify(frame.image, faces, frame.time)
        # Before anything is drawn, as crops are views of the frame.
        names = [
            recognize(prediction.crop) if prediction.label == BONA_FIDE else None
            for prediction in predictions
        ]
        if collector:
            collector.see(frame, predictions)
        for prediction, name in zip(predictions, names, strict=True):
            counts[prediction.label] += 1
            if log:
                log.add(frame, prediction)
            draw(frame.image, prediction, name)
        if collector and outputs:
            draw_collecting(frame.image, collector)
        if not all([output(frame) for output in outputs]):
            break


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="label faces as real or fake")
    add = parser.add_argument
    flags.add_model_flags(parser, "that train.py wrote")
    flags.add_detector_flags(parser)
    what = "camera index, address (http, rtsp, ...), video, image, or folder of videos "
    what += "and images (default: %(default)s)"
    add("-i", "--input", default="0", help=what)
    file = {"type": flags.path, "metavar": "FILE"}
    what = "write the labelled video or image here; for a folder, a folder"
    add("-o", "--output", **file, help=what)
    what = "append a line for every face of every frame to this .csv or .jsonl file"
    add("--log", **file, help=what)
    what = "average the scores of a face over this time; 0 labels every frame on its "
    what += "own, as the tutorial does (default: %(default)s)"
    add("--smooth", type=flags.seconds, metavar="S", default=SMOOTH_SECONDS, help=what)
    what = "probability of real from which a face is real; of two, it is fake below "
    what += f"the lower one and unsure between them (default: {THRESHOLD})"
    add("--threshold", type=flags.fraction, nargs="+", metavar="P", help=what)
    what = "never give up reopening a camera or stream that died"
    add("--reconnect", action="store_true", help=what)
    what = "in the window, r saves the face in view as real, f as fake, to this "
    what += "dataset, also while there is no network"
    add("--collect", type=flags.path, metavar="FOLDER", help=what)
    what = "open no window; end with Ctrl-C"
    add("--no-display", action="store_true", help=what)
    args = parser.parse_args(argv)
    numbers = args.threshold or []
    if len(numbers) > 2 or numbers != sorted(numbers):
        parser.error("--threshold takes one number, or a lower and a higher one")
    return args


def look_up_labels(model: Path, le: Path, dataset: Path | None) -> Labels:
    """Read the labels of the network; before there is one, see `collect.labels_of`."""
    if model.exists() or le.exists():
        return load_labels(le)
    if dataset:
        return labels_of(dataset)
    raise UserError(
        f"no network {model}: gather crops and run train.py, or collect crops in the "
        "window: python liveness_demo.py --collect dataset"
    )


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    check_distinct(model=args.model, le=args.le, output=args.output, log=args.log)
    info("loading face detector...")
    reloader = ModelReloader(args.model, args.le)
    known = look_up_labels(args.model, args.le, args.collect)
    detectors = DetectorPool(args.detector, args.detector_size, args.confidence)
    numbers = args.threshold or [THRESHOLD]
    thresholds = numbers[0], numbers[-1]
    display = not args.no_display and has_display()
    if args.collect and not display:
        options = ["--input", "0", "--output", str(args.collect / BONA_FIDE)]
        command = console.command_line("gather_examples.py", *options)
        raise UserError(f"--collect needs a window; without one, use {command}")
    if not display and not args.no_display:
        warn("there is no display, so no window is opened")
    if not known.classes and args.log:
        raise UserError(f"--log {args.log}: without a network there is nothing to log")
    with ExitStack() as stack:
        info("starting video stream...")
        frames = stack.enter_context(
            closing(open_frames(args.input, patient=args.reconnect))
        )
        network, labels = None, known
        if known.classes:
            info("loading liveness detector...")
            network, labels = load_classifier(args.model, args.le)
        if args.threshold and network and BONA_FIDE not in labels.classes:
            raise UserError(
                f"{args.le}: no class is {BONA_FIDE}, so --threshold has no meaning; "
                f"the classes are {', '.join(labels.classes)}"
            )
        kind = frames.kind  # waits for a file to be open, which outputs need
        outputs = []
        if args.output:
            check_outside(args.output, args.input)
            stack.enter_context(announced(args.output))
            output = open_output(args.output, kind)
            outputs.append(stack.enter_context(output))
        log, collector = None, None
        if args.log:
            log = stack.enter_context(closing(FaceLog(args.log, labels.classes)))
        classifier = FaceClassifier(network, labels, detectors, args.smooth, thresholds)
        if args.collect:
            options = train_options(args.model, args.le)
            collector = Collector(args.collect, labels, detectors, options)
            stack.enter_context(closing(collector))
            if network:
                collector.compare_with(args.model)
            if not (frames.live or is_address(args.input)):
                files = frames.files.values()
                frames.files = collector.name_files(files, Path(args.input))
        if display:
            paced = collector is not None and not frames.live
            output = window(kind, collector, paced)
            outputs.append(stack.enter_context(output))
        elif not frames.live:
            reloader = None  # all frames of a file get the same network
        counts = Counter()
        start = time.perf_counter()
        try:
            shown = stack.enter_context(closing(iter(frames)))
            detected = detect_in_frames(shown, detectors, ahead=not frames.live)
            stack.enter_context(closing(detected))
            label_frames(
                detected, classifier, outputs, log, counts, collector, reloader
            )
        finally:
            summarize(counts, time.perf_counter() - start)
        if not counts["frames"]:
            raise UserError(f"{args.input}: nothing could be read")


@contextmanager
def announced(path: Path) -> Iterator[None]:
    """Say that a file was written, if the block that writes it succeeds."""
    yield
    info(f"wrote {path}")


def train_options(model: Path, le: Path) -> list[str]:
    """Return what train.py needs to be told to replace these files."""
    options = []
    if model.suffix.lower() == ".onnx":
        options += ["--export", str(model)]
        model = model.with_suffix(".model")
    if model != flags.MODEL:
        options += ["--model", str(model)]
    if le != flags.LE:
        options += ["--le", str(le)]
    return options


def summarize(counts: Counter, duration: float) -> None:
    """Print how many frames and faces there were."""
    labels = Counter({name: n for name, n in counts.items() if name != "frames"})
    faces = ", ".join(
        f"{count} {label or 'without a label'} ({count / labels.total():.0%})"
        for label, count in sorted(labels.items())
    )
    info(
        f"{count_of(counts['frames'], 'frame')} in {duration:.1f} s "
        f"({counts['frames'] / max(duration, 1e-9):.1f} a second); "
        f"faces: {faces or 'none'}"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return console.exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
