import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.preprocessing.image import apply_affine_transform

import train
from pyimagesearch.artifacts import load_labels, load_network
from pyimagesearch.frames import read_image
from pyimagesearch.preprocessing import preprocess


@pytest.fixture
def run(tmp_path, capsys):
    """Run the command into tmp_path; returns its status, stdout and stderr."""

    def run(dataset, *options):
        arguments = ["-d", dataset, "-m", tmp_path / "liveness.model"]
        arguments += ["-l", tmp_path / "le.pickle", "-p", tmp_path / "plot.png"]
        status = train.main([str(a) for a in [*arguments, *options]])
        return status, *capsys.readouterr()

    return run


def copy_crops(dataset, folder, labels=("real", "fake"), most=8):
    for label in labels:
        (folder / label).mkdir(parents=True)
        for crop in sorted((dataset / label).iterdir())[:most]:
            (folder / label / crop.name).write_bytes(crop.read_bytes())
    return folder


def test_it_writes_a_model_labels_and_a_plot(dataset, run, tmp_path):
    status, out, _ = run(dataset, "--epochs", 2)
    assert status == 0
    assert "60 images of fake" in out
    assert "60 images of real" in out
    assert "precision    recall" in out
    assert load_labels(tmp_path / "le.pickle").classes == ["fake", "real"]
    encoder = pickle.loads((tmp_path / "le.pickle").read_bytes())
    assert list(encoder.transform(["fake", "real"])) == [0, 1]
    assert load_network(tmp_path / "liveness.model").classes == 2
    assert cv2.imread(str(tmp_path / "plot.png")).shape == (480, 640, 3)
    names = ["le.pickle", "liveness.model", "plot.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_it_learns_to_tell_the_sample_apart(dataset, run):
    status, out, _ = run(dataset)
    assert status == 0
    accuracy = next(line for line in out.splitlines() if "accuracy" in line)
    assert float(accuracy.split()[1]) >= 0.9


def test_the_same_seed_gives_the_same_network_and_report(dataset, run, tmp_path):
    def outcome(seed):
        _, out, _ = run(dataset, "--epochs", 2, "--seed", seed)
        predict = load_network(tmp_path / "liveness.model").predict
        return out, predict(np.linspace(0, 1, 3072, dtype="f4").reshape(1, 32, 32, 3))

    first, again, other = outcome(1), outcome(1), outcome(2)
    assert first[0] == again[0]
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def test_three_classes(dataset, run, tmp_path):
    folder = copy_crops(dataset, tmp_path / "data")
    copy_crops(folder, tmp_path / "more", ["fake"])
    (tmp_path / "more" / "fake").rename(folder / "print")
    status, out, _ = run(folder, "--epochs", 1)
    assert status == 0
    assert load_labels(tmp_path / "le.pickle").classes == ["fake", "print", "real"]
    assert load_network(tmp_path / "liveness.model").classes == 3
    assert "print" in out


def test_crops_are_loaded_sorted_and_others_are_named(dataset, tmp_path, capsys):
    folder = copy_crops(dataset, tmp_path / "data", most=3)
    (folder / "notes.txt").write_text("stray")
    (folder / "real" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (folder / "real" / ".DS_Store").write_text("hidden")
    crops, labels, paths = train.load_dataset(folder)
    assert paths == sorted(paths)
    assert labels == ["fake"] * 3 + ["real"] * 3
    for crop, path in zip(crops, paths, strict=True):
        image = preprocess([read_image(path)])[0]
        np.testing.assert_array_equal(crop.astype(np.float32) / 255, image)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 3
    assert "notes.txt: not in a class's folder" in warnings[0]
    assert "broken.png: not a readable image" in warnings[1]
    assert "skipped 2 of 8 files" in warnings[2]


@pytest.mark.parametrize("labels", [[], ["real"], None])
def test_fewer_than_two_classes_is_an_error(labels, dataset, run, tmp_path):
    if labels is not None:
        (tmp_path / "data").mkdir()
        copy_crops(dataset, tmp_path / "data", labels)
    status, _, error = run(tmp_path / "data")
    assert status == 1
    assert str(tmp_path / "data") in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "liveness.model").exists()


def test_an_output_that_cannot_be_written_is_said_before_training(
    dataset, run, tmp_path
):
    (tmp_path / "liveness.model").mkdir()
    status, out, error = run(dataset)
    assert status == 1
    assert "liveness.model is a folder" in error
    assert "loading" not in out


def test_all_of_a_batch_moves_as_image_data_generator_moves_each():
    rng = np.random.default_rng(0)
    noise = rng.random((32, 32, 3), np.float32)
    image = cv2.GaussianBlur(noise, (5, 5), 1)
    for mirror in (False, True):
        degrees, shear = rng.uniform(-20, 20), rng.uniform(-15, 15)
        tx, ty = rng.uniform(-6, 6, 2)
        zx, zy = rng.uniform(0.85, 1.15, 2)
        expected = apply_affine_transform(
            image.copy(),
            theta=degrees,
            tx=tx,
            ty=ty,
            shear=shear,
            zx=zx,
            zy=zy,
            row_axis=0,
            col_axis=1,
            channel_axis=2,
            fill_mode="nearest",
            order=1,
        )
        if mirror:
            expected = expected[:, ::-1]
        values = (np.deg2rad(degrees), ty, tx, np.deg2rad(shear), zy, zx)
        moves = [tf.constant([value, 0], tf.float32) for value in values]
        moves[4:] = [tf.constant([value, 1], tf.float32) for value in values[4:]]
        transforms = train.affine_transforms(
            *moves, tf.constant([mirror, False]), 32, 32
        )
        moved, still = tf.raw_ops.ImageProjectiveTransformV3(
            images=np.stack([image, image]),
            transforms=transforms,
            output_shape=(32, 32),
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="NEAREST",
        )
        np.testing.assert_allclose(moved, expected, atol=1e-5)
        np.testing.assert_allclose(still, image, atol=1e-6)


def test_augmentation_follows_its_seed_and_stays_in_range(dataset):
    crops, _, _ = train.load_dataset(dataset)
    images = tf.constant(crops[:8], tf.float32) / 255
    first = train.augment(images, [1, 2])
    np.testing.assert_array_equal(first, train.augment(images, [1, 2]))
    assert not np.array_equal(first, train.augment(images, [1, 3]))
    assert first.shape == images.shape
    assert float(tf.reduce_min(first)) >= 0
    assert float(tf.reduce_max(first)) <= 1


def test_every_epoch_has_every_crop_once_in_another_order():
    crops = np.arange(19, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, 8, 8, 3), np.uint8
    )
    batches = train.training_batches(crops, np.eye(19, dtype=np.float32), seed=3)
    epochs = []
    for _ in range(2):
        numbers = []
        for images, targets in batches:
            assert len(images) <= train.BATCH_SIZE
            numbers += list(np.argmax(targets, axis=1))
            # A crop of one colour stays what it is, however it is moved.
            means = np.mean(images, axis=(1, 2, 3)) * 255
            np.testing.assert_allclose(means, np.argmax(targets, axis=1), atol=1e-3)
        assert sorted(numbers) == list(range(19))
        epochs.append(numbers)
    assert epochs[0] != epochs[1]


def test_nothing_puzzling_is_printed(dataset, tmp_path):
    arguments = ["-d", dataset, "-m", tmp_path / "m", "-l", tmp_path / "l"]
    arguments += ["-p", tmp_path / "p.png", "--epochs", 1]
    done = subprocess.run(
        [sys.executable, train.__file__, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_help_answers_without_tensorflow():
    program = (
        "import sys, train\n"
        "try: train.main(['--help'])\n"
        "finally: assert not {'tensorflow', 'keras', 'sklearn', 'matplotlib'}"
        " & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 0, done.stderr
