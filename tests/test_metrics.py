import json
import math
from dataclasses import asdict

from pyimagesearch.metrics import (
    Rate,
    equal_error,
    evaluate,
    rate_of,
    shorten_threshold,
    threshold_at_apcer,
)
from pyimagesearch.names import BONA_FIDE

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics


def apcer(attack_scores, threshold):
    return rate_of(attack_scores >= threshold)


def bpcer(bona_fide_scores, threshold):
    return rate_of(bona_fide_scores < threshold)


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
    z, p, n = 1.959963984540054, 0.2, 50
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert Rate(10, 50).interval == pytest.approx((center - half, center + half))
    for errors, n in ((0, 1), (1, 1), (0, 30), (3, 30), (29, 30), (1, 96_000)):
        scipys = stats.binomtest(errors, n).proportion_ci(method="wilson")
        assert Rate(errors, n).interval == pytest.approx(tuple(scipys), abs=1e-9)
    assert Rate(0, 10).interval[0] == 0
    assert Rate(10, 10).interval[1] == 1
    assert Rate(0, 0).interval is Rate(0, 0).rate is None


def expand(clusters):
    """Errors and persons of trials, from errors and trials of each person."""
    wrong = [number < errors for errors, n in clusters for number in range(n)]
    persons = [f"p{i}" for i, (_, n) in enumerate(clusters) for _ in range(n)]
    return np.array(wrong), np.array(persons)


