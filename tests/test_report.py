import json
import re
from html.parser import HTMLParser
from pathlib import Path

from pyimagesearch.console import percent
from pyimagesearch.metrics import (
    TRIALS_FOR_RATE,
    Measurement,
    Rate,
    apcer,
    bpcer,
    measure,
)
from pyimagesearch.report import (
    QUESTIONS,
    format_report,
    interval,
    write_report,
)
from pyimagesearch.untested import list_untested

import numpy as np
import pytest
from datasets import (
    CLASSES,
    make_dataset,
    make_footage,
    make_labels,
)

ROOT = Path(__file__).parent.parent


def measure_sources(sources, score=None, threshold=None):
    """Measure a dataset of random scores, as {class: {source: crops}}."""
    data = make_dataset(*make_labels(**sources))
    rng = np.random.default_rng(0)
    if score is None:
        keys = list(zip(data.labels, data.sources, strict=True))
        means = {key: rng.beta(2, 2) for key in dict.fromkeys(keys)}
        score = np.array([means[key] for key in keys])
        score = np.clip(score + rng.normal(0, 0.1, len(score)), 0, 1)
    classes = sorted({*sources, "real"})
    probabilities = np.zeros((len(score), len(classes)))
    probabilities[:, classes.index("real")] = score
    figures, scores = measure(probabilities, classes, data, threshold)
    figures.not_tested = list_untested(figures, data, "")
    return figures, scores, data


MADE = {
    "command": "python train.py --evaluate",
    "model": "liveness.model",
    "dataset": "dataset",
    "files": [
        {
            "label": "real",
            "source": "a<b",
            "crops": 3,
            "fingerprint": "f00d.mp4",
            "search": {
                "detector": "YuNet",
                "detector_size": 320,
                "confidence": 0.7,
                "skip": 16,
                "searched": 8,
                "faceless": 5,
            },
        },
        {
            "label": "fake",
            "source": "c",
            "crops": 5,
            "fingerprint": "",
            "search": None,
        },
    ],
}


@pytest.mark.parametrize(
    ("errors", "n", "cells"),
    # Wilson's limits, by hand: (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n)
    [
        (0, 1, ("0 of 1 (up to 79.3%)", "")),
        (0, 3, ("0 of 3 (up to 56.1%)", "")),
        (1, 8, ("1 of 8 (up to 47.1%)", "")),
        (8, 8, ("8 of 8 (up to 100.0%)", "")),
        (1, 19, ("1 of 19 (up to 24.6%)", "")),
        (0, 20, ("0.0% of 20", "0.0% to 16.1%")),
        (0, 30, ("0.0% of 30", "0.0% to 11.4%")),
        (1, 40, ("2.5% of 40", "0.4% to 12.9%")),
        (1, 96_000, ("0.001% of 96000", "0.0002% to 0.006%")),
        (90_000, 90_000, ("100.0% of 90000", "99.996% to 100.0%")),
    ],
)
def test_few_trials_are_counted_and_many_have_a_rate(errors, n, cells):
    rate = Rate(errors, n)
    assert (str(rate), interval(rate)) == cells


def test_what_it_takes_to_claim_an_apcer():
    text = format_report(measure_sources({"real": {"a": 20}, "fake": {"b": 20}})[0])
    claim = "to claim 10, 5 or 1 % takes 35, 73 or 381 of each kind without an error;"
    assert claim in text
    for limit, n in ((0.1, 35), (0.05, 73), (0.01, 381)):
        assert Rate(0, n).interval[1] <= limit < Rate(0, n - 1).interval[1]


@pytest.mark.parametrize(
    ("counts", "few"),
    [
        ({"real": 20, "print": 20, "replay": 30}, None),
        ({"real": 8, "fake": 8}, "real and fake"),
        ({"real": 19, "print": 20}, "real"),
        ({"real": 60, "print": 19, "replay": 40}, "print"),
        ({"real": 3, "print": 2, "replay": 40}, "real and print"),
        ({"print": 3, "replay": 40}, "print"),
        ({"real": 5}, "real"),
    ],
)
def test_thresholds_are_printed_if_every_class_that_is_measured_has_20_crops(
    counts, few
):
    sources = {label: {label: n} for label, n in counts.items()}
    score = np.repeat(
        [0.9 if label == "real" else 0.1 for label in counts], [*counts.values()]
    )
    figures, *_ = measure_sources(sources, score, threshold=0.7)
    text = format_report(figures)
    for word in ("of the training", "EER", "--threshold"):
        assert (word in text) is (few is None)
    assert "not tested" in text
    if few:
        advice = (
            f"too few crops of {few} for rates and thresholds: gather at least 20 of"
        )
        assert advice in text
    frames = text.partition("frames, which")[2]
    for label, n in counts.items():
        expected = "0.0%" if n >= 20 else "0"
        assert re.search(rf"^[AB]PCER  {label}[^\n]* {expected} of {n}\b", frames, re.M)


