"""A network is measured on crops, in print and for a report file."""

import json
import sys
from pathlib import Path

from pyimagesearch.artifacts import Labels, Network, replacing
from pyimagesearch.backend import keras, tf
from pyimagesearch.console import warn
from pyimagesearch.dataset import Dataset
from pyimagesearch.frames import map_ahead
from pyimagesearch.metrics import BONA_FIDE, FIXED_THRESHOLD, describe, evaluate
from pyimagesearch.preprocessing import scale

import cv2
import numpy as np
import sklearn
from sklearn.metrics import classification_report


def classify(network: Network, crops: np.ndarray) -> np.ndarray:
    """Give (n, classes) float32 probabilities for (n, h, w, 3) uint8 crops."""
    parts = (crops[start : start + 64] for start in range(0, len(crops), 64))
    rows = map_ahead(lambda part: network.predict(scale(part)), parts)
    return np.concatenate(list(rows))


def count_sources(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Count crops by label and source."""
    counts = {}
    for label, source in zip(dataset.labels, dataset.sources, strict=True):
        own = counts.setdefault(str(label), {})
        own[str(source)] = own.get(str(source), 0) + 1
    return counts


def measure(
    network: Network, labels: Labels, dataset: Dataset
) -> tuple[dict, np.ndarray | None]:
    """Measure a network on the crops of a dataset, and print what comes out.

    Returns
    -------
    report : dict
        Ready for JSON: `classification_report` where all classes are known to the
        network, `evaluation` where it knows real faces.
    scores : ndarray of shape (n,) or None
        Probability of bona fide of each crop, if the network gives it.
    """
    truth = dataset.labels
    probabilities = classify(network, dataset.crops)
    report = {}
    if set(truth) <= set(labels.classes):
        predicted = np.array(labels.classes)[probabilities.argmax(axis=1)]
        options = {"labels": labels.classes, "zero_division": 0}
        print(classification_report(truth, predicted, **options))
        report["classification_report"] = classification_report(
            truth, predicted, **options, output_dict=True
        )
    if BONA_FIDE not in labels.classes:
        warn(
            f"no class is named {BONA_FIDE}, so attacks that pass cannot be told from "
            f"real faces that do not; name the folder of real faces {BONA_FIDE}"
        )
        return report, None
    scores = probabilities[:, labels.classes.index(BONA_FIDE)].astype(float)
    report["evaluation"] = evaluate(scores, truth, dataset.sources, FIXED_THRESHOLD)
    print(describe(report["evaluation"], "fixed beforehand"))
    if labels.threshold not in (None, FIXED_THRESHOLD):
        at_own = evaluate(scores, truth, dataset.sources, labels.threshold)
        report["evaluation_at_development_threshold"] = at_own
        print()
        print(describe(at_own, "chosen on the held-out crops of the training"))
    return report, scores


def write_report(path: Path, report: dict) -> None:
    """Write a report as JSON, with the versions of what it was made with."""
    modules = (np, cv2, tf, keras, sklearn)
    report["versions"] = {"python": sys.version.split()[0]} | {
        module.__name__: module.__version__ for module in modules
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
