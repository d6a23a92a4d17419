"""Plots of a training and an evaluation, drawn without a display."""

from pathlib import Path

from pyimagesearch.dataset import Dataset
from pyimagesearch.files import atomic_write
from pyimagesearch.frames import read_image
from pyimagesearch.labels import THRESHOLD
from pyimagesearch.names import BONA_FIDE

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import roc_curve

GRID = 2, 8  # rows and columns of the contact sheet
CELL_HEIGHT = 1.25  # of one crop, with the text over it, where its width is 1
REAL_COLOR, ATTACK_COLOR = "#2a9d4e", "#d1342f"


def plot_report(
    path: Path,
    histories: list[dict[str, list[float]]],
    scores: np.ndarray | None,
    dataset: Dataset,
) -> None:
    """Draw training curves, scores, ROC curve and the hardest crops into one PNG.

    `histories` come from `train_network` and may be empty. `scores`, (n,), are the
    probabilities of bona fide of the dataset's crops; None draws the curves only.
    """
    is_real = dataset.labels == BONA_FIDE
    panels = [lambda axes: plot_training(axes, histories)] * bool(histories)
    if scores is not None:
        panels.append(lambda axes: plot_scores(axes, scores, is_real))
        if len(set(is_real)) == 2:
            panels.append(lambda axes: plot_roc(axes, scores, is_real))
    with style.context("ggplot"):
        rows, height = (1, 4.5) if scores is None else (2, 8.0)
        figure = Figure((5 * len(panels), height), layout="constrained")
        parts = figure.subfigures(rows, squeeze=False)[:, 0]
        all_axes = parts[0].subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(all_axes, panels, strict=True):
            panel(axes)
        if scores is not None:
            plot_hardest(parts[1].subplots(), scores, is_real, dataset.paths)
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format="png", dpi=100)


def plot_training(axes: Axes, histories: list[dict[str, list[float]]]) -> None:
    """Plot loss and accuracy by epoch, as the tutorial does; of folds, their means."""
    length = min(len(history["loss"]) for history in histories)
    epochs = np.arange(1, length + 1)
    for key, label in (
        ("loss", "train_loss"),
        ("val_loss", "val_loss"),
        ("accuracy", "train_acc"),
        ("val_accuracy", "val_acc"),
    ):
        curves = []
        for history in histories:
            values, count = history.get(key), len(history["loss"])
            if values:
                measured = np.arange(1, count + 1)
                if key.startswith("val"):
                    measured = np.array(history["validated"])
                # Stretched, as smaller folds may take more epochs.
                x = measured * length / count
                curves.append(np.interp(epochs, x, values, left=np.nan))
        if curves:
            marker = "." if length < 3 else ""
            (line,) = axes.plot(
                epochs, np.mean(curves, axis=0), marker=marker, label=label
            )
        for own in curves if len(curves) > 1 else ():
            axes.plot(epochs, own, color=line.get_color(), alpha=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Training Loss and Accuracy on Dataset")
    folds = f" (mean of {len(histories)} folds)" if len(histories) > 1 else ""
    axes.set_xlabel(f"Epoch #{folds}")
    axes.set_ylabel("Loss/Accuracy")
    axes.legend(loc="best")


def plot_scores(axes: Axes, scores: np.ndarray, is_real: np.ndarray) -> None:
    """Plot a histogram of the scores of real faces and of attacks."""
    bins = np.linspace(0, 1, 41)
    for own, color, label in (
        (is_real, REAL_COLOR, "real"),
        (~is_real, ATTACK_COLOR, "attacks"),
    ):
        if own.any():
            label = f"{label} ({own.sum()})"
            axes.hist(scores[own], bins, color=color, alpha=0.6, label=label)
    axes.axvline(THRESHOLD, color="black", linestyle="--", label="threshold")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_title("Scores: real from the line on")
    axes.set_xlabel("probability of real")
    axes.set_ylabel("crops")
    axes.legend(loc="upper center")


def plot_roc(axes: Axes, scores: np.ndarray, is_real: np.ndarray) -> None:
    """Plot the ROC curve, with both error rates as axes."""
    passing, accepted, _ = roc_curve(is_real, scores)
    axes.plot(100 * passing, 100 * accepted, color="#3a6ea5", linewidth=2)
    axes.plot([0, 100], [0, 100], color="grey", linestyle=":", label="guessing")
    axes.plot(
        100 * (scores[~is_real] >= THRESHOLD).mean(),
        100 * (scores[is_real] >= THRESHOLD).mean(),
        "o",
        color="black",
        label="at the threshold",
    )
    axes.set_title("ROC: the upper left is best")
    axes.set_xlabel("attacks that pass, % (APCER)")
    axes.set_ylabel("real faces that pass, % (100 - BPCER)")
    axes.legend(loc="lower right")


def plot_hardest(
    axes: Axes, scores: np.ndarray, is_real: np.ndarray, paths: list[Path]
) -> None:
    """Show the crops with the largest errors, then those nearest to the threshold."""
    # How far on the wrong side of the threshold a crop is.
    wrongness = np.where(is_real, THRESHOLD - scores, scores - THRESHOLD)
    is_wrong = (scores >= THRESHOLD) != is_real
    rows, columns = GRID
    hardest = np.argsort(-wrongness, kind="stable")[: rows * columns]
    for place, crop in enumerate(hardest):
        image = read_image(paths[crop])
        if image is None:  # deleted meanwhile
            continue
        image = image[..., ::-1]  # BGR to RGB
        height, width = np.array(image.shape[:2]) / max(image.shape)
        row, column = divmod(place, columns)
        x, bottom = column + 0.5, (row + 1) * CELL_HEIGHT
        top = bottom - height
        axes.imshow(image, extent=(x - width / 2, x + width / 2, bottom, top))
        name = paths[crop].stem.encode("utf-8", "backslashreplace").decode()
        name = name if len(name) < 24 else f"...{name[-20:]}"
        text = f"{name}\n{scores[crop]:.3f}{'  WRONG' if is_wrong[crop] else ''}"
        color = REAL_COLOR if is_real[crop] else ATTACK_COLOR
        options = {"ha": "center", "va": "bottom", "fontsize": 8}
        axes.text(x, top - 0.03, text, color=color, **options)
    axes.set(xlim=(0, columns), ylim=(rows * CELL_HEIGHT, 0))
    axes.axis("off")
    axes.set_title(
        f"The hardest crops and their probability of real ({is_wrong.sum()} of "
        f"{len(scores)} are on the wrong side)"
    )
