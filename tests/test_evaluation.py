import json
import re

import gather_examples
import train
from pyimagesearch.evaluation import format_evaluation, format_few, measure
from pyimagesearch.labels import Labels, load_labels, save_labels
from pyimagesearch.metrics import apcer, bpcer, evaluate
from pyimagesearch.names import BONA_FIDE

import cv2
import numpy as np
import pytest
from datasets import make_dataset


def random_evaluation(seed, attacks=120, bona_fides=30):
    """Evaluate overlapping scores of four sources; returns the scores of both too."""
    rng = np.random.default_rng(seed)
    scores = [rng.beta(2, 4, attacks), rng.beta(4, 2, bona_fides)]
    labels = ["fake"] * attacks + [BONA_FIDE] * bona_fides
    sources = [f"v{i // 30}" for i in range(attacks)] + ["r"] * bona_fides
    evaluation = evaluate(
        np.concatenate(scores), np.array(labels), np.array(sources), 0.5
    )
    return evaluation, *scores


def test_the_text_says_where_thresholds_come_from():
    evaluation, _, _ = random_evaluation(0)
    text = format_evaluation(evaluation, "chosen beforehand")
    assert text.startswith("threshold 0.5, chosen beforehand\n")
    assert text.count("EER") == text.count("AUC") == 1
    assert "thresholds chosen on these very crops: optimistic" in text
    assert "mean of its 4 sources" in text
    worst = evaluation["frames"]["apcer"]["fake"]["over_sources"]["worst"]
    assert f"worst: {worst}" in text
    without = format_evaluation(evaluation, "chosen beforehand", with_ranking=False)
    assert "EER" not in without
    assert "--threshold" not in without
    assert "optimistic" not in without
    assert text.startswith(without)
    json.dumps(evaluation, allow_nan=False)


@pytest.mark.parametrize(
    "labels", [["real"], ["real"] * 3, ["fake"], ["print", "replay"]]
)
def test_crops_of_one_kind_have_no_figures_of_both(labels):
    scores = np.linspace(0.2, 0.8, len(labels))
    evaluation = evaluate(scores, np.array(labels), np.array(labels), 0.5)
    text = format_evaluation(evaluation, "chosen beforehand")
    assert "ACER" not in text.replace("APCER", "")
    assert "optimistic" not in text
    assert "--threshold" not in text


@pytest.mark.parametrize("seed", range(20))
def test_a_threshold_that_is_printed_can_be_pasted_and_does_what_is_said(seed):
    evaluation, attacks, bona_fides = random_evaluation(seed)
    text = format_evaluation(evaluation, "chosen beforehand")
    lines = [line for line in text.splitlines() if "--threshold" in line]
    assert len(lines) == 3
    for line in lines:
        pattern = (
            r"--threshold (\S+) +(.+?) +APCER (\S+) of 120 fake, BPCER (\S+) of 30 real"
        )
        number, name, *rates = re.fullmatch(pattern, line).groups()
        pasted = float(number)
        assert 0 <= pasted <= 1
        passing, rejected = apcer(attacks, pasted), bpcer(bona_fides, pasted)
        assert rates == [f"{passing.value:.1%}", f"{rejected.value:.1%}"]
        if limit := re.search(r"APCER at most (\d) %", name):
            assert passing.value <= int(limit[1]) / 100
        else:
            assert name == "equal error"


def format_kinds(**scores):
    """Evaluate the scores of each class, and format the result."""
    labels = np.repeat([*scores], [len(own) for own in scores.values()])
    together = np.concatenate([*scores.values()])
    return format_evaluation(evaluate(together, labels, labels, 0.5), "chosen")


def test_the_worst_kind_of_attack_is_named():
    text = format_kinds(
        replay=np.full(95, 0.1),
        print=np.r_[np.full(15, 0.2), np.full(5, 0.9)],
        real=np.r_[np.full(30, 0.7), np.full(10, 0.95)],
    )
    assert re.search(r"^EER  print \(worst\) +12\.5%$", text, re.MULTILINE)
    rates = "APCER 0.0% of 20 print, BPCER 75.0% of 40 real"
    assert re.search(
        rf"^--threshold \S+ +APCER at most 5 % +{rates}$", text, re.MULTILINE
    )


def test_a_kind_with_too_few_attacks_for_an_apcer_is_named_instead_of_a_threshold():
    real = np.linspace(0.6, 1, 30)
    text = format_kinds(
        replay=np.linspace(0, 0.4, 95), print=np.full(5, 0.9), real=real
    )
    assert "at most 5 % needs 20 crops of each kind of attack; print has 5\n" in text
    assert text.endswith(
        "at most 1 % needs 100 crops of each kind of attack; print has 5"
    )
    text = format_kinds(fake=np.linspace(0, 0.4, 30), real=real)
    assert re.search("^--threshold .*APCER at most 5 %", text, re.MULTILINE)
    assert text.endswith(
        "at most 1 % needs 100 crops of each kind of attack; fake has 30"
    )
    assert "at most 5 % is reached at no threshold" in format_kinds(
        fake=np.ones(30), real=real
    )


