import base64
import itertools
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import gather_examples
import train
from pyimagesearch import calibration, models, training
from pyimagesearch.backend import keras
from pyimagesearch.calibration import log_odds, shift_odds, shift_score
from pyimagesearch.dataset import load_dataset
from pyimagesearch.faces import scale
from pyimagesearch.files import sha256_of
from pyimagesearch.folds import Fold
from pyimagesearch.labels import Labels, load_labels, save_labels
from pyimagesearch.livenessnet import LivenessNet
from pyimagesearch.models import load_classifier, load_network

import cv2
import keras_2
import numpy as np
import pytest
from sklearn.preprocessing import LabelEncoder

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
        shutil.copy(dataset / label / "sources.csv", folder / label)
        for crop in sorted((dataset / label).glob("*.png"))[:most]:
            (folder / label / crop.name).write_bytes(crop.read_bytes())
    return folder


@pytest.mark.parametrize("split", ["video", "random"])
def test_it_learns_to_tell_the_sample_apart(split, dataset, run, tmp_path):
    options = ["--split", split, "--folds", 1, "--epochs", 20]
    assert run(dataset, *options, "--report", tmp_path / "r.json")[0] == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["classification_report"]["accuracy"] >= 0.95


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


def test_a_dataset_without_real_faces_is_refused_in_one_line(dataset, run, tmp_path):
    folder = copy_crops(dataset, tmp_path / "data")
    (folder / "real").rename(folder / "people")
    status, _, error = run(folder)
    assert status == 1
    assert "fake, people" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "liveness.model").exists()


def test_live_is_real_and_trained_as_such(dataset, run, tmp_path):
    folder = copy_crops(dataset, tmp_path / "data")
    (folder / "real").rename(folder / "Live")
    status, out, _ = run(folder, *QUICK)
    assert status == 0
    assert " crops of 2 sources: " in out
    assert " real views and " in out
    assert load_labels(tmp_path / "le.pickle").classes == ["fake", "real"]


def test_three_classes(dataset, run, tmp_path):
    folder = copy_crops(dataset, tmp_path / "data")
    copy_crops(folder, tmp_path / "more", ["fake"])
    (tmp_path / "more" / "fake").rename(folder / "print")
    status, out, _ = run(folder, *QUICK)
    assert status == 0
    assert load_labels(tmp_path / "le.pickle").classes == ["fake", "print", "real"]
    assert load_network(tmp_path / "liveness.model").classes == 3
    assert "print" in out


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        ([], []),
        (["fake"], []),
        (["real"], ["--no-simulate"]),
        (["real"], ["--recipe", "tutorial"]),
        (None, []),
    ],
)
def test_fewer_than_two_classes_exit_1_with_one_line(
    labels, options, dataset, run, tmp_path
):
    if labels is not None:
        (tmp_path / "data").mkdir()
        copy_crops(dataset, tmp_path / "data", labels)
    status, _, error = run(tmp_path / "data", *options)
    assert status == 1
    assert str(tmp_path / "data") in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "liveness.model").exists()


def test_real_faces_alone_are_learnt_with_simulated_attacks_and_not_measured(
    dataset, run, tmp_path
):
    folder = copy_crops(dataset, tmp_path / "data", ["real"], most=20)
    options = ["--epochs", 10, "--report", tmp_path / "r.json", "--export"]
    status, out, error = run(folder, *options, tmp_path / "liveness.onnx")
    assert status == 0
    warnings = error.splitlines()
    assert len(warnings) == 2
    assert "nothing is measured" in warnings[0]
    assert "gather it as fake" in warnings[1]
    assert "simulating 120 recaptures" in out
    assert "APCER" not in out
    assert "precision" not in out
    labels = load_labels(tmp_path / "le.pickle")
    assert labels.classes == ["fake", "real"]
    assert "calibrated" not in out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["recaptures"] == 120
    assert [(file["label"], file["crops"]) for file in report["files"]] == [
        ("real", 20)
    ]
    assert report["split"]["how"] == "nothing is held out"
    assert not {"evaluation", "classification_report"} & set(report)
    assert len(report["history"]["loss"]) == 10
    assert cv2.imread(str(tmp_path / "plot.png")).shape == (450, 1200, 3)
    # It has learnt what it was shown, and --evaluate measures it as any other.
    options = ["--evaluate", "--report", tmp_path / "e.json"]
    assert run(dataset, *options)[0] == 0
    frames = json.loads((tmp_path / "e.json").read_text())["evaluation"]["frames"]
    assert frames["auc"] > 0.7


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ([], 0),
        (["--simulate"], 96),
        (["--recipe", "tutorial"], 0),
        (["--recipe", "tutorial", "--simulate"], 96),
    ],
)
def test_recaptures_of_one_person_are_simulated_if_they_are_asked_for(
    options, count, dataset, run, tmp_path
):
    folder = copy_crops(dataset, tmp_path / "data", most=16)
    report = ["--report", tmp_path / "r.json"]
    status, out, _ = run(folder, *QUICK, *options, *report)
    assert status == 0
    assert ("simulating 96 recaptures" in out) == (count > 0)
    why = "as asked" if options else "the real faces are of 1 person; --simulate"
    assert ("" if count else "no ") + f"recaptures are simulated: {why}" in out or (
        "tutorial" in options
    )
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["recaptures"] == count
    # All figures are of true crops.
    assert report["classification_report"]["macro avg"]["support"] == 8


