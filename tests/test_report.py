import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

from pyimagesearch.measurement import TRIALS_FOR_RATE, Measurement, measure
from pyimagesearch.metrics import Rate, rate_of
from pyimagesearch.report import (
    CLAIM,
    format_rate,
    format_report,
    presentations_section,
    write_report,
)

import cv2
import numpy as np
import pytest
from datasets import CLASSES, make_dataset, make_footage, make_labels


def apcer(attack_scores, threshold):
    return rate_of(attack_scores >= threshold)


def bpcer(bona_fide_scores, threshold):
    return rate_of(bona_fide_scores < threshold)


ROOT = Path(__file__).parent.parent


def measure_sources(sources, score=None, how="", learnt=None):
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
    figures, scores = measure(probabilities, classes, data, how, learnt)
    return figures, scores, data


TINY_PNG = cv2.imencode(".png", np.zeros((2, 2, 3), np.uint8))[1].tobytes()
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
    ("errors", "n", "text"),
    # Wilson's limits, by hand: (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n)
    [
        (0, 0, "0 of 0"),
        (0, 1, "0 of 1 (up to 79.3%)"),
        (0, 3, "0 of 3 (up to 56.1%)"),
        (1, 8, "1 of 8 (up to 47.1%)"),
        (8, 8, "8 of 8 (up to 100.0%)"),
        (1, 19, "1 of 19 (up to 24.6%)"),
        (0, 20, "0.0% of 20 (0.0% to 16.1%)"),
        (0, 30, "0.0% of 30 (0.0% to 11.4%)"),
        (1, 40, "2.5% of 40 (0.4% to 12.9%)"),
        (1, 96_000, "0.001% of 96000 (0.0002% to 0.006%)"),
        (90_000, 90_000, "100.0% of 90000 (99.996% to 100.0%)"),
    ],
)
def test_few_trials_are_counted_and_many_have_a_rate(errors, n, text):
    assert format_rate(Rate(errors, n)) == text


def test_what_it_takes_to_claim_an_apcer():
    assert "of 10, 5 or 1 % takes 35, 73 or 381 of each kind" in CLAIM
    for limit, n in ((0.1, 35), (0.05, 73), (0.01, 381)):
        assert Rate(0, n).interval[1] <= limit < Rate(0, n - 1).interval[1]


@pytest.mark.parametrize(
    ("counts", "is_few"),
    [
        ({"real": 20, "print": 20, "replay": 30}, False),
        ({"real": 8, "fake": 8}, True),
        ({"real": 19, "print": 20}, True),
        ({"real": 60, "print": 19, "replay": 40}, True),
        ({"print": 3, "replay": 40}, True),
        ({"real": 5}, True),
    ],
)
def test_of_few_crops_of_a_class_the_summary_is_enough(counts, is_few):
    sources = {label: {label: n} for label, n in counts.items()}
    score = np.repeat(
        [0.9 if label == "real" else 0.1 for label in counts], [*counts.values()]
    )
    figures, *_ = measure_sources(sources, score)
    first, *lines = format_report(figures).splitlines()
    assert first == figures.summary
    assert lines[-1].startswith("not tested: ")
    assert (len(lines) == 1) is is_few


@pytest.mark.parametrize("labels", [["real"], ["fake"], ["print", "replay"]])
def test_crops_of_one_kind_have_no_figures_of_both(labels):
    figures, *_ = measure_sources({label: {"a": 30, "b": 30} for label in labels})
    text = format_report(figures)
    assert "--threshold" not in text
    assert "crops, threshold 0.5" not in text
    assert "presentations, threshold 0.5" in text


@pytest.mark.parametrize("seed", range(5))
def test_a_threshold_that_is_printed_can_be_pasted_and_costs_what_is_said(seed):
    rng = np.random.default_rng(seed)
    sources = {
        "real": {f"r{number}": 2 for number in range(40)},
        "print": {f"p{number}": 2 for number in range(25)},
        "replay": {f"v{number}": 2 for number in range(120)},
    }
    scores = np.r_[rng.beta(4, 2, 80), rng.beta(2, 4, 50), rng.beta(2, 5, 240)]
    figures, scores, _ = measure_sources(sources, scores)
    text = format_report(figures)
    means = scores.reshape(-1, 2).mean(axis=1)
    kinds = {"print": means[40:65], "replay": means[65:]}
    rows = [
        re.split(" {2,}", line)
        for line in text.splitlines()
        if line.startswith("--threshold")
    ]
    names = ["chosen beforehand", "equal error", "APCER at most 10 %"]
    assert ", ".join(row[1] for row in rows) == ", ".join([*names, "APCER at most 5 %"])
    for threshold, name, passing, rejected in rows:
        pasted = float(threshold.removeprefix("--threshold "))
        rates = {key: apcer(own, pasted) for key, own in kinds.items()}
        texts = {key: f"{key} {format_rate(rate)}" for key, rate in rates.items()}
        assert set(passing.split(", ")) == set(texts.values())
        worst = max(rates, key=lambda key: rates[key].rate)
        assert passing.startswith(texts[worst])
        assert rejected == format_rate(bpcer(means[:40], pasted))
        for limit in re.findall(r"at most (\d+) %", name):
            assert rates[worst].rate <= int(limit) / 100
    assert "APCER at most 1 %: needs 75 more of print\n" in text


