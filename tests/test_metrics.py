import json
import math

from pyimagesearch.evaluation import format_evaluation
from pyimagesearch.labels import BONA_FIDE
from pyimagesearch.metrics import (
    Rate,
    apcer,
    bpcer,
    bpcer_at_apcer,
    equal_error,
    evaluate,
)

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

RNG = np.random.default_rng(0)


def random_scores(attacks, bona_fides, decimals=3):
    """Overlapping scores, rounded so that there are ties."""
    return (
        RNG.beta(2, 4, attacks).round(decimals),
        RNG.beta(4, 2, bona_fides).round(decimals),
    )


def test_a_table_counted_by_hand():
    attacks = np.array([0.1, 0.2, 0.5, 0.9])
    bona_fides = np.array([0.4, 0.5, 0.6, 0.7, 0.8])
    # From 0.5 on is bona fide, 0.5 included.
    assert apcer(attacks, 0.5) == Rate(2, 4)
    assert bpcer(bona_fides, 0.5) == Rate(1, 5)
    assert apcer(attacks, 0.51) == Rate(1, 4)
    assert bpcer(bona_fides, 0.51) == Rate(2, 5)
    assert apcer(attacks, 0) == Rate(4, 4)
    assert bpcer(bona_fides, 1) == Rate(5, 5)


def test_wilsons_interval():
    # Brown, Cai and DasGupta (2001) give 10 of 50 as an example everywhere; these are
    # the closed formula's values with z = 1.959964.
    low, high = Rate(10, 50).interval
    z, p, n = 1.959963984540054, 0.2, 50
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (low, high) == pytest.approx((center - half, center + half))
    assert Rate(0, 10).interval[0] == 0
    assert Rate(10, 10).interval[1] == pytest.approx(1)
    assert Rate(0, 0).interval == (0, 1)
    assert math.isnan(Rate(0, 0).value)


@pytest.mark.parametrize("decimals", [1, 2, 6])
@pytest.mark.parametrize(("attacks", "bona_fides"), [(1, 1), (7, 30), (200, 150)])
def test_rates_agree_with_scikit_learn(attacks, bona_fides, decimals):
    attacks, bona_fides = random_scores(attacks, bona_fides, decimals)
    truth = np.r_[np.zeros(len(attacks)), np.ones(len(bona_fides))]
    scores = np.r_[attacks, bona_fides]
    fpr, tpr, thresholds = sklearn_metrics.roc_curve(
        truth, scores, drop_intermediate=False
    )
    for passing, accepted, threshold in zip(fpr, tpr, thresholds, strict=True):
        assert apcer(attacks, threshold).value == pytest.approx(passing)
        assert bpcer(bona_fides, threshold).value == pytest.approx(1 - accepted)

    eer = equal_error(attacks, bona_fides)
    differences = abs(fpr - (1 - tpr))
    assert abs(
        apcer(attacks, eer.threshold).value - bpcer(bona_fides, eer.threshold).value
    ) == pytest.approx(differences.min())
    best = np.isclose(differences, differences.min())
    assert eer.rate == pytest.approx(((fpr + 1 - tpr) / 2)[best].min())

    for limit in (0.05, 0.01):
        found = bpcer_at_apcer(attacks, bona_fides, limit)
        if len(attacks) < 1 / limit:
            assert found is None
        else:
            rate, threshold = found
            assert rate.value == pytest.approx((1 - tpr)[fpr <= limit].min())
            assert rate == bpcer(bona_fides, threshold)
            assert apcer(attacks, threshold).value <= limit

    labels = np.where(truth == 1, BONA_FIDE, "fake")
    sources = np.array(["one"] * len(truth))
    figures = evaluate(scores, labels, sources, 0.5)["frames"]
    assert figures["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(truth, scores))
    wrong = (figures["acer"] * 2, figures["bpcer"]["rate"])
    assert 1 - wrong[0] / 2 == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(truth, scores >= 0.5)
    )