def test_an_output_that_cannot_be_written_is_said_before_training(
    dataset, run, tmp_path
):
    (tmp_path / "liveness.model").mkdir()
    status, out, error = run(dataset)
    assert status == 1
    assert "liveness.model: a folder" in error
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


def test_it_writes_a_model_labels_a_picture_and_a_report(dataset, run, tmp_path):
    report, start = tmp_path / "reports" / "report.json", time.time()
    status, out, _ = run(dataset, "--epochs", 2, "--folds", 1, "--report", report)
    assert status == 0
    assert "60 images of fake, 1 source" in out
    assert "60 images of real, 1 source" in out
    assert re.search(r"^30 crops of 2 sources: \d+ of 15 real views and ", out, re.M)
    labels = load_labels(tmp_path / "le.pickle")
    assert labels.classes == ["fake", "real"]
    assert labels.margin == 0
    assert start <= labels.read_at <= (tmp_path / "liveness.model").stat().st_mtime
    encoder = pickle.loads((tmp_path / "le.pickle").read_bytes())
    assert list(encoder.transform(["fake", "real"])) == [0, 1]
    assert load_network(tmp_path / "liveness.model").classes == 2
    assert cv2.imread(str(tmp_path / "plot.png")).shape == (1230, 1200, 3)
    names = ["le.pickle", "liveness.model", "plot.png", "reports"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names

    report = json.loads(report.read_text())
    assert report["split"]["how"] == "blocks of frames"
    assert report["recipe"]["name"] == "steady"
    assert report["seed"] == 42
    assert report["margin"] == 0
    assert report["interrupted"] is False
    assert report["shift"] != 0
    assert len(report["history"]["val_loss"]) == 2
    frames = report["evaluation"]["frames"]
    assert frames["bpcer"]["n"] == frames["apcer"]["fake"]["n"] == 15
    assert report["classification_report"]["real"]["support"] == 15
    assert {"python", "tensorflow", "keras", "numpy"} <= set(report["versions"])


def test_of_eight_crops_of_each_class_is_said_what_can_be_known(dataset, run, tmp_path):
    folder, report = copy_crops(dataset, tmp_path / "data"), tmp_path / "r.json"
    status, out, _ = run(folder, "--report", report)
    assert status == 0
    figures, lines = json.loads(report.read_text()), out.splitlines()
    assert figures["summary"] == (
        "16 crops of 2 sources: 0 of 8 real views and 0 of 8 fakes wrong; says nothing "
        "about other people or places."
    )
    assert len(lines[lines.index(figures["summary"]) :]) <= 6
    assert "APCER" not in out
    assert figures["classification_report"]["accuracy"] == 1
    frames = figures["evaluation"]["frames"]
    assert frames["eer"] == 0
    assert figures["shift"] != 0  # six held-out crops of each class are enough


@pytest.mark.parametrize("export", [True, False])
def test_each_file_is_replaced_once_the_labels_last(
    export, films, run, tmp_path, monkeypatch
):
    replaced = []
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, to: replaced.append(to.name) or replace(self, to)
    )
    options = ["--export", tmp_path / "liveness.onnx"] if export else []
    assert run(films, "--epochs", 1, "--folds", 2, *options)[0] == 0
    assert replaced == ["liveness.onnx"] * export + ["liveness.model", "le.pickle"] + [
        "plot.png"
    ]


