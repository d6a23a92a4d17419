"""A network's figures on crops, in print and for a report file."""

import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from pyimagesearch.console import UserError, count_of, info, warn
from pyimagesearch.dataset import Dataset, count_sources, digest_crops, load_dataset
from pyimagesearch.files import atomic_write
from pyimagesearch.folds import Fold
from pyimagesearch.labels import BONA_FIDE, Labels
from pyimagesearch.metrics import FIXED_THRESHOLD, evaluate
from pyimagesearch.models import Network, load_classifier
from pyimagesearch.plots import plot_report
from pyimagesearch.prefetch import map_ahead
from pyimagesearch.preprocessing import scale

import numpy as np
from sklearn.metrics import classification_report

PACKAGES = ("numpy", "opencv-python", "tensorflow", "keras", "scikit-learn")


def classify(network: Network, crops: np.ndarray) -> np.ndarray:
    """Give (n, classes) float32 probabilities for (n, h, w, 3) uint8 crops."""
    parts = (crops[start : start + 64] for start in range(0, len(crops), 64))
    rows = map_ahead(lambda part: network.predict(scale(part)), parts)
    return np.concatenate([np.empty((0, network.classes), np.float32), *rows])


def measure(
    probabilities: np.ndarray,
    classes: list[str],
    dataset: Dataset,
    threshold: float | None = None,
) -> tuple[dict, np.ndarray | None]:
    """Measure probabilities of the crops of a dataset, and print what comes out.

    Parameters
    ----------
    probabilities : ndarray of shape (n, classes)
    classes : list of str
        What the network tells apart.
    dataset : Dataset
        The n crops.
    threshold : float, optional
        That of the training, to be measured beside FIXED_THRESHOLD.

    Returns
    -------
    report : dict
        Ready for JSON: `classification_report` where all classes are known to the
        network, `evaluation` where it knows real faces.
    scores : ndarray of shape (n,) or None
        Probability of bona fide of each crop, if the network gives it.
    """
    truth, report = dataset.labels, {}
    if set(truth) <= set(classes):
        predicted = np.array(classes)[probabilities.argmax(axis=1)]
        options = {"labels": classes, "zero_division": 0}
        print(classification_report(truth, predicted, **options))
        report["classification_report"] = classification_report(
            truth, predicted, **options, output_dict=True
        )
    if BONA_FIDE not in classes:
        warn(
            f"no class is named {BONA_FIDE}, so attacks that pass cannot be told from "
            f"real faces that do not; name the folder of real faces {BONA_FIDE}"
        )
        return report, None
    scores = probabilities[:, classes.index(BONA_FIDE)].astype(float)
    report["evaluation"] = evaluate(scores, truth, dataset.sources, FIXED_THRESHOLD)
    print(format_evaluation(report["evaluation"], "fixed beforehand"))
    frames = report["evaluation"]["frames"]
    report["thresholds"] = {
        "eer": frames["eer_threshold"],
        "apcer5": (frames["bpcer_at_apcer_5"] or {}).get("threshold"),
    }
    if threshold not in (None, FIXED_THRESHOLD):
        at_own = evaluate(scores, truth, dataset.sources, threshold)
        report["evaluation_at_development_threshold"] = at_own
        print()
        chosen = "chosen on the held-out crops of the training"
        print(format_evaluation(at_own, chosen, with_ranking=False))
    return report, scores


def measure_folds(
    folds: Sequence[Fold],
    probabilities: Sequence[np.ndarray],
    dataset: Dataset,
    classes: list[str],
) -> tuple[dict, np.ndarray | None, Dataset]:
    """Measure what the network of each fold says of the crops that it has not seen.

    Parameters
    ----------
    folds : sequence of Fold
    probabilities : sequence of ndarray of shape (m, classes)
        Of each fold's test crops.
    dataset : Dataset
    classes : list of str

    Returns
    -------
    report, scores
        As from `measure`, of all test crops together; `folds` has each by itself.
    held_out : Dataset
        Labels, sources and paths of these crops, without their pixels.
    """
    if len(folds) > 1:
        info(
            f"the figures are of {len(folds)} networks made the same way, each on "
            "crops that it has not seen; the network that is saved has learnt all crops"
        )
    dataset = dataset._replace(crops=dataset.crops[:, :0])  # subsets would copy them
    tested = np.concatenate([fold.test for fold in folds])
    order = np.argsort(tested)
    held_out = dataset.subset(tested[order])
    report, scores = measure(np.concatenate(probabilities)[order], classes, held_out)
    report["folds"] = []
    for fold, rows in zip(folds, probabilities, strict=True):
        test = dataset.subset(fold.test)
        hits = np.array(classes)[rows.argmax(axis=1)] == test.labels
        figures = {"accuracy": float(hits.mean())}
        if BONA_FIDE in classes:
            own = rows[:, classes.index(BONA_FIDE)].astype(float)
            frames = evaluate(own, test.labels, test.sources, FIXED_THRESHOLD)["frames"]
            figures |= {name: frames[name] for name in ("acer", "eer", "auc")}
        train = count_sources(dataset.subset(fold.train))
        figures |= {"train": train, "test": count_sources(test)}
        report["folds"].append(figures)
    for name in ("accuracy", "acer", "eer"):
        values = [figures.get(name) for figures in report["folds"]]
        if len(values) > values.count(None) + 1:
            spread = " ".join("-" if v is None else f"{v:.1%}" for v in values)
            info(f"{name if name == 'accuracy' else name.upper()} by fold: {spread}")
    return report, scores, held_out


