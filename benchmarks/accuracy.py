"""Measure the accuracy that a training recipe reaches, over several seeds.

    python -m benchmarks.accuracy --dataset FOLDER --seeds 20 --crops 311
    python -m benchmarks.accuracy --dataset FOLDER --split place --own 0 2 4 8 16
    python -m benchmarks.accuracy --dataset FOLDER --seeds 12 --learn 16

trains a network for each seed and prints how well it classifies the crops that were
held out, as a Markdown table. --split random holds out a quarter of the crops. --split
place holds out each person or place in turn, as the names of the videos tell them;
with --own, the first K crops of each class of that place are learnt nevertheless.
--learn K learns K crops of each class, others with each seed, and measures all others;
with --split place, the K are of one place.
"""

import argparse
from functools import partial
from pathlib import Path

import train
from benchmarks import format_runs
from pyimagesearch.console import UserError, exit_status
from pyimagesearch.dataset import Dataset, load_dataset
from pyimagesearch.flags import positive_int
from pyimagesearch.folds import Fold, split_random
from pyimagesearch.labels import THRESHOLD
from pyimagesearch.metrics import evaluate
from pyimagesearch.names import BONA_FIDE
from pyimagesearch.simulate import add_recaptures

import numpy as np

MOST_OWN = 16  # crops of each class; only later ones are measured, whatever K is
GAP = 8  # crops in between that are left out, as they were filmed a moment later


def make_folds(dataset: Dataset, args: argparse.Namespace) -> dict[str, list[Fold]]:
    """Return one fold for each seed, by what is held out."""
    if args.split == "random" and args.learn:
        return {f"all but {args.learn} of each class": learn_few(dataset, True, args)}
    if args.split == "random":
        folds = [split_random(dataset.labels, seed) for seed in range(args.seeds)]
        return {"a quarter at random": folds}
    folds, classes = {}, set(dataset.labels)
    places = dataset.persons
    for place in np.unique(places).tolist():
        if args.learn:
            name = f"all but {args.learn} of each class of {place}"
            folds[name] = learn_few(dataset, places == place, args)
            continue
        for own in args.own or [None]:
            fold = hold_out(dataset.labels, places == place, own)
            if set(dataset.labels[fold.test]) != classes:
                raise UserError(f"{args.dataset}: a class has too few crops of {place}")
            name = place if own is None else f"{place}, {own} of each class learnt"
            folds[name] = [fold] * args.seeds
    return folds


def hold_out(labels: np.ndarray, is_held_out: np.ndarray, own: int | None) -> Fold:
    """Hold out the crops of a place, but for its first `own` crops of each class."""
    learnt, measured = [np.flatnonzero(~is_held_out)], []
    for label in np.unique(labels):
        crops = np.flatnonzero(is_held_out & (labels == label))
        learnt.append(crops[: own or 0])
        measured.append(crops if own is None else crops[MOST_OWN + GAP :])
    return Fold(np.sort(np.concatenate(learnt)), np.sort(np.concatenate(measured)))


def learn_few(dataset: Dataset, may_learn, args: argparse.Namespace) -> list[Fold]:
    """Learn a few crops of each class, spread over those that may be learnt."""
    folds, everything = [], np.arange(len(dataset.labels))
    for seed in range(args.seeds):
        rng, learnt = np.random.default_rng(seed), []
        for label in np.unique(dataset.labels):
            crops = np.flatnonzero(may_learn & (dataset.labels == label))
            if len(crops) <= args.learn:
                raise UserError(f"{args.dataset}: {label} has too few crops")
            learnt += [rng.choice(p) for p in np.array_split(crops, args.learn)]
        folds.append(Fold(np.sort(learnt), np.setdiff1d(everything, learnt)))
    return folds


def measure(dataset: Dataset, fold: Fold, recipe, seed: int, bar, stop) -> tuple:
    """Train one network; return its accuracy, ACER and EER on the test crops, in %."""
    outcome = train.train_network(dataset, fold, recipe, seed, bar, stop)
    if outcome is None or not outcome.finished:
        raise KeyboardInterrupt
    scores = outcome.probabilities[:, dataset.classes.index(BONA_FIDE)].astype(float)
    labels, sources = dataset.labels[fold.test], dataset.sources[fold.test]
    accuracy = np.mean((scores >= THRESHOLD) == (labels == BONA_FIDE))
    frames = evaluate(scores, labels, sources).frames
    return 100 * accuracy, 100 * frames.acer, 100 * frames.eer


def run(args: argparse.Namespace) -> None:
    """Train, measure, and print the table."""
    from pyimagesearch.training import run_in_threads

    dataset = load_dataset(args.dataset)
    if args.crops:
        places = np.linspace(0, len(dataset.labels) - 1, args.crops)
        dataset = dataset.subset(np.unique(places.round().astype(int)))
    recipe = train.RECIPES[args.recipe]
    if recipe.simulates and not args.no_simulate:
        dataset = add_recaptures(dataset, train.SEED)
    cases = make_folds(dataset, args)
    print("\n| held out | accuracy at 0.5, %: mean | worst | ACER, % | EER, % |")
    print("|---" * 5 + "|")
    for name, folds in cases.items():
        jobs = [
            partial(measure, dataset, fold, recipe, seed)
            for seed, fold in enumerate(folds)
        ]
        steps = recipe.epochs * sum(recipe.steps(fold) for fold in folds)
        accuracy, acer, eer = zip(*run_in_threads(jobs, steps), strict=True)
        cells = [f"{np.mean(accuracy):.1f}", f"{min(accuracy):.1f}"]
        cells += [format_runs(acer), format_runs(eer)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--dataset", type=Path, required=True, metavar="FOLDER")
    add("--seeds", type=positive_int, default=5, metavar="N", help="default: 5")
    add("--split", choices=["random", "place"], default="random")
    add("--crops", type=positive_int, metavar="N", help="take N, evenly spread")
    counts = {"type": int, "nargs": "+", "choices": range(MOST_OWN + 1)}
    add("--own", **counts, metavar="K", help="with --split place: how many to learn")
    what = "learn K crops of each class, measure the others"
    add("--learn", type=positive_int, metavar="K", help=what)
    add("--recipe", choices=list(train.RECIPES), default="steady")
    add("--no-simulate", action="store_true")
    args = parser.parse_args(argv)
    if args.own and args.split == "random":
        parser.error("--own needs --split place")
    if args.own and args.learn:
        parser.error("--own and --learn do not go together")
    return exit_status(run, args)


if __name__ == "__main__":
    raise SystemExit(main())
