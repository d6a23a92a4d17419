"""Measure the methods on the same crops or clips, in the same folds.

    python -m benchmarks methods --dataset FOLDER
    python -m benchmarks methods --dataset FOLDER --on ANOTHER
    python -m benchmarks methods --videos FOLDER --seconds 1 3

print a table each and draw methods.png. FOLDER holds a folder of crops, or of videos,
for each class: real, and fake or whatever the attacks are. All scores are of samples
that were not learnt from.

    python -m benchmarks methods --sample FOLDER
    python -m benchmarks methods --pictures docs

write videos of the sample (see sample.py), and the pictures of docs/methods.md.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.methods import focus, frequency, gestures, plane, texture
from benchmarks.methods.network import LivenessNet
from benchmarks.methods.samples import (
    REAL,
    Samples,
    deal_folds,
    load_clips,
    load_crops,
)
from benchmarks.methods.together import Together
from pyimagesearch.console import UserError, exit_status, info, positive_int
from pyimagesearch.metrics import FIXED_THRESHOLD, equal_error, evaluate

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

SEED = 42
TIMED = 30  # samples that are scored one by one to tell how long it takes


def of_crops(seed: int) -> dict[str, Callable]:
    """Give the methods that one picture is enough for, by name: each call makes one."""

    def network():
        return LivenessNet(seed)

    both = [network, texture.new]
    return {
        "LivenessNet": network,
        "texture": texture.new,
        "frequency": frequency.new,
        "LivenessNet and texture, mean": lambda: Together(both),
        "LivenessNet and texture, weighted": lambda: Together(both, weighted=True),
    }


def of_clips(_seed: int) -> dict[str, Callable]:
    """Give the methods that want time, or what is around the face, by name."""
    movements = [plane.new, gestures.new]
    return {
        "focus": focus.new,
        "movement: one plane": plane.new,
        "movement: eyes and mouth": gestures.new,
        "both movements, mean": lambda: Together(movements),
    }


def score_unseen(
    new: Callable, samples: Samples, others: Samples | None, seed: int
) -> np.ndarray:
    """Give the probability of real of each sample by a method that did not learn it.

    Parameters
    ----------
    new : callable
        Makes the method.
    samples : Samples
        Learnt from and, in folds, scored.
    others : Samples or None
        Scored instead, by a method that learnt all of `samples`.
    seed : int
        Of the folds.
    """
    if others is not None:
        return new().fit(samples.items, samples.labels).score(others.items)
    scores = np.full(len(samples.items), np.nan)
    for train, test in deal_folds(samples, seed):
        learnt = samples.subset(train)
        method = new().fit(learnt.items, learnt.labels)
        scores[test] = method.score(samples.subset(test).items)
    return scores


def time_one(new: Callable, samples: Samples) -> float:
    """Measure the CPU time of one sample on one thread: the median, in milliseconds."""
    method, times = new().fit(samples.items, samples.labels), []
    places = np.linspace(0, len(samples.items) - 1, TIMED).astype(int)
    with threadpool_limits(1):
        for item in [samples.items[place] for place in places]:
            start = time.process_time()
            method.score([item])
            times.append(time.process_time() - start)
    return 1000 * median(times)


def figure(scores: np.ndarray, samples: Samples) -> dict[str, float]:
    """Put scores into figures, in percent: EER by attack, ACER, and sources right."""
    measured = evaluate(scores, samples.labels, samples.sources, FIXED_THRESHOLD)
    attacks = sorted(set(samples.labels) - {REAL})
    real = scores[samples.labels == REAL]
    figures = {
        f"EER, {name}": 100 * equal_error(scores[samples.labels == name], real).rate
        for name in attacks
    }
    right = [
        (source["mean_score"] >= FIXED_THRESHOLD) == (source["label"] == REAL)
        for source in measured["sources"]
    ]
    return figures | {
        "ACER at 0.5": 100 * measured["frames"]["acer"],
        "AUC": 100 * measured["frames"]["auc"],
        "sources right": 100 * np.mean(right),
    }


def compare(
    makers: Callable, samples: Samples, others: Samples | None, seeds: int, title: str
) -> dict[str, np.ndarray]:
    """Measure all methods, print a table, and give the scores of the first seed."""
    cv2.setNumThreads(1)
    scored, header = others or samples, None
    first = {}
    for name in makers(SEED):
        runs = []
        for seed in range(SEED, SEED + seeds):
            scores = score_unseen(makers(seed)[name], samples, others, seed)
            first.setdefault(name, scores)
            runs.append(figure(scores, scored))
        if header is None:
            header = [f"{key}, %" for key in runs[0]] + ["ms"]
            print(f"\n| {title} | {' | '.join(header)} |")
            print("|---" * (len(header) + 1) + "|")
        cells = [spread([run[key] for run in runs]) for key in runs[0]]
        cells.append(f"{time_one(makers(SEED)[name], samples):.2g}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return first


def spread(values: list[float]) -> str:
    """Say the mean of several runs, and between what they lie where they differ."""
    text, low, high = (f"{f(values):.1f}" for f in (np.mean, min, max))
    return text if low == high else f"{text} ({low} to {high})"


def plot(path: Path, panels: dict[str, tuple[dict[str, np.ndarray], Samples]]) -> None:
    """Draw ROC curves, a panel for each table."""
    from pyimagesearch.files import atomic_write

    from matplotlib.figure import Figure
    from sklearn.metrics import roc_curve

    drawing = Figure((6 * len(panels), 5), layout="constrained")
    for axes, (title, (scored, samples)) in zip(
        drawing.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for name, scores in scored.items():
            passing, accepted, _ = roc_curve(samples.labels == REAL, scores)
            axes.plot(100 * passing, 100 * accepted, label=name, alpha=0.8)
        axes.plot([0, 100], [0, 100], ":", color="grey", label="guessing")
        axes.set_title(title)
        axes.set_xlabel("attacks that pass, % (APCER)")
        axes.set_ylabel("real faces that pass, % (100 - BPCER)")
        axes.legend(loc="lower right")
    with atomic_write(path) as temporary:
        drawing.savefig(temporary, format="png", dpi=80)


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    panels = {}
    if args.sample or args.pictures:
        from benchmarks.methods import pictures, sample

        if args.sample:
            info(f"wrote {', '.join(map(str, sample.write(args.sample)))}")
        if args.pictures:
            info(f"wrote {', '.join(map(str, pictures.draw(args.pictures)))}")
    elif not args.dataset and not args.videos:
        raise UserError("nothing to measure on; give --dataset or --videos")
    if args.dataset:
        samples, title = load_crops(args.dataset), args.dataset.name
        others = load_crops(args.on) if args.on else None
        title += f" to {args.on.name}" if args.on else ""
        first = compare(of_crops, samples, others, args.seeds, title)
        panels[title] = first, others or samples
    for seconds in args.seconds if args.videos else []:
        samples = load_clips(args.videos, seconds)
        title = f"{args.videos.name}, clips of {seconds:g} s"
        panels[title] = compare(of_clips, samples, None, args.seeds, title), samples
    if panels:
        plot(args.plot, panels)
        info(f"wrote {args.plot}")


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks methods", description=__doc__.splitlines()[0]
    )
    for flag, what in {
        "--dataset": "crops, a folder for each class",
        "--on": "learn from all of --dataset and measure on these crops",
        "--videos": "videos, a folder for each class",
        "--sample": "write videos of the sample here, as --videos wants them",
        "--pictures": "draw the pictures of docs/methods.md here",
    }.items():
        parser.add_argument(flag, type=Path, metavar="FOLDER", help=what)
    parser.add_argument(
        "--seconds",
        type=float,
        nargs="+",
        default=[1.0, 3.0],
        metavar="S",
        help="length of the clips (default: 1 3)",
    )
    parser.add_argument(
        "--seeds",
        type=positive_int,
        default=1,
        metavar="N",
        help="repeat with other folds and networks (default: %(default)s)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        default=Path("methods.png"),
        metavar="FILE",
        help="where the curves go (default: %(default)s)",
    )
    return exit_status(run, parser.parse_args(argv))
