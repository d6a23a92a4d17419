"""A report of an evaluation: a short text to print, HTML with the picture, JSON."""

import base64
import html
import json
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import listing, percent
from pyimagesearch.dataset import Dataset, digest_dataset, list_files
from pyimagesearch.files import atomic_write
from pyimagesearch.labels import THRESHOLD, Labels
from pyimagesearch.measurement import TRIALS_FOR_RATE, Measurement, rank_hardest
from pyimagesearch.metrics import LIMITS, Figures, Rate
from pyimagesearch.names import BONA_FIDE

import cv2

KINDS_PRINTED = 4
GAPS_PRINTED = 2
HARDEST = 20
CLAIM = (
    "to claim an APCER of 10, 5 or 1 % takes 35, 73 or 381 of each kind, of as many "
    "persons, without an error; thresholds chosen on this footage are optimistic"
)
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.4em } h1, p { overflow-wrap: anywhere } div { overflow-x: auto }
table { border-collapse: collapse } img { width: 100%; min-width: 800px }
th, td { text-align: left; vertical-align: top; padding: .2em 1.5em .2em 0 }
td { min-width: 5em } td:first-child { min-width: 9em }
tr { border-bottom: 1px solid #ddd } summary { cursor: pointer; margin: 1em 0 }
.warning { color: #b00020; font-weight: bold }
"""


class Section(NamedTuple):
    """A table with a title, and lines below it."""

    title: str
    header: list[str]  # of the columns after the first, whose header is the title
    rows: list[list[str]]
    notes: list[str] | tuple = ()


def describe(dataset: Dataset, labels: Labels, folder: Path) -> dict:
    """Say what is needed to measure a dataset again, ready for JSON."""
    versions = {"python": sys.version.split()[0], "opencv": cv2.__version__}
    for package in ("numpy", "tensorflow", "keras", "scikit-learn"):
        with suppress(PackageNotFoundError):  # such as keras beside tensorflow-cpu
            versions[package] = version(package)
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "model_sha256": labels.model_sha256,
        "margin": labels.margin,
        "detector": dataset.detector or "not known",
        "dataset": str(folder),
        "dataset_sha256": digest_dataset(dataset),
        "files": list_files(dataset),
        "versions": versions,
    }


def write_report(path: Path, measurement: Measurement, made: dict, png: bytes) -> None:
    """Write a report, as one HTML page with a PNG inside or as JSON, as the path ends.

    `made` says how it was made, with `describe`, and is ready for JSON.
    """
    if path.suffix.lower() == ".html":
        text = _format_html(measurement, made, png)
    else:
        figures = asdict(measurement).items()
        report = {key: value for key, value in figures if value is not None} | made
        text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def format_report(measurement: Measurement) -> str:
    """Format what is printed: of few crops, the summary and what was not tested."""
    evaluation, texts = measurement.evaluation, [measurement.summary]
    if min(rate.n for rate in evaluation.frames.rates.values()) >= TRIALS_FOR_RATE:
        texts += ["", format_text(figures_section(measurement))]
        thresholds = thresholds_section(evaluation.figures)
        texts += ["", format_text(thresholds)] if thresholds.rows else []
    gaps = [*measurement.not_tested, "cameras, days, light, devices"]
    more = [f"{len(gaps) - GAPS_PRINTED} more"] if len(gaps) > GAPS_PRINTED else []
    return "\n".join([*texts, f"not tested: {'; '.join(gaps[:GAPS_PRINTED] + more)}"])


def format_text(section: Section) -> str:
    """Format a section for a terminal, its columns aligned."""
    table = [[section.title, *section.header], *section.rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
    return "\n".join([*lines, *section.notes])


def _format_html(measurement: Measurement, made: dict, png: bytes) -> str:
    title = html.escape(f"{made['model']} on {made['dataset']}")
    lines = ["<!doctype html><html lang=en><meta charset=utf-8>"]
    lines += ["<meta name=viewport content='width=device-width, initial-scale=1'>"]
    lines += [f"<title>{title}</title><style>{STYLE}</style>"]
    lines += [f"<h1>{html.escape(measurement.summary)}</h1><p>{title}"]
    lines += [f"<p class=warning>{html.escape(text)}" for text in measurement.warnings]
    lines += [f"<p>{html.escape(note)}" for note in measurement.notes]
    shown, folded = [], []
    if evaluation := measurement.evaluation:
        figures = figures_section(measurement)
        figures.rows.extend(other_terms(evaluation.figures))
        thresholds = thresholds_section(evaluation.figures)
        thresholds.notes.append(CLAIM)
        sizes = {"all": evaluation.frames.rates} | measurement.by_size
        hardest = rank_hardest(evaluation)
        shown = [
            figures,
            thresholds,
            Section("not tested", [], [[gap] for gap in measurement.not_tested]),
            _groups_section("crops by size in pixels", sizes),
            _groups_section("crops by person", measurement.by_person),
            presentations_section("hardest presentations", hardest[:HARDEST], False),
        ]
        folded = [presentations_section("all presentations", hardest, True)]
    folded += _made_sections(made)
    tables = [_format_table("h2", section) for section in shown if section.rows]
    if png:
        source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        tables.insert(1, f'<div><img alt="" src="{source}"></div>')
    for section in folded:
        tables += ["<details>", _format_table("summary", section), "</details>"]
    return "\n".join([*lines, *tables]) + "\n"


def _format_table(tag: str, section: Section) -> str:
    lines = [f"<{tag}>{html.escape(section.title)}</{tag}><div><table>"]
    if section.header:
        lines.append(_format_row("th", ["", *section.header]))
    lines += [_format_row("td", row) for row in section.rows]
    notes = [f"<p>{html.escape(note)}" for note in section.notes]
    return "\n".join([*lines, "</table></div>", *notes])


def _format_row(tag: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}" for cell in cells)


def figures_section(measurement: Measurement) -> Section:
    """Tabulate errors and non-responses by class."""
    evaluation, rows = measurement.evaluation, []
    silent = {k: _format_silent(own) for k, own in measurement.non_response.items()}
    unit = "crops" if evaluation.counts_crops else "presentations"
    for label, rate in evaluation.figures.rates.items():
        name = f"APCER {label}: share classified as real"
        if label == BONA_FIDE:
            name = "BPCER: share of real faces classified as attacks"
        share = percent(rate.rate) if rate.n >= TRIALS_FOR_RATE else ""
        limits = _interval(rate) + ("" if rate.persons else f", of {unit}")
        row = [name, f"{rate.errors} of {rate.n}", share, limits]
        rows.append([*row, str(rate.persons or "not known"), silent.pop(label)])
    rows += [[label, "no face", "", "", "", text] for label, text in silent.items()]
    header = ["errors", "rate", "95 % interval", "persons", "no face found"]
    return Section(f"{unit}, threshold {evaluation.threshold:g}", header, rows)


def other_terms(figures: Figures) -> list[list[str]]:
    """List figures of both classes with what they mean, of enough trials."""
    fewest = min(rate.n for rate in figures.rates.values())
    if figures.auc is None or fewest < TRIALS_FOR_RATE:
        return []
    kind = figures.eer_instrument
    return [
        ["ACER: mean of BPCER and the worst APCER", "", percent(figures.acer)],
        [f"EER: both rates, of {kind}, where they are equal", "", percent(figures.eer)],
        ["AUC: how often a real face scores above an attack", "", f"{figures.auc:.3f}"],
    ]


def thresholds_section(figures: Figures) -> Section:
    """Tabulate what each threshold, as printed, costs."""
    rows, notes, points = {}, [], figures.operating_points
    for name, point in points.items():
        if row := rows.get(point.threshold):
            row[1] += f", {name}"
            continue
        kinds = point.by_instrument.items()
        passing = [f"{kind} {format_rate(rate)}" for kind, rate in kinds]
        costs = listing(passing, KINDS_PRINTED), format_rate(point.bpcer)
        rows[point.threshold] = [f"--threshold {point.threshold}", name, *costs]
    for percentage in LIMITS if points else ():
        name, need = f"APCER at most {percentage} %", 100 // percentage
        few = {kind: rate.n for kind, rate in figures.apcer.items() if rate.n < need}
        lacking = [f"{need - n} more of {kind}" for kind, n in few.items()]
        if lacking:
            notes.append(f"{name}: needs {listing(lacking, KINDS_PRINTED)}")
        elif name not in points:
            notes.append(f"{name}: reached at no threshold")
    return Section("thresholds", ["", "APCER", "BPCER"], list(rows.values()), notes)


def _groups_section(title: str, groups: dict) -> Section:
    labels = list(dict.fromkeys(label for own in groups.values() for label in own))
    rows = []
    for group, own in groups.items():
        cells = [format_rate(own[name]) if name in own else "-" for name in labels]
        rows.append([group or "nobody in particular", *cells])
    return Section(title, labels, rows)


def presentations_section(title: str, presentations: list, joins: bool) -> Section:
    """List presentations; `joins` puts photographs of one person in one row."""
    groups, rows = {}, []
    for own in presentations:
        name = own.source
        if joins and own.n == 1:
            name = f"photographs of {own.person or 'nobody in particular'}"
        groups.setdefault((name, own.label), []).append(own)
    for (name, label), group in groups.items():
        scores = [own.mean_score for own in group]
        errors, n = sum(own.errors for own in group), sum(own.n for own in group)
        wrong = any((score >= THRESHOLD) != (label == BONA_FIDE) for score in scores)
        row = [name, label, f"{sum(scores) / len(scores):.3f}"]
        rows.append([*row, f"{errors} of {n}", "WRONG" if wrong else ""])
    return Section(title, ["class", "mean score", "errors of crops", ""], rows)


def _made_sections(made: dict) -> list[Section]:
    keys = "source", "label", "crops", "fingerprint"
    files = [[str(file[key]) for key in keys] for file in made["files"]]
    rows = []
    for key, value in made.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {own}" for name, own in value.items())
        if value is not None and key not in ("files", "history"):
            rows.append([key, str(value)])
    header = ["class", "crops", "fingerprint"]
    return [Section("files", header, files), Section("how this was made", [], rows)]


def format_rate(rate: Rate) -> str:
    """Format a rate, or a count if trials are few, and its interval."""
    if not rate.n:
        return "0 of 0"
    count = percent(rate.rate) if rate.n >= TRIALS_FOR_RATE else str(rate.errors)
    return f"{count} of {rate.n} ({_interval(rate)})"


def _interval(rate: Rate) -> str:
    low, high = map(percent, rate.interval)
    return f"{low} to {high}" if rate.n >= TRIALS_FOR_RATE else f"up to {high}"


def _format_silent(counts) -> str:
    own, frames = counts.presentations, counts.frames
    if not own.n:
        return "not known"
    text = f"{own.errors} of {own.n}; frames: {frames.errors} of {frames.n}"
    return text + (f"; {counts.not_known} not known" if counts.not_known else "")