def test_a_kind_of_four_is_listed_beside_one_of_sixty():
    sources = {"real": {f"p{n}/v": 2 for n in range(20)}}
    sources["print"] = {f"p{n}/v": 1 for n in range(60)}
    sources["replay"] = {f"p{n}/v": 5 for n in range(4)}
    figures, *_ = measure_sources(sources, np.repeat([0.9, 0.1], [40, 80]))
    row = next(r for r in format_report(figures).splitlines() if "--thr" in r)
    assert "replay 0 of 4 (up to 49.0%), print 0.0% of 60 (0.0% to 6.0%)" in row


def test_what_no_threshold_reaches_is_said():
    sources = {"real": {"a": 20, "b": 20}, "fake": {f"v{n}": 2 for n in range(20)}}
    figures, *_ = measure_sources(sources, np.r_[np.linspace(0.5, 1, 40), np.ones(40)])
    lines = format_report(figures).splitlines()
    assert "APCER at most 5 %: reached at no threshold" in lines
    assert "APCER at most 1 %: needs 80 more of fake" in lines


def test_a_threshold_is_listed_once():
    sources = {"real": {"a": 20, "b": 20}, "fake": {f"v{n}": 2 for n in range(20)}}
    scores = np.r_[np.linspace(0.6, 1, 40), np.linspace(0, 0.3, 40)]
    figures, *_ = measure_sources(sources, scores)
    rows = [line for line in format_report(figures).splitlines() if "--thr" in line]
    names = [re.split(" {2,}", row)[1] for row in rows if row.startswith("--thr")]
    # Nothing of either class lies between 0.3 and 0.6.
    assert names[0] == "chosen beforehand, equal error"


def test_the_print_stays_short_whatever_there_is():
    kinds = ["print", "replay", "mask", "cutout", "doll", "statue", "sketch", "mirror"]
    sources = {
        kind: {f"{person}-{kind}": 30 for person in (f"p{n}" for n in range(40))}
        for kind in [*kinds, "real"]
    }
    sources["puppet"] = {"only": 30}
    figures, *_ = measure_sources(sources)
    assert len(format_report(figures).splitlines()) <= 22


@pytest.mark.parametrize("photos", [1, 20])
def test_two_classes_take_fifteen_lines_with_the_two_that_follow(photos):
    sources = {k: {f"{k}{n}": 2 for n in range(30 * photos)} for k in ("real", "fake")}
    figures, *_ = measure_sources(sources)
    assert len(format_report(figures).splitlines()) <= 13


def test_what_is_printed_of_it(tmp_path):
    dataset, probabilities = make_footage(tmp_path)
    figures, _ = measure(probabilities, CLASSES, dataset)
    text = format_report(figures)
    words = [" ".join(line.split()) for line in text.splitlines()]
    share = "share classified as real"
    for line in (
        "1 of 3 attacks passed, 1 of 2 real faces was refused (2 persons): not usable "
        "here; collect faces at this camera and train again.",
        "presentations, threshold 0.5 errors rate 95 % interval persons no face found",
        "BPCER: share of real faces classified as attacks 1 of 2 up to 90.5% 2 "
        "0 of 1; frames: 4 of 40; 1 not known",
        f"APCER replay: {share} 1 of 1 up to 100.0% 1 not known",
        f"APCER print: {share} 0 of 2 up to 65.8% 2 1 of 2; frames: 10 of 32; "
        "1 not known",
        "mask no face 1 of 1; frames: 40 of 40",
        "--threshold 0.5 chosen beforehand replay 1 of 1 (up to 100.0%), print 0 of 2 "
        "(up to 65.8%) 1 of 2 (up to 90.5%)",
        "APCER at most 10 %: needs 9 more of replay, 8 more of print",
    ):
        assert line in words


