"""Label every face that a camera, a video or an image shows as real or fake.

    python liveness_demo.py --model liveness.model --le le.pickle

shows camera 0 in a window until q or Esc is pressed or the window is closed.
"""

import pyimagesearch

if __name__ == "__main__":
    pyimagesearch.leave_on_interrupt()

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path

# Ours come first: they set what OpenCV reads when it is imported.
from pyimagesearch.classifier import SMOOTH_SECONDS, ClassifierFiles, FaceClassifier
from pyimagesearch.collect import Collector
from pyimagesearch.console import (
    UserError,
    count_of,
    exit_status,
    fraction,
    info,
    path,
    seconds,
    warn,
)
from pyimagesearch.detectors import add_detector_flags, warn_of_other_detector
from pyimagesearch.drawing import draw, draw_collecting
from pyimagesearch.facelog import FaceLog
from pyimagesearch.faces import Detectors, Face, detect_in_frames
from pyimagesearch.files import check_distinct, check_outside, is_same_file
from pyimagesearch.frames import Frame
from pyimagesearch.labels import BONA_FIDE, load_labels, read_threshold
from pyimagesearch.models import load_classifier
from pyimagesearch.outputs import Output, has_display, open_output, window
from pyimagesearch.sources import open_frames

import numpy as np


def recognize(crop: np.ndarray) -> str | None:
    """Name the person; called for faces judged real, and for no others.

    This is the place for your own face recognition.

    Parameters
    ----------
    crop : ndarray of shape (h, w, 3), dtype uint8
        The face in BGR, at native size.

    Returns
    -------
    str or None
        Shown after the label; None shows nothing.
    """
    return None