def test_a_failed_export_leaves_a_model_and_its_labels(
    films, run, tmp_path, monkeypatch
):
    def fail(*_):
        raise RuntimeError("no tf2onnx")

    monkeypatch.setattr(models, "export_onnx", fail)
    with pytest.raises(RuntimeError, match="no tf2onnx"):
        run(films, *QUICK, "--export", tmp_path / "liveness.onnx")
    load_classifier(tmp_path / "liveness.model", tmp_path / "le.pickle")
    assert not (tmp_path / "liveness.onnx").exists()


def test_thresholds_of_one_fold_are_those_of_the_network_that_is_saved(
    films, run, tmp_path
):
    options = ["--folds", 1, "--epochs", 3, "--report", tmp_path / "r.json"]
    status, out, _ = run(films, *options)
    assert status == 0
    report = json.loads((tmp_path / "r.json").read_text())
    before = float(re.search("calibrated: 0.5 was ([0-9.]+) before", out)[1])
    assert before == pytest.approx(shift_score(0.5, -report["shift"]), rel=1e-2)
    assert "the figures are from before the calibration" in report["notes"][0]
    point = report["evaluation"]["frames"]["operating_points"]["chosen beforehand"]
    assert point["threshold"] == pytest.approx(1 - before, abs=0.05)
    # The threshold was chosen on the crops that were held out: they are known, too.
    assert run(films, "--evaluate")[2].count("trained on 8 sources") == 1


class Spy:
    """Notes what every network learns, and passes it on."""

    def __init__(self, monkeypatch):
        self.trainings = []  # of (train, test, order, model)
        train_network, draw_order = train.train_network, training.draw_order
        orders = {}

        def draw(rng, crops, *arguments):
            orders[crops.tobytes()] = draw_order(rng, crops, *arguments)
            return orders[crops.tobytes()]

        def watch(dataset, fold, *arguments):
            result = train_network(dataset, fold, *arguments)
            order = orders[fold.train.tobytes()]
            self.trainings.append((fold.train, fold.test, order, result.model))
            return result

        monkeypatch.setattr(training, "draw_order", draw)
        monkeypatch.setattr(train, "train_network", watch)


def test_every_crop_is_measured_once_by_a_network_that_has_not_seen_it(
    films, run, tmp_path, monkeypatch
):
    spy, scored = Spy(monkeypatch), []
    measure = calibration.measure

    def watch(probabilities, classes, dataset, *arguments, **options):
        scored.append((probabilities, dataset))
        return measure(probabilities, classes, dataset, *arguments, **options)

    monkeypatch.setattr(calibration, "measure", watch)
    assert run(films, "--epochs", 1, "--report", tmp_path / "r.json")[0] == 0
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
    persons = np.array([path.name.split("-")[0] for path in whole.paths])
    for learnt, tested, order, model in folds:
        assert len(learnt) + len(tested) == 80
        assert not set(persons[learnt]) & set(persons[tested])
        assert set(order.ravel()) == set(learnt)
        assert not set(learnt) & set(tested)
        # What was measured is what that network, asked again, says of them, but for
        # the shift that the other folds ask for.
        again = np.asarray(model(scale(whole.crops[tested]), training=False))
        shifts = log_odds(again[:, 1]) - log_odds(probabilities[tested, 1])
        again = shift_odds(again, 1, np.median(shifts))
        np.testing.assert_allclose(probabilities[tested], again, atol=1e-5)

    report = json.loads((tmp_path / "r.json").read_text())
    assert report["split"]["how"] == "whole sources"
    frames = report["evaluation"]["frames"]
    assert frames["bpcer"]["n"] == frames["apcer"]["fake"]["n"] == 40
    # The final network is measured on nothing, as there is nothing new to it.
    assert "val_loss" not in report["history"]


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
        (["--epochs", 2], 2, 2 * 30),
        (["--epochs", 2, "--recipe", "tutorial"], 2, 2 * 10),
        (["--recipe", "tutorial"], 50, 50 * 10),
        ([], 20, 20 * 30),
    ],
)
def test_an_epoch_of_few_crops_has_30_batches_however_many_epochs_there_are(
    options, epochs, steps, films, run, monkeypatch
):
    seen = []

    def stop(dataset, fold, recipe, *_arguments):
        seen.append((recipe.epochs, recipe.steps(fold)))
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train_network", stop)
    assert run(films, "--folds", 2, *options)[0] == 130
    count, per_epoch = seen[0]
    assert (count, count * per_epoch) == (epochs, steps)


