import json
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter

import gather_examples
import train
from pyimagesearch import evaluation, training
from pyimagesearch.backend import keras
from pyimagesearch.dataset import load_dataset
from pyimagesearch.labels import load_labels, save_labels
from pyimagesearch.models import load_network
from pyimagesearch.preprocessing import scale

import cv2
import numpy as np
import pytest

QUICK = ["--epochs", 1, "--folds", 1]


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


@pytest.mark.parametrize("split", ["video", "random"])
def test_it_learns_to_tell_the_sample_apart(split, dataset, run):
    status, out, _ = run(dataset, "--split", split, "--folds", 1, "--epochs", 20)
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
    options = ["--folds", 1, "--epochs", 40, "--report", tmp_path / "r.json"]
    assert run(folder, *options)[0] == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["classification_report"][rare]["support"] == 3
    # A network is easily right on three crops of one film, so ask it about the others.
    assert run(dataset, "--evaluate", "--report", tmp_path / "e.json")[0] == 0
    figures = json.loads((tmp_path / "e.json").read_text())["classification_report"]
    assert figures[rare]["recall"] >= 0.9
    assert figures["accuracy"] >= 0.95


def test_no_class_named_real_is_said_and_trained_all_the_same(dataset, run, tmp_path):
    folder = copy_crops(dataset, tmp_path / "data")
    (folder / "real").rename(folder / "live")
    status, out, error = run(folder, *QUICK, "--report", tmp_path / "r.json")
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
        labels = load_labels(trained / "le.pickle")._replace(threshold=0.9)
        save_labels(labels, tmp_path / "le.pickle")
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


def test_three_classes(dataset, run, tmp_path):
    folder = copy_crops(dataset, tmp_path / "data")
    copy_crops(folder, tmp_path / "more", ["fake"])
    (tmp_path / "more" / "fake").rename(folder / "print")
    status, out, _ = run(folder, *QUICK)
    assert status == 0
    assert load_labels(tmp_path / "le.pickle").classes == ["fake", "print", "real"]
    assert load_network(tmp_path / "liveness.model").classes == 3
    assert "print" in out


@pytest.mark.parametrize("labels", [[], ["real"], None])
def test_fewer_than_two_classes_exit_1_with_one_line(labels, dataset, run, tmp_path):
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


