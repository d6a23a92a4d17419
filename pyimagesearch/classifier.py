"""An image in, its faces out, each classified as real or an attack.

    classifier = FaceClassifier.load("liveness.onnx", "le.pickle", "face_detector")
    for face in classifier(image):
        print(face.label, face.score)

With an ONNX model this needs no TensorFlow. It opens no window and writes no file.
"""

import math
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError
from pyimagesearch.faces import DetectorPool, Face, crop_face, preprocess
from pyimagesearch.labels import THRESHOLD, Labels, load_labels
from pyimagesearch.models import Network, load_classifier
from pyimagesearch.names import BONA_FIDE, UNSURE

import numpy as np

SMOOTH_SECONDS = 0.5  # over which scores are averaged: they jump as boxes jitter
LEAST_OVERLAP = 0.3  # of a track and a detection of one face (intersection over union)
LOST_SECONDS = 0.5  # a face that was lost for longer is a new one
PATIENCE_SECONDS = 60.0  # for the labels of a new model, before anybody is told


class Prediction(NamedTuple):
    """The classification of one face; label and scores are empty without a network."""

    box: Face  # in pixels, with the detector's confidence
    label: str  # a class, or "unsure"
    score: float  # what decided: the mean probability of real, in [0, 1]
    probability: float  # mean probability of the label; of real if unsure
    probabilities: np.ndarray  # (classes,) float32, of this image alone
    track: int  # stays with the face from image to image
    crop: np.ndarray  # (h, w, 3) uint8 BGR, at native size, a view of the image
    name: str = ""  # of the person, for whoever recognizes faces; it is drawn


class FaceClassifier:
    """Finds faces and classifies them; use one instance for each camera.

    `network` and `labels` come from `load_classifier`, or are None and without classes:
    then faces get the label "". Scores are averaged over `smooth` seconds, or not at
    all if 0. A face is an attack below the first of the `thresholds`, real from the
    second on, unsure between them. `refresh` watches the `files`, model and labels.
    """

    def __init__(
        self,
        network: Network | None,
        labels: Labels,
        detectors: DetectorPool,
        smooth: float = SMOOTH_SECONDS,
        thresholds: tuple[float, float] = (THRESHOLD, THRESHOLD),
        files: Sequence[Path] = (),
    ):
        self.network, self.labels, self.detectors = network, labels, detectors
        self.smooth, self.thresholds = smooth, thresholds
        self._files, self._loading = files, None
        self._tried = self._look() if labels.classes else []
        self._used = self._tried[:1]  # the state of the model
        self._problem, self._deadline = "", math.inf  # is said after the deadline
        self.reset()

    @classmethod
    def load(cls, model, le, detector, confidence: float | None = None, **options):
        """Load network, labels and detector by path; a UserError names a bad file."""
        files = Path(model), Path(le)
        detectors = DetectorPool(Path(detector), confidence=confidence)
        classifier = cls(None, load_labels(files[1]), detectors, files=files, **options)
        classifier.replace(*load_classifier(*files))
        return classifier

    def replace(self, network: Network, labels: Labels) -> None:
        """Use another network; faces keep their track numbers but not their scores."""
        self.network, self.labels = network, labels
        for track in self._tracker.tracks:
            track.history.clear()

    def _look(self) -> list[int]:
        try:
            return [path.stat().st_mtime_ns for path in self._files]
        except OSError:  # not there yet, or just being replaced
            return []

    def refresh(self) -> str:
        """Use the network of a new training, if there is one; return what to say.

        Call it often: a thread loads for seconds. Classes and margin must be the same.
        """
        now = time.monotonic()
        if not self._loading:
            found = self._look()
            if found not in ([], self._tried) and found[:1] != self._used:
                if found[:1] != self._tried[:1]:
                    self._deadline = now + PATIENCE_SECONDS
                self._tried, thread = found, ThreadPoolExecutor(1)
                self._loading = thread.submit(load_classifier, *self._files)
            elif self._problem and now > self._deadline:
                self._deadline = math.inf
                return self._problem
            return ""
        if not self._loading.done():
            return ""
        done, self._loading = self._loading, None
        try:
            network, labels = done.result()
        except UserError as error:  # mostly, the labels are still to come
            self._problem = f"the new network is not used: {error}"
            return ""
        self._used, self._problem = self._tried[:1], ""
        old = self.labels
        if old.classes and labels.classes != old.classes:
            return "the new network has other classes; restart the demo"
        if labels.margin != old.margin:
            return "the new network has another margin; restart the demo"
        self.replace(network, labels)
        return "using the new network"

    @property
    def tracks(self) -> list[int]:
        """Numbers of the faces in view, and of those missed for a moment."""
        return [track.number for track in self._tracker.tracks]

    def reset(self) -> None:
        """Forget the faces seen so far: another video or camera begins."""
        self._tracker = Tracker(self.smooth)

    def __call__(
        self, image: np.ndarray, seconds: float | None = None
    ) -> list[Prediction]:
        """Find and classify the faces of the next image, (M, N, 3) uint8 BGR.

        It was taken at `seconds` of any clock, or now. The most confident one is first.
        """
        image = check_image(image)
        faces, _ = self.detectors.detect(image)
        now = time.monotonic() if seconds is None else seconds
        return self.classify(image, faces, now)

    def classify(
        self, image: np.ndarray, faces: Sequence[Face], seconds: float
    ) -> list[Prediction]:
        """Classify faces that were already found, as `__call__` does."""
        image = check_image(image)
        # Cut at native size and with the margin of the training, as for gathering.
        crops = [crop_face(image, face, self.labels.margin) for face in faces]
        probabilities = np.empty((len(crops), 0), np.float32)
        if self.network and crops:
            inputs = preprocess(crops, self.network.width, self.network.height)
            probabilities = self.network.predict(inputs)
        tracks = self._tracker.update(faces, probabilities, seconds)
        predictions, found = [], zip(faces, crops, probabilities, tracks, strict=True)
        for face, crop, row, (track, mean) in found:
            label, score, share = decide(mean, self.labels.classes, self.thresholds)
            predictions.append(Prediction(face, label, score, share, row, track, crop))
        return predictions


