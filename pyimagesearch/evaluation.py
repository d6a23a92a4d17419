"""Measure a network on crops, and collect what a report says about it."""

import argparse
import hashlib
import re
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from pyimagesearch.console import UserError, count_of, info, warn
from pyimagesearch.dataset import (
    Dataset,
    count_sources,
    digest_crops,
    load_dataset,
    sources_of,
)
from pyimagesearch.folds import Fold
from pyimagesearch.labels import THRESHOLD, Labels, save_labels_of
from pyimagesearch.metrics import Rate, evaluate
from pyimagesearch.models import classify, load_classifier
from pyimagesearch.names import BONA_FIDE, persons_of
from pyimagesearch.plots import plot_report
from pyimagesearch.report import ENOUGH, format_report, join, write_report

import cv2
import numpy as np
from sklearn.metrics import classification_report

PACKAGES = ("numpy", "tensorflow", "keras", "scikit-learn")
SIZES = 16, 48, 96, 192  # pixels: where the next of BANDS begins
BANDS = "below 16", "16-48", "48-96", "96-192", "192 and above"
# Kinds of attack, and the words by which a folder says that it has them.
KINDS = {
    "mask": {"mask", "silicone", "latex"},  # before paper: a paper mask is a mask
    "cut-out": {"cutout", "cut"},
    "replay": {"replay", "video", "screen", "phone", "tablet", "monitor", "display"},
    "print": {"print", "printed", "photo", "paper"},
}


def evaluate_files(args: argparse.Namespace) -> None:
    """Evaluate a trained network on a dataset; write the picture and the report."""
    network, labels = load_classifier(args.model, args.le)
    dataset = load_dataset(args.dataset, network.width, network.height, to_train=False)
    if dataset.margin != labels.margin:
        raise UserError(
            f"{args.dataset} was gathered with --margin {dataset.margin:g}, but "
            f"{args.model} was trained with --margin {labels.margin:g}; gather again"
        )
    notes = []
    learnt, known = set(labels.learnt or ()), set()
    marks = digest_crops(dataset.crops), dataset.fingerprints.tolist()
    for key, own in zip(sources_of(dataset), zip(*marks, strict=True), strict=True):
        if not learnt.isdisjoint(own):
            known.add(key)
    if known:
        notes = [
            f"{args.dataset}: the network was trained on "
            f"{count_of(len(known), 'source')} of it; the figures say nothing about "
            "new people and new footage"
        ]
        warn(notes[0])
    info("evaluating network...")
    probabilities = classify(network.predict, dataset.crops)
    figures, scores = measure(probabilities, labels.classes, dataset, labels.threshold)
    report = {"notes": notes, **figures, **describe(dataset, labels, args)}
    publish(report, scores, dataset, [], args)
    written = [None if scores is None else args.plot, args.report]
    if any(written):
        info(f"wrote {', '.join(str(file) for file in written if file)}")


def evaluate_folds(
    results: Sequence[tuple[Fold, tuple]],
    dataset: Dataset,
    labels: Labels,
    details: dict,
    args: argparse.Namespace,
) -> None:
    """Evaluate the networks of a cross-validation; save the threshold in the labels.

    `results` are what `train_network` returned for each fold, `labels` those of the
    final network; `details` go into the report.
    """
    info("evaluating network...")
    notes = []
    if len(results) > 1:
        notes = [
            f"the figures are those of {len(results)} networks, each on the fold that "
            "it has not seen; the network that is saved has learnt all crops"
        ]
        info(notes[0])
    if details["interrupted"]:
        notes.append("the training was interrupted: not all folds are in the figures")
    described = describe(dataset, labels, args)
    dataset = dataset._replace(pool=dataset.pool[:, :0])  # subsets would copy them
    tested = np.concatenate([fold.test for fold, _ in results])
    order = np.argsort(tested)
    held_out = dataset.subset(tested[order])
    rows = np.concatenate([trained.probabilities for _, trained in results])
    how = details["split"]["how"]
    figures, scores = measure(rows[order], labels.classes, held_out, how=how)
    folds = [
        measure_fold(fold, trained.probabilities, dataset, labels.classes)
        for fold, trained in results
    ]
    # For --evaluate, which reports it on crops that it was not chosen on.
    threshold = figures["evaluation"]["frames"]["eer_threshold"]
    save_labels_of(args.model, labels._replace(threshold=threshold), args.le)
    described["development_threshold"] = threshold
    histories = [trained.history for _, trained in results]
    report = {"notes": notes, **figures, "folds": folds, **described, **details}
    publish(report, scores, held_out, histories, args)


