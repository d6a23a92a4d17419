import json
from dataclasses import asdict

from pyimagesearch.measurement import measure, needs_more, rank_hardest

import numpy as np
import pytest
from datasets import CLASSES, make_dataset, make_footage, make_labels
from sklearn import metrics as sklearn_metrics


def measure_means(how="", learnt=0, **sources):
    """Measure presentations of two crops each, {class: {source: mean score}}."""
    counts = {k: dict.fromkeys(own, 2) for k, own in sources.items()}
    data = make_dataset(*make_labels(**counts))
    scores = np.repeat([s for own in sources.values() for s in own.values()], 2)
    classes = sorted({*sources, "real", "fake"})
    probabilities = np.zeros((len(scores), len(classes)))
    probabilities[:, classes.index("real")] = scores
    return measure(probabilities, classes, data, how, learnt)[0]


def presentations(errors, n, persons, right, wrong):
    names = [f"p{i % persons}/v{i}" for i in range(n)]
    return {v: wrong if i < errors else right for i, v in enumerate(names)}


def attacks(errors, n, persons):
    return presentations(errors, n, persons, 0.1, 0.9)


def reals(errors, n, persons):
    return presentations(errors, n, persons, 0.9, 0.1)


@pytest.mark.parametrize(
    ("sources", "options", "expected"),
    [
        (
            {"real": reals(0, 6, 6), "fake": attacks(5, 6, 6)},
            {},
            "5 of 6 attacks passed, 0 of 6 real faces were refused (6 persons): not "
            "usable here; collect faces at this camera and train again.",
        ),
        (
            {"real": reals(1, 20, 10), "fake": attacks(0, 24, 10)},
            {},
            "0 of 24 attacks passed, 1 of 20 real faces was refused (10 persons: up to "
            "28 % may pass, by 95 %).",
        ),
        (
            {"real": reals(0, 9, 9), "a": attacks(0, 60, 60), "b": attacks(0, 4, 4)},
            {},
            "0 of 64 attacks passed, 0 of 9 real faces were refused (60 persons: up to "
            "49 % of b may pass, by 95 %).",
        ),
        (  # of one kind all pass
            {"real": reals(0, 9, 9), "a": attacks(0, 60, 60), "b": attacks(2, 2, 2)},
            {},
            "2 of 62 attacks passed, 0 of 9 real faces were refused (60 persons): not "
            "usable here; collect faces at this camera and train again.",
        ),
        (
            {"real": {"1": 0.9, "2": 0.9}, "fake": {"1": 0.1, "2": 0.1}},
            {"how": "blocks of frames"},
            "0 of 2 attacks passed, 0 of 2 real faces were refused (2 persons: up to "
            "66 % may pass, by 95 %); trained on other parts of these videos.",
        ),
        (
            {"real": reals(1, 20, 10)},
            {},
            "1 of 20 real faces was refused (10 persons: up to 34 % may be refused, by "
            "95 %).",
        ),
        (
            {"fake": attacks(0, 20, 10)},
            {},
            "0 of 20 attacks passed (10 persons: up to 28 % may pass, by 95 %).",
        ),
        (
            {"real": reals(0, 3, 3), "fake": attacks(3, 3, 3)},
            {"learnt": 6},
            "3 of 3 attacks passed, 0 of 3 real faces were refused (3 persons): worth "
            "nothing, as the network was trained on 6 sources of it.",
        ),
        (
            {"real": reals(0, 3, 3), "fake": attacks(0, 3, 3)},
            {"how": "crops at random"},
            "0 of 3 attacks passed, 0 of 3 real faces were refused (3 persons): worth "
            "nothing, as frames of one video are on both sides.",
        ),
        (
            {"real": {"s": 0.4}, "fake": {"s": 0.1}},
            {"how": "blocks of frames"},
            "4 crops of one session: 2 of 2 real views and 0 of 2 fakes wrong; says "
            "nothing about other people or places.",
        ),
        (
            {"real": {"a": 0.9}, "print": {"b": 0.1}, "replay": {"c": 0.1}},
            {"learnt": 1},
            "6 crops of 3 sources: 0 of 2 real views and 0 of 4 fakes wrong; worth "
            "nothing, as the network was trained on 1 source of it.",
        ),
    ],
)
def test_the_summary_says_what_was_tried_and_what_it_is_worth(
    sources, options, expected
):
    assert measure_means(**options, **sources).summary == expected


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"real": reals(1, 5, 5), "fake": attacks(1, 5, 5)}, False),  # a fifth
        ({"real": reals(2, 9, 9), "fake": attacks(0, 5, 5)}, True),
        ({"real": reals(0, 9, 9), "a": attacks(0, 60, 9), "b": attacks(1, 2, 2)}, True),
        ({"real": {"s": 0.4}, "fake": {"s": 0.1}}, True),
        ({"real": {"s": 0.6}}, False),
    ],
)
def test_more_than_a_fifth_wrong_asks_for_more_footage(sources, expected):
    assert needs_more(measure_means(**sources).evaluation) is expected