def check_image(image: np.ndarray) -> np.ndarray:
    """Return an image as OpenCV takes it; raise a ValueError for what is none."""
    shape, kind = getattr(image, "shape", None), getattr(image, "dtype", None)
    if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ValueError(
            f"expected an image of shape (M, N, 3), dtype uint8, in BGR; got a "
            f"{type(image).__name__} of shape {shape}, dtype {kind}"
        )
    return np.ascontiguousarray(image)


def decide(probabilities, classes: list[str], thresholds) -> tuple[str, float, float]:
    """Return a face's label, score (without real, the highest one) and probability."""
    if not classes:
        return "", math.nan, math.nan
    if BONA_FIDE not in classes:
        best = int(probabilities.argmax())
        return classes[best], float(probabilities[best]), float(probabilities[best])
    real = classes.index(BONA_FIDE)
    score = float(probabilities[real])
    if score >= thresholds[0]:
        return BONA_FIDE if score >= thresholds[1] else UNSURE, score, score
    attacks = np.delete(np.arange(len(classes)), real)
    attack = attacks[probabilities[attacks].argmax()]
    return classes[attack], score, float(probabilities[attack])


class Tracker:
    """Follows faces from image to image by overlap, and averages their scores."""

    def __init__(self, seconds: float):
        self._seconds, self._count, self.tracks = seconds, 0, []

    def update(self, faces, probabilities: np.ndarray, time: float) -> list[tuple]:
        """Match the n faces of the next image, and their (n, classes) probabilities.

        Returns each face's track number, from 1, and mean probabilities, (classes,).
        """
        # If the time goes back, another video has begun.
        self.tracks = [t for t in self.tracks if 0 <= time - t.time <= LOST_SECONDS]
        boxes = np.array([face[:4] for face in faces], float).reshape(-1, 4)
        expected = np.array([track.expect(time) for track in self.tracks])
        overlaps = overlap(boxes, expected.reshape(-1, 4))
        matches = {}
        # The best match first; each face and each track is used once.
        while overlaps.size and overlaps.max() >= LEAST_OVERLAP:
            face, track = np.unravel_index(overlaps.argmax(), overlaps.shape)
            matches[face] = self.tracks[track]
            overlaps[face] = overlaps[:, track] = 0
        for face in set(range(len(faces))) - set(matches):
            self._count += 1
            matches[face] = _Track(self._count)
            self.tracks.append(matches[face])
        return [
            (matches[n].number, matches[n].add(box, row, time, self._seconds))
            for n, (box, row) in enumerate(zip(boxes, probabilities, strict=True))
        ]


class _Track:
    def __init__(self, number: int):
        self.number, self.time, self._box = number, None, None
        self._velocity = np.zeros(4)  # pixels a second, of each side of the box
        self.history = deque()  # of (time, probabilities)

    def expect(self, time: float) -> np.ndarray:
        return self._box + self._velocity * (time - self.time)

    def add(self, box, probabilities, time: float, seconds: float) -> np.ndarray:
        if self._box is not None and time > self.time:
            # Half the old velocity, half the new: the detector's boxes jitter.
            latest = (box - self._box) / (time - self.time)
            self._velocity = (self._velocity + latest) / 2
        self._box, self.time = box, time
        self.history.append((time, probabilities))
        while self.history[0][0] < time - seconds:
            self.history.popleft()
        rows = [row for _, row in self.history] if seconds else [probabilities]
        return np.mean(rows, axis=0).clip(max=1)  # rounding may take it beyond


def overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union, (n, m), of (n, 4) and (m, 4) boxes."""
    corners = np.maximum(boxes[:, None, :2], others[None, :, :2])
    sizes = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - corners
    shared = sizes.clip(0).prod(axis=2)
    areas = [(b[:, 2:] - b[:, :2]).clip(0).prod(axis=1) for b in (boxes, others)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
