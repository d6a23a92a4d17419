"""Train LivenessNet on the crops that gather_examples.py saved, and evaluate it.

    python train.py --dataset dataset --model liveness.model --le le.pickle

writes the network, the names of its outputs, and a picture, plot.png. Every folder in
the dataset is a class: dataset/real, and dataset/fake or other attacks. The network
learns all crops; cross-validation estimates how it classifies crops it has not seen.

    python train.py --evaluate --dataset somebody-elses

evaluates a trained network on all crops of a dataset.
"""

import argparse
import math
import shlex
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

# Ours come first: they set what OpenCV reads when it is imported.
from pyimagesearch import console, flags, models
from pyimagesearch.console import UserError, count_of, info, warn
from pyimagesearch.dataset import Dataset, count_learnt, digest_learnt, load_dataset
from pyimagesearch.faces import HEIGHT, WIDTH
from pyimagesearch.files import check_distinct, check_writable
from pyimagesearch.folds import BLOCKS, FOLDS, Fold, split_dataset
from pyimagesearch.labels import Labels, save_labels_of
from pyimagesearch.metrics import Measurement, measure
from pyimagesearch.report import describe, format_report, write_report
from pyimagesearch.simulate import add_recaptures
from pyimagesearch.untested import list_untested

import numpy as np

SEED = 42


class Recipe(NamedTuple):
    """How a network is trained."""

    epochs: int
    # Of an epoch, in which few crops come several times: they need as many steps as
    # many do, and short epochs cost time. In a fold, 2/3 of it.
    min_batches: int
    batch_size: int
    learning_rate: float  # of Adam, at the start
    schedule: str  # of the learning rate: constant, cosine or inverse time
    class_weighted: bool  # classes weigh the same in the loss
    source_weighted: bool  # crops of small sources are drawn more often
    precise_bn: bool  # re-estimate batch normalization's statistics in the end
    simulates: bool  # recaptures of the real crops are learnt as attacks, too

    def steps(self, fold: Fold) -> int:
        """Count the steps of an epoch."""
        return max(self.min_batches, math.ceil(len(fold.train) / self.batch_size))


RECIPES = {
    # The best of those in benchmarks/README.md.
    "steady": Recipe(20, 30, 16, 1e-3, "cosine", True, True, True, True),
    "tutorial": Recipe(50, 0, 8, 1e-4, "inverse time", False, False, False, False),
}


class Trained(NamedTuple):
    """What a training gives."""

    model: Any  # of Keras
    history: dict[str, list]  # loss and accuracy of each epoch
    probabilities: np.ndarray  # (m, classes) float32, of the fold's test crops
    finished: bool  # False if it was interrupted


def callbacks(validates: bool) -> list:
    """Return fresh Keras callbacks for one network: add your own here.

    Where `validates` is true, in folds, `val_loss` and `val_accuracy` exist in five
    epochs; the final network has only `loss`. Callbacks that set the learning rate
    need a recipe with the schedule "constant". An epoch that is chosen by the crops
    that are measured makes the figures optimistic.
    """
    return []


def train_network(
    dataset: Dataset, fold: Fold, recipe: Recipe, seed: int, bar, stop
) -> Trained | None:
    """Build, compile and fit a network, as the tutorial does.

    `bar` and `stop` come from `run_in_threads`. The same seed gives the same network.
    Returns what was trained; None if it was interrupted in the first epoch.
    """
    from pyimagesearch import training
    from pyimagesearch.backend import keras
    from pyimagesearch.livenessnet import LivenessNet

    epochs, steps = recipe.epochs, recipe.steps(fold)
    batches = training.make_batches(dataset, fold.train, recipe, epochs * steps, seed)
    classes = len(dataset.classes)
    with training.seeded(seed):
        model = LivenessNet.build(WIDTH, HEIGHT, depth=3, classes=classes)
    if recipe.precise_bn:  # the validation curves need statistics that follow faster
        training.set_batch_norm_momentum(model, 0.9)
    model.compile(
        loss="categorical_crossentropy",  # the tutorial's binary one, for any classes
        optimizer=keras.optimizers.Adam(training.learning_rate(recipe, steps)),
        metrics=["accuracy"],
    )
    control = training.Control(bar, stop)
    unseen = training.plain_batches(dataset, fold.test)
    validates = len(fold.test) > 0
    with training.fused_batch_norm(model):
        history = model.fit(
            batches,
            epochs=epochs,
            steps_per_epoch=steps,
            validation_data=unseen if validates else None,
            validation_freq=training.validation_epochs(epochs),
            callbacks=[*callbacks(validates), control],
            shuffle=False,  # they are shuffled already
            verbose=0,
        ).history
    if not control.epochs:
        return None
    history["validated"] = control.validated
    if recipe.precise_bn:
        training.reestimate_batch_norm(model, batches)
    predict = models.as_network(model).predict
    probabilities = models.classify(predict, dataset.crops, fold.test)
    return Trained(model, history, probabilities, not control.interrupted)