@pytest.mark.parametrize(
    ("survived", "born", "effect"),
    # Weil's litters of rats, and the design effects that Rao and Scott (1992) give.
    [
        (
            [13, 12, 9, 9, 8, 8, 12, 11, 9, 9, 8, 11, 4, 5, 7, 7],
            [13, 12, 9, 9, 8, 8, 13, 12, 10, 10, 9, 13, 5, 7, 10, 10],
            1.232495,
        ),
        (
            [12, 11, 10, 9, 10, 9, 9, 8, 8, 4, 7, 4, 5, 3, 3, 0],
            [12, 11, 10, 9, 11, 10, 10, 9, 9, 5, 9, 7, 10, 6, 10, 7],
            3.952861,
        ),
    ],
)
def test_the_effective_number_of_trials_is_that_of_rao_and_scott(
    survived, born, effect
):
    rate = rate_of(*expand([*zip(survived, born, strict=True)]))
    assert rate.persons == 16
    assert rate.n / rate.effective_n == pytest.approx(effect, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("persons", "most", "shape"),
    [(20, 150, (0.8, 3.2)), (30, 40, (2, 6)), (100, 24, (1, 9))],
)
def test_an_interval_over_persons_is_that_of_a_bootstrap_over_persons(
    persons, most, shape, seed
):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(most // 2, most, persons)
    errors = rng.binomial(sizes, rng.beta(*shape, persons))
    draws = rng.integers(persons, size=(4000, persons))
    rates = errors[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    low, high = np.quantile(rates, [0.025, 0.975])
    rate = rate_of(*expand([*zip(errors, sizes, strict=True)]))
    assert rate.interval == pytest.approx((low, high), abs=(high - low) / 10)
    naive = Rate(rate.errors, rate.n).interval
    assert naive[1] - naive[0] < 0.8 * (high - low)


@pytest.mark.parametrize(
    ("clusters", "expected"),
    [
        ([(0, 100)] * 15, 15),  # nobody has errors
        ([(7, 7)] * 15, 15),
        ([(1, 100)] + [(0, 100)] * 14, 15),  # or one person alone
        ([(30, 100)], 1),
        ([(1, 1), (0, 1), (0, 1)], 3),  # each person once: trials
        ([(1, 2)] * 10, 20),  # never more than trials
    ],
)
def test_where_persons_do_not_differ_measurably_they_are_counted(clusters, expected):
    rate = rate_of(*expand(clusters))
    assert rate.effective_n == expected
    same = Rate(rate.errors, rate.n, effective_n=expected)
    assert rate.interval == same.interval


def test_trials_of_persons_who_are_not_all_known_are_counted_as_trials():
    wrong, persons = np.array([True, False, False, False]), np.array(["a", "a", "", ""])
    assert rate_of(wrong, persons) == rate_of(wrong) == Rate(1, 4)
    assert rate_of(wrong[:2], persons[:2]).persons == 1
    assert rate_of(wrong[:0], persons[:0]).rate is None


def test_of_kinds_with_the_same_rate_the_worst_has_the_highest_limit():
    labels = np.repeat(["print", "replay", BONA_FIDE], [60, 4, 20])
    scores = np.repeat([0.1, 0.9], [64, 20])
    sources = np.array([f"v{number}" for number in range(84)])
    figures = evaluate(scores, labels, sources).presentations
    assert figures.worst_instrument == "replay"
    for point in figures.operating_points.values():
        assert point.instrument == "replay"
        assert point.apcer == point.by_instrument["replay"]
        assert point.by_instrument["print"].n == 60


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
        assert apcer(attacks, threshold).rate == pytest.approx(passing)
        assert bpcer(bona_fides, threshold).rate == pytest.approx(1 - accepted)

    eer, threshold = equal_error(attacks, bona_fides)
    differences = abs(fpr - (1 - tpr))
    assert abs(
        apcer(attacks, threshold).rate - bpcer(bona_fides, threshold).rate
    ) == pytest.approx(differences.min())
    best = np.isclose(differences, differences.min())
    assert eer == pytest.approx(((fpr + 1 - tpr) / 2)[best].min())

    for limit in (0.05, 0.01):
        threshold = threshold_at_apcer({"fake": attacks}, bona_fides, limit)
        if len(attacks) < 1 / limit:
            assert threshold is None
        else:
            rate = bpcer(bona_fides, threshold).rate
            assert rate == pytest.approx((1 - tpr)[fpr <= limit].min())
            assert apcer(attacks, threshold).rate <= limit

    labels = np.where(truth == 1, BONA_FIDE, "fake")
    sources = np.array(["one"] * len(truth))
    figures = evaluate(scores, labels, sources).frames
    assert figures.auc == pytest.approx(sklearn_metrics.roc_auc_score(truth, scores))
    wrong = (figures.acer * 2, figures.bpcer.rate)
    assert 1 - wrong[0] / 2 == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(truth, scores >= 0.5)
    )


def test_equal_errors_with_ties_and_perfect_scores():
    # Told apart perfectly: the threshold nearest to 0.5 that does so.
    assert equal_error(np.array([0.1]), np.array([0.9])) == (0, 0.5)
    assert equal_error(np.array([0.6]), np.array([0.9])) == (0, 0.75)
    assert equal_error(np.array([0.0]), np.array([0.2])) == (0, pytest.approx(0.2))
    # All the same: nothing can be told.
    assert equal_error(np.full(4, 0.5), np.full(3, 0.5))[0] == 0.5
    # The wrong way round.
    assert equal_error(np.array([0.9, 0.8]), np.array([0.1, 0.2]))[0] == 1


def test_apcer_is_per_instrument_and_the_worst_one_counts():
    scores = np.array([0.9, 0.1, 0.1, 0.1, 0.6, 0.4, 0.9, 0.2])
    labels = np.array(["print"] * 4 + ["replay"] * 2 + [BONA_FIDE] * 2)
    sources = np.array(["a", "a", "b", "b", "c", "c", "d", "d"])
    evaluation = evaluate(scores, labels, sources)
    frames, presentations = evaluation.frames, evaluation.presentations
    assert frames.apcer["print"].rate == 0.25
    assert frames.apcer["replay"].rate == 0.5
    assert frames.worst_instrument == "replay"
    assert frames.bpcer.rate == 0.5
    assert frames.acer == 0.5

    # Means of the sources: a 0.5, b 0.1, c 0.5, d 0.55.
    assert presentations.apcer["print"] == Rate(1, 2)
    assert presentations.apcer["replay"].errors == 1
    assert presentations.bpcer.errors == 0
    means = {s.source: s.mean_score for s in evaluation.sources}
    assert means == pytest.approx({"a": 0.5, "b": 0.1, "c": 0.5, "d": 0.55})


def test_sources_of_one_name_in_two_classes_are_two():
    evaluation = evaluate(
        np.array([0.1, 0.9]), np.array(["fake", BONA_FIDE]), np.array(["v", "v"])
    )
    assert len(evaluation.sources) == 2
    assert evaluation.presentations.acer == 0


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
    evaluation = evaluate(scores, np.array(labels), np.array(labels))
    frames = evaluation.frames
    assert frames.acer is frames.eer is frames.auc is None
    if missing == "apcer":
        assert frames.apcer == {}
        assert frames.worst_instrument is None
    else:
        assert frames.bpcer.rate is None
    assert frames.operating_points == {}
    json.dumps(asdict(evaluation), allow_nan=False)


def test_the_figures_have_the_rates_at_each_operating_point():
    attacks, bona_fides = random_scores(120, 30)
    labels = np.array(["fake", "print"] * 60 + [BONA_FIDE] * 30)
    sources = np.array([f"v{i // 30}" for i in range(150)])
    scores = np.r_[attacks, bona_fides]
    figures = evaluate(scores, labels, sources).frames
    points = figures.operating_points
    limits = ["APCER at most 10 %", "APCER at most 5 %"]  # of 60 each, 1 % is none
    assert [*points] == ["chosen beforehand", "equal error", *limits]
    kinds = {"fake": attacks[::2], "print": attacks[1::2]}
    for point in points.values():
        rates = {k: apcer(own, point.threshold) for k, own in kinds.items()}
        worst = point.instrument
        assert rates[worst].rate == max(rate.rate for rate in rates.values())
        assert point.apcer == rates[worst]
        assert point.bpcer == bpcer(bona_fides, point.threshold)
    assert points["equal error"].threshold == figures.eer_threshold
    point = points["APCER at most 5 %"]
    assert point.apcer.rate <= 0.05


def test_prints_that_all_pass_do_not_vanish_among_many_replays():
    scores = np.r_[np.full(95, 0.1), np.full(20, 0.9), np.full(40, 0.8)]
    labels = np.repeat(["replay", "print", BONA_FIDE], [95, 20, 40])
    figures = evaluate(scores, labels, labels).frames
    point = figures.operating_points["APCER at most 5 %"]
    assert point.threshold > 0.9
    assert point.bpcer.rate == 1
    assert (figures.eer, figures.eer_instrument) == (1, "print")
    # With five prints, nobody can tell.
    few = np.r_[0:100, 115:155]
    figures = evaluate(scores[few], labels[few], labels[few]).frames
    assert [*figures.operating_points] == ["chosen beforehand", "equal error"]


@pytest.mark.parametrize("seed", range(20))
def test_the_equal_error_rate_is_that_of_the_worst_kind(seed):
    rng = np.random.default_rng(seed)
    kinds = {
        name: rng.beta(rng.uniform(1, 4), 4, rng.integers(1, 60)) for name in "abc"
    }
    bona_fides = rng.beta(4, 2, 30)
    labels = np.repeat([*kinds, BONA_FIDE], [*map(len, kinds.values()), 30])
    scores = np.concatenate([*kinds.values(), bona_fides])
    figures = evaluate(scores, labels, labels).frames
    rates = {name: equal_error(own, bona_fides) for name, own in kinds.items()}
    worst = figures.eer_instrument
    assert (figures.eer, figures.eer_threshold) == rates[worst]
    assert figures.eer == max(rate for rate, _ in rates.values())


def test_no_probability_is_above_1_whatever_rounding_does():
    # How many have the same score; scikit-learn adds this up to 1.0000000000000002.
    attacks = [int(digit) for digit in "111111111112111211"]
    bona_fides = [int(digit) for digit in "25513432136223112253224273211331222"]
    counts = attacks + bona_fides
    scores = np.repeat(np.arange(len(counts)) / 100, counts)
    labels = np.repeat(["fake", BONA_FIDE], [sum(attacks), sum(bona_fides)])
    assert evaluate(scores, labels, labels).frames.auc == 1


def awkward_scores(rng):
    """Draw scores in [0, 1]: with 0, 1, ties, neighbouring floats, tiny distances."""
    n = int(rng.integers(1, 40))
    scores = rng.beta(0.5, 0.5, n)
    kind = rng.integers(5)
    if kind == 0:
        scores = scores.round(rng.integers(1, 4))
    elif kind == 1:
        scores = scores.astype(np.float32).astype(float)  # what a network gives
    elif kind == 2:
        scores = np.clip(rng.choice([0, 1e-9, 0.5, 1 - 1e-9], n) + 1e-12 * scores, 0, 1)
    elif kind == 3:
        scores = rng.choice([0.0, 1.0, 0.5], n)
    few = rng.choice(scores, n // 2 + 1)
    return np.clip(np.concatenate([scores, np.nextafter(few, rng.integers(2))]), 0, 1)


def awkward_attacks_and_bona_fides(rng):
    """Divide such scores, so that neighbouring floats may be of both kinds."""
    scores = rng.permutation(awkward_scores(rng))
    attacks = int(rng.integers(1, len(scores)))
    return scores[:attacks], scores[attacks:]


def possible_thresholds(scores):
    """Return one threshold in [0, 1] for each decision that there can be."""
    thresholds = np.concatenate([scores, np.nextafter(scores, 2), [0.0, 1.0]])
    return np.unique(thresholds[thresholds <= 1])


@pytest.mark.parametrize("seed", range(50))
def test_a_shortened_threshold_decides_alike_with_as_few_decimals_as_it_can(seed):
    rng = np.random.default_rng(seed)
    scores = awkward_scores(rng)
    thresholds = [*possible_thresholds(scores), *rng.random(20), 0.5]
    for threshold in map(float, thresholds):
        short = shorten_threshold(threshold, scores)
        assert 0 <= short <= 1
        assert float(f"{short}") == short
        np.testing.assert_array_equal(scores >= short, scores >= threshold)
        for decimals in range(3, 17):
            rounded = round(threshold, decimals)
            if rounded == short:
                break
            assert np.any((scores >= rounded) != (scores >= threshold))
        else:
            assert short == threshold


@pytest.mark.parametrize(
    ("threshold", "scores", "expected"),
    [
        (0.123456, [0.1, 0.9], 0.123),
        (0.123456, [0.1231, 0.1236], 0.1235),
        (0.99996, [0.2, 0.9999], 1.0),
        (0.99996, [0.9999, 0.99997], 0.99996),
        (0.00004, [0.00001, 1.0], 0.00004),
        (0.25, [], 0.25),
    ],
)
def test_a_threshold_is_shortened_to_three_decimals_or_more(
    threshold, scores, expected
):
    assert shorten_threshold(threshold, np.array(scores)) == expected


@pytest.mark.parametrize("seed", range(50))
def test_what_is_pasted_has_the_equal_error_rate_that_was_promised(seed):
    rng = np.random.default_rng(seed)
    attacks, bona_fides = awkward_attacks_and_bona_fides(rng)
    rate, threshold = equal_error(attacks, bona_fides)
    assert 0 <= threshold <= 1
    pasted = float(f"{threshold}")
    passing = apcer(attacks, pasted).rate
    rejected = bpcer(bona_fides, pasted).rate
    assert rate == pytest.approx((passing + rejected) / 2)
    best = min(
        abs(apcer(attacks, other).rate - bpcer(bona_fides, other).rate)
        for other in possible_thresholds(np.r_[attacks, bona_fides])
    )
    assert abs(passing - rejected) == pytest.approx(best)


@pytest.mark.parametrize("kinds", [1, 2, 3])
@pytest.mark.parametrize("limit", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(50))
def test_what_is_pasted_lets_as_few_attacks_pass_as_was_promised(seed, limit, kinds):
    rng = np.random.default_rng(seed)
    attacks, bona_fides = awkward_attacks_and_bona_fides(rng)
    attacks = dict(enumerate(np.array_split(attacks, min(kinds, len(attacks)))))

    def holds(threshold):
        return all(apcer(own, threshold).rate <= limit for own in attacks.values())

    possible = [
        bpcer(bona_fides, threshold).errors
        for threshold in possible_thresholds(np.r_[(*attacks.values(), bona_fides)])
        if holds(threshold)
    ]
    threshold = threshold_at_apcer(attacks, bona_fides, limit)
    if min(map(len, attacks.values())) < 1 / limit or not possible:
        assert threshold is None
        return
    assert 0 <= threshold <= 1
    pasted = float(f"{threshold}")
    assert holds(pasted)
    assert bpcer(bona_fides, pasted).errors == min(possible)


def test_attacks_that_pass_at_every_threshold_leave_no_bpcer():
    bona_fides = np.array([0.2, 0.9, 1.0])
    attacks = np.array([1.0, 1.0] + [0.1] * 18)
    assert threshold_at_apcer({"fake": attacks}, bona_fides, 0.05) is None
    # One in twenty may pass.
    threshold = threshold_at_apcer({"fake": attacks[1:]}, bona_fides, 0.1)
    assert 0.1 < threshold <= 0.2
    assert threshold_at_apcer({"fake": np.ones(20)}, bona_fides, 0.05) is None
    points = evaluate(
        np.r_[attacks, bona_fides],
        np.array(["fake"] * 20 + [BONA_FIDE] * 3),
        np.array(["one"] * 23),
    ).frames.operating_points
    # Two of twenty pass, which is no more than 10 %.
    assert [*points] == ["chosen beforehand", "equal error", "APCER at most 10 %"]


def test_a_bpcer_needs_as_many_attacks_as_can_tell_its_apcer():
    attacks, bona_fides = np.linspace(0, 0.4, 20), np.array([0.5, 0.9])
    few, enough = {"fake": attacks[:19]}, {"fake": attacks}
    assert threshold_at_apcer(few, bona_fides, 0.05) is None
    assert 0.4 < threshold_at_apcer(enough, bona_fides, 0.05) <= 0.5
    assert (
        threshold_at_apcer({"print": attacks[:19], **enough}, bona_fides, 0.05) is None
    )
