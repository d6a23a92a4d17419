from pathlib import Path

from pyimagesearch.dataset import Dataset
from pyimagesearch.plots import ATTACK_COLOR, REAL_COLOR, plot_report

import cv2
import numpy as np
import pytest

HISTORY = {key: [0.9, 0.5] for key in ("loss", "val_loss", "accuracy", "val_accuracy")}


def make_dataset(folder, labels):
    paths = []
    for number, label in enumerate(labels):
        path = folder / f"a-very-long-name-of-a-film_{number:06d}-{label}.png"
        assert cv2.imwrite(str(path), np.full((50, 40, 3), 90, np.uint8))
        paths.append(path)
    crops = np.zeros((len(labels), 32, 32, 3), np.uint8)
    return Dataset(crops, np.array(labels), np.array(labels), paths, 0.0)


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
    plot_report(path, history, scores, dataset)
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (800, 500 * columns, 3)
    # The titles of the crops have the colours of their classes.
    sheet = image[420:]
    assert has_color(sheet, REAL_COLOR) == ("real" in labels)
    assert has_color(sheet, ATTACK_COLOR) == ("fake" in labels)


def test_without_scores_the_curves_stay(tmp_path):
    dataset = make_dataset(tmp_path, ["live", "fake"])
    plot_report(tmp_path / "plot.png", HISTORY, None, dataset)
    assert cv2.imread(str(tmp_path / "plot.png")).shape == (450, 500, 3)
    assert not Path("plot.png").exists()
