"""Turn the figures of an evaluation into text, JSON and HTML.

The text is printed and kept short; the HTML says everything, with the picture inside.
"""

import base64
import html
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import listing, percent
from pyimagesearch.dataset import Dataset, digest_dataset, list_files
from pyimagesearch.files import atomic_write
from pyimagesearch.labels import Labels
from pyimagesearch.metrics import (
    LIMITS,
    TRIALS_FOR_RATE,
    Evaluation,
    Figures,
    Measurement,
    NonResponse,
    Rate,
)
from pyimagesearch.names import BONA_FIDE

import cv2

KINDS_PRINTED = 4
PACKAGES = "numpy", "tensorflow", "keras", "scikit-learn"
QUESTIONS = (
    ["Which cameras filmed the footage? Is the one that will be used among them?"],
    ["On which days, in which rooms and in which light was it filmed?"],
    ["Which phones, tablets, printers and papers were used for the attacks?"],
    ["Who are the persons: age, sex, skin colour, glasses, beards, make-up?"],
    ["Was footage chosen or left out after somebody had seen figures?"],
)
UNKNOWN = "what files cannot tell: cameras, days, light, devices, who the persons are"
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse } img { max-width: 100% }
th, td { text-align: left; vertical-align: top; padding: .2em 1.5em .2em 0 }
tr { border-bottom: 1px solid #ddd }
.warning { color: #b00020; font-weight: bold }
"""


class Section(NamedTuple):
    """A table with a title, and lines below it."""

    title: str
    header: list[str]  # of the columns after the first, whose header is the title
    rows: list[list[str]]
    notes: Sequence[str] = ()
    printed: int = 0  # rows in the text; 0 leaves the section to the HTML


def describe(dataset: Dataset, labels: Labels, folder: Path) -> dict:
    """Say what is needed to measure a dataset again, ready for JSON."""
    versions = {"python": sys.version.split()[0], "opencv": cv2.__version__}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):  # such as keras beside tensorflow-cpu
            versions[package] = version(package)
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "model_sha256": labels.model_sha256,
        "margin": labels.margin,
        "detector": dataset.detector,
        "dataset": str(folder),
        "dataset_sha256": digest_dataset(dataset),
        "files": list_files(dataset),
        "versions": versions,
    }


def write_report(
    path: Path, measurement: Measurement, made: dict, picture: bytes
) -> None:
    """Write a report, as HTML with a PNG inside or as JSON, as the path ends.

    `made` says how it was made, with `describe`, and is ready for JSON.
    """
    if path.suffix.lower() == ".html":
        text = format_html(measurement, made, picture)
    else:
        figures = asdict(measurement).items()
        report = {key: value for key, value in figures if value is not None} | made
        text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def format_report(measurement: Measurement) -> str:
    """Format what is printed."""
    sections = [s for s in measured_sections(measurement) if s.printed]
    return "\n\n".join(map(format_text, sections))


def format_text(section: Section) -> str:
    """Format a section for a terminal, its columns aligned."""
    table = [[section.title, *section.header], *section.rows[: section.printed]]
    widths = [0] * max(map(len, table))
    for row in table:
        for column, cell in enumerate(row[:-1]):  # the last may be as long as it likes
            widths[column] = max(widths[column], len(cell))
    lines = [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False))
        for row in table
    ]
    if len(section.rows) > section.printed:
        lines.append(f"and {len(section.rows) - section.printed} more, see --report")
    return "\n".join(line.rstrip() for line in [*lines, *section.notes])


def format_html(measurement: Measurement, made: dict, picture: bytes) -> str:
    """Format everything as one page that needs no other file."""
    what = f"Presentation attack detection: {made['model']} on {made['dataset']}"
    title = html.escape(what)
    lines = [f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"]
    lines += [f"<style>{STYLE}</style>", f"<h1>{title}</h1>"]
    lines += [f"<p class=warning>{html.escape(text)}" for text in measurement.notes]
    sections = measured_sections(measurement) if measurement.evaluation else []
    questions = Section("questions for whoever signs this", [], QUESTIONS)
    for section in [*sections, questions, made_section(made), files_section(made)]:
        if not section.rows:
            continue
        lines.append(f"<h2>{html.escape(section.title)}</h2><table>")
        if section.header:
            lines.append(_format_row("th", ["", *section.header]))
        lines += [_format_row("td", row) for row in section.rows]
        lines += ["</table>", *(f"<p>{html.escape(note)}" for note in section.notes)]
    if picture:
        content = base64.b64encode(picture).decode()
        lines.append(f'<h2>pictures</h2><img src="data:image/png;base64,{content}">')
    return "\n".join(lines) + "\n"


def _format_row(tag: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}" for cell in cells)


def measured_sections(measurement: Measurement) -> list[Section]:
    """Arrange the figures in the order in which they should be read."""
    frames, sizes = measurement.evaluation.frames, measurement.by_size
    few = [label for label, _, rate in rates_of(frames) if rate.n < TRIALS_FOR_RATE]
    thresholds = thresholds_section(measurement)
    if few:
        thresholds = thresholds._replace(printed=0)
    persons, gaps = measurement.by_person, [[gap] for gap in measurement.not_tested]
    return [
        presentations_section(measurement),
        thresholds,
        frames_section(frames, few),
        groups_section("frames by size of the face, pixels", sizes, len(sizes)),
        sources_section(measurement.evaluation),
        groups_section("frames by person, as files are named", persons),
        Section("not tested", [], gaps, [UNKNOWN], len(gaps)),
    ]


def presentations_section(measurement: Measurement) -> Section:
    """Tabulate errors and non-responses of presentations by class."""
    figures, rows = measurement.evaluation.presentations, []
    silent = {k: format_silent(own) for k, own in measurement.non_response.items()}
    persons = measurement.by_person.items()
    for label, name, rate in rates_of(figures):
        own = [person for person, labels in persons if person and label in labels]
        who = f"{len(own)} ({listing(own, 3)})" if own else "not known"
        rows.append([name, str(rate), interval(rate), silent.pop(label), who])
    for label, text in silent.items():
        rows.append([label, "no face in any", "", text, ""])
    notes = [
        "presentation: a video, photograph or session, by the mean score of its crops; "
        "the demo averages over half a second"
    ]
    rates = [figures.bpcer, *figures.apcer.values()]
    if len(rates) > 1 and min(rate.n for rate in rates) >= TRIALS_FOR_RATE:
        acer = percent(figures.acer)
        notes.append(f"ACER {acer}; it is not a term of the standard")
    title = f"presentations, threshold {measurement.evaluation.threshold:g}"
    header = ["errors", "95 % interval", "no face (BPNRR, APNRR)", "persons, by name"]
    return Section(title, header, rows, notes, 1 + KINDS_PRINTED)


def thresholds_section(measurement: Measurement) -> Section:
    """Tabulate what each threshold, as printed, costs in presentations."""
    figures = measurement.evaluation.presentations
    points = list(figures.operating_points.items())
    rows, notes = {}, []
    for name, point in points:
        if row := rows.get(point.threshold):
            row[1] += f", {name}"
            continue
        row = [f"--threshold {point.threshold}", name]
        row += [f"{point.apcer} {point.instrument}", interval(point.apcer)]
        row += [str(point.bpcer), interval(point.bpcer)]
        rows[point.threshold] = row
    for percentage in LIMITS if points else ():
        name, need = f"APCER at most {percentage} %", 100 // percentage
        lacking = [
            f"{need - rate.n} more of {kind}"
            for kind, rate in figures.apcer.items()
            if rate.n < need
        ]
        if lacking:
            text = f"needs {need} presentations of each kind of attack"
            notes.append(f"{name}: {text}, {listing(lacking, KINDS_PRINTED)}")
        elif name not in figures.operating_points:
            notes.append(f"{name}: reached at no threshold")
    if points:
        notes.append(
            "to claim 10, 5 or 1 % takes 35, 73 or 381 of each kind without an error; "
            "thresholds chosen on these presentations are optimistic"
        )
    header = ["chosen", "APCER", "95 %", "BPCER", "95 %"]
    return Section("thresholds", header, list(rows.values()), notes, len(rows))


def frames_section(figures: Figures, few: list[str]) -> Section:
    """Tabulate errors of single crops by class; `few` have too few of them."""
    rows = [[name, str(rate), interval(rate)] for _, name, rate in rates_of(figures)]
    notes = []
    if few:
        notes.append(
            f"too few crops of {' and '.join(few)} for rates and thresholds: gather at "
            f"least {TRIALS_FOR_RATE} of each class, in other places and of other "
            "persons; --evaluate on other footage tells more"
        )
    elif figures.auc is not None:
        notes.append(
            f"EER {percent(figures.eer)} ({figures.eer_instrument}) at "
            f"--threshold {figures.eer_threshold}, chosen on these very crops: "
            f"optimistic; AUC {figures.auc:.3f}"
        )
    title = "frames, which resemble each other"
    header = ["errors", "95 %, too narrow"]
    return Section(title, header, rows, notes, 1 + KINDS_PRINTED // 2)


def groups_section(title: str, groups: dict, printed: int = 0) -> Section:
    """Tabulate errors of crops by group and by class."""
    labels = list(dict.fromkeys(label for own in groups.values() for label in own))
    labels.sort(key=lambda label: label != BONA_FIDE)
    rows = [
        [group or "no name", *(str(own.get(label, "-")) for label in labels)]
        for group, own in groups.items()
    ]
    return Section(title, labels, rows, (), printed)


def sources_section(evaluation: Evaluation) -> Section:
    """List presentations, those that were classified wrongly first."""
    rows = []
    for source in sorted(evaluation.sources, key=lambda source: -source.rate):
        score, verdict = source.mean_score, "WRONG"
        if (score >= evaluation.threshold) == (source.label == BONA_FIDE):
            verdict = ""
        name = source.source
        rows.append([name, source.label, f"{score:.3f}", str(source), verdict])
    rows.sort(key=lambda row: row[-1] == "")
    with_errors = sum(source.errors > 0 for source in evaluation.sources)
    header = ["class", "mean score", "errors of frames", ""]
    title = "presentations with the most errors"
    return Section(title, header, rows, (), min(with_errors, 3))


def made_section(made: dict) -> Section:
    """List what is needed to make the report again."""
    rows = []
    for key, value in made.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {own}" for name, own in value.items())
        if value is not None and key not in ("files", "history"):
            rows.append([key, str(value)])
    return Section("what this was made of", [], rows)


def files_section(made: dict) -> Section:
    """List the files of the dataset and how they were searched for faces."""
    rows = []
    for file in made["files"]:
        row = [file["source"], file["label"], str(file["crops"]), file["fingerprint"]]
        if own := file["search"]:
            how = f"{own['detector']} {own['detector_size']}, above {own['confidence']}"
            faceless = f"{own['faceless']} of {own['searched']}"
            row += [how, str(own["skip"]), faceless]
        else:
            row += ["not known"] * 3
        rows.append(row)
    header = ["class", "crops", "fingerprint", "detector", "--skip", "without a face"]
    return Section("files", header, rows)


def rates_of(figures: Figures) -> list[tuple[str, str, Rate]]:
    """List class, name and rate, BPCER first, then the kinds of attack, worst first."""
    rates = [(BONA_FIDE, f"BPCER  {BONA_FIDE}", figures.bpcer)]
    kinds = sorted(figures.apcer.items(), key=lambda item: -item[1].rate)
    for label, rate in kinds:
        is_worst = label == figures.worst_instrument and len(kinds) > 1
        name = f"{label} (worst)" if is_worst else label
        rates.append((label, f"APCER  {name}", rate))
    return [item for item in rates if item[2].n]


def interval(rate: Rate) -> str:
    """Format Wilson's interval, of enough trials."""
    if rate.n < TRIALS_FOR_RATE:
        return ""
    low, high = map(percent, rate.interval)
    return f"{low} to {high}"


def format_silent(counts: NonResponse) -> str:
    """Format in how many presentations, and in how many frames, no face was found."""
    if not counts.presentations.n:
        return "not known"
    text = f"{counts.presentations}; frames: {counts.frames}"
    if counts.not_known:
        text += f"; {counts.not_known} not known"
    return text