@pytest.mark.parametrize("labels", [["real"], ["fake"], ["print", "replay"]])
def test_crops_of_one_kind_have_no_figures_of_both(labels):
    figures, *_ = measure_sources({label: {"a": 30, "b": 30} for label in labels})
    text = format_report(figures)
    assert "ACER" not in text.replace("APCER", "")
    assert "optimistic" not in text
    assert "--threshold" not in text


@pytest.mark.parametrize("seed", range(5))
def test_a_threshold_that_is_printed_can_be_pasted_and_costs_what_is_said(seed):
    rng = np.random.default_rng(seed)
    sources = {
        "real": {f"r{number}": 2 for number in range(40)},
        "print": {f"p{number}": 2 for number in range(25)},
        "replay": {f"v{number}": 2 for number in range(120)},
    }
    scores = np.r_[rng.beta(4, 2, 80), rng.beta(2, 4, 50), rng.beta(2, 5, 240)]
    figures, scores, _ = measure_sources(sources, scores, threshold=0.6)
    text = format_report(figures)
    means = scores.reshape(-1, 2).mean(axis=1)
    kinds = {"print": means[40:65], "replay": means[65:]}
    pattern = (
        r"--threshold (\S+) +(\S.*?) {2,}(\S+) of (\d+) (\w+) +(\S+) to (\S+) +"
        r"(\S+) of 40 +(\S+) to (\S+)"
    )
    rows = [
        re.fullmatch(pattern, line).groups()
        for line in text.splitlines()
        if line.startswith("--threshold")
    ]
    limits = ["APCER at most 10 %", "APCER at most 5 %"]
    names = ["chosen beforehand", "of the training", "equal error", *limits]
    assert ", ".join(row[1] for row in rows) == ", ".join(names)
    assert [float(row[0]) for row in rows[:2]] == [0.5, 0.6]
    for number, name, passing, n, kind, *rest in rows:
        pasted = float(number)
        rates = {key: apcer(own, pasted) for key, own in kinds.items()}
        assert kind == max(rates, key=lambda key: rates[key].rate)
        assert (passing, int(n)) == (percent(rates[kind].rate), rates[kind].n)
        rejected = bpcer(means[:40], pasted)
        assert rest == [
            *map(percent, rates[kind].interval),
            percent(rejected.rate),
            *map(percent, rejected.interval),
        ]
        for limit in re.findall(r"at most (\d+) %", name):
            assert rates[kind].rate <= int(limit) / 100
    needs = "APCER at most 1 %: needs 100 presentations of each kind of attack, "
    assert f"{needs}75 more of print\n" in text


def test_what_no_threshold_reaches_is_said():
    sources = {"real": {"a": 20, "b": 20}, "fake": {f"v{n}": 2 for n in range(20)}}
    figures, *_ = measure_sources(sources, np.r_[np.linspace(0.5, 1, 40), np.ones(40)])
    lines = format_report(figures).splitlines()
    assert "APCER at most 5 %: reached at no threshold" in lines
    needs = "APCER at most 1 %: needs 100 presentations of each kind of attack, "
    assert f"{needs}80 more of fake" in lines


def test_a_threshold_is_listed_once():
    sources = {"real": {"a": 20, "b": 20}, "fake": {f"v{n}": 2 for n in range(20)}}
    scores = np.r_[np.linspace(0.6, 1, 40), np.linspace(0, 0.3, 40)]
    figures, *_ = measure_sources(sources, scores)
    rows = [line for line in format_report(figures).splitlines() if "--thr" in line]
    names = [re.split(" {2,}", row)[1] for row in rows if row.startswith("--thr")]
    # Nothing of either class lies between 0.3 and 0.6.
    assert names[0] == "chosen beforehand, equal error"


def test_the_worst_kind_comes_first_and_is_named():
    sources = {
        "real": {"a": 40},
        "print": {"b": 20},
        "replay": {f"c{number}": 5 for number in range(19)},
    }
    scores = np.r_[np.full(30, 0.7), np.full(10, 0.95)]
    scores = np.r_[scores, np.full(15, 0.2), np.full(5, 0.9), np.full(95, 0.1)]
    figures, *_ = measure_sources(sources, scores)
    frames = format_report(figures).partition("frames, which")[2]
    names = re.findall(r"^(?:A|B)PCER  (\S+(?: \S+)?)", frames, re.MULTILINE)
    assert names == ["real", "print (worst)", "replay"]
    assert re.search(r"^EER 12.5% \(print\) at --threshold 0\.\d+,", frames, re.M)