def test_a_fold_has_two_thirds_of_the_steps_that_few_crops_take(
    films, run, tmp_path, monkeypatch
):
    train_network, seen = train.train_network, {}

    def watch(dataset, fold, recipe, *arguments):
        seen[len(fold.train)] = recipe.epochs, recipe.steps(fold)
        recipe = recipe._replace(epochs=1)
        return train_network(dataset, fold, recipe, *arguments)

    monkeypatch.setattr(train, "train_network", watch)
    status, out, _ = run(films, "--folds", 4, "--report", tmp_path / "r.json")
    assert status == 0
    assert "training network for 20 epochs" in out
    assert seen == {80: (20, 30), 60: (20, 20)}
    recipe = json.loads((tmp_path / "r.json").read_text())["recipe"]
    assert (recipe["epochs"], recipe["min_batches"]) == (20, 30)


def test_more_crops_than_30_batches_are_learnt_once_in_an_epoch():
    for crops, steps in ((2, 30), (480, 30), (481, 31), (4000, 250)):
        fold = Fold(np.arange(crops), np.arange(0))
        assert train.RECIPES["steady"].steps(fold) == steps


@pytest.mark.parametrize("folds", [1, 2])
def test_the_progress_bar_is_full_at_the_end(folds, films, run, monkeypatch):
    class Bar(InterruptingBar):
        def __init__(self):
            super().__init__(monkeypatch, None, None)
            monkeypatch.setattr(training, "tqdm", self.open)

        def open(self, total, **_options):
            self.total = total
            return self

    bar = Bar()
    short = train.RECIPES["steady"]._replace(epochs=1, min_batches=9)
    monkeypatch.setitem(train.RECIPES, "steady", short)
    assert run(films, "--folds", folds)[0] == 0
    assert bar.count == ([9] if folds == 1 else [9, 6, 6])
    assert bar.total == sum(bar.count)


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
    # 30 steps an epoch: in the middle of the third one.
    bar = InterruptingBar(monkeypatch, 1, 75)
    options = [*INTERRUPTED, tmp_path / "r.json", "--folds", 1]
    status, out, error = run(films, *options)
    assert status == 130
    assert "[INFO] interrupted" in error
    assert "interrupted in epoch 3; keeping the network as it is" in out
    assert " of 10 real views and " in out
    assert bar.count == [75]
    assert yesterdays() == []
    assert load_network(tmp_path / "liveness.model").classes == 2
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["interrupted"] is True
    assert len(report["history"]["loss"]) == 3


def test_ctrl_c_in_the_training_of_all_crops_keeps_that_network_without_figures(
    films, run, tmp_path, yesterdays, monkeypatch
):
    InterruptingBar(monkeypatch, 1, 75)  # 30 steps an epoch: in the third one
    options = [*INTERRUPTED, tmp_path / "r.json", "--folds", 2]
    status, out, error = run(films, *options)
    assert status == 130
    assert "interrupted in epoch 3; keeping the network as it is" in out
    assert "interrupted: 2 of 2 folds are not in the figures" in error
    assert "crops: " not in out
    assert yesterdays() == ["plot.png", "r.json"]
    assert load_classifier(tmp_path / "liveness.model", tmp_path / "le.pickle")
    assert "calibrated" not in out


def test_ctrl_c_in_a_later_fold_keeps_the_whole_network_and_the_figures_so_far(
    films, run, tmp_path, yesterdays, monkeypatch
):
    InterruptingBar(monkeypatch, 3, 2)  # in the second fold
    options = [*INTERRUPTED, tmp_path / "r.json", "--folds", 3]
    status, out, error = run(films, *options)
    assert status == 130
    assert load_classifier(tmp_path / "liveness.model", tmp_path / "le.pickle")
    assert "calibrated: 0.5 was " in out
    assert "the thresholds from after" in out  # there is no other fold
    assert "keeping the network as it is" not in out
    assert "interrupted: 2 of 3 folds are not in the figures" in error
    assert "not tested" in out
    assert yesterdays() == []
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["interrupted"] is True
    assert len(report["history"]["loss"]) == 4
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
        figures = [report[key] for key in ("evaluation", "history")]
        return rows.tolist(), out, figures

    first = outcome(1)
    assert outcome(2) == first
    assert outcome(1, seed=2)[0] != first[0]