def report_unmeasured(
    history: dict, dataset: Dataset, labels: Labels, details: dict, args
) -> None:
    """Draw the training curves, and write a report without figures."""
    notes = ["nothing was measured, as there are only real faces"]
    report = {"notes": notes, **describe(dataset, labels, args), **details}
    publish(report, None, dataset, [history], args)


def publish(
    report: dict,
    scores: np.ndarray | None,
    dataset: Dataset,
    histories: list[dict],
    args: argparse.Namespace,
) -> None:
    """Print the figures, draw the picture, and write the report if asked for.

    `scores`, (n,), are the probabilities of bona fide; None if nothing was measured.
    """
    picture = b""
    if scores is not None:
        print(format_report(report))
    if scores is not None or histories:
        picture = plot_report(args.plot, histories, scores, dataset, report)
    if args.report:
        write_report(args.report, report, picture)


def describe(dataset: Dataset, labels: Labels, args: argparse.Namespace) -> dict:
    """Say what was measured, and what is needed to do it again, ready for JSON."""
    content = hashlib.sha256(np.ascontiguousarray(dataset.crops))  # tobytes() copies
    content.update("\0".join(dataset.labels).encode("utf-8", "surrogateescape"))
    keys = sources_of(dataset)
    fingerprints = dict(zip(keys, dataset.fingerprints.tolist(), strict=True))
    crops, searches = Counter(keys), dataset.searches
    files = [
        {
            "label": key[0],
            "source": key[1],
            "crops": crops[key],
            "fingerprint": fingerprints.get(key, ""),
            "search": searches[key]._asdict() if key in searches else None,
        }
        for key in sorted(crops.keys() | searches.keys())
    ]
    versions = {"python": sys.version.split()[0], "opencv": cv2.__version__}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):  # such as keras beside tensorflow-cpu
            versions[package] = version(package)
    return {
        "command": shlex.join(["python", "train.py", *args.arguments]),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "model": str(args.model),
        "model_sha256": labels.model_sha256,
        "classes": labels.classes,
        "margin": labels.margin,
        "detector": dataset.detector,
        "development_threshold": labels.threshold,
        "dataset": str(args.dataset),
        "dataset_sha256": content.hexdigest(),
        "files": files,
        "versions": versions,
    }


def measure_fold(
    fold: Fold, probabilities: np.ndarray, dataset: Dataset, classes: list[str]
) -> dict:
    """Compute the figures of one fold, and count its crops, ready for JSON."""
    test = dataset.subset(fold.test)
    hits = np.array(classes)[probabilities.argmax(axis=1)] == test.labels
    scores = probabilities[:, classes.index(BONA_FIDE)].astype(float)
    frames = evaluate(scores, test.labels, test.sources, THRESHOLD)["frames"]
    return {
        "accuracy": float(hits.mean()),
        **{name: frames[name] for name in ("acer", "eer", "auc")},
        "train": count_sources(dataset.subset(fold.train)),
        "test": count_sources(test),
    }


def measure(
    probabilities: np.ndarray,
    classes: list[str],
    dataset: Dataset,
    threshold: float | None = None,
    how: str = "",
) -> tuple[dict, np.ndarray | None]:
    """Compute all figures of n crops from their probabilities, (n, classes).

    `threshold`, that of the training, is used beside THRESHOLD; `how` says how a
    training's dataset was split. Returns the figures, ready for JSON, and the
    probability of bona fide of each crop, (n,), or None if the network does not know
    real faces.
    """
    truth, report = dataset.labels, {}
    if set(truth) <= set(classes):
        predicted = np.array(classes)[probabilities.argmax(axis=1)]
        report["classification_report"] = classification_report(
            truth, predicted, labels=classes, zero_division=0, output_dict=True
        )
    if BONA_FIDE not in classes:
        warn(f"the network has no class {BONA_FIDE}: there are no figures for attacks")
        return report, None
    scores = probabilities[:, classes.index(BONA_FIDE)].astype(float)
    report["evaluation"] = evaluate(scores, truth, dataset.sources, THRESHOLD)
    if threshold not in (None, THRESHOLD):
        at_own = evaluate(scores, truth, dataset.sources, threshold)
        report["evaluation_at_development_threshold"] = at_own
    persons = persons_of(truth, dataset.sources, dataset.frames)
    wrong = (scores >= THRESHOLD) != (truth == BONA_FIDE)
    bands = np.searchsorted(SIZES, dataset.sizes, side="right")
    by_band = count_errors(wrong, truth, bands)
    report["by_size"] = {BANDS[band]: own for band, own in by_band.items()}
    report["by_person"] = count_errors(wrong, truth, persons)
    report["non_response"] = count_non_responses(dataset)
    report["not_tested"] = list_untested(report, how) + list_copies(dataset)
    return report, scores


