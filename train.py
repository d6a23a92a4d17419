"""Train LivenessNet on the crops that gather_examples.py saved, and measure it.

    python train.py --dataset dataset --model liveness.model --le le.pickle

writes the network (liveness.model), the names of its outputs (le.pickle) and a picture
(plot.png), and prints how well the network does on crops that it was not trained on.
Every folder in the dataset is a class: dataset/real, and dataset/fake or whatever the
attacks are.

    python train.py --evaluate --dataset somebody-elses

measures a network that is there already, on all crops of a dataset.
"""

import argparse
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.artifacts import (
    as_network,
    export_onnx,
    load_classifier,
    make_room,
    save_labels,
    save_model,
)
from pyimagesearch.console import UserError, exit_status, info, positive_int, warn
from pyimagesearch.dataset import (
    Dataset,
    Split,
    load_dataset,
    split_random,
    split_videos,
)
from pyimagesearch.frames import read_ahead
from pyimagesearch.preprocessing import scale

import numpy as np
from tqdm import tqdm

SEED = 42


class Recipe(NamedTuple):
    """How the network is trained."""

    epochs: int
    batch_size: int
    learning_rate: float  # of Adam, at the start
    is_steady: bool
    """False trains as the tutorial does: the learning rate hardly falls, common classes
    weigh more, and the last batches' statistics stay in the network."""


RECIPES = {
    # The best of those in benchmarks/README.md.
    "steady": Recipe(epochs=20, batch_size=16, learning_rate=1e-3, is_steady=True),
    "tutorial": Recipe(epochs=50, batch_size=8, learning_rate=1e-4, is_steady=False),
}
# Keras' 0.99 needs more steps than a short training has. This matters for the curves
# only, as the statistics are set anew in the end.
BATCH_NORM_MOMENTUM = 0.9
# As many training crops as are enough to know the statistics of batch normalization.
STATISTICS_CROPS = 256
# Batches whose crops are moved in one operation, while those before are learnt.
MOVED_AT_ONCE = 32


