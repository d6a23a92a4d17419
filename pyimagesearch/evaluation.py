"""Evaluate a network on crops: print the figures and write the report."""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from pyimagesearch.console import UserError, count_of, info, warn
from pyimagesearch.dataset import Dataset, count_sources, digest_crops, load_dataset
from pyimagesearch.files import atomic_write
from pyimagesearch.folds import Fold
from pyimagesearch.labels import THRESHOLD, Labels, save_labels_of
from pyimagesearch.metrics import evaluate
from pyimagesearch.models import classify, load_classifier
from pyimagesearch.names import BONA_FIDE
from pyimagesearch.plots import plot_report

import numpy as np
from sklearn.metrics import classification_report

ENOUGH = 20  # crops of each class; of fewer, one error is more than 5 %
PACKAGES = ("numpy", "opencv-python", "tensorflow", "keras", "scikit-learn")


def evaluate_files(
    model: Path, le: Path, folder: Path, plot: Path, report: Path | None
) -> None:
    """Evaluate a trained network on a dataset; write the picture and the report."""
    network, labels = load_classifier(model, le)
    dataset = load_dataset(folder, network.width, network.height, to_train=False)
    if dataset.margin != labels.margin:
        raise UserError(
            f"{folder} was gathered with --margin {dataset.margin:g}, but {model} was "
            f"trained with --margin {labels.margin:g}; gather again"
        )
    known = set(labels.learnt or ()) & set(digest_crops(dataset.crops))
    if known:
        warn(
            f"{folder}: the network was trained on {count_of(len(known), 'source')} of "
            "it; the figures are optimistic"
        )
    info("evaluating network...")
    probabilities = classify(network.predict, dataset.crops)
    figures, scores = measure(probabilities, labels.classes, dataset, labels.threshold)
    written = []
    if scores is not None:
        plot_report(plot, [], scores, dataset)
        written.append(plot)
    if report:
        figures["sources"] = count_sources(dataset)
        write_report(report, folder, model, labels, figures)
        written.append(report)
    if written:
        info(f"wrote {', '.join(map(str, written))}")


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
    if len(results) > 1:
        info(
            f"the figures are those of {len(results)} networks, each on the fold that "
            "it has not seen; the network that is saved has learnt all crops"
        )
    dataset = dataset._replace(crops=dataset.crops[:, :0])  # subsets would copy them
    tested = np.concatenate([fold.test for fold, _ in results])
    order = np.argsort(tested)
    held_out = dataset.subset(tested[order])
    rows = np.concatenate([probabilities for _, (_, _, probabilities, _) in results])
    report, scores = measure(rows[order], labels.classes, held_out)
    report["folds"] = [
        measure_fold(fold, probabilities, dataset, labels.classes)
        for fold, (_, _, probabilities, _) in results
    ]
    # For --evaluate, which reports it on crops that it was not chosen on.
    threshold = report["evaluation"]["frames"]["eer_threshold"]
    labels = labels._replace(threshold=threshold)
    save_labels_of(args.model, labels, args.le)
    histories = [history for _, (_, history, _, _) in results]
    plot_report(args.plot, histories, scores, held_out)
    if args.report:
        write_report(args.report, args.dataset, args.model, labels, report | details)


def report_unmeasured(
    history: dict, dataset: Dataset, labels: Labels, details: dict, args
) -> None:
    """Draw the training curves, and write a report without figures."""
    plot_report(args.plot, [history], None, dataset)
    if args.report:
        sources = {"sources": count_sources(dataset)}
        write_report(args.report, args.dataset, args.model, labels, sources | details)


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
) -> tuple[dict, np.ndarray | None]:
    """Compute and print the figures of n crops from their probabilities, (n, classes).

    `threshold`, that of the training, is used beside THRESHOLD. If a class has fewer
    than ENOUGH crops, only its errors and those of the others are printed.

    Returns
    -------
    report : dict
        Ready for JSON: `classification_report` if the network knows all classes of the
        dataset, `evaluation` if it knows real faces.
    scores : ndarray of shape (n,) or None
        Probability of bona fide of each crop, if the network gives it.
    """
    truth, report = dataset.labels, {}
    enough = min(Counter(truth).values()) >= ENOUGH
    if set(truth) <= set(classes):
        predicted = np.array(classes)[probabilities.argmax(axis=1)]
        options = {"labels": classes, "zero_division": 0}
        if enough:
            print(classification_report(truth, predicted, **options))
        report["classification_report"] = classification_report(
            truth, predicted, **options, output_dict=True
        )
    if BONA_FIDE not in classes:
        warn(f"the network has no class {BONA_FIDE}: there are no figures for attacks")
        return report, None
    scores = probabilities[:, classes.index(BONA_FIDE)].astype(float)
    report["evaluation"] = evaluate(scores, truth, dataset.sources, THRESHOLD)
    texts = [format_evaluation(report["evaluation"], "chosen beforehand")]
    if threshold not in (None, THRESHOLD):
        at_own = evaluate(scores, truth, dataset.sources, threshold)
        report["evaluation_at_development_threshold"] = at_own
        chosen = "chosen on the held-out crops of the training"
        texts.append(format_evaluation(at_own, chosen, with_ranking=False))
    few = format_few(report["evaluation"]["frames"])
    print("\n\n".join(texts) if enough else few)
    return report, scores


