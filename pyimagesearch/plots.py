"""Plots of a training and an evaluation, drawn without a display."""

import io
import os
from itertools import cycle
from pathlib import Path

from pyimagesearch.dataset import Dataset
from pyimagesearch.files import atomic_write
from pyimagesearch.labels import THRESHOLD
from pyimagesearch.measurement import TRIALS_FOR_RATE, Measurement, rank_hardest
from pyimagesearch.metrics import Evaluation, Figures, Rate
from pyimagesearch.names import BONA_FIDE
from pyimagesearch.video import read_image

import numpy as np

os.environ["MPLBACKEND"] = "agg"  # the user's may be missing, and nothing is shown
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, SymmetricalLogLocator
from scipy.stats import norm
from sklearn.metrics import DetCurveDisplay, det_curve

LAYOUTS = {1: [[0]], 2: [[0, 1]], 3: [[0, 0], [1, 2]], 4: [[0, 1], [2, 3]]}
CROPS_IN_ROW = 12  # of the contact sheet
LETTERS = 12  # of a caption, above one crop
CELL_HEIGHT = 1.35  # of one crop, with the text over it, where its width is 1
REAL_COLOR, WRONG_COLOR = "#2a9d4e", "#d1342f"
ATTACK_COLORS = "#d1342f", "#3a6ea5", "#e08214", "#7b4fa3", "#8c564b", "#555555"
TRIALS_FOR_DET = 10  # of each class
LEAST_RATE = 0.001  # on the axes of the DET curve, where 0 has no place


def plot_report(
    path: Path, histories: list, scores, dataset: Dataset, measurement: Measurement
) -> bytes:
    """Draw training curves, scores, errors and the hardest presentations into one PNG.

    `histories` are dicts from `train_network`, if any. `scores`, (n,) floats, are the
    probabilities of bona fide of the dataset's crops, of which `measurement` says more;
    None draws the curves only. Returns the PNG, which is 1200 pixels wide.
    """
    panels, heights = [], []
    if histories:
        panels.append(lambda axes: plot_training(axes, histories))
    if scores is not None:
        evaluation, figures = measurement.evaluation, measurement.evaluation.figures
        fewest = min(rate.n for rate in figures.rates.values())
        has_det = figures.auc is not None and fewest >= TRIALS_FOR_DET
        panels.append(lambda axes: plot_scores(axes, scores, dataset.labels, has_det))
        trials, labels = scores, dataset.labels
        if not evaluation.counts_crops:
            trials = np.array([own.mean_score for own in evaluation.sources])
            labels = np.array([own.label for own in evaluation.sources])
        if has_det:
            panels.append(lambda axes: plot_det(axes, trials, labels, figures))
        sizes = {
            band: own
            for band, own in measurement.by_size.items()
            if max(rate.n for rate in own.values()) >= TRIALS_FOR_RATE
        }
        if sizes:
            panels.append(lambda axes: plot_sizes(axes, sizes))
        heights.append(0.6 + CELL_HEIGHT * min(2, len(evaluation.sources)))
    layout = LAYOUTS[len(panels)]
    heights.insert(0, 4.5 * len(layout))
    with style.context(["default", "ggplot"]):
        figure = Figure((12, sum(heights)), layout="constrained")
        parts = figure.subfigures(len(heights), squeeze=False, height_ratios=heights)
        places = parts[0, 0].subplot_mosaic(layout)
        for place, panel in enumerate(panels):
            panel(places[place])
        if scores is not None:
            plot_hardest(parts[1, 0].subplots(), scores, dataset, evaluation)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=100)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getvalue())
    return content.getvalue()


def plot_training(axes: Axes, histories: list[dict]) -> None:
    """Plot loss and accuracy by epoch, as the tutorial does; of folds, their means."""
    length = min(len(history["loss"]) for history in histories)
    epochs = np.arange(1, length + 1)
    keys = "loss", "val_loss", "accuracy", "val_accuracy"
    labels = "train_loss", "val_loss", "train_acc", "val_acc"
    for key, label in zip(keys, labels, strict=True):
        curves = [own[key][:length] for own in histories if key in own]
        if curves:
            look = {"marker": "." if length < 3 else "", "label": label}
            (line,) = axes.plot(epochs, np.mean(curves, axis=0), **look)
        for own in curves if len(curves) > 1 else ():
            axes.plot(epochs, own, color=line.get_color(), alpha=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Training Loss and Accuracy on Dataset")
    folds = f" (mean of {len(histories)} folds)" if len(histories) > 1 else ""
    axes.set(xlabel=f"Epoch #{folds}", ylabel="Loss/Accuracy")
    axes.legend(loc="best")


def as_text(name: str) -> str:
    """Escape what is no Unicode in a name: matplotlib cannot draw it."""
    return name.encode("utf-8", "backslashreplace").decode()


def color_classes(labels: np.ndarray | set) -> dict[str, str]:
    """Give real faces and each kind of attack a colour, real faces first."""
    kinds = sorted({*labels} - {BONA_FIDE})
    colors = {BONA_FIDE: REAL_COLOR} if BONA_FIDE in labels else {}
    return colors | dict(zip(kinds, cycle(ATTACK_COLORS), strict=False))


def plot_scores(
    axes: Axes, scores: np.ndarray, labels: np.ndarray, has_det: bool
) -> None:
    """Plot a histogram of the scores, (n,) in [0, 1], of each class."""
    bins = np.linspace(0, 1, 41)
    for label, color in color_classes(labels).items():
        own = labels == label
        look = {"color": color, "label": f"{as_text(label)} ({own.sum()})"}
        axes.hist(scores[own], bins, histtype="step", linewidth=2, **look)
    axes.axvline(THRESHOLD, color="black", linestyle="--", label="threshold")
    axes.set_yscale("symlog", linthresh=1)
    ticks = SymmetricalLogLocator(base=10, linthresh=1, subs=(1, 2, 5))
    axes.yaxis.set_major_locator(ticks)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.1)
    axes.set(title="Scores: real from the line on", ylabel="crops")
    why = f"\na DET curve takes {TRIALS_FOR_DET} trials of each class"
    axes.set_xlabel("probability of real" + ("" if has_det else why))
    axes.legend(loc="upper center")


