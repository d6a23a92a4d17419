import json
import re

import gather_examples
import train
from pyimagesearch.evaluation import format_evaluation
from pyimagesearch.labels import load_labels, save_labels
from pyimagesearch.metrics import apcer, bpcer, evaluate
from pyimagesearch.names import BONA_FIDE

import cv2
import numpy as np
import pytest


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
        pattern = r"--threshold (\S+) +(.+?) +APCER (\S+), BPCER (\S+)"
        number, name, *rates = re.fullmatch(pattern, line).groups()
        pasted = float(number)
        assert 0 <= pasted <= 1
        passing, rejected = apcer(attacks, pasted), bpcer(bona_fides, pasted)
        assert rates == [f"{passing.value:.1%}", f"{rejected.value:.1%}"]
        if limit := re.search(r"APCER at most (\d) %", name):
            assert passing.value <= int(limit[1]) / 100
        else:
            assert name == "equal error"


def test_too_few_attacks_for_an_apcer_have_no_threshold_for_it():
    evaluation, _, _ = random_evaluation(0, attacks=30)
    text = format_evaluation(evaluation, "chosen beforehand")
    assert "APCER at most 5 %" in text
    assert "APCER at most 1 %" not in text


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