def save(model, dataset: Dataset, fold: Fold, args: argparse.Namespace) -> Labels:
    """Save a network, its labels, and its ONNX twin if asked for."""
    info(f"serializing network to '{args.model}'...")
    sha256 = models.save_model(model, args.model)
    learnt = digest_learnt(dataset, fold.train)
    labels = Labels(dataset.classes, dataset.margin)
    labels = labels._replace(learnt=learnt, model_sha256=sha256)
    try:
        if args.export:
            info(f"exporting network to '{args.export}'...")
            sha256 = models.export_onnx(model, args.export, dataset.crops)
            labels = labels._replace(onnx_sha256=sha256)
    finally:
        save_labels_of(args.model, labels, args.le)
    return labels


def train_all(dataset: Dataset, folds: list[Fold], recipe: Recipe, args):
    """Train and save the final network, then those of the folds; one is both.

    Returns the labels, the final network, and that of each fold, which may be None.
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
        # At once: whatever happens next, this network is not lost.
        labels = save(final.model, dataset, first, args)
        return labels, final, list(results) if others else [final]


def run_training(args: argparse.Namespace) -> None:
    """Train, save and evaluate."""
    recipe = RECIPES[args.recipe]
    if args.epochs:
        recipe = recipe._replace(epochs=args.epochs)
    simulates = recipe.simulates and not args.no_simulate
    dataset = load_dataset(args.dataset, simulates=simulates)
    folds, how = split_dataset(dataset, args.split, args.folds, args.seed)
    if simulates:
        dataset = add_recaptures(dataset, args.seed)
    labels, final, networks = train_all(dataset, folds, recipe, args)
    done = [
        (fold, network)
        for fold, network in zip(folds, networks, strict=True)
        if network and (network.finished or network is final)  # or all there is
    ]
    if not done:
        raise KeyboardInterrupt
    missing = len(folds) - len(done)
    interrupted = missing > 0 or not final.finished
    details = {
        "recipe": {"name": args.recipe, **recipe._asdict()},
        "seed": args.seed,
        "interrupted": interrupted,
        "split": {"asked_for": args.split, "how": how},
        "history": final.history,
        "recaptures": len(dataset.recaptures),
    }
    if args.report:
        details |= describe(dataset, labels, args.dataset)
    histories = [network.history for _, network in done]
    measurement, scores = Measurement(), None
    if len(folds[0].test):
        measurement, scores, dataset = measure_folds(done, dataset, labels, how, args)
    else:
        measurement.notes.append("there are only real faces: nothing was measured")
    if missing:
        note = f"interrupted: {missing} of {len(folds)} folds are not in the figures"
        measurement.notes.append(note)
        warn(note)
    publish(measurement, scores, dataset, histories, details, args)
    if interrupted:
        raise KeyboardInterrupt


def measure_folds(done: list[tuple[Fold, Trained]], dataset, labels, how, args):
    """Return the figures, and scores and dataset of the crops that were held out."""
    info("evaluating network...")
    tested = np.concatenate([fold.test for fold, _ in done])
    order = np.argsort(tested)
    rows = np.concatenate([network.probabilities for _, network in done])[order]
    dataset = dataset._replace(pool=dataset.pool[:, :0])  # a subset would copy it
    dataset = dataset.subset(tested[order])
    measurement, scores = measure(rows, labels.classes, dataset)
    measurement.not_tested = list_untested(measurement, dataset, how)
    if len(done) > 1:
        measurement.notes.append(
            f"the figures are those of {len(done)} networks, each on the fold that it "
            "has not seen; the network that is saved has learnt all crops"
        )
        info(measurement.notes[0])
    # For --evaluate, which reports it on crops that it was not chosen on.
    threshold = measurement.evaluation.frames.eer_threshold
    save_labels_of(args.model, labels._replace(threshold=threshold), args.le)
    return measurement, scores, dataset


def run_evaluation(args: argparse.Namespace) -> None:
    """Evaluate a trained network on all crops of a dataset."""
    network, labels = models.load_classifier(args.model, args.le)
    dataset = load_dataset(args.dataset, network.width, network.height, to_train=False)
    if dataset.margin != labels.margin:
        raise UserError(
            f"{args.dataset} was gathered with --margin {dataset.margin:g}, but "
            f"{args.model} was trained with --margin {labels.margin:g}; gather again"
        )
    info("evaluating network...")
    rows = models.classify(network.predict, dataset.crops)
    measurement, scores = measure(rows, labels.classes, dataset, labels.threshold)
    if scores is not None:
        measurement.not_tested = list_untested(measurement, dataset, how="")
    if known := count_learnt(dataset, labels.learnt or []):
        measurement.notes.append(
            f"{args.dataset}: the network was trained on {count_of(known, 'source')} "
            "of it; the figures say nothing about new people and new footage"
        )
        warn(measurement.notes[0])
    details = describe(dataset, labels, args.dataset) if args.report else {}
    publish(measurement, scores, dataset, [], details, args)


def publish(measurement, scores, dataset, histories, details, args) -> None:
    """Print the figures, draw the picture, write the report, and say what is next."""
    written = [args.model, args.le, args.export] if histories else []
    picture = b""
    if scores is not None:
        print(format_report(measurement))
    if histories or scores is not None:
        from pyimagesearch.plots import plot_report

        picture = plot_report(args.plot, histories, scores, dataset, measurement)
        written.append(args.plot)
    if args.report:
        command = shlex.join(["python", "train.py", *args.arguments])
        made = {"command": command, "model": str(args.model), **details}
        write_report(args.report, measurement, made, picture)
        written.append(args.report)
    if written:
        info(f"wrote {', '.join(str(file) for file in written if file)}")
    options = ["--model", str(args.model), "--le", str(args.le)]
    info(f"next: {console.command_line('liveness_demo.py', *options)}")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    steady, tutorial = RECIPES["steady"], RECIPES["tutorial"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    file = {"type": flags.path, "metavar": "FILE"}
    number = {"type": flags.positive_int, "metavar": "N"}
    folder = {"type": flags.path, "metavar": "FOLDER", "default": Path("dataset")}
    what = "folder with a folder of crops for each class (default: %(default)s)"
    add("-d", "--dataset", **folder, help=what)
    flags.add_model_flags(parser, "to write, or to read with --evaluate")
    what = "picture to write (default: plot.png, or evaluation.png with --evaluate)"
    add("-p", "--plot", **file, help=what)
    what = "write everything here: a page to read (.html), or all figures (.json)"
    add("--report", type=flags.report_path, metavar="FILE", help=what)
    add("--export", **file, help="also write the network here as ONNX, for the demo")
    what = "hold out whole videos, or random crops (default: video)"
    add("--split", choices=["video", "random"], help=what)
    what = "number of folds; 1 holds out a quarter, which is never learnt (default: "
    what += f"{FOLDS}, or {BLOCKS} if a class is of one person only)"
    add("--folds", **number, help=what)
    what = "tutorial is for comparison (default: steady)"
    add("--recipe", choices=list(RECIPES), help=what)
    what = f"passes over the crops, each of {steady.min_batches} batches or more with "
    what += f"the recipe steady (default: {steady.epochs}; tutorial: {tutorial.epochs})"
    add("--epochs", **number, help=what)
    what = f"of split, weights and augmentation (default: {SEED})"
    add("--seed", type=flags.seed_int, metavar="N", help=what)
    what = "learn no simulated recaptures of the real faces as attacks"
    add("--no-simulate", action="store_true", default=None, help=what)
    what = "train nothing: evaluate --model and --le on all of --dataset"
    add("--evaluate", action="store_true", help=what)
    args = parser.parse_args(argv)
    args.arguments = sys.argv[1:] if argv is None else argv
    for name in ("export", "split", "folds", "recipe", "epochs", "seed", "no_simulate"):
        if args.evaluate and getattr(args, name) is not None:
            name = name.replace("_", "-")
            parser.error(f"--evaluate trains nothing, so --{name} does not go with it")
    args.split, args.recipe = args.split or "video", args.recipe or "steady"
    args.seed = SEED if args.seed is None else args.seed
    return args


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    args.plot = args.plot or Path("evaluation.png" if args.evaluate else "plot.png")
    names = ["model", "le", "export", "plot", "report"]
    check_distinct(**{name: getattr(args, name) for name in names})
    for name in names[3:] if args.evaluate else names:
        if getattr(args, name):
            check_writable(getattr(args, name))
    if args.evaluate:
        run_evaluation(args)
    else:
        run_training(args)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return console.exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
