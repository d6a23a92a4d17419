"""Train LivenessNet on the crops that gather_examples.py saved, and evaluate it.

    python train.py --dataset dataset --model liveness.model --le le.pickle

writes the network, the names of its outputs, and a picture, plot.png. Every folder in
the dataset is a class: dataset/real, and dataset/fake or other attacks. The network
learns all crops; cross-validation estimates how it classifies crops it has not seen.
With --evaluate, a trained network is evaluated on all crops of a dataset.
"""

import argparse
import math
import shlex
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pyimagesearch import console, flags, models
from pyimagesearch.calibration import calibrate, measure_folds, shift_bias
from pyimagesearch.console import UserError, count_of, info, warn
from pyimagesearch.dataset import Dataset, count_learnt, digest_learnt, load_dataset
from pyimagesearch.faces import HEIGHT, WIDTH
from pyimagesearch.files import check_distinct, check_writable, sha256_of
from pyimagesearch.folds import BLOCKS, FOLDS, Fold, split_dataset
from pyimagesearch.labels import Labels, save_labels_of, warn_of_loss
from pyimagesearch.measurement import Measurement, measure, needs_more
from pyimagesearch.names import BONA_FIDE
from pyimagesearch.report import describe, format_report, write_report
from pyimagesearch.simulate import ENOUGH_PERSONS, add_recaptures, is_simulated

import numpy as np

SEED = 42


class Recipe(NamedTuple):
    """How a network is trained."""

    epochs: int
    # Of an epoch: few crops need as many steps as many do. In a fold, 2/3 of it.
    min_batches: int
    batch_size: int
    learning_rate: float  # of Adam, at the start
    schedule: str  # of the learning rate: constant, cosine or inverse time
    class_weighted: bool = False  # classes weigh the same in the loss
    source_weighted: bool = False  # crops of small sources are drawn more often
    precise_bn: bool = False  # re-estimate batch normalization's statistics in the end
    simulates: bool = False  # recaptures of the real crops are learnt as attacks, too
    calibrates: bool = False  # 0.5 is put where held-out crops' error rates are equal

    def steps(self, fold: Fold) -> int:
        """Count the steps of an epoch."""
        return max(self.min_batches, math.ceil(len(fold.train) / self.batch_size))


RECIPES = {
    # The best of those in benchmarks/README.md.
    "steady": Recipe(20, 30, 16, 1e-3, "cosine", True, True, True, True, True),
    "tutorial": Recipe(50, 0, 8, 1e-4, "inverse time"),
}


class Trained(NamedTuple):
    """A network after its training."""

    model: Any  # of Keras
    history: dict[str, list]  # loss and accuracy of each epoch
    probabilities: np.ndarray  # (m, classes) float32, of the fold's test crops
    finished: bool  # False if it was interrupted


def callbacks(validates: bool) -> list:
    """Return fresh Keras callbacks for one network: add your own here.

    Folds, where `validates` is true, have `val_loss` and `val_accuracy`. Callbacks that
    set the learning rate need a recipe with the schedule "constant".
    """
    return []


def train_network(
    dataset: Dataset, fold: Fold, recipe: Recipe, seed: int, bar, stop
) -> Trained | None:
    """Build, compile and fit a network; return None if interrupted in the first epoch.

    `bar` and `stop` come from `run_in_threads`. The same seed gives the same network.
    """
    from pyimagesearch import training
    from pyimagesearch.backend import keras
    from pyimagesearch.livenessnet import LivenessNet

    epochs, steps = recipe.epochs, recipe.steps(fold)
    batches = training.make_batches(dataset, fold.train, recipe, epochs * steps, seed)
    with training.seeded(seed):
        model = LivenessNet.build(WIDTH, HEIGHT, 3, len(dataset.classes))
    if recipe.precise_bn:  # the validation curves need statistics that follow faster
        training.set_batch_norm_momentum(model, 0.9)
    optimizer = keras.optimizers.Adam(training.learning_rate(recipe, steps))
    # The loss is the tutorial's binary one, for any number of classes.
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    control, validates = training.Control(bar, stop), len(fold.test) > 0
    unseen = training.plain_batches(dataset, fold.test) if validates else None
    with training.fused_batch_norm(model):
        history = model.fit(
            batches,
            epochs=epochs,
            steps_per_epoch=steps,
            validation_data=unseen,
            callbacks=[*callbacks(validates), control],
            shuffle=False,  # they are shuffled already
            verbose=0,
        ).history
    if control.interrupted and len(history["loss"]) == 1:
        return None
    if recipe.precise_bn:
        training.reestimate_batch_norm(model, batches)
    rows = models.classify(models.as_network(model).predict, dataset.crops, fold.test)
    return Trained(model, history, rows, not control.interrupted)


