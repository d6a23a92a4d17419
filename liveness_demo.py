"""Label every face that a camera, a video or an image shows as real or fake.

    python liveness_demo.py --model liveness.model --le le.pickle

shows camera 0 in a window until q or Esc is pressed or the window is closed.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pyimagesearch.artifacts import (
    Labels,
    Network,
    load_classifier,
)
from pyimagesearch.console import UserError, exit_status, fraction, info, warn
from pyimagesearch.faces import Face, crop_face, detect_faces, load_detector
from pyimagesearch.frames import Frame, open_frames
from pyimagesearch.outputs import WINDOW_WIDTH, has_display, open_output, window
from pyimagesearch.preprocessing import preprocess

GREEN, RED = (0, 200, 0), (0, 0, 255)  # BGR


class Verdict(NamedTuple):
    """What is thought of one face."""

    face: Face
    label: str
    probability: float  # of the label, in [0, 1]
    name: str | None  # from `recognize`


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


def judge_faces(
    image: np.ndarray,
    detector: cv2.dnn.Net,
    network: Network,
    labels: Labels,
    confidence: float,
) -> list[Verdict]:
    """Find the faces of an image and classify them, all in one call of the network.

    Parameters
    ----------
    image : ndarray of shape (M, N, 3), dtype uint8
        BGR, native size: the crops are cut as gather_examples.py cuts them.
    detector, network, labels
        From `load_detector`, `load_network` and `load_labels`.
    confidence : float
        Detections that are not above it are ignored, in [0, 1].
    """
    faces, _ = detect_faces(detector, image, confidence)
    if not faces:
        return []
    crops = [crop_face(image, face, labels.margin) for face in faces]
    verdicts = []
    probabilities = network.predict(preprocess(crops, network.width, network.height))
    for face, crop, row in zip(faces, crops, probabilities, strict=True):
        label = labels.classes[row.argmax()]
        name = recognize(crop) if label == "real" else None
        verdicts.append(Verdict(face, label, float(row.max()), name))
    return verdicts


def draw(image: np.ndarray, verdicts: Iterable[Verdict]) -> None:
    """Draw boxes and labels onto an image, every label inside it."""
    height, width = image.shape[:2]
    # So that it looks the same in the window, whatever the size of the frame.
    zoom = max(1.0, width / WINDOW_WIDTH)
    font, size, weight = cv2.FONT_HERSHEY_SIMPLEX, 0.5 * zoom, round(zoom)
    for (left, top, right, bottom, _), label, probability, name in verdicts:
        color = GREEN if label == "real" else RED
        text = f"{label}: {probability:.4f}" + (f" {name}" if name else "")
        (w, h), below = cv2.getTextSize(text, font, size, weight)
        x = max(0, min(left, width - w))
        y = top - below if top - below - h > 0 else min(top + h + below, height - below)
        cv2.rectangle(image, (left, top), (right, bottom), color, round(2 * zoom))
        cv2.rectangle(image, (x, y - h - below), (x + w, y + below), color, cv2.FILLED)
        cv2.putText(image, text, (x, y), font, size, (255, 255, 255), weight)


def label_frames(
    frames: Iterable[Frame],
    judge: Callable[[np.ndarray], list[Verdict]],
    outputs: list[Callable[[np.ndarray], bool]],
) -> Counter:
    """Judge and draw frame after frame until they, or an output, end it.

    Parameters
    ----------
    frames : iterable of Frame
        Drawn onto.
    judge : callable
        From an image to the verdicts on its faces.
    outputs : list of callable
        Each takes the drawn image and returns whether to go on.

    Returns
    -------
    Counter
        "frames", and the faces by label.
    """
    counts = Counter()
    for frame in frames:
        verdicts = judge(frame.image)
        counts["frames"] += 1
        counts.update(verdict.label for verdict in verdicts)
        draw(frame.image, verdicts)
        if not all([output(frame.image) for output in outputs]):
            break
    return counts


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
        help="camera index, video or image (default: %(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write the labelled video, or image, here",
    )
    parser.add_argument(
        "--no-display", action="store_true", help="open no window; end with Ctrl-C"
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    info("loading face detector...")
    detector = load_detector(args.detector)
    display = not args.no_display and has_display()
    if not display and not args.no_display:
        warn("there is no display, so no window is opened")
    with ExitStack() as stack:
        info(f"opening {args.input}...")
        frames = stack.enter_context(closing(open_frames(args.input)))
        outputs = []
        if args.output:
            output = open_output(args.output, frames.still, frames.fps)
            outputs.append(stack.enter_context(output))
        info("loading liveness detector...")
        network, labels = load_classifier(args.model, args.le)
        if display:
            outputs.append(stack.enter_context(window(frames.still)))

        def judge(image: np.ndarray) -> list[Verdict]:
            return judge_faces(image, detector, network, labels, args.confidence)

        start = time.perf_counter()
        counts = label_frames(frames, judge, outputs)
        seconds = time.perf_counter() - start
    if not counts["frames"]:
        raise UserError(f"{args.input}: nothing could be read")
    faces = ", ".join(f"{counts[label]} {label}" for label in labels.classes)
    info(
        f"{counts['frames']} frames in {seconds:.1f} s "
        f"({counts['frames'] / seconds:.1f} a second); faces: {faces}"
    )
    if args.output:
        info(f"wrote {args.output}")


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
