import os
import subprocess
import sys
from pathlib import Path

from pyimagesearch.measurement import Measurement, measure
from pyimagesearch.metrics import Rate, evaluate
from pyimagesearch.plots import (
    ATTACK_COLORS,
    WRONG_COLOR,
    plot_det,
    plot_hardest,
    plot_report,
    plot_scores,
    plot_sizes,
    plot_training,
)

import cv2
import datasets
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import norm

HISTORY = {key: [0.9, 0.5] for key in ("loss", "val_loss", "accuracy", "val_accuracy")}


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


def make_report(dataset, scores):
    classes = sorted({*dataset.labels.tolist(), "real", "fake"})
    probabilities = np.zeros((len(scores), len(classes)))
    probabilities[:, classes.index("real")] = scores
    return measure(probabilities, classes, dataset)[0]


@pytest.mark.parametrize(
    ("labels", "history", "height"),
    [
        (["real", "fake"] * 20, HISTORY, 900),  # four panels
        (["real", "fake"] * 10, None, 450),  # scores and DET
        (["real", "fake"] * 20, None, 900),  # and sizes
        (["real", "fake"], None, 450),
        (["real"] * 3, None, 450),
        (["print", "replay", "real"] * 8, HISTORY, 450),  # too few for more
        (["fake"] * 20, HISTORY, 900),
    ],
)
def test_a_picture_of_everything_there_is(labels, history, height, tmp_path):
    dataset = make_dataset(tmp_path, labels)
    scores = np.linspace(0, 1, len(labels))
    path = tmp_path / "plot.of.all"
    report = make_report(dataset, scores)
    content = plot_report(path, [history] * bool(history), scores, dataset, report)
    assert path.read_bytes() == content
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    rows = 1 + (len(set(labels)) > 1)  # each label is a presentation
    assert image.shape[1] == 1200
    assert image.shape[0] == pytest.approx(height + 60 + 135 * rows, abs=2)


def test_the_settings_of_matplotlib_change_no_picture(tmp_path):
    dataset = make_dataset(tmp_path, ["real", "fake"] * 8)
    scores = np.linspace(0, 1, 16)
    report = make_report(dataset, scores)
    arguments = tmp_path / "plot.png", [HISTORY], scores, dataset, report
    expected = plot_report(*arguments)
    settings = {"text.usetex": True, "font.family": "none", "savefig.bbox": "tight"}
    with matplotlib.rc_context({**settings, "axes.facecolor": "black"}):
        assert plot_report(*arguments) == expected
        assert matplotlib.rcParams["text.usetex"]


def test_a_backend_that_is_not_there_is_not_asked_for(tmp_path):
    environment = os.environ | {"MPLBACKEND": "Qt4Agg"}
    command = [sys.executable, "-c", "import pyimagesearch.plots"]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_without_scores_the_curves_stay(tmp_path):
    dataset = make_dataset(tmp_path, ["live", "fake"])
    plot_report(tmp_path / "plot.png", [HISTORY], None, dataset, Measurement())
    assert cv2.imread(str(tmp_path / "plot.png")).shape == (450, 1200, 3)
    assert not Path("plot.png").exists()


def test_curves_of_folds_are_cut_to_one_length_and_averaged():
    axes = Figure().subplots()
    short = {"loss": [0.8, 0.4], "val_loss": [0.5, 0.5]}
    long = {"loss": [1.0, 0.8, 0.6, 0.4], "val_loss": [0.7, 0.3, 0.2, 0.1]}
    plot_training(axes, [short, long])
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_allclose(lines["train_loss"], [0.9, 0.6])
    np.testing.assert_allclose(lines["val_loss"], [0.6, 0.4])
    assert "mean of 2 folds" in axes.get_xlabel()


def test_a_training_that_held_nothing_out_has_the_curves_of_the_training_only():
    axes = Figure().subplots()
    plot_training(axes, [{"loss": [2.0, 1.0], "accuracy": [0.5, 1.0]}])
    assert [line.get_label() for line in axes.lines] == ["train_loss", "train_acc"]


def labels_and_sources(dataset, labels, sources):
    return dataset._replace(labels=np.array(labels), sources=np.array(sources))


def test_the_hardest_presentations_come_first_with_the_hardest_frame_of_each_part(
    tmp_path,
):
    labels = ["real"] * 6 + ["fake"] * 3 + ["real"]
    dataset = make_dataset(tmp_path, labels)
    sources = ["a"] * 6 + ["b"] * 3 + ["c"]
    dataset = labels_and_sources(dataset, labels, sources)
    scores = np.array([0.9, 0.8, 0.1, 0.7, 0.6, 0.9, 0.2, 0.7, 0.8, 0.95])
    axes = Figure().subplots()
    plot_hardest(axes, scores, dataset, make_report(dataset, scores).evaluation)
    texts = [text.get_text() for text in axes.texts]
    assert texts[0] == "fake  b  0.567  WRONG"
    assert texts[1:4] == ["0.200", "0.700", "0.800"]
    # Three presentations leave room for six frames each.
    assert texts[4] == "real  a  0.667"
    assert texts[5:11] == ["0.900", "0.800", "0.100", "0.700", "0.600", "0.900"]
    assert texts[11:] == ["real  c  0.950", "0.950"]
    assert len(axes.images) == 10
    wrong = [text.get_text() for text in axes.texts if text.get_color() == WRONG_COLOR]
    assert wrong == ["fake  b  0.567  WRONG", "0.700", "0.800", "0.100"]