def test_intervals_of_persons_who_are_not_known_are_marked():
    sources = {k: {f"{n:03d}": 1 for n in range(30)} for k in ("real", "fake")}
    photos, *_ = measure_sources(sources)  # of nobody in particular
    for rate in (photos.evaluation.presentations.bpcer, photos.evaluation.frames.bpcer):
        assert rate.persons is None
    text = format_report(photos)
    assert re.search(r"BPCER.* to \S+, of presentations +not known", text)


def test_photographs_of_one_person_are_one_row():
    real = {"ann/1": 1, "ann/2": 1, "ben/1": 1, "ann/film": 3}
    figures, *_ = measure_sources({"real": real, "fake": {"ann/1": 1, "ann/2": 1}})
    section = presentations_section("all", figures.evaluation.sources, True)
    rows = {(name, label, errors[-1]) for name, label, _, errors, _ in section.rows}
    assert rows == {
        ("photographs of ann", "real", "2"),
        ("photographs of ben", "real", "1"),
        ("ann/film", "real", "3"),
        ("photographs of ann", "fake", "2"),
    }


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
    sources = {"real": {f"a{n}/v": 2 for n in range(30)}}
    sources["<i>fake"] = {f"v{n}": 3 for n in range(150)}
    figures, *_ = measure_sources(sources)
    figures.notes = ["<first> & foremost"]
    figures.warnings = ["memory"]
    write_report(tmp_path / "r.HTML", figures, MADE, b"\x89PNG")
    page = Page((tmp_path / "r.HTML").read_text())
    assert page.refers == ["data:image/png;base64,iVBORw=="]
    assert "i" not in page.tags  # names are escaped
    assert "script" not in page.tags
    texts = page.texts
    order = [
        figures.summary,
        "memory",
        "<first> & foremost",
        "presentations, threshold 0.5",
        "APCER <i>fake: share classified as real",
        "AUC: how often a real face scores above an attack",
        "thresholds",
        "not tested",
        *figures.not_tested,
        "crops by size in pixels",
        "crops by person",
        "hardest presentations",
        "all presentations",
        "v149",
        "files",
        "a<b",
        "how this was made",
        "python train.py --evaluate",
    ]
    places = [texts.index(text) for text in order[:-7]]
    assert places == sorted(places)
    assert set(order) <= set(texts)
    assert page.tags.count("details") == 3
    assert page.tags.index("img") < page.tags.index("details")


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PROBE = """
<iframe id=page width=WIDTH height=900 style="border: 0" srcdoc="PAGE"></iframe><script>
onload = () => {
    const page = document.getElementById("page").contentDocument
    const width = page.documentElement.clientWidth
    const wide = [...page.querySelectorAll("body *")].filter(element =>
        !element.parentElement.closest("div") &&
        element.getBoundingClientRect().right > width)
    const needed = page.documentElement.scrollWidth
    document.title = `${width} ${needed} ${wide.map(element => element.tagName)};`
}
</script>
"""


@pytest.mark.skipif(not CHROMIUM, reason="needs chromium")
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_a_screen_and_the_browser_has_no_complaint(width, tmp_path):
    sources = {"real": {"a" * 90: 30, "b": 30}, "fake": {f"v{n}": 3 for n in range(50)}}
    figures, *_ = measure_sources(sources, learnt=3)
    made = {**MADE, "dataset": "folder/" * 40}
    write_report(tmp_path / "r.html", figures, made, TINY_PNG)
    page = html.escape((tmp_path / "r.html").read_text())
    probe = PROBE.replace("WIDTH", str(width)).replace("PAGE", page)
    (tmp_path / "probe.html").write_text(probe)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update"]
    options += ["--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
    options += ["--hide-scrollbars", "--enable-logging=stderr", "--dump-dom"]
    command = [CHROMIUM, *options, (tmp_path / "probe.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert f"<title>{width} {width} ;</title>" in done.stdout
    assert "CONSOLE" not in done.stderr


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
    figures, *_ = measure_sources(sources)
    write_report(tmp_path / "r.json", figures, MADE, b"")
    report = json.loads((tmp_path / "r.json").read_text())
    text = (ROOT / "docs" / "report.md").read_text().partition("## The keys of")[2]
    documented = set(re.findall(r"`(\w+)`", text))
    skipped = "search", "operating_points", "classification_report"
    skipped += "by_size", "by_person", "by_instrument"
    names = all_keys(report, skipped) - {"real", "fake"}
    assert names <= documented
    assert TRIALS_FOR_RATE == 20  # as the page says
    assert "Below 20 trials" in (ROOT / "docs" / "report.md").read_text()