def count_errors(wrong: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict:
    """Count the errors, (n,) bool, of crops by group and class, (n,) each."""
    keys = list(zip(groups.tolist(), labels.tolist(), strict=True))
    trials, errors = Counter(keys), Counter()
    for key, is_wrong in zip(keys, wrong.tolist(), strict=True):
        errors[key] += is_wrong
    counts = {}
    for group, label in sorted(trials):
        rate = Rate(errors[group, label], trials[group, label])
        counts.setdefault(group, {})[label] = rate.as_dict()
    return counts


def count_non_responses(dataset: Dataset) -> dict[str, dict]:
    """Count by class the presentations, and the frames, in which no face was found."""
    counts = {}
    for key in sorted(set(sources_of(dataset)) | dataset.searches.keys()):
        own = counts.setdefault(key[0], Counter())
        if search := dataset.searches.get(key):
            own["presentations"] += 1
            own["silent"] += search.faceless == search.searched
            own["searched"] += search.searched
            own["faceless"] += search.faceless
        else:
            own["not known"] += 1
    return {
        label: {
            "presentations": Rate(own["silent"], own["presentations"]).as_dict(),
            "frames": Rate(own["faceless"], own["searched"]).as_dict(),
            "not_known": own["not known"],
        }
        for label, own in counts.items()
    }


def kind_of(label: str) -> str | None:
    """Return which of KINDS a class is, as its name says."""
    words = {word.rstrip("s") for word in re.findall("[a-z]+", label.lower())}
    return next((kind for kind, own in KINDS.items() if own & words), None)


def list_copies(dataset: Dataset) -> list[str]:
    """Name the sources that are one file, and count as several presentations."""
    names = {}
    for key, file in zip(sources_of(dataset), dataset.fingerprints, strict=True):
        if file:
            names.setdefault(file, {})["/".join(key)] = None
    copies = [" = ".join(own) for own in names.values() if len(own) > 1]
    if not copies:
        return []
    return [f"as many presentations as there are names: {join(copies)}"]


def list_untested(report: dict, how: str) -> list[str]:
    """List what a dataset gives no evidence of, from the other figures."""
    presentations = report["evaluation"]["presentations"]
    counts = {BONA_FIDE: presentations["bpcer"]["n"]}
    counts |= {name: rate["n"] for name, rate in presentations["apcer"].items()}
    gaps = []
    if how == "crops at random":
        gaps.append(
            "new videos: crops were held out at random, so frames of one video were "
            "learnt and measured, and the figures measure memory"
        )
    elif how == "blocks of frames":
        gaps.append(
            "new videos: the figures are of other parts of videos that were learnt, "
            "and optimistic"
        )
    kinds = {name: kind_of(name) for name in counts if name != BONA_FIDE}
    other = [name for name, kind in kinds.items() if kind is None]
    if missing := [kind for kind in KINDS if kind not in kinds.values()]:
        unclear = f" (unless they are in {join(other)})" if other else ""
        gaps.append(f"kinds of attack: {join(missing)}{unclear}")
    if len(report["by_person"]) == 1:
        gaps.append("more than one person, as far as the names of files say")
    if single := [name for name, count in counts.items() if count == 1]:
        gaps.append(f"more than one presentation of {join(single)}")
    silent = {
        name: rates["presentations"]["errors"]
        for name, rates in report["non_response"].items()
    }
    if any(silent.values()):
        texts = [f"{count} of {name}" for name, count in silent.items() if count]
        gaps.append(f"presentations in which no face was found: {join(texts)}")
    alone = [
        name or "no name"
        for name, own in report["by_person"].items()
        if BONA_FIDE not in own or len(own) == 1
    ]
    if alone and len(counts) > 1:
        gaps.append(f"persons both as real and as attack: {join(alone)}")
    texts = []
    for size in BANDS[1:]:
        own = report["by_size"].get(size, {})
        few = {name: own[name]["n"] if name in own else 0 for name in counts}
        few = [f"{few[name]} of {name}" for name in counts if few[name] < ENOUGH]
        if few:
            texts.append(f"{size} ({join(few) if own else 'none'})")
    if texts:
        gaps.append(f"face sizes with fewer than {ENOUGH} crops, pixels: {join(texts)}")
    return gaps