def test_equal_errors_with_ties_and_perfect_scores():
    # Told apart perfectly: the threshold nearest to 0.5 that does so.
    assert equal_error(np.array([0.1]), np.array([0.9])) == (0, 0.5)
    assert equal_error(np.array([0.6]), np.array([0.9])) == (0, 0.75)
    assert equal_error(np.array([0.0]), np.array([0.2])) == (0, pytest.approx(0.2))
    # All the same: nothing can be told.
    assert equal_error(np.full(4, 0.5), np.full(3, 0.5)).rate == 0.5
    # The wrong way round.
    assert equal_error(np.array([0.9, 0.8]), np.array([0.1, 0.2])).rate == 1


def test_apcer_is_per_instrument_and_the_worst_one_counts():
    scores = np.array([0.9, 0.1, 0.1, 0.1, 0.6, 0.4, 0.9, 0.2])
    labels = np.array(["print"] * 4 + ["replay"] * 2 + [BONA_FIDE] * 2)
    sources = np.array(["a", "a", "b", "b", "c", "c", "d", "d"])
    evaluation = evaluate(scores, labels, sources, 0.5)
    frames, videos = evaluation["frames"], evaluation["videos"]
    assert frames["apcer"]["print"]["rate"] == 0.25
    assert frames["apcer"]["replay"]["rate"] == 0.5
    assert frames["worst_instrument"] == "replay"
    assert frames["bpcer"]["rate"] == 0.5
    assert frames["acer"] == 0.5
    over = frames["apcer"]["print"]["over_sources"]
    assert (over["n"], over["mean"], over["worst"]) == (2, 0.25, "a")
    assert over["interval"] == [0, 1]  # 0.25 -+ 12.7 * 0.25
    assert frames["apcer"]["replay"]["over_sources"]["interval"] is None

    # Means of the sources: a 0.5, b 0.1, c 0.5, d 0.55.
    interval = list(Rate(1, 2).interval)
    expected = {"errors": 1, "n": 2, "rate": 0.5, "interval": interval}
    assert videos["apcer"]["print"] == expected
    assert videos["apcer"]["replay"]["errors"] == 1
    assert videos["bpcer"]["errors"] == 0
    means = {s["source"]: s["mean_score"] for s in evaluation["sources"]}
    assert means == pytest.approx({"a": 0.5, "b": 0.1, "c": 0.5, "d": 0.55})


def test_sources_of_one_name_in_two_classes_are_two():
    evaluation = evaluate(
        np.array([0.1, 0.9]), np.array(["fake", BONA_FIDE]), np.array(["v", "v"]), 0.5
    )
    assert len(evaluation["sources"]) == 2
    assert evaluation["videos"]["acer"] == 0


@pytest.mark.parametrize(
    ("labels", "missing"),
    [
        (["real"], "apcer"),
        (["real"] * 3, "apcer"),
        (["fake"], "bpcer"),
        (["print", "replay"], "bpcer"),
    ],
)
def test_only_one_kind_of_crops(labels, missing):
    scores = np.linspace(0.2, 0.8, len(labels))
    evaluation = evaluate(scores, np.array(labels), np.array(labels), 0.5)
    frames = evaluation["frames"]
    assert frames["acer"] is frames["eer"] is frames["auc"] is None
    if missing == "apcer":
        assert frames["apcer"] == {}
        assert frames["worst_instrument"] is None
    else:
        assert frames["bpcer"]["rate"] is None
    text = format_evaluation(evaluation, "fixed beforehand")
    assert "ACER" not in text
    assert "optimistic" not in text
    json.dumps(evaluation, allow_nan=False)


def test_the_text_says_where_thresholds_come_from():
    attacks, bona_fides = random_scores(120, 30)
    evaluation = evaluate(
        np.r_[attacks, bona_fides],
        np.array(["fake"] * 120 + [BONA_FIDE] * 30),
        np.array([f"v{i // 30}" for i in range(150)]),
        0.5,
    )
    text = format_evaluation(evaluation, "fixed beforehand")
    assert text.startswith("threshold 0.500, fixed beforehand\n")
    assert text.count("EER") == text.count("AUC") == 1
    assert "BPCER at APCER 1 %" in text
    assert text.endswith("chosen on these very crops: optimistic")
    assert "EER" not in format_evaluation(evaluation, "fixed", with_ranking=False)
    assert "mean of its 4 sources" in text
    json.dumps(evaluation, allow_nan=False)