def plot_det(
    axes: Axes, scores: np.ndarray, labels: np.ndarray, figures: Figures
) -> None:
    """Plot DET curves of n trials by kind of attack, and a dot with intervals."""
    ends, colors = (LEAST_RATE, 1 - LEAST_RATE), color_classes(labels)
    for kind in sorted(figures.apcer):
        own = np.isin(labels, [kind, BONA_FIDE])
        passing, rejected, _ = det_curve(labels[own] == BONA_FIDE, scores[own])
        # Both ends, which scikit-learn leaves out where classes do not overlap.
        passing, rejected = np.r_[1, passing, 0], np.r_[0, rejected, 1]
        look = {"drawstyle": "steps-post", "color": colors[kind]}
        x, y = np.clip([passing, rejected], *ends)
        DetCurveDisplay(fpr=x, fnr=y).plot(axes, label=as_text(kind), **look)
    rates = figures.apcer[figures.worst_instrument], figures.bpcer
    values = [norm.ppf(np.clip([own.rate, *own.interval], *ends)) for own in rates]
    (x, left, right), (y, bottom, top) = values
    bars = {"xerr": [[x - left], [right - x]], "yerr": [[y - bottom], [top - y]]}
    look = {"fmt": "o", "color": "black", "capsize": 4}
    axes.errorbar(x, y, **bars, **look, label=f"threshold {THRESHOLD:g}, 95 %")
    edge = 0.1 - norm.ppf(LEAST_RATE)
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge), xlabel="attacks that pass (APCER)")
    axes.set_title(f"DET of {len(scores)} trials: the lower left is best")
    axes.set_ylabel("real faces that are rejected (BPCER)")
    axes.legend(loc="upper right", fontsize=8)


def plot_sizes(axes: Axes, by_size: dict[str, dict[str, Rate]]) -> None:
    """Plot error rates of crops by size of the face and by class."""
    colors = color_classes({name for own in by_size.values() for name in own})
    width = 0.8 / len(colors)
    for rank, (label, color) in enumerate(colors.items()):
        rates = {
            band + (rank - (len(colors) - 1) / 2) * width: own[label]
            for band, own in enumerate(by_size.values())
            if label in own and own[label].n >= TRIALS_FOR_RATE
        }
        heights = [100 * rate.rate for rate in rates.values()]
        look = {"color": color, "alpha": 0.6, "label": as_text(label)}
        bars = axes.bar([*rates], heights, width, **look)
        axes.bar_label(bars, [rate.n for rate in rates.values()], fontsize=8)
    axes.set_ylim(0, 1.4 * max(1, axes.dataLim.y1))
    axes.set_xticks(range(len(by_size)), by_size)
    axes.set_xlim(-0.6, len(by_size) - 0.4)
    axes.set_title(f"Errors by size of the face, of {TRIALS_FOR_RATE} crops or more")
    axes.set(xlabel="size of the face, pixels", ylabel="errors, %")
    axes.legend(loc="upper right", fontsize=8)


def plot_hardest(
    axes: Axes, scores: np.ndarray, dataset: Dataset, evaluation: Evaluation
) -> None:
    """Show the hardest presentations, by the hardest frame of each of their parts."""
    is_real = dataset.labels == BONA_FIDE
    wrongness = np.where(is_real, -scores, scores)
    is_wrong = (scores >= THRESHOLD) != is_real
    hardest = rank_hardest(evaluation)
    shown = 12 if len(hardest) <= 2 else 6 if len(hardest) <= 4 else 3  # frames
    for place, own in enumerate(hardest[: 24 // shown]):
        row, column = divmod(place * shown, CROPS_IN_ROW)
        score, color, top = f"{own.mean_score:.3f}", "black", row * CELL_HEIGHT
        if (own.mean_score >= THRESHOLD) != (own.label == BONA_FIDE):
            score, color = f"{score}  WRONG", WRONG_COLOR
        label, name = as_text(own.label)[:LETTERS], as_text(own.source)
        room = shown * LETTERS - len(f"{label}    {score}")
        name = name if len(name) <= room else f"...{name[3 - room :]}"
        look = {"color": color, "va": "top", "fontsize": 9, "family": "monospace"}
        axes.text(column, top, f"{label}  {name}  {score}", **look)
        is_own = (dataset.labels == own.label) & (dataset.sources == own.source)
        for part in np.array_split(np.flatnonzero(is_own), min(shown, own.n)):
            crop = part[wrongness[part].argmax()]
            image = read_image(dataset.paths[crop])
            if image is not None:  # deleted meanwhile
                height, width = 0.95 * np.array(image.shape[:2]) / max(image.shape)
                side = column, column + width, top + 0.3 + height, top + 0.3
                axes.imshow(image[..., ::-1], extent=side)  # BGR to RGB
                color = WRONG_COLOR if is_wrong[crop] else "black"
                look = {"color": color, "ha": "center", "fontsize": 7}
                axes.text(column + width / 2, top + 0.27, f"{scores[crop]:.3f}", **look)
            column += 1
    axes.set(xlim=(0, CROPS_IN_ROW), ylim=(CELL_HEIGHT * min(2, len(hardest)), 0))
    axes.axis("off")
    axes.set_title("The hardest presentations, and the probability of real")
