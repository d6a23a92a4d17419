"""Train LivenessNet on the crops that gather_examples.py saved.

    python train.py --dataset dataset --model liveness.model --le le.pickle

writes the network (liveness.model), the names of its outputs (le.pickle) and a plot of
the training (plot.png), and prints how well the network does on crops that it was not
trained on. Every folder in the dataset is a class: dataset/real, dataset/fake.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pyimagesearch.artifacts import make_room, replacing, save_labels, save_model
from pyimagesearch.console import UserError, exit_status, info, positive_int, warn
from pyimagesearch.frames import read_image
from pyimagesearch.preprocessing import scale, shrink

# The tutorial's recipe.
EPOCHS = 50
BATCH_SIZE = 8
LEARNING_RATE = 1e-4  # of Adam; divided by 1 + step * 1e-4 / epochs as it goes
TEST_SHARE = 0.25
# How far a crop is moved at random each time the network sees it in training.
ROTATION = 20.0  # degrees, either way
ZOOM = 0.15  # of the size, each axis on its own
SHIFT = 0.2  # of the size, each axis on its own
SHEAR = 0.15  # degrees
SEED = 42


def load_dataset(folder: Path) -> tuple[np.ndarray, list[str], list[Path]]:
    """Load the crops of a dataset.

    Parameters
    ----------
    folder : Path
        Holds a folder for each class, with images at any depth. Hidden files are
        passed over; others that are no images are named on stderr and counted.

    Returns
    -------
    crops : ndarray of shape (n, 32, 32, 3), dtype uint8
        BGR, in the order of the sorted paths, so that it is the same everywhere.
    labels : list of str
        The class of each.
    paths : list of Path
        The file of each.

    Raises
    ------
    UserError
        When there are not at least two classes with images.
    """
    if not folder.is_dir():
        raise UserError(f"no dataset {folder}; run gather_examples.py first")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )

    def load(path: Path) -> np.ndarray | None:
        image = read_image(path) if path.parent != folder else None
        return None if image is None else shrink(image)

    crops, paths = [], []
    with ThreadPoolExecutor() as threads:
        for path, crop in zip(files, threads.map(load, files), strict=True):
            if crop is None:
                place = "not in a class's folder" if path.parent == folder else None
                warn(f"{path}: {place or 'not a readable image'}; skipped")
            else:
                crops.append(crop)
                paths.append(path)
    if len(paths) < len(files):
        warn(f"skipped {len(files) - len(paths)} of {len(files)} files")
    labels = [path.relative_to(folder).parts[0] for path in paths]
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise UserError(
            f"{folder}: expected a folder of images for each of two classes or more, "
            f"such as {folder / 'real'} and {folder / 'fake'}; found "
            + (f"only {folder / classes[0]}" if classes else "none")
        )
    return np.stack(crops), labels, paths


def augment(images, seed):
    """Move images at random, all of a batch in one operation.

    Parameters
    ----------
    images : tensor of shape (n, h, w, 3), dtype float32
    seed : tensor of shape (2,), dtype int64
        The same seed moves the images the same way.

    Returns
    -------
    tensor of shape (n, h, w, 3), dtype float32
        Rotated, shifted, sheared, zoomed and every other one mirrored; what comes in
        from outside repeats the nearest pixel.
    """
    import tensorflow as tf

    n, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    # (7, n), each uniform in [-1, 1)
    draws = tf.random.stateless_uniform((7, n), seed, minval=-1.0, maxval=1.0)
    transforms = affine_transforms(
        rotation=draws[0] * np.deg2rad(ROTATION),
        shift_y=draws[1] * SHIFT * height,
        shift_x=draws[2] * SHIFT * width,
        shear=draws[3] * np.deg2rad(SHEAR),
        zoom_y=1 + draws[4] * ZOOM,
        zoom_x=1 + draws[5] * ZOOM,
        mirror=draws[6] < 0,
        height=height,
        width=width,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=(height, width),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def affine_transforms(
    rotation, shift_y, shift_x, shear, zoom_y, zoom_x, mirror, height, width
):
    """Compose each image's moves, as Keras' ImageDataGenerator does.

    Parameters
    ----------
    rotation, shear : tensor of shape (n,)
        Angles in radians.
    shift_y, shift_x : tensor of shape (n,)
        In pixels.
    zoom_y, zoom_x : tensor of shape (n,)
        Factors; above 1 the image shrinks.
    mirror : tensor of shape (n,), dtype bool
        Whether left and right change places.
    height, width : int
        Size of the images in pixels.

    Returns
    -------
    tensor of shape (n, 8), dtype float32
        From output to input pixels, as ImageProjectiveTransformV3 takes them.
    """
    import tensorflow as tf

    zero, one = tf.zeros_like(rotation), tf.ones_like(rotation)

    def matrix(*entries):  # the first two rows of n 3x3 matrices on (x, y, 1)
        return tf.reshape(tf.stack([*entries, zero, zero, one], -1), (-1, 3, 3))

    sin, cos = tf.sin(rotation), tf.cos(rotation)
    flip = tf.where(mirror, -one, one)
    center_x, center_y = one * (width - 1) / 2, one * (height - 1) / 2
    # Read from right to left: what happens to an output pixel on its way to the input.
    composed = (
        matrix(one, zero, center_x, zero, one, center_y)
        @ matrix(cos, -sin, zero, sin, cos, zero)
        @ matrix(one, zero, shift_x, zero, one, shift_y)
        @ matrix(one, -tf.sin(shear), zero, zero, tf.cos(shear), zero)
        @ matrix(zoom_x, zero, zero, zero, zoom_y, zero)
        @ matrix(flip, zero, zero, zero, one, zero)
        @ matrix(one, zero, -center_x, zero, one, -center_y)
    )
    return tf.reshape(composed, (-1, 9))[:, :8]


def training_batches(crops: np.ndarray, targets: np.ndarray, seed: int):
    """Shuffle, batch and augment crops anew in every epoch.

    Parameters
    ----------
    crops : ndarray of shape (n, h, w, 3), dtype uint8
    targets : ndarray of shape (n, classes), dtype float32
        One-hot.
    seed : int
        The same seed gives the same batches.

    Returns
    -------
    tf.data.Dataset
        Of (images, targets): up to BATCH_SIZE of them, images float32 in [0, 1].
    """
    import tensorflow as tf

    crops, targets = tf.constant(crops), tf.constant(targets)

    def make_batch(indices, seed):
        images = tf.cast(tf.gather(crops, indices), tf.float32) / 255
        return augment(images, seed), tf.gather(targets, indices)

    n = crops.shape[0]
    indices = tf.data.Dataset.range(n).shuffle(n, seed).batch(BATCH_SIZE)
    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)
    return (
        tf.data.Dataset.zip((indices, seeds))
        .map(make_batch, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def train(
    crops: np.ndarray,
    targets: np.ndarray,
    test_crops: np.ndarray,
    test_targets: np.ndarray,
    epochs: int,
    seed: int,
):
    """Train a LivenessNet.

    Parameters
    ----------
    crops, test_crops : ndarray of shape (n, h, w, 3), dtype uint8
        BGR. The test crops are only watched, never learnt from.
    targets, test_targets : ndarray of shape (n, classes), dtype float32
        One-hot.
    epochs, seed : int
        The same seed gives the same network.

    Returns
    -------
    model : keras.Sequential
        Trained.
    history : dict of str to list of float
        Keras' `loss`, `accuracy`, `val_loss`, `val_accuracy` of every epoch.
    """
    from pyimagesearch.livenessnet import LivenessNet, keras

    info("compiling model...")
    keras.utils.set_random_seed(seed)
    _, height, width, depth = crops.shape
    model = LivenessNet.build(width, height, depth, classes=targets.shape[1])
    # What `Adam(decay=LEARNING_RATE / epochs)` was before Keras 3.
    learning_rate = keras.optimizers.schedules.InverseTimeDecay(
        LEARNING_RATE, decay_steps=1, decay_rate=LEARNING_RATE / epochs
    )
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        # On two softmax outputs this is the tutorial's binary cross-entropy.
        loss="categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,  # measured: on CPUs XLA makes this network 3 times slower
    )
    info(f"training network for {epochs} epochs...")
    with tqdm(total=epochs, unit="epoch", disable=None) as bar:

        def advance(_epoch, logs):
            bar.set_postfix(logs, refresh=False)
            bar.update()

        history = model.fit(
            training_batches(crops, targets, seed),
            validation_data=(scale(test_crops), test_targets),
            epochs=epochs,
            shuffle=False,  # the batches are shuffled already
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=advance)],
        )
    return model, history.history


def plot_training(history: dict[str, list[float]], path: Path) -> None:
    """Plot loss and accuracy over the epochs, as PNG, without a screen."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context("ggplot"):
        figure = Figure()
        axes = figure.subplots()
        epochs = range(1, len(history["loss"]) + 1)
        for key, label in (
            ("loss", "train_loss"),
            ("val_loss", "val_loss"),
            ("accuracy", "train_acc"),
            ("val_accuracy", "val_acc"),
        ):
            axes.plot(epochs, history[key], label=label)
        axes.set_title("Training Loss and Accuracy on Dataset")
        axes.set_xlabel("Epoch #")
        axes.set_ylabel("Loss/Accuracy")
        axes.legend(loc="lower left")
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png")


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
        default=Path("plot.png"),
        metavar="FILE",
        help="where the plot of loss and accuracy goes (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        type=positive_int,
        default=EPOCHS,
        metavar="N",
        help="passes over the training crops (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=SEED,
        metavar="N",
        help="of the split, the weights and the augmentation (default: %(default)s)",
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    for path in (args.model, args.le, args.plot):
        make_room(path)
    info("loading images...")
    crops, labels, _ = load_dataset(args.dataset)

    from sklearn.metrics import classification_report
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import LabelEncoder

    encoder = LabelEncoder()
    truth = encoder.fit_transform(labels)
    targets = np.eye(len(encoder.classes_), dtype=np.float32)[truth]
    for name, count in zip(encoder.classes_, np.bincount(truth), strict=True):
        info(f"{count} images of {name}")
    parts = train_test_split(
        crops, targets, test_size=TEST_SHARE, random_state=args.seed
    )
    train_crops, test_crops, train_targets, test_targets = parts

    model, history = train(
        train_crops, train_targets, test_crops, test_targets, args.epochs, args.seed
    )
    info(f"serializing network to '{args.model}'...")
    save_model(model, args.model)
    save_labels(encoder, args.le)

    info("evaluating network...")
    probabilities = model.predict(scale(test_crops), batch_size=256, verbose=0)
    print(
        classification_report(
            test_targets.argmax(axis=1),
            probabilities.argmax(axis=1),
            labels=range(len(encoder.classes_)),
            target_names=encoder.classes_,
            zero_division=0,
        )
    )
    plot_training(history, args.plot)
    info(f"wrote {args.model}, {args.le} and {args.plot}")


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return exit_status(run, parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
