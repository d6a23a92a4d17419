"""A picture in, its faces out, each called real or an attack.

    classifier = FaceClassifier.load("liveness.onnx", "le.pickle", "face_detector")
    for face in classifier(image):
        print(face.label, face.score)

With an ONNX model this needs no TensorFlow. It opens no window and writes no file.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError, info, warn
from pyimagesearch.faces import Detectors, Face, crop_face, detect_faces
from pyimagesearch.labels import BONA_FIDE, Labels
from pyimagesearch.manifest import UNSURE
from pyimagesearch.models import Network, load_classifier
from pyimagesearch.preprocessing import preprocess
from pyimagesearch.tracking import Tracker

import numpy as np

LOOK_SECONDS = 1.0  # between two looks at whether files were replaced
SMOOTH_SECONDS = 0.5  # over which scores are averaged; a trembling box makes them jump


class Prediction(NamedTuple):
    """What is thought of one face."""

    box: Face
    """left, top, right, bottom in pixels, and the detector's confidence."""
    label: str
    """A class, or "unsure"."""
    score: float
    """What was decided on: the mean probability of real, in [0, 1]."""
    probability: float
    """Mean probability of the label; of real where unsure."""
    probabilities: np.ndarray
    """(classes,) float32, of this picture alone."""
    track: int
    """Number that stays with the face from picture to picture."""
    crop: np.ndarray
    """(h, w, 3) uint8 BGR: the face at native size, a view of the picture."""


class FaceClassifier:
    """Finds faces and classifies them; one instance for each camera.

    Parameters
    ----------
    network, labels
        From `load_classifier`.
    detectors : Detectors
        May be shared.
    confidence : float, optional
        As for `detect_faces`.
    smooth : float, default SMOOTH_SECONDS
        Seconds over which the scores of a face are averaged; 0 for none.
    thresholds : (float, float), default (0.5, 0.5)
        See `decide`.
    """

    def __init__(
        self,
        network: Network,
        labels: Labels,
        detectors: Detectors,
        confidence: float | None = None,
        smooth: float = SMOOTH_SECONDS,
        thresholds: tuple[float, float] = (0.5, 0.5),
    ):
        self.network, self.labels, self.detectors = network, labels, detectors
        self.confidence, self.smooth, self.thresholds = confidence, smooth, thresholds
        self.reset()

    @classmethod
    def load(
        cls, model: Path | str, le: Path | str, detector: Path | str, **options
    ) -> "FaceClassifier":
        """Load everything from files.

        Parameters
        ----------
        model, le : Path or str
            What train.py wrote: liveness.onnx or liveness.model, and le.pickle.
        detector : Path or str
            The folder of the face detectors; the one that found the faces of the
            training is taken if it is there.
        **options
            As for FaceClassifier.

        Raises
        ------
        UserError
            With one line that says which file is missing, damaged, or of another
            training.
        """
        network, labels = load_classifier(Path(model), Path(le))
        detectors = Detectors(Path(detector), labels.detector)
        return cls(network, labels, detectors, **options)

    def replace(self, network: Network, labels: Labels) -> None:
        """Take another network; faces keep their track numbers, not their scores."""
        self.network, self.labels = network, labels
        self._tracker.forget_scores()

    def reset(self) -> None:
        """Forget the faces seen so far: another video or camera begins."""
        self._tracker = Tracker(self.smooth)

    def __call__(
        self, image: np.ndarray, seconds: float | None = None
    ) -> list[Prediction]:
        """Find and classify the faces of the next picture.

        Parameters
        ----------
        image : ndarray of shape (M, N, 3), dtype uint8
            BGR, of any size.
        seconds : float, optional
            When it was taken, on any clock; by default, now.

        Returns
        -------
        list of Prediction
            The most confidently detected face first.
        """
        with self.detectors.borrow() as detector:
            faces, _ = detect_faces(detector, image, self.confidence)
        return self.classify(
            image, faces, time.monotonic() if seconds is None else seconds
        )

    def classify(
        self, image: np.ndarray, faces: Sequence[Face], seconds: float
    ) -> list[Prediction]:
        """Classify faces that were found already, in one call of the network.

        Parameters
        ----------
        image : ndarray of shape (M, N, 3), dtype uint8
        faces : sequence of Face
        seconds : float
            When the picture was taken.
        """
        # Cut at native size and with the margin of the training, as gather did.
        crops = [crop_face(image, face, self.labels.margin) for face in faces]
        network, classes = self.network, self.labels.classes
        probabilities = np.empty((0, len(classes)), np.float32)
        if crops:
            inputs = preprocess(crops, network.width, network.height)
            probabilities = network.predict(inputs)
        tracks = self._tracker.update(faces, probabilities, seconds)
        return [
            Prediction(face, *decide(mean, classes, self.thresholds), row, track, crop)
            for face, crop, row, (track, mean) in zip(
                faces, crops, probabilities, tracks, strict=True
            )
        ]


def decide(
    probabilities: np.ndarray, classes: list[str], thresholds: tuple[float, float]
) -> tuple[str, float, float]:
    """Label a face from its mean probabilities.

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
    if BONA_FIDE not in classes:
        best = int(probabilities.argmax())
        return classes[best], float(probabilities[best]), float(probabilities[best])
    real = classes.index(BONA_FIDE)
    score = float(probabilities[real])
    if score >= thresholds[1]:
        return BONA_FIDE, score, score
    if score >= thresholds[0]:
        return UNSURE, score, score
    attacks = np.delete(np.arange(len(classes)), real)
    attack = attacks[probabilities[attacks].argmax()]
    return classes[attack], score, float(probabilities[attack])


class ClassifierFiles:
    """Notices when a model and its labels were replaced, as by another training.

    Parameters
    ----------
    model, le : Path
        Those that are in use.
    """

    def __init__(self, model: Path, le: Path):
        self._paths = model, le
        self._state = self._look()
        self._next = time.monotonic() + LOOK_SECONDS

    def _look(self) -> list:
        try:
            states = [path.stat() for path in self._paths]
        except OSError:  # one of them is just being replaced
            return []
        return [(s.st_ino, s.st_size, s.st_mtime_ns) for s in states]

    def refresh(self, classifier: FaceClassifier) -> None:
        """Let a classifier go on with the new pair, if there is one; say so."""
        new = self.load_new()
        if new and new[1].classes != classifier.labels.classes:
            warn("the network was replaced by one of other classes; start again")
        elif new:
            classifier.replace(*new)
            info("the network was replaced: going on with the new one")

    def load_new(self) -> tuple[Network, Labels] | None:
        """Load the pair if it was replaced and fits; None if there is nothing new."""
        if time.monotonic() < self._next:
            return None
        self._next = time.monotonic() + LOOK_SECONDS
        state = self._look()
        if not state or state == self._state:
            return None
        try:
            pair = load_classifier(*self._paths)
        except UserError:  # the other file is still to come
            return None
        self._state = state
        return pair
