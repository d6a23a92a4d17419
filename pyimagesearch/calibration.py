"""Where 0.5 should be: a shift of the log odds of real, from held-out crops."""

import math

from pyimagesearch.console import info
from pyimagesearch.dataset import Dataset
from pyimagesearch.measurement import measure
from pyimagesearch.metrics import shorten_threshold
from pyimagesearch.names import BONA_FIDE

import numpy as np

FEWEST = 6  # held-out crops of each class, to calibrate at all
LARGEST = 5.0  # shift: thresholds from 0.007 to 0.993


def log_odds(scores: np.ndarray) -> np.ndarray:
    """Return the log odds of probabilities, clipped to 1e-6 from 0 and 1."""
    clipped = np.clip(np.asarray(scores, float), 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


def shift_score(score, shift: float):
    """Divide the odds of scores or thresholds, in [0, 1], by exp(shift)."""
    scaled = score * math.exp(-shift)
    return scaled / (scaled + 1 - score)


def shift_odds(probabilities: np.ndarray, real: int, shift: float) -> np.ndarray:
    """Divide the odds of the class `real` by exp(shift); (n, classes), sums are 1."""
    shifted = probabilities.astype(float)
    shifted[:, real] *= math.exp(-shift)
    return shifted / shifted.sum(axis=1, keepdims=True)


def shift_bias(model, real: int, shift: float) -> None:
    """Make a Keras model divide the odds of its output `real` by exp(shift)."""
    dense = [layer for layer in model.layers if hasattr(layer, "units")][-1]
    bias = dense.bias.numpy()
    bias[real] -= shift
    dense.bias.assign(bias)


def find_shift(scores: np.ndarray, labels: np.ndarray) -> float:
    """Find the log odds of the threshold at which n crops' worse error rate is least.

    That is BPCER or the APCER of the worst kind. It is the middle of all such places.
    """
    places = log_odds(scores)
    edges = np.unique([*log_odds([0, 1]), *places])
    worse = np.zeros(len(edges) - 1)  # for a threshold between an edge and the next
    for label in np.unique(labels):
        own = np.sort(places[labels == label])
        below = np.searchsorted(own, edges[1:]) / len(own)
        worse = np.maximum(worse, below if label == BONA_FIDE else 1 - below)
    best = np.flatnonzero(worse < worse.min() + 1e-9)
    middle = (edges[best[0]] + edges[best[-1] + 1]) / 2
    return float(np.clip(middle, -LARGEST, LARGEST))


def calibrate(rows: list, labels: list, real: int) -> tuple[float, list[np.ndarray]]:
    """Find the shift after which 0.5 is where held-out crops' error rates are equal.

    Takes the probabilities, (n, classes), and labels, (n,), of each fold's crops.
    Returns the shift, 0 if a class has fewer crops than FEWEST, and the rows, those of
    a fold shifted by what the other folds say.
    """
    truth, scores = np.concatenate(labels), np.concatenate(rows)[:, real]
    classes, counts = np.unique(truth, return_counts=True)
    if len(classes) < rows[0].shape[1] or counts.min() < FEWEST:
        return 0.0, list(rows)
    fold_of = np.repeat(np.arange(len(rows)), [len(own) for own in rows])
    shifted = list(rows)
    for fold, own in enumerate(rows):
        others = fold_of != fold
        if set(truth[others]) == set(classes):
            theirs = find_shift(scores[others], truth[others])
            shifted[fold] = shift_odds(own, real, theirs)
    shift = find_shift(scores, truth)
    info(f"calibrated: 0.5 was {shift_score(0.5, -shift):.3g} before")
    return shift, shifted


def measure_folds(tests: list, rows: list, dataset: Dataset, shift: float, how: str):
    """Measure the crops of each fold, by their places and by `calibrate`'s rows.

    The rows of one fold alone are those of a network before its shift: the thresholds
    that are found become those of the shifted one. Returns the figures, and the scores
    and the dataset of the crops, without the crops themselves.
    """
    tested = np.concatenate(tests)
    order = np.argsort(tested)
    dataset = dataset._replace(pool=dataset.pool[:, :0])  # a subset would copy it
    dataset, rows = dataset.subset(tested[order]), np.concatenate(rows)[order]
    measurement, scores = measure(rows, dataset.classes, dataset, how)
    measurement.shift = shift
    if len(tests) > 1:
        note = f"the figures are those of {len(tests)} networks, each on the fold that "
        note += "it has not seen; the saved network is trained on all crops"
        measurement.notes.append(note)
    elif shift:
        note = "the figures are from before the calibration, the thresholds from after"
        measurement.notes.append(note)
        info(note)
        evaluation, shifted = measurement.evaluation, shift_score(scores, shift)
        for figures in (evaluation.presentations, evaluation.frames):
            for point in figures.operating_points.values():
                moved = shift_score(point.threshold, shift)
                point.threshold = shorten_threshold(moved, shifted)
            figures.eer_threshold = figures.operating_points["equal error"].threshold
    return measurement, scores, dataset