class NoBar:
    """Stands for a progress bar that nobody sees."""

    def update(self):
        pass


@pytest.fixture(scope="module")
def train_one(films):
    """Train one network on the films, for 2 epochs of 4 steps."""
    dataset = load_dataset(films)
    test = np.arange(10, 30)
    fold = Fold(np.setdiff1d(np.arange(80), test), test)

    def train_one(recipe="steady", **changes):
        recipe = train.RECIPES[recipe]._replace(**{"epochs": 2, **changes})
        rest = 0, NoBar(), threading.Event()
        return train.train_network(dataset, fold, recipe, *rest)

    return train_one


@pytest.mark.parametrize(("recipe", "momentum"), [("steady", 0.9), ("tutorial", 0.99)])
def test_the_statistics_follow_faster_than_in_the_tutorials_recipe(
    recipe, momentum, train_one
):
    model = train_one(recipe).model
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert [norm.momentum for norm in norms] == [momentum] * 5


def test_held_out_crops_are_measured_as_keras_measures_them(train_one, films):
    # Statistics that are estimated again would give others.
    model, history, probabilities, finished = train_one(precise_bn=False)
    assert finished
    dataset = load_dataset(films)
    images = scale(dataset.crops[10:30])
    targets = np.eye(2, dtype=np.float32)[dataset.truth[10:30]]
    np.testing.assert_allclose(probabilities, model(images), atol=1e-6)
    loss, accuracy = model.evaluate(images, targets, verbose=0)
    assert history["val_loss"][-1] == pytest.approx(loss, rel=1e-4)
    assert history["val_accuracy"][-1] == pytest.approx(accuracy)


def test_who_changes_the_network_gets_what_keras_gives(train_one, monkeypatch):
    """A regularizer and a frozen layer in `build` reach the training by themselves."""
    build = LivenessNet.build
    moved, losses = [], []
    for penalty, trainable in ((0.0, True), (50.0, True), (0.0, False)):
        kernels = []

        def change(
            *size, penalty=penalty, trainable=trainable, kernels=kernels, **shape
        ):
            model = build(*size, **shape)
            model.layers[0].kernel.regularizer = keras.regularizers.L2(penalty)
            model.layers[0].trainable = trainable
            kernels.append(model.layers[0].kernel.numpy())
            return model

        monkeypatch.setattr(LivenessNet, "build", staticmethod(change))
        model, history, *_ = train_one()
        losses.append(history["loss"][0])
        moved.append(not np.array_equal(model.layers[0].kernel, kernels[0]))
    assert moved == [True, True, False]
    assert losses[1] > losses[0] + 1


class Callbacks:
    """Stands for `train.callbacks`; notes how it is called and what it returned."""

    def __init__(self, monkeypatch, make):
        self.make, self.calls, self.made = make, [], []
        monkeypatch.setattr(train, "callbacks", self)

    def __call__(self, validates):
        self.calls.append(validates)
        self.made.append(self.make(validates))
        return self.made[-1]