def test_nothing_but_our_own_lines_is_printed(dataset, tmp_path):
    arguments = ["-d", dataset, "-m", tmp_path / "m", "-l", tmp_path / "l"]
    arguments += ["-p", tmp_path / "p.png", *QUICK]
    done = subprocess.run(
        [sys.executable, train.__file__, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert [line[:7] for line in done.stderr.splitlines()] == ["[WARN] "]


@pytest.fixture(scope="module")
def films(dataset, tmp_path_factory):
    """Forty crops of each class, of four persons."""
    folder = tmp_path_factory.mktemp("films")
    for label in ("real", "fake"):
        (folder / label).mkdir()
        for number, crop in enumerate(sorted((dataset / label).glob("*.png"))[:40]):
            person = ("anna", "bob", "carla", "dan")[number // 10]
            name = f"{person}-{label}_{number:06d}.png"
            (folder / label / name).write_bytes(crop.read_bytes())
    return folder


def flatten(counts):
    """Make {label: {source: count}} {(label, source): count}."""
    return Counter(
        {
            (label, source): count
            for label, sources in counts.items()
            for source, count in sources.items()
        }
    )


def test_it_writes_a_model_labels_a_picture_and_a_report(dataset, run, tmp_path):
    report = tmp_path / "reports" / "report.json"
    status, out, _ = run(dataset, "--epochs", 2, "--folds", 1, "--report", report)
    assert status == 0
    assert "60 images of fake, 1 source" in out
    assert "60 images of real, 1 source" in out
    assert "precision    recall" in out
    assert "APCER  fake" in out
    assert "by fold" not in out
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
    (fold,) = report["split"]["folds"]
    assert fold["test"]["real"]["real"] == 15
    assert 36 <= fold["train"]["real"]["real"] <= 42
    assert report["recipe"]["name"] == "steady"
    assert report["seed"] == 42
    assert report["margin"] == 0
    assert report["interrupted"] is False
    assert report["development_threshold"] == labels.threshold
    assert len(report["history"]["val_loss"]) == 2
    frames = report["evaluation"]["frames"]
    assert frames["bpcer"]["n"] == frames["apcer"]["fake"]["n"] == 15
    assert report["classification_report"]["real"]["support"] == 15
    assert {"python", "tensorflow", "keras", "numpy"} <= set(report["versions"])
    assert min(report["seconds"].values()) > 0


class Spy:
    """Notes what every network learns, and passes it on."""

    def __init__(self, monkeypatch):
        self.trainings = []  # of (train, test, order, model)
        train_network, draw_order = train.train_network, training.draw_order
        orders = {}

        def draw(rng, crops, *arguments):
            orders[crops.tobytes()] = draw_order(rng, crops, *arguments)
            return orders[crops.tobytes()]

        def watch(data, fold, *arguments):
            result = train_network(data, fold, *arguments)
            order = orders[fold.train.tobytes()]
            self.trainings.append((fold.train, fold.test, order, result.model))
            return result

        monkeypatch.setattr(training, "draw_order", draw)
        monkeypatch.setattr(train, "train_network", watch)


def test_every_crop_is_measured_once_by_a_network_that_has_not_seen_it(
    films, run, tmp_path, monkeypatch
):
    spy, scored = Spy(monkeypatch), []
    measure = evaluation.measure

    def watch(probabilities, classes, dataset, *arguments):
        scored.append((probabilities, dataset))
        return measure(probabilities, classes, dataset, *arguments)

    monkeypatch.setattr(evaluation, "measure", watch)
    status, out, _ = run(films, "--epochs", 1, "--report", tmp_path / "r.json")
    assert status == 0
    everything = list(range(80))
    spy.trainings.sort(key=lambda one: len(one[0]))
    *folds, final = spy.trainings
    assert len(folds) == 4
    assert list(final[0]) == everything
    assert sorted(set(final[2].ravel())) == everything
    assert sorted(np.concatenate([test for _, test, *_ in folds])) == everything
    ((probabilities, dataset),) = scored
    assert probabilities.shape == (80, 2)
    whole = load_dataset(films)
    assert dataset.paths == whole.paths
    for learnt, tested, order, model in folds:
        assert set(order.ravel()) == set(learnt)
        assert not set(learnt) & set(tested)
        # What was measured is what that network, asked again, says of them.
        again = model(scale(whole.crops[tested]), training=False)
        np.testing.assert_allclose(probabilities[tested], again, atol=1e-5)

    report = json.loads((tmp_path / "r.json").read_text())
    assert report["split"]["how"] == "whole sources"
    frames = report["evaluation"]["frames"]
    assert frames["bpcer"]["n"] == frames["apcer"]["fake"]["n"] == 40
    whole = Counter()
    for fold in report["folds"]:
        persons = [
            {source.split("-")[0] for _, source in flatten(fold[side])}
            for side in ("train", "test")
        ]
        assert not persons[0] & persons[1]
        whole += flatten(fold["test"])
        assert flatten(fold["train"]) + flatten(fold["test"]) == Counter(
            {
                (label, f"{person}-{label}"): 10
                for person in ("anna", "bob", "carla", "dan")
                for label in ("real", "fake")
            }
        )
        assert 0 <= fold["accuracy"] <= 1
    assert set(whole.values()) == {10}
    accuracies = [fold["accuracy"] for fold in report["folds"]]
    spread = " ".join(f"{value:.1%}" for value in accuracies)
    assert f"accuracy by fold: {spread}" in out
    assert report["classification_report"]["accuracy"] == pytest.approx(
        np.mean(accuracies)
    )
    # The final network is measured on nothing, as there is nothing new to it.
    assert set(report["history"]["val_loss"]) == {None}


def test_one_fold_learns_no_crop_that_it_is_measured_on(films, run, monkeypatch):
    spy = Spy(monkeypatch)
    assert run(films, *QUICK)[0] == 0
    ((learnt, tested, order, _),) = spy.trainings
    assert len(learnt) + len(tested) == 80
    assert len(tested) == 20
    assert not set(order.ravel()) & set(tested)


@pytest.mark.parametrize(
    ("options", "epochs", "steps"),
    [
        (["--epochs", 2], 2, 2 * 5),
        (["--epochs", 2, "--recipe", "tutorial"], 2, 2 * 10),
        ([], 120, 600),
    ],
)
def test_few_crops_are_learnt_for_as_many_steps_as_many_unless_epochs_are_named(
    options, epochs, steps, films, run, monkeypatch
):
    seen = []

    def stop(data, fold, recipe, *_arguments):
        seen.append((recipe.epochs, train.count_steps(recipe, fold)))
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train_network", stop)
    assert run(films, "--folds", 2, *options)[0] == 130
    count, per_epoch = seen[0]
    assert (count, count * per_epoch) == (epochs, steps)


def test_folds_see_their_crops_as_often_as_the_final_network_or_more_often(
    films, run, monkeypatch
):
    train_network, seen = train.train_network, {}

    def watch(data, fold, recipe, *arguments):
        seen[len(fold.train)] = recipe.epochs
        return train_network(data, fold, recipe._replace(epochs=1), *arguments)

    monkeypatch.setattr(train, "train_network", watch)
    assert run(films, "--folds", 4)[0] == 0
    assert seen == {80: 120, 60: 120}  # of 5 and 4 steps: 600 and 480
    seen.clear()
    assert run(films, "--folds", 2)[0] == 0
    assert seen == {80: 120, 40: 134}  # of 5 and 3 steps: 600 and 402


class InterruptingBar:
    """Stands for the progress bar; sends Ctrl-C at a step of the n-th network.

    With one core, the networks are trained one after the other.
    """

    def __init__(self, monkeypatch, network, step):
        self.count, self.network, self.step = [], network, step
        train_network = train.train_network

        def watch(*arguments):
            self.count.append(0)
            self.stop = arguments[-1]
            return train_network(*arguments)

        monkeypatch.setattr(cv2, "getNumberOfCPUs", lambda: 1)
        monkeypatch.setattr(train, "train_network", watch)
        monkeypatch.setattr(training, "tqdm", lambda **_options: self)

    def update(self):
        self.count[-1] += 1
        if (len(self.count), self.count[-1]) == (self.network, self.step):
            os.kill(os.getpid(), signal.SIGINT)
            # Python calls the handler in its main thread, as soon as that runs.
            assert self.stop.wait(60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


YESTERDAYS = ("liveness.model", "le.pickle", "plot.png", "r.json")
INTERRUPTED = ["--epochs", 4, "--report"]


@pytest.fixture
def yesterdays(tmp_path):
    """The four files of another training: functions that tell what became of them."""
    for name in YESTERDAYS:
        (tmp_path / name).write_text("yesterday's")

    def kept():
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(YESTERDAYS)
        return [n for n in YESTERDAYS if (tmp_path / n).read_bytes() == b"yesterday's"]

    return kept


@pytest.mark.parametrize("folds", [1, 2])
@pytest.mark.parametrize("step", [1, 3])
def test_ctrl_c_in_the_first_epoch_keeps_nothing(
    step, folds, films, run, tmp_path, yesterdays, monkeypatch
):
    bar = InterruptingBar(monkeypatch, 1, step)
    options = [*INTERRUPTED, tmp_path / "r.json", "--folds", folds]
    status, out, error = run(films, *options)
    assert status == 130
    assert "[INFO] interrupted" in error
    assert "serializing" not in out
    assert yesterdays() == list(YESTERDAYS)
    assert bar.count[0] == step


def test_ctrl_c_later_keeps_the_network_and_its_figures(
    films, run, tmp_path, yesterdays, monkeypatch
):
    # 60 crops in 4 steps an epoch: in the middle of the third one.
    bar = InterruptingBar(monkeypatch, 1, 10)
    options = [*INTERRUPTED, tmp_path / "r.json", "--folds", 1]
    status, out, error = run(films, *options)
    assert status == 130
    assert "[INFO] interrupted" in error
    assert "interrupted in epoch 3; keeping the network as it is" in out
    assert "precision    recall" in out
    assert bar.count == [10]
    assert yesterdays() == []
    assert load_network(tmp_path / "liveness.model").classes == 2
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["interrupted"] is True
    assert len(report["history"]["loss"]) == 3


def test_ctrl_c_in_the_training_of_all_crops_keeps_that_network_without_figures(
    films, run, tmp_path, yesterdays, monkeypatch
):
    InterruptingBar(monkeypatch, 1, 12)  # 80 crops in 5 steps: in the third epoch
    options = [*INTERRUPTED, tmp_path / "r.json", "--folds", 2]
    status, out, error = run(films, *options)
    assert status == 130
    assert "interrupted in epoch 3; keeping the network as it is" in out
    assert "there are figures of 0 of 2 folds" in error
    assert "precision    recall" not in out
    assert yesterdays() == ["plot.png", "r.json"]
    assert load_network(tmp_path / "liveness.model").classes == 2
    assert load_labels(tmp_path / "le.pickle").threshold is None


def test_ctrl_c_in_a_later_fold_keeps_the_whole_network_and_the_figures_so_far(
    films, run, tmp_path, yesterdays, monkeypatch
):
    InterruptingBar(monkeypatch, 3, 2)  # in the second fold
    options = [*INTERRUPTED, tmp_path / "r.json", "--folds", 3]
    status, out, error = run(films, *options)
    assert status == 130
    assert "keeping the network as it is" not in out
    assert "there are figures of 1 of 3 folds" in error
    assert "precision    recall" in out
    assert yesterdays() == []
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["interrupted"] is True
    assert len(report["history"]["loss"]) == 4
    assert len(report["folds"]) == 1
    assert report["evaluation"]["frames"]["bpcer"]["n"] < 40


def test_the_same_seed_gives_the_same_network_and_figures_on_any_number_of_cores(
    films, run, tmp_path, monkeypatch
):
    images = np.linspace(0, 1, 2 * 3072, dtype="f4").reshape(2, 32, 32, 3)

    def outcome(cores, seed=1):
        monkeypatch.setattr(cv2, "getNumberOfCPUs", lambda: cores)
        options = ["--epochs", 1, "--folds", 2, "--seed", seed]
        status, out, _ = run(films, *options, "--report", tmp_path / "r.json")
        assert status == 0
        rows = load_network(tmp_path / "liveness.model").predict(images)
        report = json.loads((tmp_path / "r.json").read_text())
        figures = [report[key] for key in ("evaluation", "folds", "history")]
        return rows.tolist(), out, figures

    first = outcome(1)
    assert outcome(2) == first
    assert outcome(4) == first
    assert outcome(1, seed=2)[0] != first[0]


def test_who_changes_the_network_gets_what_keras_gives(films, run, monkeypatch):
    """A regularizer and a frozen layer in `build` reach the training by themselves."""
    build = training.LivenessNet.build
    built, losses = [], {}

    def changed(penalty, trainable):
        def change(**shape):
            model = build(**shape)
            model.layers[0].kernel_regularizer = keras.regularizers.L2(penalty)
            model.layers[0].trainable = trainable
            built.append((model, model.layers[0].kernel.numpy()))
            return model

        return staticmethod(change)

    train_network = train.train_network

    def watch(*arguments):
        result = train_network(*arguments)
        losses[len(built)] = result.history["loss"]
        return result

    monkeypatch.setattr(train, "train_network", watch)
    for penalty, trainable in ((0.0, True), (50.0, True), (0.0, False)):
        monkeypatch.setattr(training.LivenessNet, "build", changed(penalty, trainable))
        assert run(films, *QUICK)[0] == 0
    moved = [
        not np.array_equal(model.layers[0].kernel, kernel) for model, kernel in built
    ]
    assert moved == [True, True, False]
    assert losses[2][0] > losses[1][0] + 1


@pytest.mark.parametrize(
    "options",
    [["-l", "liveness.model"], ["--export", "le.pickle"], ["-p", "le.pickle"]],
)
def test_two_outputs_of_one_name_are_refused_before_the_work(
    options, dataset, run, tmp_path
):
    status, out, error = run(dataset, options[0], tmp_path / options[1])
    assert status == 1
    assert "are the same file" in error
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_that_was_learnt_is_no_news(
    trained, dataset, videos, detector_folder, tmp_path, capsys
):
    arguments = ["--evaluate", "-m", trained / "liveness.model"]
    arguments += ["-l", trained / "le.pickle", "-p", tmp_path / "p.png", "-d"]
    assert train.main(list(map(str, [*arguments, dataset]))) == 0
    assert "has learnt 2 sources of this dataset" in capsys.readouterr().err
    for label in ("real", "fake"):  # other frames than the training had
        options = ["-i", videos / f"{label}.mp4", "-o", tmp_path / "new" / label]
        options += ["-d", detector_folder, "-s", 59]
        assert gather_examples.main(list(map(str, options))) == 0
    capsys.readouterr()
    assert train.main(list(map(str, [*arguments, tmp_path / "new"]))) == 0
    assert "has learnt" not in capsys.readouterr().err