def test_rates_and_intervals_keep_the_decimals_that_tell_them_from_0_and_100_percent():
    text = format_kinds(
        fake=np.r_[0.9, np.full(95_999, 0.1)], real=np.full(90_000, 0.7)
    )
    assert re.search(
        r"^BPCER  real +0 +90000 +0\.0%   0\.0% to 0\.004%$", text, re.MULTILINE
    )
    assert re.search(
        r"^APCER  fake +1 +96000 +0\.001%   0\.0002% to 0\.006%$", text, re.MULTILINE
    )
    text = format_kinds(fake=np.ones(90_000), real=np.ones(20))
    assert re.search(
        r"^APCER  fake +90000 +90000 +100\.0%   99\.996% to 100\.0%$",
        text,
        re.MULTILINE,
    )


@pytest.mark.parametrize(
    ("errors", "n", "expected"),
    # Wilson's, by hand: (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n), z = 1.96
    [
        (0, 1, "no error in 1 crop: up to 79%"),
        (0, 8, "no error in 8 crops: up to 32%"),
        (1, 8, "1 error in 8 crops: 2% to 47%"),
        (8, 8, "8 errors in 8 crops: 68% to 100%"),
        (2, 19, "2 errors in 19 crops: 3% to 31%"),
        (0, 500, "no error in 500 crops: up to 0.8%"),
    ],
)
def test_of_few_crops_is_said_how_many_errors_are_possible(errors, n, expected):
    scores = np.r_[np.full(errors, 0.9), np.full(n - errors, 0.1), np.full(8, 0.8)]
    labels = np.array(["fake"] * n + [BONA_FIDE] * 8)
    text = format_few(evaluate(scores, labels, labels, 0.5)["frames"])
    head, real, fake, last = text.splitlines()
    assert head == "at the threshold 0.5, chosen beforehand:"
    assert real == "real: no error in 8 crops: up to 32% is possible"
    assert fake == f"fake: {expected} is possible"
    few = "real and fake" if n < 20 else "real"
    assert last.startswith(f"too few crops of {few} for rates and thresholds: gather")


@pytest.mark.parametrize(
    ("counts", "few"),
    [
        ({"real": 20, "print": 20, "replay": 30}, None),
        ({"real": 19, "print": 20}, "real"),
        ({"real": 60, "print": 19, "replay": 40}, "print"),
        ({"real": 3, "print": 2, "replay": 40}, "real and print"),
        ({"print": 3, "replay": 40}, "print"),
        ({"real": 5}, "real"),
    ],
)
def test_rates_are_printed_if_every_class_that_is_measured_has_20_crops(
    counts, few, capsys
):
    labels = np.repeat([*counts], [*counts.values()])
    data = make_dataset(labels, labels, np.arange(len(labels)))
    classes = ["print", "real", "replay"]
    probabilities = (labels[:, None] == classes) * 0.8 + 0.1
    report, _ = measure(probabilities, classes, data, threshold=0.7)
    out = capsys.readouterr().out
    for word in ("precision", "chosen on the held-out", "EER", "--threshold"):
        assert (word in out) is (few is None)
    assert ("is possible" in out) is (few is not None)
    if few:
        assert f"too few crops of {few} for rates" in out
    for name, n in counts.items():
        assert (f"{name}: no error in {n} crops" in out) is (few is not None)
    names = ["classification_report", "evaluation"]
    assert [*report] == [*names, "evaluation_at_development_threshold"]


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
        assert "threshold 0.5, chosen beforehand" in out
        assert cv2.imread(str(tmp_path / "plot.png")).shape == (800, 1000, 3)
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["sources"] == {"fake": {"fake": 60}, "real": {"real": 60}}
        frames = report["evaluation"]["frames"]
        assert frames["bpcer"]["n"] == 60
        points = frames["operating_points"].values()
        printed = re.findall(r"^--threshold (\S+)", out, re.MULTILINE)
        assert [float(number) for number in printed] == [p["threshold"] for p in points]

    def test_the_threshold_of_the_training_is_frozen(
        self, trained, dataset, tmp_path, capsys
    ):
        labels = load_labels(trained / "le.pickle")._replace(threshold=0.9)
        save_labels(labels, tmp_path / "le.pickle")
        options = ["-l", tmp_path / "le.pickle", "-p", tmp_path / "p.png"]
        options += ["--report", tmp_path / "r.json"]
        assert self.evaluate(trained, dataset, *options) == 0
        out = capsys.readouterr().out
        assert "threshold 0.9, chosen on the held-out crops of the training" in out
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["development_threshold"] == 0.9
        assert report["evaluation"]["threshold"] == 0.5
        assert report["evaluation_at_development_threshold"]["threshold"] == 0.9

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
        assert "too few crops of print and replay for" in out
        assert re.findall(r"^(\w+): .* in 8 crops:", out, re.MULTILINE) == [
            "print",
            "replay",
        ]

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

    def test_a_dataset_that_was_learnt_is_no_news(
        self, trained, dataset, videos, detector_folder, tmp_path, capsys
    ):
        assert self.evaluate(trained, dataset, "-p", tmp_path / "p.png") == 0
        error = capsys.readouterr().err
        assert f"{dataset}: the network was trained on 2 sources of it" in error
        for label in ("real", "fake"):  # other frames than the training had
            options = ["-i", videos / f"{label}.mp4", "-o", tmp_path / "new" / label]
            options += ["-d", detector_folder, "-s", 59]
            assert gather_examples.main(list(map(str, options))) == 0
        capsys.readouterr()
        assert self.evaluate(trained, tmp_path / "new", "-p", tmp_path / "p.png") == 0
        assert "was trained on" not in capsys.readouterr().err