def test_it_is_said_whether_the_network_has_learnt_the_footage():
    sources = {"real": reals(0, 3, 3), "fake": attacks(0, 3, 3)}
    nothing = measure_means(learnt=0, **sources)
    assert nothing.notes == ["the network was trained on none of this footage"]
    assert nothing.warnings == []
    some = measure_means(learnt=2, **sources)
    assert "was trained on 2 sources of it" in some.warnings[0]
    assert measure_means("whole sources", None, **sources).notes == []


def test_photographs_at_random_are_on_one_side_of_a_split():
    labels = make_labels(real={"a/1": 1, "b/2": 1}, fake={"c/3": 1, "d/4": 1})
    figures, _ = measure(
        np.eye(2)[[1, 1, 0, 0]],
        ["fake", "real"],
        make_dataset(*labels),
        "crops at random",
    )
    assert figures.warnings == []


def test_the_hardest_presentations_are_first_of_different_persons():
    real = {"ann/1": 0.1, "ann/2": 0.2, "ben/1": 0.4, "ann/3": 0.9}
    fake = {"carl/1": 0.8, "carl/2": 0.7, "dora/1": 0.0}
    figures = measure_means(real=real, fake=fake)
    names = [own.source for own in rank_hardest(figures.evaluation)]
    assert names == ["ann/1", "carl/1", "ben/1", "dora/1", "ann/2", "carl/2", "ann/3"]


def test_anybody_can_compute_the_figures_from_the_scores():
    rng = np.random.default_rng(0)
    real = {f"{chr(97 + i % 9)}/{i}": own for i, own in enumerate(rng.beta(4, 2, 40))}
    fake = {f"{chr(97 + i % 9)}/{i}": own for i, own in enumerate(rng.beta(2, 4, 40))}
    figures = json.loads(json.dumps(asdict(measure_means(real=real, fake=fake))))
    rows, frames = figures["scores"], figures["evaluation"]["frames"]
    assert len({row["file"] for row in rows}) == len(rows) == 160
    truth = [row["label"] == "real" for row in rows]
    scores = np.array([row["probability"] for row in rows])
    assert sklearn_metrics.roc_auc_score(truth, scores) == pytest.approx(frames["auc"])
    fpr, tpr, _ = sklearn_metrics.roc_curve(truth, scores, drop_intermediate=False)
    best = abs(fpr - (1 - tpr)).argmin()
    assert (fpr + 1 - tpr)[best] / 2 == pytest.approx(frames["eer"])
    matrix = sklearn_metrics.confusion_matrix(truth, scores >= 0.5)
    assert frames["apcer"]["fake"]["errors"] == matrix[0, 1]
    assert frames["bpcer"]["errors"] == matrix[1, 0]
    persons = {row["person"] for row in rows if row["label"] == "fake"}
    assert frames["apcer"]["fake"]["persons"] == len(persons) == 9


def test_what_footage_made_by_hand_says_nothing_of(tmp_path):
    dataset, probabilities = make_footage(tmp_path)
    figures, _ = measure(probabilities, CLASSES, dataset)
    assert figures.not_tested == [
        "more than one presentation of replay",
        "face sizes with fewer than 20 crops of a class, pixels: 16-48, 48-96, 96-192, "
        "192 and above",
    ]


