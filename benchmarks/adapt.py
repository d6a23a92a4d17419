"""What a few crops of a new place are worth.

    python -m benchmarks.adapt --dataset FOLDER

takes each group of sources of a dataset (a person, a place, a light) in turn as the new
place. A network learns the others, with none of its crops, and with the first 2, 4, 8
and 16 real and fake ones; what comes after them, and after a gap, is measured. Prints a
table and draws benchmarks/adapt.png.
"""

import argparse
import contextlib
import io
import itertools
import json
import sys
import threading
from pathlib import Path

import train
from pyimagesearch.dataset import Dataset, load_dataset
from pyimagesearch.folds import Fold, group_sources
from pyimagesearch.labels import BONA_FIDE
from pyimagesearch.metrics import FIXED_THRESHOLD, apcer, bpcer, equal_error
from pyimagesearch.training import prepare

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

COUNTS = (0, 2, 4, 8, 16)  # crops of each class
GAP = 8  # crops left out after those that are learnt: they were filmed a moment later


def split_place(dataset: Dataset, is_new: np.ndarray, count: int) -> Fold:
    """Learn all crops of other places and the first of a new one; measure its rest."""
    learnt, rest = [np.flatnonzero(~is_new)], []
    for label in np.unique(dataset.labels):
        own = np.flatnonzero(is_new & (dataset.labels == label))
        learnt.append(own[:count])
        rest.append(own[max(COUNTS) + GAP :])  # the same for every count
    return Fold(np.sort(np.concatenate(learnt)), np.sort(np.concatenate(rest)))


def measure_place(dataset: Dataset, data, fold: Fold, seed: int) -> dict[str, float]:
    """Train once, and give the errors on the rest of the new place, in [0, 1]."""
    bar = tqdm(disable=True)
    recipe = train.with_enough_steps(train.RECIPES["steady"], fold)
    training = train.train_network(data, fold, recipe, seed, bar, threading.Event())
    classes = np.unique(dataset.labels).tolist()
    scores = training.probabilities[:, classes.index(BONA_FIDE)].astype(float)
    is_real = dataset.labels[fold.test] == BONA_FIDE
    errors = (
        apcer(scores[~is_real], FIXED_THRESHOLD).value,
        bpcer(scores[is_real], FIXED_THRESHOLD).value,
    )
    eer = equal_error(scores[~is_real], scores[is_real]).rate
    return {"apcer": errors[0], "bpcer": errors[1], "hter": sum(errors) / 2, "eer": eer}


def draw(results: list[dict], path: Path) -> None:
    """Draw the half total error rate over the number of crops, a line a place."""
    figure = Figure((6, 4), layout="constrained")
    axes = figure.subplots()
    for place in sorted({result["place"] for result in results}):
        means = [mean(results, "hter", place, count) for count in COUNTS]
        axes.plot(range(len(COUNTS)), [100 * m for m in means], "o-", label=place)
    axes.set_xticks(range(len(COUNTS)), [f"{n} + {n}" for n in COUNTS])
    axes.set_xlabel("crops of the new place that were learnt (real + fake)")
    axes.set_ylabel("HTER on the rest of it, %")
    axes.set_ylim(bottom=0)
    axes.legend(title="new place")
    figure.savefig(path, dpi=100)


def mean(results: list[dict], name: str, place: str, count: int) -> float:
    """Average a figure over the seeds."""
    own = [r[name] for r in results if (r["place"], r["count"]) == (place, count)]
    return float(np.mean(own))


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--plot", type=Path, default=Path("benchmarks/adapt.png"))
    parser.add_argument("--results", type=Path, help="every figure, as JSON")
    args = parser.parse_args()
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = load_dataset(args.dataset)
    places = group_sources(dataset.labels, dataset.sources)
    data, results = prepare(dataset), []
    jobs = list(itertools.product(np.unique(places), COUNTS, range(args.seeds)))
    for place, count, seed in tqdm(jobs, file=sys.stderr):
        fold = split_place(dataset, places == place, count)
        figures = measure_place(dataset, data, fold, seed)
        results.append({"place": str(place), "count": count, "seed": seed, **figures})
    print("| new place | crops learnt | APCER | BPCER | HTER | EER |")
    print("|---" * 6 + "|")
    for place in np.unique(places).tolist():
        for count in COUNTS:
            names = ("apcer", "bpcer", "hter", "eer")
            figures = [f"{mean(results, n, place, count):.1%}" for n in names]
            print(f"| {place} | {count} + {count} | {' | '.join(figures)} |")
    draw(results, args.plot)
    if args.results:
        args.results.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