def test_callbacks_are_made_once_for_each_network_and_see_what_is_said_of_them(
    films, run, tmp_path, monkeypatch
):
    class Watch(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_epoch_end(self, epoch, logs):
            self.seen.append(sorted(logs))
            logs["own"] = float(epoch)

    callbacks = Callbacks(monkeypatch, lambda validates: [Watch()])
    options = ["--folds", 2, "--epochs", 11, "--report", tmp_path / "r.json"]
    assert run(films, *options)[0] == 0
    assert sorted(callbacks.calls) == [False, True, True]
    for validates, (watch,) in zip(callbacks.calls, callbacks.made, strict=True):
        assert len(watch.seen) == 11
        expected = ["accuracy", "loss"]
        expected += ["val_accuracy", "val_loss"] if validates else []
        assert all(names == expected for names in watch.seen)
    # What a callback adds is in the history.
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["history"]["own"] == list(range(11))
    callbacks.calls.clear()
    assert run(films, *QUICK)[0] == 0
    assert callbacks.calls == [True]


@pytest.mark.parametrize("folds", [1, 2])
def test_keras_own_callbacks_do_what_is_said_of_them_in_every_network(
    folds, films, run, tmp_path, monkeypatch
):
    numbers, saved = itertools.count(), tmp_path / "saved"
    saved.mkdir()

    def make(validates):
        monitor = "val_loss" if validates else "loss"
        never = {"min_delta": 1e9}  # nothing is an improvement
        path = f"{saved}/{next(numbers)}-{{epoch}}.weights.h5"
        return [
            keras.callbacks.EarlyStopping(monitor, patience=2, **never),
            keras.callbacks.ReduceLROnPlateau("loss", patience=1, **never),
            keras.callbacks.ModelCheckpoint(path, save_weights_only=True),
        ]

    callbacks = Callbacks(monkeypatch, make)
    constant = train.RECIPES["steady"]._replace(schedule="constant")
    monkeypatch.setitem(train.RECIPES, "steady", constant)
    options = ["--folds", folds, "--epochs", 5, "--report", tmp_path / "r.json"]
    status, out, error = run(films, *options)
    assert status == 0
    assert "interrupted" not in out + error
    networks = 1 if folds == 1 else 3
    assert [early.stopped_epoch for early, *_ in callbacks.made] == [2] * networks
    names = [f"{n}-{e}.weights.h5" for n in range(networks) for e in (1, 2, 3)]
    assert sorted(path.name for path in saved.iterdir()) == names
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["interrupted"] is False
    rates = report["history"]["learning_rate"]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4])
    assert len(report["history"]["loss"]) == 3
    frames = report["evaluation"]["frames"]
    assert frames["bpcer"]["n"] == (40 if folds > 1 else 10)
    assert cv2.imread(str(tmp_path / "plot.png")).shape == (1230, 1200, 3)


