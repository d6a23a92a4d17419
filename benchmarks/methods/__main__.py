"""Compare liveness cues on the same crops or clips, in the same folds.

    python -m benchmarks.methods --dataset FOLDER
    python -m benchmarks.methods --dataset FOLDER --on ANOTHER --plot methods.png
    python -m benchmarks.methods --sample FOLDER
    python -m benchmarks.methods --videos FOLDER --seconds 1 3

prints a table each. FOLDER holds a folder of crops, or of videos, for each class: real,
and fake or whatever the attacks are. No sample is scored by a learner that has seen it.
--sample writes the simulated videos of docs/methods.md.
"""

import argparse
from pathlib import Path

from benchmarks import format_runs
from benchmarks.methods import focus, frequency, gestures, plane, texture
from benchmarks.methods.learners import LivenessNet, logistic, scaled_svm, svm
from benchmarks.methods.samples import Samples, load_clips, load_crops, write_sample
from pyimagesearch.console import UserError, exit_status
from pyimagesearch.faces import shrink
from pyimagesearch.flags import positive_int
from pyimagesearch.folds import FOLDS, split_videos
from pyimagesearch.metrics import equal_error, evaluate
from pyimagesearch.names import BONA_FIDE

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

# Each cue turns a sample into features, and learns from them with a classifier.
CROP_CUES = {
    "LivenessNet": (shrink, LivenessNet),
    "texture": (texture.describe, svm),  # scaled, rare patterns would dominate
    "frequency": (frequency.describe, scaled_svm),
}
CLIP_CUES = {
    "focus": (focus.describe, logistic),
    "one plane": (plane.describe, logistic),
    "eyes and mouth": (gestures.describe, logistic),
}
SEED = 42
SAMPLE_FRAMES = 480  # 16 seconds: five clips of three seconds


def score_unseen(
    cue: tuple, samples: Samples, others: Samples | None, seed: int
) -> np.ndarray:
    """Cross-validate on the samples, or learn all of them and score `others`: (n,)."""
    describe, new_learner = cue
    features = np.array([describe(item) for item in samples.items])
    is_real = samples.labels == BONA_FIDE
    if others is not None:
        learner = new_learner(seed).fit(features, is_real)
        unseen = np.array([describe(item) for item in others.items])
        return learner.predict_proba(unseen)[:, 1].astype(float)
    scores = np.full(len(features), np.nan)
    by = samples.labels, samples.sources, samples.persons
    folds, _ = split_videos(*by, FOLDS, seed)
    for train, test in folds:
        learner = new_learner(seed).fit(features[train], is_real[train])
        scores[test] = learner.predict_proba(features[test])[:, 1]
    return scores


def compute_figures(scores: np.ndarray, samples: Samples) -> dict[str, float]:
    """Return EER by attack, ACER and AUC in percent."""
    real = scores[samples.labels == BONA_FIDE]
    figures = {}
    for name in sorted(set(samples.labels) - {BONA_FIDE}):
        rate, _ = equal_error(scores[samples.labels == name], real)
        figures[f"EER, {name}"] = 100 * rate
    frames = evaluate(scores, samples.labels, samples.sources).frames
    return figures | {"ACER at 0.5": 100 * frames.acer, "AUC": 100 * frames.auc}


def compare(
    title: str, cues: dict, samples: Samples, others: Samples | None, seeds: int
) -> dict[str, np.ndarray]:
    """Print a table of all cues, in percent; return the scores of the first seed."""
    first, measured = {}, others or samples
    if BONA_FIDE not in measured.labels or len(set(measured.labels)) < 2:
        raise UserError(f"{title}: expected a folder named {BONA_FIDE} and others")
    for name, cue in cues.items():
        seeded = range(SEED, SEED + seeds)
        scores = [score_unseen(cue, samples, others, seed) for seed in seeded]
        runs = [compute_figures(own, measured) for own in scores]
        if not first:
            print(f"\n| {title} | {' | '.join(runs[0])} |")
            print("|---" * (len(runs[0]) + 1) + "|")
        first[name] = scores[0]
        cells = [format_runs([run[key] for run in runs]) for key in runs[0]]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return first


def plot(path: Path, tables: dict[str, tuple[dict, np.ndarray]]) -> None:
    """Draw ROC curves: a panel for each table, from scores by cue and truth."""
    figure = Figure((6 * len(tables), 5), layout="constrained")
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, (title, (scores, is_real)) in zip(panels, tables.items(), strict=True):
        for name, own in scores.items():
            attacks, accepted, _ = roc_curve(is_real, own)
            axes.plot(100 * attacks, 100 * accepted, label=name)
        axes.set(title=title, xlabel="APCER, %", ylabel="100 - BPCER, %")
        axes.legend()
    figure.savefig(path, format="png", dpi=80)


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    tables = {}
    if args.sample:
        write_sample(args.sample, SAMPLE_FRAMES)
    elif not args.dataset and not args.videos:
        raise UserError("nothing to measure; give --dataset or --videos")
    if args.dataset:
        samples = load_crops(args.dataset)
        others = load_crops(args.on) if args.on else None
        title = args.dataset.name + (f" to {args.on.name}" if args.on else "")
        scores = compare(title, CROP_CUES, samples, others, args.seeds)
        tables[title] = scores, (others or samples).labels == BONA_FIDE
    for seconds in args.seconds if args.videos else []:
        samples = load_clips(args.videos, seconds)
        title = f"{args.videos.name}, clips of {seconds:g} s"
        scores = compare(title, CLIP_CUES, samples, None, args.seeds)
        tables[title] = scores, samples.labels == BONA_FIDE
    if args.plot and tables:
        plot(args.plot, tables)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = {"type": Path, "metavar": "FOLDER"}
    add = parser.add_argument
    add("--dataset", **folder, help="crops")
    add("--on", **folder, help="learn all of --dataset and measure on these crops")
    add("--videos", **folder, help="videos")
    add("--seconds", type=float, nargs="+", default=[1, 3], help="length of the clips")
    add("--seeds", type=positive_int, default=1, metavar="N", help="folds and networks")
    add("--plot", type=Path, metavar="FILE", help="draw ROC curves here")
    add("--sample", **folder, help="write simulated videos here")
    return exit_status(run, parser.parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