def write_report(
    path: Path, dataset: Path, model: Path, labels: Labels, report: dict
) -> None:
    """Write a report as JSON, with what was evaluated and the packages' versions."""
    report = {
        "dataset": str(dataset),
        "model": str(model),
        "classes": labels.classes,
        "margin": labels.margin,
        "development_threshold": labels.threshold,
        **report,
        "versions": {"python": sys.version.split()[0]}
        | {package: version(package) for package in PACKAGES},
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")


def format_evaluation(evaluation: dict, chosen: str, with_ranking: bool = True) -> str:
    """Format what `metrics.evaluate` returned, and how its threshold was chosen.

    `with_ranking` adds the figures that do not depend on the threshold.
    """
    lines = [f"threshold {evaluation['threshold']:g}, {chosen}"]
    for level, unit in (("frames", "frame"), ("videos", "video")):
        figures = evaluation[level]
        worst = " (worst)" * (len(figures["apcer"]) > 1)
        lines.append(f"{f'per {unit}':<26}errors      n      rate   95 % interval")
        lines += _format_rate("BPCER  real", figures["bpcer"])
        for name, rate in figures["apcer"].items():
            is_worst = name == figures["worst_instrument"]
            lines += _format_rate(f"APCER  {name}{worst * is_worst}", rate)
        if figures["acer"] is not None:
            lines.append(f"{'ACER':<38} {_percent(figures['acer']):>8}")
    figures = evaluation["frames"]
    if with_ranking and figures["acer"] is not None:
        lines.append("per frame, at thresholds chosen on these very crops: optimistic")
        name = f"EER  {figures['eer_instrument']}{worst}"
        lines.append(f"{name:<38} {_percent(figures['eer']):>8}")
        lines.append(f"{'AUC':<38} {figures['auc']:8.3f}")
        lines += _format_points(figures)
    return "\n".join(lines)


def _format_points(figures: dict) -> Iterator[str]:
    for name, point in figures["operating_points"].items():
        flag = f"--threshold {point['threshold']}"
        apcer, bpcer = point["apcer"], point["bpcer"]
        passing = f"{_percent(apcer['rate'])} of {apcer['n']} {point['instrument']}"
        rejected = f"{_percent(bpcer['rate'])} of {bpcer['n']} {BONA_FIDE}"
        yield f"{flag:<24} {name:<20} APCER {passing}, BPCER {rejected}"
    fewest = min(figures["apcer"], key=lambda name: figures["apcer"][name]["n"])
    n = figures["apcer"][fewest]["n"]
    for percent in (5, 1):
        point, need = f"APCER at most {percent} %", 100 // percent
        if n < need:
            yield f"{point} needs {need} crops of each kind of attack; {fewest} has {n}"
        elif point not in figures["operating_points"]:
            yield f"{point} is reached at no threshold"


def format_few(figures: dict) -> str:
    """Say what the frames' figures of `metrics.evaluate` tell if crops are few.

    For each class, that is how many errors there were, and Wilson's interval.
    """
    rates = {BONA_FIDE: figures["bpcer"], **figures["apcer"]}
    rates = {name: rate for name, rate in rates.items() if rate["n"]}
    lines = [f"at the threshold {THRESHOLD:g}, chosen beforehand:"]
    for name, rate in rates.items():
        low, high = (_percent(share, 0) for share in rate["interval"])
        errors = count_of(rate["errors"], "error") if rate["errors"] else "no error"
        possible = f"{low} to {high}" if rate["errors"] else f"up to {high}"
        crops = count_of(rate["n"], "crop")
        lines.append(f"{name}: {errors} in {crops}: {possible} is possible")
    few = [name for name, rate in rates.items() if rate["n"] < ENOUGH]
    lines.append(
        f"too few crops of {' and '.join(few)} for rates and thresholds: gather at "
        f"least {ENOUGH} of each class, in other places and of other persons; "
        "--evaluate on other footage tells more"
    )
    return "\n".join(lines)


def _percent(share: float, decimals: int = 1) -> str:
    """Format a share with these decimals, or as many as tell it from 0 and 100 %."""
    margin = 100 * min(share, 1 - share)
    if margin > 0:
        decimals = max(decimals, -math.floor(math.log10(margin)))
    return f"{share:.{decimals}%}"


def _format_rate(name: str, rate: dict) -> list[str]:
    if not rate["n"]:
        return [f"{name:<24} {0:7} {0:6}        -"]
    low, high = rate["interval"]
    rows = [
        f"{name:<24} {rate['errors']:7} {rate['n']:6} {_percent(rate['rate']):>8}"
        f"   {_percent(low)} to {_percent(high)}"
    ]
    sources = rate.get("over_sources")
    if sources and sources["n"] > 1:
        name = f"  mean of its {sources['n']} sources"
        worst = f"   worst: {sources['worst']}" if rate["errors"] else ""
        rows.append(f"{name:<39}{_percent(sources['mean']):>8}{worst}")
    return rows