def test_model_checkpoint_saves_the_weights_after_each_epoch(
    train_one, tmp_path, monkeypatch
):
    class Watch(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.weights = []

        def on_epoch_end(self, epoch, logs):
            self.weights.append(self.model.get_weights())

    def save(validates):
        path = str(tmp_path / "{epoch}.weights.h5")
        saver = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
        return [saver, Watch()]

    callbacks = Callbacks(monkeypatch, save)
    model, *_ = train_one()
    names = ["1.weights.h5", "2.weights.h5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    ((_, watch),) = callbacks.made
    for name, weights in zip(names, watch.weights, strict=True):
        saved = LivenessNet.build(32, 32, 3, 2)
        saved.load_weights(tmp_path / name)
        for own, other in zip(saved.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(own, other)
    # Afterwards only the statistics of batch normalization change.
    final = model.trainable_weights
    for own, other in zip(saved.trainable_weights, final, strict=True):
        np.testing.assert_array_equal(own, other)


def test_a_callback_that_stops_within_an_epoch_is_no_interruption(
    train_one, monkeypatch
):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs):
            self.model.stop_training = True

    Callbacks(monkeypatch, lambda validates: [Stop()])
    _, history, _, finished = train_one()
    assert finished
    assert len(history["loss"]) == 1


def test_a_learning_rate_callback_sets_a_constant_rate(train_one, monkeypatch):
    class Watch(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.weights = []

        def on_epoch_end(self, epoch, logs):
            self.weights.append(self.model.trainable_weights[0].numpy())

    def schedule(validates):
        rates = [1e-3, 1e-2, 0.0]
        scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch])
        return [scheduler, Watch()]

    callbacks = Callbacks(monkeypatch, schedule)
    _, history, *_ = train_one(epochs=3, schedule="constant")
    assert history["learning_rate"] == pytest.approx([1e-3, 1e-2, 0])
    first, second, third = callbacks.made[0][1].weights
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(second, third)


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


class TestEvaluate:
    """`train.py --evaluate`: yesterday's network, or somebody else's crops."""

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
        assert "crops, threshold 0.5" in out
        assert cv2.imread(str(tmp_path / "plot.png")).shape[1] == 1200
        report = json.loads((tmp_path / "r.json").read_text())
        assert [(file["source"], file["crops"]) for file in report["files"]] == [
            ("fake", 60),
            ("real", 60),
        ]
        frames = report["evaluation"]["frames"]
        assert frames["bpcer"]["n"] == 60

    def test_the_same_command_gives_the_same_report_but_for_the_date(
        self, trained, dataset, tmp_path
    ):
        reports = []
        for ending in ("json", "json", "html", "html"):
            options = ["-p", tmp_path / "p.png", "--report", tmp_path / f"r.{ending}"]
            assert self.evaluate(trained, dataset, *options) == 0
            text = (tmp_path / f"r.{ending}").read_text()
            reports.append(re.sub(r"\d{4}-\d\d-\d\dT[\d:+-]+", "now", text))
        assert reports[0] == reports[1]
        assert reports[2] == reports[3]
        report = json.loads(reports[0])
        (text,) = report["warnings"]
        assert (
            "was trained on 2 sources of it; the figures say nothing about new" in text
        )
        assert f"<p class=warning>{text}" in reports[2]
        assert next(iter(report)) == "summary"
        assert report["summary"] in reports[2]
        assert report["command"].startswith("python train.py --evaluate -d ")
        assert report["model_sha256"] == sha256_of(trained / "liveness.model")
        for file in report["files"]:
            assert file["fingerprint"].endswith(".mp4")
            assert file["search"]["searched"] == 60
        picture = re.search('base64,([^"]+)', reports[2])[1]
        assert base64.b64decode(picture) == (tmp_path / "p.png").read_bytes()

    def test_a_picture_that_cannot_be_drawn_costs_no_figures(
        self, trained, dataset, tmp_path, monkeypatch, capsys
    ):
        def fail(*_):
            raise RuntimeError("no font\nat all")

        monkeypatch.setattr("pyimagesearch.plots.plot_report", fail)
        for ending in ("json", "html"):
            options = ["-p", tmp_path / "p.png", "--report", tmp_path / f"r.{ending}"]
            assert self.evaluate(trained, dataset, *options) == 1
            out, error = capsys.readouterr()
            assert "crops, threshold 0.5" in out
            message = f"[ERROR] {tmp_path / 'p.png'}: cannot be drawn: no font"
            assert error.splitlines()[-1] == message
        assert "evaluation" in json.loads((tmp_path / "r.json").read_text())
        assert "base64" not in (tmp_path / "r.html").read_text()

    def test_a_finished_network_can_be_exported(
        self, trained, dataset, tmp_path, capsys
    ):
        for name in ("liveness.model", "le.pickle"):
            (tmp_path / name).write_bytes((trained / name).read_bytes())
        options = ["-p", tmp_path / "p.png", "--export", tmp_path / "twin.onnx"]
        assert self.evaluate(tmp_path, dataset, *options) == 0
        out = capsys.readouterr().out
        written = ", ".join(str(tmp_path / n) for n in ("le.pickle", "twin.onnx"))
        assert f"wrote {written}" in out
        network, labels = load_classifier(
            tmp_path / "twin.onnx", tmp_path / "le.pickle"
        )
        before = load_labels(trained / "le.pickle")
        assert labels == before._replace(onnx_sha256=labels.onnx_sha256)
        images = scale(load_dataset(dataset).crops)
        expected = load_network(trained / "liveness.model").predict(images)
        np.testing.assert_allclose(network.predict(images), expected, atol=1e-5)
        (tmp_path / "liveness.model").write_bytes((tmp_path / "twin.onnx").read_bytes())
        assert self.evaluate(tmp_path, dataset, *options) == 1
        assert "not a LivenessNet" in capsys.readouterr().err

    def test_a_network_of_the_tutorial_can_be_exported(self, dataset, tmp_path):
        model = LivenessNet.build(width=32, height=32, depth=3, classes=2)
        keras_2.write_hdf5(model, tmp_path / "liveness.model")
        encoder = LabelEncoder().fit(["fake", "real"])
        (tmp_path / "le.pickle").write_bytes(pickle.dumps(encoder))
        options = ["-p", tmp_path / "p.png", "--export", tmp_path / "m.onnx"]
        assert self.evaluate(tmp_path, dataset, *options) == 0
        load_classifier(tmp_path / "m.onnx", tmp_path / "le.pickle")
        load_classifier(tmp_path / "liveness.model", tmp_path / "le.pickle")

    @pytest.mark.parametrize("name", ["r.txt", "report", "r.pdf", "html"])
    def test_a_report_is_a_page_or_json(self, name, capsys):
        with pytest.raises(SystemExit):
            train.main(["--report", name])
        assert "the name must end in .html or .json" in capsys.readouterr().err

    def test_a_page_and_json_are_written_by_one_run(self, trained, dataset, tmp_path):
        page, figures = tmp_path / "r.html", tmp_path / "r.json"
        options = ["-p", tmp_path / "p.png", "--report", page, "--report", figures]
        assert self.evaluate(trained, dataset, *options) == 0
        assert page.read_text().startswith("<!doctype html>")
        scores = json.loads(figures.read_text())["scores"]
        crops = {path.as_posix() for path in dataset.rglob("*.png")}
        assert {row["file"] for row in scores} == crops

    @pytest.mark.parametrize("is_turned", [False, True])
    def test_where_a_fifth_is_wrong_collecting_comes_next(
        self, is_turned, trained, dataset, tmp_path, capsys
    ):
        data = dataset
        if is_turned:
            data = copy_crops(dataset, tmp_path / "data")
            (data / "real").rename(data / "print")
            (data / "fake").rename(data / "real")
        options = ["-p", tmp_path / "p.png"]
        assert self.evaluate(trained, data, *options) == 0
        *_, last = capsys.readouterr().out.splitlines()
        assert last.startswith("[INFO] next: ")
        assert last.endswith("--collect dataset") is is_turned

    def test_other_instruments_and_a_single_class(
        self, trained, dataset, tmp_path, capsys
    ):
        for name in ("print", "replay"):
            folder = tmp_path / "more" / name
            folder.mkdir(parents=True)
            for crop in sorted((dataset / "fake").glob("*.png"))[:8]:
                (folder / crop.name).write_bytes(crop.read_bytes())
        assert self.evaluate(trained, tmp_path / "more", "-p", tmp_path / "p.png") == 0
        out = capsys.readouterr().out
        assert "\n16 crops of one session: 0 of 16 fakes wrong; " in out

    def test_a_network_without_real_has_no_figures_for_attacks(
        self, trained, dataset, tmp_path, capsys
    ):
        save_labels(Labels(["print", "replay"]), tmp_path / "le.pickle")
        options = ["-l", tmp_path / "le.pickle", "-p", tmp_path / "p.png"]
        assert self.evaluate(trained, dataset, *options) == 0
        out, error = capsys.readouterr()
        assert "the network has no class real: there are no figures" in error
        assert "APCER" not in out
        assert not (tmp_path / "p.png").exists()

    def test_crops_of_another_margin_are_refused(
        self, trained, videos, detector_folder, tmp_path, capsys
    ):
        arguments = ["-i", videos / "real.mp4", "-o", tmp_path / "data" / "real"]
        arguments += ["-d", detector_folder, "--margin", "0.5", "-s", "60"]
        assert gather_examples.main([str(argument) for argument in arguments]) == 0
        assert self.evaluate(trained, tmp_path / "data") == 1
        error = capsys.readouterr().err
        assert "was gathered with --margin 0.5, but" in error

    def test_footage_that_was_learnt_is_no_news(
        self, trained, dataset, videos, detector_folder, tmp_path, capsys
    ):
        def is_known(folder):
            capsys.readouterr()
            assert self.evaluate(trained, folder, "-p", tmp_path / "p.png") == 0
            error = capsys.readouterr().err
            return f"{folder}: the network was trained on 2 sources of it" in error

        assert is_known(dataset)
        for name, label in itertools.product(("again", "moved"), ("real", "fake")):
            (tmp_path / name / label).mkdir(parents=True)
            if name == "again":  # other frames than the training had
                options = ["-i", videos / f"{label}.mp4", "-d", detector_folder]
                options += ["-s", 59, "-o", tmp_path / name / label]
                assert gather_examples.main(list(map(str, options))) == 0
                continue
            for crop in sorted((dataset / label).glob("*.png"))[5:25]:  # and renamed
                content = crop.read_bytes()
                (tmp_path / name / label / f"new-{crop.name}").write_bytes(content)
        assert is_known(tmp_path / "again")
        assert is_known(tmp_path / "moved")
        for crop in tmp_path.glob("moved/*/*.png"):  # other pictures
            assert cv2.imwrite(str(crop), 255 - cv2.imread(str(crop)))
        assert not is_known(tmp_path / "moved")