def make_batches(
    crops: np.ndarray, places: np.ndarray, batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Shuffle crops, move each at random, and give them out in batches for one epoch.

    Parameters
    ----------
    crops : ndarray of shape (n, h, w, 3), dtype uint8
    places : ndarray of shape (m,), dtype int
        Which of them to take.
    batch_size : int
        The most that a batch has; all are as equal as can be, as batch normalization
        needs more than a crop left over.
    rng : Generator

    Yields
    ------
    images : ndarray of shape (batch, h, w, 3), dtype float32
        In [0, 1].
    places : ndarray of shape (batch,), dtype int
        Where they are in `crops`.
    """
    from pyimagesearch.augmentation import draw_transforms, move

    steps = math.ceil(len(places) / batch_size)
    batches = np.array_split(rng.permutation(places), steps)
    for first in range(0, steps, MOVED_AT_ONCE):
        some = batches[first : first + MOVED_AT_ONCE]
        images = scale(crops[np.concatenate(some)])
        moved = move(images, draw_transforms(rng, *images.shape[:3])).numpy()
        ends = np.cumsum([len(batch) for batch in some])
        yield from zip(np.split(moved, ends[:-1]), some, strict=True)


def forward(model, images):
    """Run a network as `model(images, training=True)` does, in less time.

    For images, batch normalization is TensorFlow's fused operation, as it was in the
    tutorial's Keras; that of today makes a dozen operations of it.
    """
    from pyimagesearch.backend import keras, tf

    values = images
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and len(values.shape) > 2:
            values, *moments = tf.compat.v1.nn.fused_batch_norm(
                values, layer.gamma, layer.beta, epsilon=layer.epsilon
            )
            means = layer.moving_mean, layer.moving_variance
            for mean, now in zip(means, moments, strict=True):
                mean.assign(layer.momentum * mean + (1 - layer.momentum) * now)
        else:
            values = layer(values, training=True)
    return values


def compile_learning(model, learning_rate, class_weights: np.ndarray):
    """Make one function of a step of Adam.

    Keras' `fit` spends as much time around such small steps as in them.

    Parameters
    ----------
    model : keras.Sequential
        Changed in every call.
    learning_rate : keras.optimizers.schedules.LearningRateSchedule
    class_weights : ndarray of shape (classes,), dtype float32

    Returns
    -------
    callable
        Takes images (n, h, w, 3) float32 in [0, 1] and targets (n, classes) float32;
        gives the sum of the losses and the number of hits.
    """
    from pyimagesearch.backend import keras, tf

    variables = [variable.value for variable in model.trainable_variables]
    means, squares = (
        [tf.Variable(tf.zeros_like(variable)) for variable in variables]
        for _ in range(2)
    )
    taken = tf.Variable(0.0)  # steps
    shapes = model.input_shape, model.output_shape

    @tf.function(
        input_signature=[tf.TensorSpec(shape, tf.float32) for shape in shapes],
        autograph=False,
    )
    def learn(images, targets):
        with tf.GradientTape() as tape:
            predicted = forward(model, images)
            # On two softmax outputs this is the tutorial's binary cross-entropy.
            losses = keras.losses.categorical_crossentropy(targets, predicted)
            losses *= tf.linalg.matvec(targets, class_weights)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, variables)
        rate = learning_rate(taken)
        taken.assign_add(1.0)
        powers = {"beta1_power": 0.9**taken, "beta2_power": 0.999**taken}
        for variable, gradient, mean, square in zip(
            variables, gradients, means, squares, strict=True
        ):
            # One operation, where Keras' Adam takes a dozen.
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                grad=gradient,
                m=mean.handle,
                v=square.handle,
                beta1=0.9,
                beta2=0.999,
                lr=rate,
                epsilon=1e-7,
                **powers,
            )
        hits = keras.metrics.categorical_accuracy(targets, predicted)
        return tf.reduce_sum(tf.stack([losses, hits]), axis=1)

    return learn


class Training(NamedTuple):
    """What came out of `train`."""

    model: object  # keras.Sequential
    history: dict[str, list[float]]  # loss, accuracy, val_loss, val_accuracy by epoch
    interrupted: bool


def train(
    crops: np.ndarray, targets: np.ndarray, split: Split, recipe: Recipe, seed: int
) -> Training:
    """Train a LivenessNet.

    Parameters
    ----------
    crops : ndarray of shape (n, h, w, 3), dtype uint8
        BGR.
    targets : ndarray of shape (n, classes), dtype float32
        One-hot.
    split : Split
        The crops in `test` are only watched, never learnt or chosen from.
    recipe : Recipe
    seed : int
        The same seed gives the same network.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C before the first epoch is over; later, Ctrl-C ends the training after
        the running step.
    """
    from pyimagesearch.backend import keras
    from pyimagesearch.evaluation import classify
    from pyimagesearch.livenessnet import LivenessNet

    info("compiling model...")
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    _, height, width, depth = crops.shape
    model = LivenessNet.build(width, height, depth, classes=targets.shape[1])
    schedules = keras.optimizers.schedules
    steps = math.ceil(len(split.train) / recipe.batch_size)
    shares = targets[split.train].mean(axis=0)
    class_weights = np.ones_like(shares)
    if recipe.is_steady:
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = BATCH_NORM_MOMENTUM
        class_weights = 1 / (len(shares) * shares)
        rate = schedules.CosineDecay(recipe.learning_rate, recipe.epochs * steps)
    else:
        # What `Adam(decay=learning_rate / epochs)` was before Keras 3.
        decay = recipe.learning_rate / recipe.epochs
        rate = schedules.InverseTimeDecay(recipe.learning_rate, 1, decay)
    learn, network = compile_learning(model, rate, class_weights), as_network(model)
    held_out, truth = crops[split.test], targets[split.test].astype(bool)
    history = {"loss": [], "accuracy": [], "val_loss": [], "val_accuracy": []}

    info(f"training network for {recipe.epochs} epochs...")
    with (
        tqdm(total=recipe.epochs, unit="epoch", disable=None) as bar,
        interrupt_as_event() as interrupt,
    ):
        for _ in range(recipe.epochs):
            sums, seen = np.zeros(2), 0
            batches = make_batches(crops, split.train, recipe.batch_size, rng)
            for images, places in read_ahead(batches, MOVED_AT_ONCE):
                sums += learn(images, targets[places])
                seen += len(places)
                if interrupt.is_set():
                    break
            if interrupt.is_set() and not history["loss"]:
                raise KeyboardInterrupt
            probabilities = classify(network, held_out)
            hits = probabilities.argmax(axis=1) == truth.argmax(axis=1)
            losses = -np.log(np.maximum(probabilities[truth], 1e-7))
            figures = [*(sums / seen), losses.mean(), hits.mean()]
            for name, value in zip(history, map(float, figures), strict=True):
                history[name].append(value)
            last = {name: f"{values[-1]:.3f}" for name, values in history.items()}
            bar.set_postfix(last, refresh=False)
            if interrupt.is_set():
                break
            bar.update()
        if recipe.is_steady:
            settle_batch_normalization(model, crops, split.train, seed)
    return Training(model, history, interrupt.is_set())


@contextmanager
def interrupt_as_event() -> Iterator[threading.Event]:
    """Let the first Ctrl-C set an event; a second one interrupts as usual."""
    event = threading.Event()

    def set_event(_signal, _stack):
        event.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, set_event)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def settle_batch_normalization(
    model, crops: np.ndarray, places: np.ndarray, seed: int
) -> None:
    """Set the running statistics to those of the training crops as they are.

    In training they trail behind, over small batches of augmented crops and weights
    that were still moving; the network then does much worse on real crops than it
    could. "Precise BN": Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021.

    Parameters
    ----------
    model : keras.Sequential
        Changed in place.
    crops : ndarray of shape (n, h, w, 3), dtype uint8
    places : ndarray of shape (m,), dtype int
        The training crops among them; STATISTICS_CROPS of these at random are used.
    seed : int
    """
    from pyimagesearch.backend import keras

    sample = np.random.default_rng(seed).permutation(places)[:STATISTICS_CROPS]
    values = keras.ops.convert_to_tensor(scale(crops[sample]))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            axes = list(range(len(values.shape) - 1))
            mean, variance = keras.ops.moments(values, axes)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
        values = layer(values, training=False)


def split_dataset(dataset: Dataset, kind: str, seed: int) -> Split:
    """Split a dataset and say what the figures will be worth."""
    by_video = split_videos(dataset.labels, dataset.sources, seed)
    if kind == "random":
        if by_video.how == "whole sources":
            warn(
                "with --split random, crops of one video stand on both sides, and the "
                "figures are optimistic; --split video keeps videos apart"
            )
        return split_random(dataset.labels, seed)
    if by_video.how != "whole sources":
        warn(
            "a class has crops of one video only, so the network is measured on a part "
            "of the videos that it has seen another part of; to learn how it does on "
            "others, gather from two videos of each class or more"
        )
    return by_video


def run_training(args: argparse.Namespace) -> None:
    """Train, save, measure, and draw."""
    from pyimagesearch.evaluation import count_sources, measure, write_report
    from pyimagesearch.plots import plot_report

    from sklearn.preprocessing import LabelEncoder

    recipe = RECIPES[args.recipe]
    recipe = recipe._replace(epochs=args.epochs or recipe.epochs)
    info("loading images...")
    start = time.perf_counter()
    dataset = load_dataset(args.dataset)
    for name, sources in count_sources(dataset).items():
        info(f"{sum(sources.values())} images of {name}, {len(sources)} sources")
    split = split_dataset(dataset, args.split, args.seed)
    info(
        f"split by {split.how}: training on {len(split.train)} images, measuring on "
        f"{len(split.test)}"
    )

    encoder = LabelEncoder()
    truth = encoder.fit_transform(dataset.labels)
    targets = np.eye(len(encoder.classes_), dtype=np.float32)[truth]
    loaded = time.perf_counter()
    training = train(dataset.crops, targets, split, recipe, args.seed)
    epochs = len(training.history["loss"])
    if training.interrupted:
        info(f"interrupted in epoch {epochs}; keeping the network as it is")
    trained = time.perf_counter()

    info(f"serializing network to '{args.model}'...")
    encoder.margin = dataset.margin
    save_model(training.model, args.model)
    save_labels(encoder, args.le)

    held_out = dataset.subset(split.test)
    if args.export:
        info(f"exporting network to '{args.export}'...")
        sha256 = export_onnx(training.model, args.export, held_out.crops)
        encoder.onnx_sha256 = sha256
        save_labels(encoder, args.le)
    info("evaluating network...")
    network, labels = load_classifier(args.model, args.le)
    report, scores = measure(network, labels, held_out)
    if scores is not None:
        # Frozen here, for the days on which other people's crops are measured.
        encoder.threshold = report["evaluation"]["frames"]["eer_threshold"]
        save_labels(encoder, args.le)
    plot_report(args.plot, training.history, scores, held_out)
    if args.report:
        done = time.perf_counter()
        described = {
            "dataset": str(args.dataset),
            "model": str(args.model),
            "classes": encoder.classes_.tolist(),
            "margin": dataset.margin,
            "recipe": {"name": args.recipe, **recipe._asdict()},
            "seed": args.seed,
            "interrupted_in_epoch": epochs if training.interrupted else None,
            "split": {
                "asked_for": args.split,
                "how": split.how,
                "train": count_sources(dataset.subset(split.train)),
                "test": count_sources(held_out),
            },
            "development_threshold": getattr(encoder, "threshold", None),
            "history": training.history,
            "seconds": {
                "loading": loaded - start,
                "training": trained - loaded,
                "measuring": done - trained,
            },
        }
        write_report(args.report, described | report)
    written = [args.model, args.le, args.export, args.plot, args.report]
    info(f"wrote {', '.join(str(path) for path in written if path)}")
    if training.interrupted:
        raise KeyboardInterrupt


def run_evaluation(args: argparse.Namespace) -> None:
    """Measure a network that is there already on all of a dataset."""
    from pyimagesearch.evaluation import count_sources, measure, write_report
    from pyimagesearch.plots import plot_report

    network, labels = load_classifier(args.model, args.le)
    info("loading images...")
    dataset = load_dataset(args.dataset, network.width, network.height, 1)
    if dataset.margin != labels.margin:
        raise UserError(
            f"{args.dataset} was gathered with --margin {dataset.margin:g}, but "
            f"{args.model} was trained on --margin {labels.margin:g}; gather again"
        )
    for name, sources in count_sources(dataset).items():
        info(f"{sum(sources.values())} images of {name}, {len(sources)} sources")
    info("evaluating network...")
    report, scores = measure(network, labels, dataset)
    written = []
    if scores is not None:
        plot_report(args.plot, None, scores, dataset)
        written.append(args.plot)
    if args.report:
        described = {
            "dataset": str(args.dataset),
            "model": str(args.model),
            "classes": labels.classes,
            "margin": labels.margin,
            "sources": count_sources(dataset),
            "development_threshold": labels.threshold,
        }
        write_report(args.report, described | report)
        written.append(args.report)
    if written:
        info(f"wrote {', '.join(map(str, written))}")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "-d",
        "--dataset",
        type=Path,
        default=Path("dataset"),
        metavar="FOLDER",
        help="a folder of crops for each class (default: %(default)s)",
    )
    parser.add_argument(
        "-m",
        "--model",
        type=Path,
        default=Path("liveness.model"),
        metavar="FILE",
        help="where the network goes (default: %(default)s)",
    )
    parser.add_argument(
        "-l",
        "--le",
        type=Path,
        default=Path("le.pickle"),
        metavar="FILE",
        help="where the label encoder goes (default: %(default)s)",
    )
    parser.add_argument(
        "-p",
        "--plot",
        type=Path,
        metavar="FILE",
        help="where the picture of training and evaluation goes (default: plot.png, or "
        "evaluation.png with --evaluate)",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write all figures here, as JSON",
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="write the network here as well, as ONNX, which the demo runs without "
        "TensorFlow",
    )
    parser.add_argument(
        "--split",
        choices=["video", "random"],
        default="video",
        help="measure on other videos than those learnt from, or on crops at random as "
        "the tutorial does (default: %(default)s)",
    )
    parser.add_argument(
        "--recipe",
        choices=list(RECIPES),
        default="steady",
        help="how to train; tutorial is for comparison (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        type=positive_int,
        metavar="N",
        help="passes over the training crops (default: "
        f"{RECIPES['steady'].epochs}, or {RECIPES['tutorial'].epochs} with --recipe "
        "tutorial)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=SEED,
        metavar="N",
        help="of the split, the weights and the augmentation (default: %(default)s)",
    )
    parser.add_argument(
        "--evaluate",
        action="store_true",
        help="train nothing: measure --model and --le on all of --dataset",
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    args.plot = args.plot or Path("evaluation.png" if args.evaluate else "plot.png")
    outputs = [args.plot, args.report]
    outputs += [] if args.evaluate else [args.model, args.le, args.export]
    for path in filter(None, outputs):
        make_room(path)
    if args.evaluate:
        run_evaluation(args)
    else:
        run_training(args)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