def save(model, dataset: Dataset, learnt: np.ndarray, args) -> Labels:
    """Save a network, its ONNX twin if asked for, and at last its labels."""
    known, failure = digest_learnt(dataset, learnt), None
    labels = Labels(dataset.classes, dataset.margin, known, args.read_at)
    try:
        if args.export:
            sha256 = models.export_onnx(model, args.export, dataset.crops)
            labels = labels._replace(onnx_sha256=sha256)
    except Exception as error:  # of Keras or tf2onnx; an interrupt writes nothing
        failure = error
    info(f"serializing network to '{args.model}'...")
    labels = labels._replace(model_sha256=models.save_model(model, args.model))
    save_labels_of(args.model, labels, args.le)
    if failure:
        raise failure
    return labels


def train_all(dataset: Dataset, folds: list[Fold], recipe: Recipe, args):
    """Train the final network, then those of the folds; one is both.

    Returns the final network, and the folds that are done, each with its network.
    """
    from pyimagesearch import training

    info("compiling model...")
    everything = Fold(np.arange(len(dataset.labels)), np.arange(0))
    first, *others = [everything, *folds] if len(folds) > 1 else folds
    shorter = recipe._replace(min_batches=recipe.min_batches * 2 // 3)
    plans = [(first, recipe), *((fold, shorter) for fold in others)]
    jobs = [partial(train_network, dataset, *plan, args.seed) for plan in plans]
    steps = recipe.epochs * sum(own.steps(fold) for fold, own in plans)
    info(f"training network for {count_of(recipe.epochs, 'epoch')}...")
    with closing(training.run_in_threads(jobs, steps)) as results:
        final = next(results)
        if final is None:
            raise KeyboardInterrupt
        if not final.finished:
            epochs = len(final.history["loss"])
            info(f"interrupted in epoch {epochs}; keeping the network as it is")
        if not others:  # all there is, finished or not
            return final, [(first, final)]
        pairs = zip(folds, results, strict=True)
        return final, [(fold, own) for fold, own in pairs if own and own.finished]


def run_training(args: argparse.Namespace) -> None:
    """Train, calibrate, save and evaluate."""
    recipe = RECIPES[args.recipe]
    recipe = recipe._replace(epochs=args.epochs or recipe.epochs)
    asked = args.simulate if recipe.simulates else bool(args.simulate)
    args.read_at = time.time()  # crops that are saved from now on may not be learnt
    dataset = load_dataset(args.dataset, simulates=asked is not False)
    warn_of_loss(dataset, args.model, args.le)
    folds, how = split_dataset(dataset, args.split, args.folds, args.seed)
    if is_simulated(dataset, asked):
        dataset = add_recaptures(dataset, args.seed)
    final, done = train_all(dataset, folds, recipe, args)
    tests = [fold.test for fold, _ in done]
    shift, rows = 0.0, [network.probabilities for _, network in done]
    if recipe.calibrates and final.finished and done and len(folds[0].test):
        real = dataset.classes.index(BONA_FIDE)
        shift, rows = calibrate(rows, [dataset.labels[test] for test in tests], real)
        shift_bias(final.model, real, shift)
    every = np.arange(len(dataset.labels))  # a shift is learnt from what was held out
    learnt = every if shift or len(folds) > 1 else folds[0].train
    labels = save(final.model, dataset, learnt, args)
    missing, notes = len(folds) - len(done), []
    if missing:
        notes = [f"interrupted: {missing} of {len(folds)} folds are not in the figures"]
        warn(notes[0])
    if not done:
        raise KeyboardInterrupt
    interrupted = missing > 0 or not final.finished
    details = {
        "recipe": {"name": args.recipe, **recipe._asdict()},
        "seed": args.seed,
        "interrupted": interrupted,
        "split": {"asked_for": args.split, "how": how},
        "history": final.history,
        "recaptures": len(dataset.recaptures),
        **(describe(dataset, labels, args.dataset) if args.report else {}),
    }
    histories = [network.history for _, network in done]
    if len(folds[0].test):
        info("evaluating network...")
        measurement, scores, dataset = measure_folds(tests, rows, dataset, shift, how)
    else:
        nothing = ["there are only real faces: nothing was measured"]
        measurement, scores = Measurement(notes=nothing), None
    measurement.notes += notes
    publish(measurement, scores, dataset, histories, details, args)
    if interrupted:
        raise KeyboardInterrupt


def run_evaluation(args: argparse.Namespace) -> None:
    """Evaluate a trained network on all crops of a dataset."""
    network, labels = models.load_classifier(args.model, args.le)
    dataset = load_dataset(args.dataset, network.width, network.height, to_train=False)
    if dataset.margin != labels.margin:
        raise UserError(
            f"{args.dataset} was gathered with --margin {dataset.margin:g}, but "
            f"{args.model} was trained with --margin {labels.margin:g}; gather again"
        )
    if args.export:
        model = models.load_livenessnet(args.model)
        sha256 = models.export_onnx(model, args.export, dataset.crops)
        own = labels.model_sha256 or sha256_of(args.model)
        labels = labels._replace(onnx_sha256=sha256, model_sha256=own)
        save_labels_of(args.model, labels, args.le)
    info("evaluating network...")
    rows = models.classify(network.predict, dataset.crops)
    known = labels.learnt and count_learnt(dataset, labels.learnt)
    measurement, scores = measure(rows, labels.classes, dataset, learnt=known)
    for text in measurement.warnings:
        warn(f"{args.dataset}: {text}")
    details = describe(dataset, labels, args.dataset) if args.report else {}
    publish(measurement, scores, dataset, [], details, args)


def publish(measurement, scores, dataset, histories, details, args) -> None:
    """Print the figures, draw the picture, write the report, and say what is next."""
    written, picture, failure = list(args.written), b"", None
    if scores is not None:
        print(format_report(measurement))
    if histories or scores is not None:
        try:
            from pyimagesearch.plots import plot_report

            picture = plot_report(args.plot, histories, scores, dataset, measurement)
            written.append(args.plot)
        except Exception as error:  # matplotlib's can be any
            reason = (str(error) or repr(error)).splitlines()[0]
            failure = UserError(f"{args.plot}: cannot be drawn: {reason}")
    command = shlex.join(["python", "train.py", *args.arguments])
    made = {"command": command, "model": str(args.model), **details}
    for path in args.report:
        write_report(path, measurement, made, picture)
    if files := [str(path) for path in [*written, *args.report]]:
        rest = "" if args.report else "; --report report.html gives the rest"
        info(f"wrote {', '.join(files)}{rest}")
    options = ["--model", str(args.model), "--le", str(args.le)]
    if measurement.evaluation and needs_more(measurement.evaluation):
        options += ["--collect", str("dataset" if args.evaluate else args.dataset)]
    info(f"next: {console.command_line('liveness_demo.py', *options)}")
    if failure:
        raise failure


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    steady, tutorial = RECIPES["steady"], RECIPES["tutorial"]
    parser = argparse.ArgumentParser(description="train or evaluate a LivenessNet")
    add = parser.add_argument
    file = {"type": flags.path, "metavar": "FILE"}
    number = {"type": flags.positive_int, "metavar": "N"}
    folder = {"type": flags.path, "metavar": "FOLDER", "default": Path("dataset")}
    what = "folder with a folder of crops for each class (default: %(default)s)"
    add("-d", "--dataset", **folder, help=what)
    flags.add_model_flags(parser, "to write, or to read with --evaluate")
    add("-p", "--plot", **file, help="picture (default: plot.png, or evaluation.png)")
    what = "write the full results: a page (.html) or JSON (.json); may be repeated"
    add("--report", **file, action="append", default=[], help=what)
    add("--export", **file, help="also write the network here as ONNX, for the demo")
    what = "hold out whole videos, or random crops (default: video)"
    add("--split", choices=["video", "random"], help=what)
    what = f"folds; 1 holds out a quarter (default: {FOLDS}, or {BLOCKS} of one person)"
    add("--folds", **number, help=what)
    what = "tutorial is for comparison (default: steady)"
    add("--recipe", choices=list(RECIPES), help=what)
    what = f"epochs (default: {steady.epochs}, or {tutorial.epochs} with tutorial)"
    add("--epochs", **number, help=what)
    what = f"random seed (default: {SEED})"
    add("--seed", type=flags.seed_int, metavar="N", help=what)
    what = "train on simulated recaptures of the real faces, too (default: if the "
    what += f"real faces are of {ENOUGH_PERSONS} persons or more, or alone)"
    add("--simulate", action=argparse.BooleanOptionalAction, help=what)
    what = "train nothing: evaluate --model and --le on all of --dataset"
    add("--evaluate", action="store_true", help=what)
    args = parser.parse_args(argv)
    if any(path.suffix.lower() not in (".html", ".json") for path in args.report):
        parser.error("--report: the name must end in .html or .json")
    args.arguments = sys.argv[1:] if argv is None else argv
    for name in ("split", "folds", "recipe", "epochs", "seed", "simulate"):
        if args.evaluate and getattr(args, name) is not None:
            parser.error(f"--evaluate trains nothing, so --{name} does not go with it")
    args.split, args.recipe = args.split or "video", args.recipe or "steady"
    args.seed = SEED if args.seed is None else args.seed
    return args


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    args.plot = args.plot or Path("evaluation.png" if args.evaluate else "plot.png")
    files = {name: getattr(args, name) for name in ("plot", "export", "le", "model")}
    check_distinct(**files, **{f"report {path}": path for path in args.report})
    args.written = [args.le, args.export] if args.export else []
    if not args.evaluate:
        args.written = [args.model, *(args.written or [args.le])]
    for path in [*args.written, args.plot, *args.report]:
        check_writable(path)
    (run_evaluation if args.evaluate else run_training)(args)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return console.exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