def evaluate_files(
    model: Path, le: Path, folder: Path, plot: Path, report: Path | None
) -> None:
    """Measure a network that is there already on all of a dataset.

    Parameters
    ----------
    model, le, folder : Path
        What train.py wrote, and the dataset.
    plot, report : Path
        Where the picture goes, and the figures as JSON.

    Raises
    ------
    UserError
        When the network cannot be read, or was trained on crops of another margin.
    """
    network, labels = load_classifier(model, le)
    dataset = load_dataset(folder, network.width, network.height, min_classes=1)
    if dataset.margin != labels.margin:
        raise UserError(
            f"{folder} was gathered with --margin {dataset.margin:g}, but {model} was "
            f"trained on --margin {labels.margin:g}; gather again"
        )
    known = set(labels.learnt or ()) & set(digest_crops(dataset.crops))
    if known:
        warn(
            f"the network has learnt {count_of(len(known), 'source')} of this dataset: "
            "their figures are not new"
        )
    info("evaluating network...")
    probabilities = classify(network, dataset.crops)
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


def write_report(
    path: Path, dataset: Path, model: Path, labels: Labels, report: dict
) -> None:
    """Write a report as JSON, with what was measured and which versions did it."""
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


def format_evaluation(
    evaluation: dict, threshold_from: str, with_ranking: bool = True
) -> str:
    """Format an evaluation for reading.

    Parameters
    ----------
    evaluation : dict
        From `metrics.evaluate`.
    threshold_from : str
        Where its threshold was chosen.
    with_ranking : bool, default True
        Whether to list the figures that do not depend on the threshold.

    Returns
    -------
    str
        A table, lines joined by newlines.
    """
    lines = [f"threshold {evaluation['threshold']:.3f}, {threshold_from}"]
    for level, unit in (("frames", "frame"), ("videos", "video")):
        figures = evaluation[level]
        lines.append(f"{f'per {unit}':<26}errors      n      rate   95 % interval")
        lines += _rows("BPCER  real", figures["bpcer"])
        for name, rate in figures["apcer"].items():
            worst = name == figures["worst_instrument"] and len(figures["apcer"]) > 1
            lines += _rows(f"APCER  {name}{' (worst)' * worst}", rate)
        if figures["acer"] is not None:
            lines.append(f"{'ACER':<38} {figures['acer']:8.1%}")
    figures = evaluation["frames"]
    if with_ranking and figures["acer"] is not None:
        lines.append("per frame, at other thresholds*")
        for percent in (5, 1):
            if rate := figures[f"bpcer_at_apcer_{percent}"]:
                at = f"   at threshold {rate['threshold']:.3f}"
                lines += [_rows(f"BPCER at APCER {percent} %", rate)[0] + at]
        lines.append(
            f"{'EER':<38} {figures['eer']:8.1%}"
            f"   at threshold {figures['eer_threshold']:.3f}"
        )
        lines.append(f"{'AUC':<38} {figures['auc']:8.3f}")
        lines.append("* chosen on these very crops: optimistic")
    return "\n".join(lines)


def _rows(name: str, rate: dict) -> list[str]:
    if not rate["n"]:
        return [f"{name:<24} {0:7} {0:6}        -"]
    low, high = rate["interval"]
    rows = [
        f"{name:<24} {rate['errors']:7} {rate['n']:6} {rate['rate']:8.1%}"
        f"   {low:.1%} to {high:.1%}"
    ]
    over_sources = rate.get("over_sources")
    if over_sources and over_sources["n"] > 1:
        low, high = over_sources["interval"]
        name = f"  mean of its {over_sources['n']} sources"
        worst = f", worst {over_sources['worst']}" if rate["errors"] else ""
        rows.append(
            f"{name:<39}{over_sources['mean']:8.1%}   {low:.1%} to {high:.1%}{worst}"
        )
    return rows
