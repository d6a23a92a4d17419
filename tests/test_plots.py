import os
import sys
from pathlib import Path

from pyimagesearch.plots import (
    ATTACK_COLOR,
    REAL_COLOR,
    plot_hardest,
    plot_report,
    plot_roc,
    plot_training,
)

import cv2
import datasets
import numpy as np
import pytest
from matplotlib.figure import Figure

HISTORY = {key: [0.9, 0.5] for key in ("loss", "val_loss", "accuracy", "val_accuracy")}
HISTORY["validated"] = [1, 2]


def make_dataset(folder, labels):
    paths = []
    for number, label in enumerate(labels):
        path = folder / f"a-very-long-name-of-a-film_{number:06d}-{label}.png"
        assert cv2.imwrite(str(path), np.full((50, 40, 3), 90, np.uint8))
        paths.append(path)
    labels, frames = np.array(labels), np.arange(len(labels))
    return datasets.make_dataset(labels, labels, frames)._replace(paths=paths)


def has_color(image, color):
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return (np.abs(image.astype(int) - [blue, green, red]).max(axis=2) < 8).any()


@pytest.mark.parametrize(
    ("labels", "history", "columns"),
    [
        (["real", "fake"] * 20, HISTORY, 3),
        (["real", "fake"], None, 2),
        (["real"] * 3, None, 1),
        (["fake"] * 3, HISTORY, 2),
    ],
)
def test_a_picture_of_everything_there_is(labels, history, columns, tmp_path):
    dataset = make_dataset(tmp_path, labels)
    scores = np.linspace(0, 1, len(labels))
    path = tmp_path / "plot.of.all"
    plot_report(path, [history] * bool(history), scores, dataset)
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (800, 500 * columns, 3)
    # The titles of the crops have the colours of their classes.
    sheet = image[420:]
    assert has_color(sheet, REAL_COLOR) == ("real" in labels)
    assert has_color(sheet, ATTACK_COLOR) == ("fake" in labels)


def test_without_scores_the_curves_stay(tmp_path):
    dataset = make_dataset(tmp_path, ["live", "fake"])
    plot_report(tmp_path / "plot.png", [HISTORY], None, dataset)
    assert cv2.imread(str(tmp_path / "plot.png")).shape == (450, 500, 3)
    assert not Path("plot.png").exists()


def test_curves_of_folds_are_stretched_to_one_length_and_averaged():
    axes = Figure().subplots()
    short = {"loss": [0.8, 0.4], "val_loss": [0.5], "validated": [2]}
    long = {"loss": [1.0, 0.8, 0.6, 0.4], "val_loss": [0.7, 0.3], "validated": [2, 4]}
    plot_training(axes, [short, long])
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_allclose(lines["train_loss"], [0.8, 0.4])
    np.testing.assert_allclose(lines["val_loss"][-1], 0.4)
    assert "mean of 2 folds" in axes.get_xlabel()


def test_curves_of_epochs_without_a_validation_are_drawn_from_the_first_one_on():
    axes = Figure().subplots()
    history = {
        "loss": [4.0, 3.0, 2.0, 1.0],
        "val_loss": [5.0, 3.0],
        "validated": [2, 4],
    }
    plot_training(axes, [history])
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert set(lines) == {"train_loss", "val_loss"}
    np.testing.assert_allclose(lines["train_loss"], history["loss"])
    np.testing.assert_allclose(lines["val_loss"], [np.nan, 5, 4, 3])


def test_a_training_that_held_nothing_out_has_the_curves_of_the_training_only():
    axes = Figure().subplots()
    plot_training(axes, [{"loss": [2.0, 1.0], "accuracy": [0.5, 1.0], "validated": []}])
    assert [line.get_label() for line in axes.lines] == ["train_loss", "train_acc"]


def test_only_crops_on_the_wrong_side_are_called_wrong(tmp_path):
    dataset = make_dataset(tmp_path, ["real", "real", "fake"])
    axes = Figure().subplots()
    is_real = dataset.labels == "real"
    plot_hardest(axes, np.array([0.9, 0.3, 0.1]), is_real, dataset.paths)
    assert "1 of 3 are on the wrong side" in axes.get_title()
    texts = [text.get_text() for text in axes.texts]
    assert [text.endswith("WRONG") for text in texts] == [True, False, False]
    assert len(axes.images) == 3


def test_a_crop_that_was_deleted_meanwhile_is_left_out_of_the_sheet(tmp_path):
    dataset = make_dataset(tmp_path, ["real", "real", "fake"])
    dataset.paths[1].unlink()
    scores = np.array([0.9, 0.3, 0.1])
    axes = Figure().subplots()
    plot_hardest(axes, scores, dataset.labels == "real", dataset.paths)
    assert len(axes.images) == len(axes.texts) == 2
    plot_report(tmp_path / "plot.png", [HISTORY], scores, dataset)
    assert cv2.imread(str(tmp_path / "plot.png")).shape == (800, 1500, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_a_crop_whose_name_is_no_utf_8_is_on_the_sheet(tmp_path):
    dataset = make_dataset(tmp_path, ["real", "fake"])
    name = os.fsdecode(b"caf\xe9_000001.png")
    dataset.paths[0] = dataset.paths[0].rename(tmp_path / name)
    axes = Figure().subplots()
    scores = np.array([0.9, 0.1])
    plot_hardest(axes, scores, dataset.labels == "real", dataset.paths)
    assert axes.texts[0].get_text() == "caf\\udce9_000001\n0.900"
    plot_report(tmp_path / "plot.png", [], scores, dataset)
    assert len(axes.images) == 2


def test_the_point_at_the_threshold_is_where_both_rates_are():
    axes = Figure().subplots()
    plot_roc(axes, np.array([0.9, 0.3, 0.6, 0.1]), np.array([True, True, False, False]))
    (point,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert (float(point.get_xdata()[0]), float(point.get_ydata()[0])) == (50, 50)