def test_of_many_presentations_eight_are_shown_with_three_frames_each(tmp_path):
    labels = ["real", "fake"] * 54
    dataset = make_dataset(tmp_path, labels)
    sources = [f"s{number // 12}" for number in range(108)]
    dataset = labels_and_sources(dataset, labels, sources)
    axes = Figure().subplots()
    scores = np.linspace(0, 1, 108)
    plot_hardest(axes, scores, dataset, make_report(dataset, scores).evaluation)
    assert len(axes.images) == 24
    assert len(axes.texts) == 24 + 8


def test_a_crop_that_was_deleted_meanwhile_is_left_out_of_the_sheet(tmp_path):
    dataset = make_dataset(tmp_path, ["real", "real", "fake"])
    dataset.paths[1].unlink()
    scores = np.array([0.9, 0.3, 0.1])
    axes = Figure().subplots()
    plot_hardest(axes, scores, dataset, make_report(dataset, scores).evaluation)
    assert len(axes.images) == 2
    report = make_report(dataset, scores)
    plot_report(tmp_path / "plot.png", [HISTORY], scores, dataset, report)
    assert cv2.imread(str(tmp_path / "plot.png")).shape[1] == 1200


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_a_source_whose_name_is_no_utf_8_is_on_the_sheet(tmp_path):
    dataset = make_dataset(tmp_path, ["real", "fake"])
    sources = [os.fsdecode(b"caf\xe9"), "b"]
    dataset = labels_and_sources(dataset, ["real", "fake"], sources)
    scores = np.array([0.9, 0.1])
    axes = Figure().subplots()
    plot_hardest(axes, scores, dataset, make_report(dataset, scores).evaluation)
    assert any("caf\\udce9" in text.get_text() for text in axes.texts)
    plot_report(
        tmp_path / "plot.png", [], scores, dataset, make_report(dataset, scores)
    )


def test_the_det_curve_has_the_rates_at_every_threshold_and_the_interval_of_ours():
    labels = np.repeat(["real", "print", "replay"], [30, 30, 25])
    rng = np.random.default_rng(0)
    scores = np.clip((labels == "real") * 0.3 + rng.normal(0.4, 0.2, 85), 0, 1)
    sources = np.array([f"s{number}" for number in range(85)])  # photographs
    evaluation = evaluate(scores, labels, sources)
    axes = Figure().subplots()
    plot_det(axes, scores, labels, evaluation.presentations)
    for kind, color in zip(["print", "replay"], ATTACK_COLORS, strict=False):
        (curve,) = [line for line in axes.lines if line.get_color() == color]
        assert curve.get_label() == kind
        rates = norm.cdf(curve.get_xydata())
        for threshold in np.linspace(0.4, 0.7, 19):
            own = [
                (scores[labels == kind] >= threshold).mean(),
                (scores[labels == "real"] < threshold).mean(),
            ]
            if min(own) > 0:  # scikit-learn leaves out what lies on the edges
                assert np.isclose(rates, own).all(axis=1).any()
    (container,) = axes.containers
    point, _, (across, along) = container.lines
    figures = evaluation.presentations
    worst, rejected = figures.apcer[figures.worst_instrument], figures.bpcer
    center = norm.cdf(np.array(point.get_xydata(), float)).tolist()
    assert center == [pytest.approx([worst.rate, rejected.rate])]
    ends = norm.cdf(across.get_segments()[0][:, 0])
    assert ends == pytest.approx(worst.interval)
    ends = norm.cdf(along.get_segments()[0][:, 1])
    assert ends == pytest.approx(rejected.interval)


def test_bars_of_face_sizes_need_20_crops():
    many, few = Rate(3, 30), Rate(1, 8)
    axes = Figure().subplots()
    plot_sizes(axes, {"16-48": {"real": many, "fake": few}, "48-96": {"fake": many}})
    heights = [bar.get_height() for bar in axes.patches if bar.get_height()]
    assert heights == [10, 10]
    assert [text.get_text().strip() for text in axes.texts] == ["30", "30"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["16-48", "48-96"]


def test_scores_are_drawn_for_each_class():
    axes = Figure().subplots()
    labels = np.array(["real", "print", "print"])
    plot_scores(axes, np.array([0.9, 0.1, 0.2]), labels, False)
    assert "a DET curve takes 10 trials of each class" in axes.get_xlabel()
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {"real (1)", "print (2)", "threshold"} == set(legend)


def test_captions_of_the_hardest_presentations_do_not_overlap(tmp_path):
    labels = ["real", "a-mask-of-silicone-and-hair"] * 8
    dataset = make_dataset(tmp_path, labels)
    sources = [f"{'W' * 60}/{number}" for number in range(16)]
    dataset = labels_and_sources(dataset, labels, sources)
    scores = np.array([0.1, 0.9] * 8)
    figure = Figure((12, 3.3), layout="constrained")
    axes = figure.subplots()
    plot_hardest(axes, scores, dataset, make_report(dataset, scores).evaluation)
    figure.draw_without_rendering()
    captions = [text for text in axes.texts if text.get_text().endswith("WRONG")]
    assert len(captions) == 8
    boxes = [text.get_window_extent() for text in captions]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


def test_counts_of_scores_have_ticks_that_can_be_read():
    figure = Figure()
    axes = figure.subplots()
    labels = np.repeat(["real", "fake"], [8, 300])
    plot_scores(axes, np.repeat([0.9, 0.1], [8, 300]), labels, True)
    figure.draw_without_rendering()
    texts = [text.get_text() for text in axes.get_yticklabels()]
    assert {"0", "1", "10", "100", "200"} <= set(texts)
