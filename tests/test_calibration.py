from pyimagesearch.calibration import (
    LARGEST,
    calibrate,
    find_shift,
    log_odds,
    shift_bias,
    shift_odds,
    shift_score,
)
from pyimagesearch.livenessnet import LivenessNet
from pyimagesearch.models import as_network, export_onnx, load_network

import numpy as np
import pytest


def labels_of(real, fake):
    return np.concatenate([np.repeat("real", real), np.repeat("fake", fake)])


def sigmoid(odds):
    return 1 / (1 + np.exp(-np.asarray(odds, float)))


def test_a_separable_set_gets_the_middle_of_its_gap_in_log_odds():
    scores = sigmoid([4.5, 6, 3.5, -2, 1.5, 0])
    assert find_shift(scores, labels_of(3, 3)) == pytest.approx((3.5 + 1.5) / 2)
    # That is not the middle of the scores, nor the place next to 0.5.
    assert shift_score(0.5, -2.5) == pytest.approx(sigmoid(2.5))


def test_the_worse_of_both_error_rates_is_least():
    rng = np.random.default_rng(0)
    odds = np.concatenate([rng.normal(3, 2, 60), rng.normal(-1, 2, 40)])
    labels = labels_of(60, 40)

    def worse(threshold):
        passing = (odds[labels == "fake"] >= threshold).mean()
        return max(passing, (odds[labels == "real"] < threshold).mean())

    found = find_shift(sigmoid(odds), labels)
    assert worse(found) == pytest.approx(min(map(worse, np.linspace(-8, 8, 4001))))


def test_the_worst_kind_of_attack_counts():
    scores = sigmoid([3, 3, 3, 3, -3, -3, -3, 2])
    labels = np.array([*["real"] * 4, *["print"] * 3, "replay"])
    assert find_shift(scores, labels) == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("odds", "shift"), [([20, 30, 9, 8], LARGEST), ([-8, -9, -20, -30], -LARGEST)]
)
def test_a_shift_has_its_limits_and_scores_of_0_and_1_are_clipped(odds, shift):
    assert find_shift(sigmoid(odds), labels_of(2, 2)) == shift
    assert abs(log_odds(np.array([0, 1]))).max() == pytest.approx(13.8, abs=0.1)


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.5, 0.93, 1.0])
@pytest.mark.parametrize("shift", [-5.0, -0.3, 0.0, 2.0])
def test_scores_and_thresholds_move_alike(threshold, shift):
    scores = np.linspace(0, 1, 101)
    moved = shift_score(scores, shift) >= shift_score(threshold, shift)
    assert (moved == (scores >= threshold)).all()
    rows = shift_odds(np.stack([1 - scores, scores], axis=1), 1, shift)
    assert rows[:, 1] == pytest.approx(shift_score(scores, shift))


def folds_of(*odds):
    """Rows and labels of folds, each of so many log odds of real, then of fake."""
    rows = [sigmoid(np.concatenate(own)) for own in odds]
    rows = [np.stack([1 - own, own], axis=1) for own in rows]
    return rows, [labels_of(*map(len, own)) for own in odds]


def test_the_threshold_of_a_fold_never_touches_its_own_figures():
    one = [2.0, 3, 4], [-1.0, -2, 0]
    two = [4.0, 5, 6], [1.0, 0, 2]
    rows, labels = folds_of(one, two)
    shift, shifted = calibrate(rows, labels, 1)
    # Each is shifted by the middle of the gap of the other: 1 and 3.
    assert log_odds(shifted[0][:, 1]) == pytest.approx(np.concatenate(one) - 3)
    assert log_odds(shifted[1][:, 1]) == pytest.approx(np.concatenate(two) - 1)
    assert shift == pytest.approx(2)  # only the 2 of one fold is as high as the other's
    moved, _ = folds_of(one, ([-4.0, 0, 1], [8.0, 9, 7]))
    again = calibrate([rows[0], moved[1]], labels, 1)[1]
    assert (again[1] != shifted[1]).any()
    first = log_odds(again[1][:, 1]) - log_odds(moved[1][:, 1])
    assert first == pytest.approx(np.full(6, -1.0))


def test_one_fold_keeps_its_scores_as_there_is_no_other():
    rows, labels = folds_of(([2.0, 3, 4, 5, 6, 7], [-1.0, -2, 0, -1, -1, -1]))
    shift, shifted = calibrate(rows, labels, 1)
    assert shift == pytest.approx(1)
    assert (shifted[0] == rows[0]).all()


def test_a_fold_whose_others_lack_a_class_keeps_its_scores():
    one, two = ([2.0, 3, 4, 2, 3, 5], [1.0]), ([5.0], [-1.0, -2, 0, 0, 0])
    rows, labels = folds_of(one, two)
    rows[1], labels[1] = rows[1][1:], labels[1][1:]  # only fakes
    shift, shifted = calibrate(rows, labels, 1)
    assert shift != 0
    assert (shifted[0] == rows[0]).all()
    assert (shifted[1] != rows[1]).any()


@pytest.mark.parametrize(("real", "fake"), [(5, 60), (60, 5), (0, 60)])
def test_few_crops_of_a_class_shift_nothing(real, fake):
    rows, labels = folds_of((np.full(real, 9.0), np.full(fake, 7.0)))
    shift, shifted = calibrate(rows, labels, 1)
    assert shift == 0
    assert shifted[0] is rows[0]


def test_a_kind_of_attack_that_no_fold_holds_out_shifts_nothing():
    rows = [np.full((20, 3), 1 / 3)]
    assert calibrate(rows, [labels_of(10, 10)], 2)[0] == 0


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("threshold", [0.93, 0.02])
def test_the_shifted_network_divides_the_odds_in_keras_and_onnx_alike(
    classes, threshold, tmp_path
):
    model = LivenessNet.build(32, 32, 3, classes)
    rng = np.random.default_rng(classes)
    crops = rng.integers(0, 256, (8, 32, 32, 3), np.uint8)
    inputs = crops.astype(np.float32) / 255
    before = as_network(model).predict(inputs)
    real = classes - 1
    shift = float(np.log(threshold / (1 - threshold)))
    shift_bias(model, real, shift)
    after = as_network(model).predict(inputs)
    sha256 = export_onnx(model, tmp_path / "m.onnx", crops)
    twin = load_network(tmp_path / "m.onnx", sha256).predict(inputs)
    odds = before[:, real] / (1 - before[:, real]) * (1 - threshold) / threshold
    assert after == pytest.approx(shift_odds(before, real, shift), abs=1e-6)
    for rows in (after, twin):
        found = rows[:, real] / (1 - rows[:, real])
        assert found == pytest.approx(odds, rel=1e-3)
        others = np.delete(rows, real, axis=1) / np.delete(before, real, axis=1)
        assert others == pytest.approx(others[:, :1].repeat(classes - 1, 1), rel=1e-3)