@pytest.mark.parametrize(
    ("how", "labels", "expected"),
    [
        ("blocks of frames", ["real", "fake"], "trained on other parts of these"),
        ("", ["real"], "more than one presentation of real"),
        ("", ["real", "print"], "more than one person, as far as the names"),
    ],
)
def test_gaps_of_a_dataset_are_named(how, labels, expected):
    data = make_dataset(*make_labels(**{label: {label: 30} for label in labels}))
    classes = sorted({*labels, "real", "fake"})
    probabilities = (data.labels[:, None] == classes).astype(float)
    figures, _ = measure(probabilities, classes, data, how)
    assert expected in "\n".join(figures.not_tested)


def test_persons_in_one_class_only_are_named():
    sources = {"real": {"anna": 30, "ben": 30}, "print": {"anna": 30, "carl": 30}}
    sources["replay"] = {"carl": 30}
    data = make_dataset(*make_labels(**sources))
    classes = ["print", "real", "replay"]
    probabilities = (data.labels[:, None] == classes).astype(float)
    figures, _ = measure(probabilities, classes, data)
    assert "persons both as real and as attack: ben, carl" in figures.not_tested


def test_every_number_of_a_dataset_that_was_made_by_hand(tmp_path):
    dataset, probabilities = make_footage(tmp_path)
    figures, scores = measure(probabilities, CLASSES, dataset)
    json.dumps(asdict(figures), allow_nan=False)
    assert len(scores) == 89
    presentations = figures.evaluation.presentations
    frames = figures.evaluation.frames

    def rates(level):
        rates = {"real": level.bpcer, **level.apcer}
        return {label: (rate.errors, rate.n) for label, rate in rates.items()}

    # Means: anna-real 0.83, ben-real 0.4, prints 0.13 and 0.25, anna-replay 0.667.
    assert rates(presentations) == {"real": (1, 2), "print": (0, 2), "replay": (1, 1)}
    assert rates(frames) == {"real": (26, 44), "print": (1, 24), "replay": (20, 21)}
    for level in (presentations, frames):
        assert level.worst_instrument == level.eer_instrument == "replay"
    assert presentations.acer == 0.75
    assert frames.acer == pytest.approx((26 / 44 + 20 / 21) / 2)
    # Of two real presentations one is above, one below the replay.
    assert presentations.eer in (0.25, 0.75)
    # Of 2 times 3 pairs, only ben-real and anna-replay are the wrong way round.
    assert presentations.auc == pytest.approx(5 / 6)

    def counts(table):
        return {
            name: {label: (rate.errors, rate.n) for label, rate in own.items()}
            for name, own in table.items()
        }

    silent = figures.non_response
    assert counts(figures.by_size) == {
        "16-48": {"real": (24, 24)},
        "96-192": {"real": (2, 20), "print": (1, 24)},
        "192 and above": {"replay": (20, 21)},
    }
    assert counts(figures.by_person) == {
        "anna": {"real": (2, 20), "print": (1, 22), "replay": (20, 21)},
        "ben": {"real": (24, 24), "print": (0, 2)},
    }
    unknown = {label: own.not_known for label, own in silent.items()}
    assert unknown == {"real": 1, "print": 1, "replay": 1, "mask": 0}
    silent = {
        label: {"presentations": own.presentations, "frames": own.frames}
        for label, own in silent.items()
    }
    assert counts(silent) == {
        "real": {"presentations": (0, 1), "frames": (4, 40)},
        "print": {"presentations": (1, 2), "frames": (10, 32)},
        "replay": {"presentations": (0, 0), "frames": (0, 0)},
        "mask": {"presentations": (1, 1), "frames": (40, 40)},
    }
    sources = figures.evaluation.sources
    assert {s.source: (s.errors, s.n) for s in sources} == {
        "anna-real": (2, 20),
        "ben-real": (24, 24),
        "anna-print": (1, 22),
        "ben-print": (0, 2),
        "anna-replay": (20, 21),
    }
    report = figures.classification_report
    assert report["real"]["support"] == 44
    # By the largest probability, and so not from 0.5 on.
    assert report["real"]["recall"] == pytest.approx(18 / 44)