def test_the_print_stays_within_45_lines_whatever_there_is():
    kinds = ["print", "replay", "mask", "cutout", "doll", "statue", "sketch", "mirror"]
    sources = {
        kind: {f"{person}-{kind}": 30 for person in (f"p{n}" for n in range(40))}
        for kind in [*kinds, "real"]
    }
    sources["puppet"] = {"only": 30}
    figures, scores, data = measure_sources(sources, threshold=0.7)
    sizes = np.random.default_rng(0).integers(5, 400, len(scores))
    probabilities = np.zeros((len(scores), 10))
    probabilities[:, sorted(sources).index("real")] = scores
    data = data._replace(sizes=sizes)
    figures, _ = measure(probabilities, sorted(sources), data, 0.7)
    figures.not_tested = list_untested(figures, data, "crops at random")
    lines = format_report(figures).splitlines()
    assert len(lines) <= 45
    assert "and 5 more, see --report" in lines  # kinds


def test_what_is_printed_of_it(tmp_path):
    dataset, probabilities = make_footage(tmp_path)
    figures, _ = measure(probabilities, CLASSES, dataset)
    figures.not_tested = list_untested(figures, dataset, "")
    text = format_report(figures)
    words = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "BPCER real 1 of 2 (up to 90.5%) 0 of 1 (up to 79.3%); frames: 10.0% of 40; "
        "1 not known 2 (anna, ben)",
        "APCER replay (worst) 1 of 1 (up to 100.0%) not known 1 (anna)",
        "APCER print 0 of 2 (up to 65.8%) 1 of 2 (up to 90.5%); frames: 31.2% of 32; "
        "1 not known 2 (anna, ben)",
        "mask no face in any 1 of 1 (up to 100.0%); frames: 100.0% of 40",
        "--threshold 0.5 chosen beforehand 1 of 1 (up to 100.0%) replay 1 of 2 "
        "(up to 90.5%)",
        "APCER at most 10 %: needs 10 presentations of each kind of attack, 8 more of "
        "print, 9 more of replay",
        "BPCER real 59.1% of 44 44.4% to 72.3%",
        "16-48 100.0% of 24 - -",
        "96-192 10.0% of 20 4.2% of 24 -",
        "ben-real real 0.400 100.0% of 24 WRONG",
        "anna-replay replay 0.667 95.2% of 21 WRONG",
    ):
        assert line in words
    assert "ACER" not in text.replace("APCER", "")  # one presentation of replay


class Page(HTMLParser):
    """Collects the text of a page, its tags and where it refers to."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.refers, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.refers += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_the_page_says_everything_and_needs_no_other_file(tmp_path):
    sources = {"real": {"a": 30, "b": 30}, "<i>fake": {f"v{n}": 3 for n in range(150)}}
    figures, *_ = measure_sources(sources)
    figures.notes = ["<first> & foremost"]
    write_report(tmp_path / "r.HTML", figures, MADE, b"\x89PNG")
    page = Page((tmp_path / "r.HTML").read_text())
    assert page.refers == ["data:image/png;base64,iVBORw=="]
    assert "i" not in page.tags  # names are escaped
    assert "script" not in page.tags
    texts = page.texts
    assert texts.index("<first> & foremost") < texts.index("errors")
    for text in (
        "frames by person, as files are named",
        "a<b",
        "5 of 8",
        "APCER  <i>fake",
        "YuNet 320, above 0.7",
        "python train.py --evaluate",
        "v149",
        *(question for (question,) in QUESTIONS),
        *figures.not_tested,
    ):
        assert text in texts


def test_a_report_without_figures_says_what_was_made(tmp_path):
    write_report(tmp_path / "r.html", Measurement(), MADE, b"")
    page = Page((tmp_path / "r.html").read_text())
    assert "img" not in page.tags
    assert "liveness.model" in page.texts


def all_keys(value, skipped=()):
    """Collect the names of the keys at any depth, but for those that data name."""
    keys = set()
    for name, own in value.items() if isinstance(value, dict) else ():
        keys |= {name} | (set() if name in skipped else all_keys(own, skipped))
    for own in value if isinstance(value, list) else ():
        keys |= all_keys(own, skipped)
    return keys


def test_every_key_of_the_json_is_documented(tmp_path):
    sources = {"real": {"a": 30, "b": 30}, "fake": {f"v{n}": 3 for n in range(150)}}
    figures, *_ = measure_sources(sources, threshold=0.7)
    write_report(tmp_path / "r.json", figures, MADE, b"")
    report = json.loads((tmp_path / "r.json").read_text())
    text = (ROOT / "docs" / "testing.md").read_text().partition("## The keys of")[2]
    documented = set(re.findall(r"`(\w+)`", text))
    skipped = "search", "operating_points", "classification_report"
    skipped += "by_size", "by_person"
    names = all_keys(report, skipped) - {"real", "fake"}
    assert names <= documented
    assert TRIALS_FOR_RATE == 20  # as the page says
    assert "fewer than 20 trials" in (ROOT / "docs" / "testing.md").read_text()
