"""Train LivenessNet on the crops that gather_examples.py saved, and measure it.

    python train.py --dataset dataset --model liveness.model --le le.pickle

writes the network (liveness.model), the names of its outputs (le.pickle) and a picture
(plot.png). Every folder in the dataset is a class: dataset/real, and dataset/fake or
whatever the attacks are. The network learns all crops. How well it does on crops that
it has not seen is measured on others that are made the same way, each without a part.

    python train.py --evaluate --dataset somebody-elses

measures a network that is there already, on all crops of a dataset.
"""

import pyimagesearch

if __name__ == "__main__":
    pyimagesearch.leave_on_interrupt()

import argparse
import math
import time
from contextlib import closing
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

# Ours come first: they set what OpenCV reads when it is imported.
from pyimagesearch.console import (
    count_of,
    exit_status,
    info,
    path,
    positive_int,
    seed_int,
    warn,
)
from pyimagesearch.dataset import Dataset, digest_sources, load_dataset
from pyimagesearch.files import check_distinct, check_writable
from pyimagesearch.folds import BLOCKS, FOLDS, Fold, split_dataset
from pyimagesearch.labels import Labels, save_labels_of
from pyimagesearch.models import export_onnx, save_model
from pyimagesearch.preprocessing import HEIGHT, WIDTH

import numpy as np

SEED = 42
# Keras' 0.99 needs more steps than a short training has. This matters for the curves
# only, as the statistics are estimated anew in the end.
BATCH_NORM_MOMENTUM = 0.9


class Recipe(NamedTuple):
    """How a network is trained."""

    epochs: int
    min_steps: int  # more epochs where they are fewer batches in all; of folds, 2/3
    batch_size: int
    learning_rate: float  # of Adam, at the start
    schedule: str  # of the learning rate
    class_weighted: bool  # rare classes weigh as much as common ones
    source_weighted: bool  # crops of short videos are learnt more often
    precise_bn: bool  # batch normalization's statistics are estimated in the end


RECIPES = {
    # The best of those in benchmarks/README.md.
    "steady": Recipe(20, 600, 16, 1e-3, "cosine", True, True, True),
    "tutorial": Recipe(50, 0, 8, 1e-4, "inverse time", False, False, False),
}


class Training(NamedTuple):
    """What came out of the training of one network."""

    model: object  # keras.Sequential
    history: dict[str, list[float]]  # loss, accuracy, val_loss, val_accuracy by epoch
    probabilities: np.ndarray  # (m, classes) float32, of the fold's test crops
    whole: bool  # False where it was interrupted


def train_network(
    data, fold: Fold, recipe: Recipe, seed: int, bar, stop
) -> Training | None:
    """Build, compile and fit a network, as the tutorial does.

    Parameters
    ----------
    data : TrainingData
        Shared by all trainings.
    fold : Fold
        The crops in `test` are only watched, never learnt or chosen from.
    recipe : Recipe
    seed : int
        The same seed gives the same network.
    bar, stop
        From `run_in_threads`.

    Returns
    -------
    Training or None
        None if it was stopped before the first epoch was over.
    """
    from pyimagesearch import training

    epochs, steps = recipe.epochs, count_steps(recipe, fold)
    rng = np.random.default_rng(seed)
    batches = training.batches_of(
        *(data, fold, epochs * steps, recipe.batch_size),
        *(recipe.class_weighted, recipe.source_weighted, rng),
    )
    with training.seeded(seed):
        model = training.LivenessNet.build(
            width=WIDTH, height=HEIGHT, depth=3, classes=data.targets.shape[1]
        )
        # The same network, with faster layers.
        fast = training.fuse(model, BATCH_NORM_MOMENTUM if recipe.precise_bn else None)
    schedules = training.keras.optimizers.schedules
    if recipe.schedule == "cosine":
        rate = schedules.CosineDecay(recipe.learning_rate, epochs * steps)
    else:  # what `Adam(decay=learning_rate / epochs)` was before Keras 3
        decay = recipe.learning_rate / epochs
        rate = schedules.InverseTimeDecay(recipe.learning_rate, 1, decay)
    fast.compile(
        loss="categorical_crossentropy",  # of two classes, the tutorial's binary one
        optimizer=training.FusedAdam(rate),
        metrics=["accuracy"],
    )
    control = training.Control(bar, stop)
    validation = training.Validation(data, fold.test)
    history = fast.fit(
        batches,
        epochs=epochs,
        steps_per_epoch=steps,
        callbacks=[validation, control],
        shuffle=False,  # they are
        verbose=0,
    ).history
    if not control.epochs:
        return None
    if recipe.precise_bn:
        training.reestimate_batch_norm(fast, batches)
    model.set_weights(fast.get_weights())
    whole = control.epochs == epochs
    return Training(model, history, validation.predict(fold.test), whole)