def label_frames(
    detected: Iterable[tuple[Frame, list[Face], int]],
    classifier: FaceClassifier,
    outputs: list[Output],
    log: FaceLog | None,
    counts: Counter,
    collector: Collector | None = None,
    files: ClassifierFiles | None = None,
) -> None:
    """Classify, log and draw frame after frame until they, or an output, end it.

    Parameters
    ----------
    detected : iterable
        From `detect_in_frames`; the frames are drawn onto.
    classifier, outputs, log, collector
        Each sees every frame; an output may end the loop.
    counts : Counter
        Counts "frames", and the faces by label.
    files : ClassifierFiles, optional
        Where another network may come from while this runs.
    """
    source = None
    for frame, faces, _ in detected:
        counts["frames"] += 1
        if frame.source != source:
            classifier.reset()
            source = frame.source
        if files:
            files.refresh(classifier)
        predictions = classifier.classify(frame.image, faces, frame.time)
        # Before anything is drawn, as crops are parts of the frame.
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "-m",
        "--model",
        type=path,
        default=Path("liveness.model"),
        metavar="FILE",
        help="the network that train.py saved (default: %(default)s)",
    )
    parser.add_argument(
        "-l",
        "--le",
        type=path,
        default=Path("le.pickle"),
        metavar="FILE",
        help="the label encoder that train.py saved (default: %(default)s)",
    )
    add_detector_flags(parser)
    parser.add_argument(
        "-i",
        "--input",
        default="0",
        help="camera index, http(s) or rtsp address, video, image, or folder of videos "
        "and images (default: %(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=path,
        metavar="FILE",
        help="write the labelled video or image here; for a folder, a folder",
    )
    parser.add_argument(
        "--log",
        type=path,
        metavar="FILE",
        help="add a line for every face of every frame to this .csv or .jsonl file",
    )
    parser.add_argument(
        "--smooth",
        type=seconds,
        default=SMOOTH_SECONDS,
        metavar="SECONDS",
        help="average the scores of a face over this time; 0 labels every frame on its "
        "own, as the tutorial does (default: %(default)s)",
    )
    threshold = parser.add_mutually_exclusive_group()
    threshold.add_argument(
        "--threshold",
        type=fraction,
        nargs="+",
        default=[0.5],
        metavar="P",
        help="probability of real from which a face is called real; of two, the lower "
        "one is that below which it is called fake, and between them it is unsure "
        "(default: 0.5)",
    )
    threshold.add_argument(
        "--report",
        type=path,
        metavar="FILE",
        help="take the threshold from a report of train.py",
    )
    parser.add_argument(
        "--operating-point",
        choices=["eer", "apcer5"],
        help="which one of the report: that of equal error, or that which 5 %% of the "
        "attacks pass (default: eer)",
    )
    parser.add_argument(
        "--reconnect",
        action="store_true",
        help="try for ever to open a camera or stream again that died",
    )
    parser.add_argument(
        "--collect",
        type=path,
        metavar="FOLDER",
        help="in the window, r saves the face in view as real, f as fake, into this "
        "dataset; without a window, unsure faces go into its folder unsure",
    )
    parser.add_argument(
        "--no-display", action="store_true", help="open no window; end with Ctrl-C"
    )
    args = parser.parse_args(argv)
    if len(args.threshold) > 2 or args.threshold != sorted(args.threshold):
        parser.error("--threshold takes one number, or a lower and a higher one")
    if args.operating_point and not args.report:
        parser.error("--operating-point chooses from a --report; name one")
    return args


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    names = ["model", "le", "output", "log", "report"]
    check_distinct(**{name: getattr(args, name) for name in names})
    info("loading face detector...")
    wanted = load_labels(args.le).detector
    detectors = Detectors(args.detector, wanted, args.detector_size)
    warn_of_other_detector(detectors.name, wanted)
    thresholds = args.threshold
    if args.report:
        thresholds = [read_threshold(args.report, args.operating_point or "eer")]
    display = not args.no_display and has_display()
    if not display and not args.no_display:
        warn("there is no display, so no window is opened")
    with ExitStack() as stack:
        info("starting video stream...")
        frames = stack.enter_context(
            closing(open_frames(args.input, patient=args.reconnect))
        )
        outputs = []
        if args.output:
            if is_same_file(args.output, Path(args.input)):
                raise UserError(f"--output {args.output}: that is the input")
            check_outside(args.output, args.input)
            output = open_output(args.output, frames.kind)
            outputs.append(stack.enter_context(output))
        info("loading liveness detector...")
        network, labels = load_classifier(args.model, args.le)
        log = None
        if args.log:
            log = stack.enter_context(closing(FaceLog(args.log, labels.classes)))
        thresholds = thresholds[0], thresholds[-1]
        classifier = FaceClassifier(
            network, labels, detectors, args.confidence, args.smooth, thresholds
        )
        collector, files = None, None
        if args.collect:
            names = labels, detectors.name
            collector = Collector(args.collect, *names, thresholds, display)
            stack.enter_context(closing(collector))
            if not frames.live:
                frames.files = collector.name_sources(frames.files)
        if display:
            on_key = collector.press if collector else None
            outputs.append(stack.enter_context(window(frames.kind, on_key)))
        if display or frames.live:
            files = ClassifierFiles(args.model, args.le)
        counts = Counter()
        start = time.perf_counter()
        try:
            readable = stack.enter_context(closing(iter(frames)))
            detected = detect_in_frames(
                readable, detectors, args.confidence, ahead=not frames.live
            )
            stack.enter_context(closing(detected))
            label_frames(detected, classifier, outputs, log, counts, collector, files)
        finally:
            summarize(counts, time.perf_counter() - start)
    if not counts["frames"]:
        raise UserError(f"{args.input}: nothing could be read")
    if args.output:
        info(f"wrote {args.output}")


def summarize(counts: Counter, duration: float) -> None:
    """Say how many frames and faces there were."""
    frames = counts.pop("frames", 0)
    faces = ", ".join(
        f"{count} {label} ({count / counts.total():.0%})"
        for label, count in sorted(counts.items())
    )
    counts["frames"] = frames
    info(
        f"{count_of(frames, 'frame')} in {duration:.1f} s "
        f"({frames / max(duration, 1e-9):.1f} a second); faces: {faces or 'none'}"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
