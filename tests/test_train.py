import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import gather_examples
import train
from pyimagesearch.artifacts import load_labels, load_network, save_labels
from pyimagesearch.backend import keras, tf
from pyimagesearch.dataset import load_dataset
from pyimagesearch.livenessnet import LivenessNet
from pyimagesearch.preprocessing import scale

import cv2
import numpy as np
import pytest
from sklearn.preprocessing import LabelEncoder


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
        for crop in sorted((dataset / label).glob("*.png"))[:most]:
            (folder / label / crop.name).write_bytes(crop.read_bytes())
    return folder


def accuracy(out):
    return float(next(x for x in out.splitlines() if "accuracy" in x).split()[1])


def test_it_writes_a_model_labels_a_picture_and_a_report(dataset, run, tmp_path):
    report = tmp_path / "reports" / "report.json"
    status, out, _ = run(dataset, "--epochs", 2, "--report", report)
    assert status == 0
    assert "60 images of fake, 1 sources" in out
    assert "60 images of real, 1 sources" in out
    assert "precision    recall" in out
    assert "APCER  fake" in out
    labels = load_labels(tmp_path / "le.pickle")
    assert labels.classes == ["fake", "real"]
    assert labels.margin == 0
    encoder = pickle.loads((tmp_path / "le.pickle").read_bytes())
    assert list(encoder.transform(["fake", "real"])) == [0, 1]
    assert load_network(tmp_path / "liveness.model").classes == 2
    assert cv2.imread(str(tmp_path / "plot.png")).shape == (800, 1500, 3)
    names = ["le.pickle", "liveness.model", "plot.png", "reports"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names

    report = json.loads(report.read_text())
    assert report["split"]["how"] == "blocks of frames"
    counts = [report["split"][side]["real"]["real"] for side in ("train", "test")]
    assert counts[1] == 15
    assert 36 <= counts[0] <= 42
    assert report["recipe"]["name"] == "steady"
    assert report["seed"] == 42
    assert report["margin"] == 0
    assert report["development_threshold"] == labels.threshold
    assert len(report["history"]["val_loss"]) == 2
    frames = report["evaluation"]["frames"]
    assert frames["bpcer"]["n"] == frames["apcer"]["fake"]["n"] == 15
    assert report["classification_report"]["real"]["support"] == 15
    assert {"python", "tensorflow", "keras", "numpy", "cv2"} <= set(report["versions"])
    assert min(report["seconds"].values()) > 0


@pytest.mark.parametrize(
    "options", [[], ["--split", "random"]], ids=["video", "random"]
)
def test_it_learns_to_tell_the_sample_apart(options, dataset, run):
    status, out, _ = run(dataset, *options)
    assert status == 0
    assert accuracy(out) >= 0.95


def test_the_tutorials_recipe_is_one_switch(dataset, run, tmp_path):
    options = ["--recipe", "tutorial", "--split", "random", "--epochs", 2]
    status, out, _ = run(dataset, *options, "--report", tmp_path / "r.json")
    assert status == 0
    assert "training network for 2 epochs" in out
    recipe = json.loads((tmp_path / "r.json").read_text())["recipe"]
    assert recipe["batch_size"] == 8
    assert recipe["learning_rate"] == 1e-4
    assert train.RECIPES["tutorial"].epochs == 50


@pytest.mark.parametrize("rare", ["real", "fake"])
def test_a_class_with_a_fifth_of_the_crops_does_not_vanish(
    rare, dataset, run, tmp_path
):
    folder = tmp_path / "data"
    for label in ("real", "fake"):
        (folder / label).mkdir(parents=True)
        crops = sorted((dataset / label).glob("*.png"))
        for crop in crops[:: 5 if label == rare else 1]:
            (folder / label / crop.name).write_bytes(crop.read_bytes())
    assert run(folder, "--report", tmp_path / "r.json")[0] == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["classification_report"][rare]["support"] == 3
    # A network is easily right on three crops of one film, so ask it about the others.
    assert run(dataset, "--evaluate", "--report", tmp_path / "e.json")[0] == 0
    figures = json.loads((tmp_path / "e.json").read_text())["classification_report"]
    assert figures[rare]["recall"] >= 0.9
    assert figures["accuracy"] >= 0.95


def test_a_training_with_one_video_in_a_class_says_what_that_means(dataset, run):
    _, _, error = run(dataset, "--epochs", 1)
    assert "[WARN] a class has crops of one video only" in error


def test_random_where_videos_could_be_kept_apart_is_warned_of(dataset, run, tmp_path):
    folder = tmp_path / "data"
    for label in ("real", "fake"):
        (folder / label).mkdir(parents=True)
        for number, crop in enumerate(sorted((dataset / label).glob("*.png"))[:40]):
            name = f"film{number // 10}_{number:06d}.png"
            (folder / label / name).write_bytes(crop.read_bytes())
    _, out, error = run(folder, "--epochs", 1)
    assert error == ""
    assert "split by whole sources" in out
    _, out, error = run(folder, "--epochs", 1, "--split", "random")
    assert "split by crops at random" in out
    assert "optimistic; --split video keeps videos apart" in error


def test_no_class_named_real_is_said_and_trained_all_the_same(dataset, run, tmp_path):
    folder = copy_crops(dataset, tmp_path / "data")
    (folder / "real").rename(folder / "live")
    status, out, error = run(folder, "--epochs", 1, "--report", tmp_path / "r.json")
    assert status == 0
    assert "name the folder of real faces real" in error
    assert "APCER" not in out
    assert "evaluation" not in json.loads((tmp_path / "r.json").read_text())
    assert load_labels(tmp_path / "le.pickle").classes == ["fake", "live"]


class TestEvaluate:
    """`--evaluate`: yesterday's network, or somebody else's crops."""

    def evaluate(self, trained, folder, *options):
        arguments = ["--evaluate", "-d", folder, "-m", trained / "liveness.model"]
        arguments += ["-l", trained / "le.pickle", *options]
        return train.main([str(argument) for argument in arguments])

    def test_all_crops_are_measured_and_nothing_is_trained(
        self, trained, dataset, tmp_path, capsys
    ):
        before = {p: p.read_bytes() for p in trained.iterdir()}
        options = ["-p", tmp_path / "plot.png", "--report", tmp_path / "r.json"]
        assert self.evaluate(trained, dataset, *options) == 0
        assert before == {p: p.read_bytes() for p in trained.iterdir()}
        out = capsys.readouterr().out
        assert "threshold 0.500, fixed beforehand" in out
        assert cv2.imread(str(tmp_path / "plot.png")).shape == (800, 1000, 3)
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["sources"] == {"fake": {"fake": 60}, "real": {"real": 60}}
        assert report["evaluation"]["frames"]["bpcer"]["n"] == 60

    def test_the_threshold_of_the_training_is_frozen(
        self, trained, dataset, tmp_path, capsys
    ):
        encoder = LabelEncoder().fit(["fake", "real"])
        encoder.threshold = 0.9
        save_labels(encoder, tmp_path / "le.pickle")
        options = ["-l", tmp_path / "le.pickle", "-p", tmp_path / "p.png"]
        assert self.evaluate(trained, dataset, *options) == 0
        out = capsys.readouterr().out
        assert "threshold 0.900, chosen on the held-out crops of the training" in out

    def test_other_instruments_and_a_single_class(
        self, trained, dataset, tmp_path, capsys
    ):
        for name in ("print", "replay"):
            copy_crops(dataset, tmp_path / "more", ["fake"])
            (tmp_path / "more" / "fake").rename(tmp_path / "more" / name)
        assert self.evaluate(trained, tmp_path / "more", "-p", tmp_path / "p.png") == 0
        out = capsys.readouterr().out
        assert "APCER  print" in out
        assert "APCER  replay" in out
        assert "ACER  " not in out.replace("APCER", "")

    def test_crops_of_another_margin_are_refused(
        self, trained, videos, detector_folder, tmp_path, capsys
    ):
        arguments = ["-i", videos / "real.mp4", "-o", tmp_path / "data" / "real"]
        arguments += ["-d", detector_folder, "--margin", "0.5", "-s", "60"]
        assert gather_examples.main([str(argument) for argument in arguments]) == 0
        assert self.evaluate(trained, tmp_path / "data") == 1
        error = capsys.readouterr().err
        assert "was gathered with --margin 0.5, but" in error


@pytest.mark.parametrize(("epoch", "kept"), [(0, False), (2, True)])
def test_ctrl_c_keeps_what_there_is_after_the_first_epoch(
    epoch, kept, dataset, run, tmp_path, monkeypatch
):
    for name in ("liveness.model", "le.pickle", "plot.png"):
        (tmp_path / name).write_text("yesterday's")
    asked = 7  # times an epoch: after each of its 5 steps, and twice at its end
    seen = []

    class Event(threading.Event):
        def is_set(self):
            seen.append(None)
            if len(seen) == epoch * asked + 1:
                os.kill(os.getpid(), signal.SIGINT)
            return super().is_set()

    monkeypatch.setattr(train, "threading", SimpleNamespace(Event=Event))
    status, out, error = run(dataset)
    assert status == 130
    assert "interrupted" in error
    contents = {(tmp_path / n).read_bytes()[:4] for n in ("liveness.model", "plot.png")}
    if kept:
        assert "interrupted in epoch 3; keeping the network as it is" in out
        assert "precision    recall" in out
        assert contents == {b"PK\3\4", b"\x89PNG"}
        assert load_network(tmp_path / "liveness.model").classes == 2
    else:
        assert contents == {b"yest"}
    names = ["le.pickle", "liveness.model", "plot.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_batch_normalization_is_settled_on_the_crops_as_they_are(dataset):
    crops = load_dataset(dataset).crops
    keras.utils.set_random_seed(0)
    model = LivenessNet.build(32, 32, 3, 2)
    train.settle_batch_normalization(model, crops, np.arange(len(crops)), seed=0)
    settled = model(scale(crops), training=False)
    # What batch normalization does to these very crops as one batch, in training.
    values = tf.constant(scale(crops))
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Dropout):
            values = layer(values, training=True)
    np.testing.assert_allclose(settled, values, atol=1e-3)


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


@pytest.mark.parametrize("moved_at_once", [1, 2, 32])
def test_every_epoch_has_every_crop_once_in_another_order(moved_at_once, monkeypatch):
    monkeypatch.setattr(train, "MOVED_AT_ONCE", moved_at_once)
    crops = np.arange(20, dtype=np.uint8)[:, None, None, None]
    crops = np.tile(crops, (1, 8, 8, 3))
    rng, epochs = np.random.default_rng(0), []
    for _ in range(2):
        numbers = []
        for images, places in train.make_batches(crops, np.arange(3, 20), 8, rng):
            assert images.dtype == np.float32
            assert len(images) in (5, 6)  # 17 crops in 3 batches
            # A crop of one colour stays what it is, however it is moved.
            means = images.mean(axis=(1, 2, 3)) * 255
            np.testing.assert_allclose(means, places, atol=1e-3)
            numbers += list(places)
        assert sorted(numbers) == list(range(3, 20))
        epochs.append(numbers)
    assert epochs[0] != epochs[1]


def test_the_steps_are_those_of_keras():
    """Its own Adam and batch normalization come to the same network."""
    keras.utils.set_random_seed(0)
    ours, theirs = (LivenessNet.build(16, 16, 3, 2) for _ in range(2))
    theirs.set_weights(ours.get_weights())
    for model in (ours, theirs):
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 10)
    theirs.compile(keras.optimizers.Adam(schedule), "categorical_crossentropy")
    weights = np.array([0.5, 2], np.float32)
    learn = train.compile_learning(ours, schedule, weights)
    rng = np.random.default_rng(0)
    for _ in range(2):
        images = rng.random((64, 16, 16, 3), np.float32)
        targets = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 64)]
        loss, hits = learn(images, targets).numpy()
        theirs.reset_metrics()
        expected = theirs.train_on_batch(
            images, targets, class_weight=dict(enumerate(weights))
        )
        assert loss / 64 == pytest.approx(float(expected), abs=1e-3)
        assert hits == int(hits)
        assert 0 <= hits <= 64
    # Not each weight: Adam makes a step of rounding errors where there is no gradient.
    for own, other in zip(ours.weights, theirs.weights, strict=True):
        assert np.abs(own.numpy() - other.numpy()).mean() < 3e-5, own.path


def test_nothing_puzzling_is_printed(dataset, tmp_path):
    arguments = ["-d", dataset, "-m", tmp_path / "m", "-l", tmp_path / "l"]
    arguments += ["-p", tmp_path / "p.png", "--epochs", 1, "--split", "random"]
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