def with_enough_steps(recipe: Recipe, fold: Fold) -> Recipe:
    """Give a recipe the epochs that it takes to make `min_steps` steps."""
    epochs = math.ceil(recipe.min_steps / count_steps(recipe, fold))
    return recipe._replace(epochs=max(recipe.epochs, epochs))


def count_steps(recipe: Recipe, fold: Fold) -> int:
    """Count the steps of an epoch."""
    return math.ceil(len(fold.train) / recipe.batch_size)


def train_and_save(
    dataset: Dataset, folds: list[Fold], recipe: Recipe, args: argparse.Namespace
) -> tuple[Labels, Training, list[Training | None]]:
    """Train and save the final network; train those that are measured.

    With several folds, the final network learns all crops and is trained first. Gives
    the labels as saved, the final training, and one for each fold.
    """
    from pyimagesearch import training

    info("compiling model...")
    everything = Fold(np.arange(len(dataset.labels)), np.arange(0))
    all_folds = [everything, *folds] if len(folds) > 1 else folds
    recipes = [with_enough_steps(recipe, all_folds[0])]
    # The others see their crops as often as the final network, or more often.
    other = recipes[0]._replace(min_steps=recipe.min_steps * 2 // 3)
    recipes += [with_enough_steps(other, fold) for fold in all_folds[1:]]
    train = partial(train_network, training.prepare(dataset))
    jobs, steps = [], 0
    for fold, own in zip(all_folds, recipes, strict=True):
        jobs.append(partial(train, fold, own, args.seed))
        steps += own.epochs * count_steps(own, fold)
    info(f"training network for {count_of(recipes[0].epochs, 'epoch')}...")
    if len(folds) > 1:
        info(f"and {len(folds)} others to measure, each without a part of the crops...")
    with closing(training.run_in_threads(jobs, steps)) as results:
        final = next(results)
        if final is None:
            raise KeyboardInterrupt
        if not final.whole:
            epochs = len(final.history["loss"])
            info(f"interrupted in epoch {epochs}; keeping the network as it is")
        # Saved before anything else can fail.
        info(f"serializing network to '{args.model}'...")
        sha256 = save_model(final.model, args.model)
        classes = np.unique(dataset.labels).tolist()
        labels = Labels(
            classes,
            *dataset[4:],
            learnt=digest_sources(dataset, all_folds[0].train),
            model_sha256=sha256,
        )
        try:
            if args.export:
                info(f"exporting network to '{args.export}'...")
                sha256 = export_onnx(final.model, args.export, dataset.crops[:256])
                labels = labels._replace(onnx_sha256=sha256)
        finally:
            save_labels_of(args.model, labels, args.le)
        import_module("pyimagesearch.evaluation")  # a second, while others learn
        return labels, final, list(results) if len(folds) > 1 else [final]


def run_training(args: argparse.Namespace) -> None:
    """Train, save, measure, and draw."""
    recipe = RECIPES[args.recipe]
    if args.epochs:
        recipe = recipe._replace(epochs=args.epochs, min_steps=0)
    dataset = load_dataset(args.dataset)
    folds, how = split_dataset(dataset, args.split, args.folds, args.seed)
    start = time.perf_counter()
    labels, final, trainings = train_and_save(dataset, folds, recipe, args)
    seconds = time.perf_counter() - start

    from pyimagesearch.evaluation import measure_folds, write_report
    from pyimagesearch.plots import plot_report

    measured = [t for t in trainings if t and (t.whole or t is final)]
    is_whole = final.whole and len(measured) == len(folds)
    if len(measured) < len(folds):
        warn(f"interrupted: there are figures of {len(measured)} of {len(folds)} folds")
    if not measured:
        raise KeyboardInterrupt
    info("evaluating network...")
    folds = [f for f, t in zip(folds, trainings, strict=True) if t in measured]
    rows = [training.probabilities for training in measured]
    report, scores, held_out = measure_folds(folds, rows, dataset, labels.classes)
    if scores is not None:
        # Frozen here, for the days on which other people's crops are measured.
        threshold = report["evaluation"]["frames"]["eer_threshold"]
        labels = labels._replace(threshold=threshold)
        save_labels_of(args.model, labels, args.le)
    plot_report(args.plot, [t.history for t in measured], scores, held_out)
    if args.report:
        report |= {
            "recipe": {"name": args.recipe, **recipe._asdict()},
            "seed": args.seed,
            "interrupted": not is_whole,
            "split": {"asked_for": args.split, "how": how, "folds": report["folds"]},
            "history": final.history,
            "seconds": {"training": seconds},
        }
        write_report(args.report, args.dataset, args.model, labels, report)
    written = [args.model, args.le, args.export, args.plot, args.report]
    info(f"wrote {', '.join(str(file) for file in written if file)}")
    if not is_whole:
        raise KeyboardInterrupt


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    steady, tutorial = RECIPES["steady"], RECIPES["tutorial"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    file = {"type": path, "metavar": "FILE"}
    add(
        "-d",
        "--dataset",
        type=path,
        default=Path("dataset"),
        metavar="FOLDER",
        help="a folder of crops for each class (default: %(default)s)",
    )
    add(
        "-m",
        "--model",
        **file,
        default=Path("liveness.model"),
        help="where the network goes (default: %(default)s)",
    )
    add(
        "-l",
        "--le",
        **file,
        default=Path("le.pickle"),
        help="where the label encoder goes (default: %(default)s)",
    )
    add(
        "-p",
        "--plot",
        **file,
        help="where the picture of training and evaluation goes (default: plot.png, or "
        "evaluation.png with --evaluate)",
    )
    add("--report", **file, help="write all figures here, as JSON")
    add(
        "--export",
        **file,
        help="write the network here as well, as ONNX, which the demo runs without "
        "TensorFlow",
    )
    add(
        "--split",
        choices=["video", "random"],
        default="video",
        help="measure on other videos than those learnt from, or on crops at random as "
        "the tutorial does (default: %(default)s)",
    )
    add(
        "--folds",
        type=positive_int,
        metavar="N",
        help="with --split video, measure N networks, each on the part of the sources "
        "that it has not learnt; 1 holds out a quarter, which is never learnt "
        f"(default: {FOLDS}, or {BLOCKS} where a class is of one person only)",
    )
    add(
        "--recipe",
        choices=list(RECIPES),
        default="steady",
        help="how to train; tutorial is for comparison (default: %(default)s)",
    )
    add(
        "--epochs",
        type=positive_int,
        metavar="N",
        help=f"passes over the training crops (default: {steady.epochs}, more where "
        f"these are under {steady.min_steps} steps, or {tutorial.epochs} with --recipe "
        "tutorial)",
    )
    add(
        "--seed",
        type=seed_int,
        default=SEED,
        metavar="N",
        help="of the split, the weights and the augmentation (default: %(default)s)",
    )
    add(
        "--evaluate",
        action="store_true",
        help="train nothing: measure --model and --le on all of --dataset",
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    args.plot = args.plot or Path("evaluation.png" if args.evaluate else "plot.png")
    names = ["model", "le", "export", "plot", "report"]
    files = {name: getattr(args, name) for name in names}
    check_distinct(**files)
    for name in names[3:] if args.evaluate else names:
        if files[name]:
            check_writable(files[name])
    if not args.evaluate:
        return run_training(args)
    from pyimagesearch.evaluation import evaluate_files

    return evaluate_files(args.model, args.le, args.dataset, args.plot, args.report)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
