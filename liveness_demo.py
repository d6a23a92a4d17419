"""Label every face that a camera, a video or an image shows as real or fake.

    python liveness_demo.py --model liveness.model --le le.pickle

shows camera 0 in a window until q or Esc is pressed or the window is closed.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.artifacts import Labels, Network, load_classifier
from pyimagesearch.console import UserError, exit_status, fraction, info, warn
from pyimagesearch.facelog import FaceLog
from pyimagesearch.faces import Detectors, Face, crop_face, search_frames
from pyimagesearch.frames import Frame, open_frames
from pyimagesearch.outputs import (
    WINDOW_WIDTH,
    Output,
    has_display,
    open_output,
    window,
)
from pyimagesearch.preprocessing import preprocess
from pyimagesearch.tracking import Tracker

import cv2
import numpy as np

GREEN, AMBER, RED = (0, 200, 0), (0, 165, 255), (0, 0, 255)  # BGR
COLORS = {"real": GREEN, "unsure": AMBER}  # every other label is an attack


class Verdict(NamedTuple):
    """What is thought of one face."""

    face: Face
    probabilities: np.ndarray
    """(classes,) float32, of this frame alone."""
    track: int
    """Number that stays with the face from frame to frame."""
    label: str
    """A class, or "unsure"."""
    score: float
    """What was decided on: the mean probability of real, in [0, 1]."""
    probability: float
    """Mean probability of the label; of real where unsure."""
    name: str | None = None
    """From `recognize`."""


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


def decide(
    probabilities: np.ndarray, classes: list[str], thresholds: tuple[float, float]
) -> tuple[str, float, float]:
    """Name what a face is, from its mean probabilities.

    Parameters
    ----------
    probabilities : ndarray of shape (classes,)
    classes : list of str
    thresholds : (float, float)
        Below the first it is an attack, from the second on it is real, and unsure
        between them. Without a class named real, the most probable class is taken.

    Returns
    -------
    label : str
    score : float
        Probability of real; without such a class, of the label.
    probability : float
        Of the label; of real where unsure.
    """
    if "real" not in classes:
        best = int(probabilities.argmax())
        return classes[best], float(probabilities[best]), float(probabilities[best])
    real = classes.index("real")
    score = float(probabilities[real])
    if score >= thresholds[1]:
        return "real", score, score
    if score >= thresholds[0]:
        return "unsure", score, score
    attack = int(np.where(np.arange(len(classes)) == real, -1, probabilities).argmax())
    return classes[attack], score, float(probabilities[attack])


class Judge:
    """Judges the faces of frames.

    Parameters
    ----------
    network, labels
        From `load_classifier`.
    smooth : float, default 0
        Seconds over which the scores of a face are averaged.
    thresholds : (float, float), default (0.5, 0.5)
        See `decide`.
    """

    def __init__(
        self,
        network: Network,
        labels: Labels,
        smooth: float = 0.0,
        thresholds: tuple[float, float] = (0.5, 0.5),
    ):
        self._network = network
        self._labels = labels
        self._thresholds = thresholds
        self._smooth = smooth
        self._tracker, self._source = Tracker(smooth), None

    def __call__(self, frame: Frame, faces: list[Face]) -> list[Verdict]:
        """Judge the faces of the next frame, all in one call of the network."""
        if frame.source != self._source:
            self._tracker, self._source = Tracker(self._smooth), frame.source
        # Cut at native size and with the margin of the training, as gather did.
        crops = [crop_face(frame.image, face, self._labels.margin) for face in faces]
        network, classes = self._network, self._labels.classes
        probabilities = np.empty((0, len(classes)), np.float32)
        if faces:
            inputs = preprocess(crops, network.width, network.height)
            probabilities = network.predict(inputs)
        tracks = self._tracker.update(faces, probabilities, frame.time)
        verdicts = []
        for face, crop, row, (track, mean) in zip(
            faces, crops, probabilities, tracks, strict=True
        ):
            label, score, probability = decide(mean, classes, self._thresholds)
            name = recognize(crop) if label == "real" else None
            verdicts.append(Verdict(face, row, track, label, score, probability, name))
        return verdicts


def draw(image: np.ndarray, verdicts: Iterable[Verdict]) -> None:
    """Draw boxes and labels onto an image, every label inside it."""
    height, width = image.shape[:2]
    # So that it looks the same in the window, whatever the size of the frame.
    zoom = max(1.0, width / WINDOW_WIDTH)
    font, size, weight = cv2.FONT_HERSHEY_SIMPLEX, 0.5 * zoom, round(zoom)
    for verdict in verdicts:
        left, top, right, bottom, _ = verdict.face
        color = COLORS.get(verdict.label, RED)
        text = f"{verdict.label}: {verdict.probability:.4f}"
        if verdict.name:
            text += f" {verdict.name}"
        (w, h), below = cv2.getTextSize(text, font, size, weight)
        x = max(0, min(left, width - w))
        y = top - below if top - below - h > 0 else min(top + h + below, height - below)
        cv2.rectangle(image, (left, top), (right, bottom), color, round(2 * zoom))
        cv2.rectangle(image, (x, y - h - below), (x + w, y + below), color, cv2.FILLED)
        cv2.putText(image, text, (x, y), font, size, (255, 255, 255), weight)


def label_frames(
    searched: Iterable[tuple[Frame, list[Face], int]],
    judge: Callable[[Frame, list[Face]], list[Verdict]],
    outputs: list[Output],
    log: FaceLog | None,
    counts: Counter,
) -> None:
    """Judge, log and draw frame after frame until they, or an output, end it.

    Parameters
    ----------
    searched : iterable
        From `search_frames`; the frames are drawn onto.
    judge : callable
        From a frame and its faces to the verdicts on them.
    outputs : list of Output
        Each gets the drawn frame.
    log : FaceLog or None
    counts : Counter
        Counts "frames", and the faces by label.
    """
    for frame, faces, _ in searched:
        verdicts = judge(frame, faces)
        counts["frames"] += 1
        for verdict in verdicts:
            face, probabilities, track, label, score, *_ = verdict
            counts[label] += 1
            if log:
                log.add(frame, track, face, probabilities, score, label)
        draw(frame.image, verdicts)
        if not all([output(frame) for output in outputs]):
            break


def is_same(path: Path, source: str) -> bool:
    """Tell whether a file or folder that is there is the source of the frames."""
    return Path(source).exists() and path.samefile(source)


def read_threshold(path: Path) -> float:
    """Read the threshold that a training found on its held-out crops.

    Raises
    ------
    UserError
        When the file is no report of train.py, or holds no threshold.
    """
    try:
        return fraction(str(json.loads(path.read_text())["development_threshold"]))
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{path}: no report with a threshold; train.py --report writes one"
        ) from None


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "-m",
        "--model",
        type=Path,
        default=Path("liveness.model"),
        metavar="FILE",
        help="the network that train.py saved (default: %(default)s)",
    )
    parser.add_argument(
        "-l",
        "--le",
        type=Path,
        default=Path("le.pickle"),
        metavar="FILE",
        help="the label encoder that train.py saved (default: %(default)s)",
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
        "-i",
        "--input",
        default="0",
        help="camera index, http(s) or rtsp address, video, image, or folder of videos "
        "and images (default: %(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write the labelled video or image here; for a folder, a folder",
    )
    parser.add_argument(
        "--log",
        type=Path,
        metavar="FILE",
        help="add a line for every face of every frame to this .csv or .jsonl file",
    )
    parser.add_argument(
        "--smooth",
        type=float,
        default=0.5,
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
        type=Path,
        metavar="FILE",
        help="take the threshold from a report of train.py",
    )
    parser.add_argument(
        "--no-display", action="store_true", help="open no window; end with Ctrl-C"
    )
    args = parser.parse_args(argv)
    if len(args.threshold) > 2 or args.threshold != sorted(args.threshold):
        parser.error("--threshold takes one number, or a lower and a higher one")
    return args


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    info("loading face detector...")
    detectors = Detectors(args.detector)
    thresholds = [read_threshold(args.report)] if args.report else args.threshold
    display = not args.no_display and has_display()
    if not display and not args.no_display:
        warn("there is no display, so no window is opened")
    with ExitStack() as stack:
        info("starting video stream...")
        frames = stack.enter_context(closing(open_frames(args.input)))
        outputs = []
        if args.output:
            if args.output.exists() and is_same(args.output, args.input):
                raise UserError(f"--output {args.output}: that is the input")
            output = open_output(args.output, frames.kind, frames.live)
            outputs.append(stack.enter_context(output))
        info("loading liveness detector...")
        network, labels = load_classifier(args.model, args.le)
        log = None
        if args.log:
            log = stack.enter_context(closing(FaceLog(args.log, labels.classes)))
        if display:
            outputs.append(stack.enter_context(window(frames.kind)))
        judge = Judge(network, labels, args.smooth, (thresholds[0], thresholds[-1]))
        counts = Counter()
        start = time.perf_counter()
        try:
            ahead = not frames.live
            with (
                closing(iter(frames)) as readable,
                closing(
                    search_frames(readable, detectors, args.confidence, ahead)
                ) as searched,
            ):
                label_frames(searched, judge, outputs, log, counts)
        finally:
            summarize(counts, time.perf_counter() - start)
    if not counts["frames"]:
        raise UserError(f"{args.input}: nothing could be read")
    if args.output:
        info(f"wrote {args.output}")


def summarize(counts: Counter, seconds: float) -> None:
    """Say how many frames and faces there were."""
    frames = counts.pop("frames", 0)
    faces = ", ".join(
        f"{count} {label} ({count / counts.total():.0%})"
        for label, count in sorted(counts.items())
    )
    counts["frames"] = frames
    info(
        f"{frames} frames in {seconds:.1f} s ({frames / max(seconds, 1e-9):.1f} a "
        f"second); faces: {faces or 'none'}"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
