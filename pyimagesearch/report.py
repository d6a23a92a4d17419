"""Turn the figures of an evaluation into text, JSON and HTML.

The text is printed and kept short; the HTML says everything, with the picture inside.
"""

import base64
import html
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import count_of
from pyimagesearch.files import atomic_write
from pyimagesearch.metrics import LIMITS
from pyimagesearch.names import BONA_FIDE

ENOUGH = 20  # trials; of fewer, one error is more than 5 %: a rate says too little
LISTED = 5  # names in one line
KINDS_PRINTED = 4

QUESTIONS = (
    ["Which cameras filmed the footage? Is the one that will be used among them?"],
    ["On which days, in which rooms and in which light was it filmed?"],
    ["Which phones, tablets, printers and papers were used for the attacks?"],
    ["Who are the persons: age, sex, skin colour, glasses, beards, make-up?"],
    ["Was footage chosen or left out after somebody had seen figures?"],
)
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


def write_report(path: Path, report: dict, picture: bytes) -> None:
    """Write a report, as HTML with a PNG inside or as JSON, as the path ends."""
    if path.suffix.lower() == ".html":
        text = format_html(report, picture)
    else:
        text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def format_report(report: dict) -> str:
    """Format what is printed."""
    sections = [section for section in measured_sections(report) if section.printed]
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


def format_html(report: dict, picture: bytes) -> str:
    """Format everything as one page that needs no other file."""
    what = f"Presentation attack detection: {report['model']} on {report['dataset']}"
    title = html.escape(what)
    lines = [f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"]
    lines += [f"<style>{STYLE}</style>", f"<h1>{title}</h1>"]
    lines += [f"<p class=warning>{html.escape(text)}" for text in report["notes"]]
    sections = measured_sections(report) if "evaluation" in report else []
    questions = Section("questions for whoever signs this", [], QUESTIONS)
    for section in [*sections, questions, made_section(report), files_section(report)]:
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


def measured_sections(report: dict) -> list[Section]:
    """Arrange the figures in the order in which they should be read."""
    frames, sizes = report["evaluation"]["frames"], report["by_size"]
    few = [label for label, _, rate in rates_of(frames) if rate["n"] < ENOUGH]
    thresholds = thresholds_section(report)
    if few:
        thresholds = thresholds._replace(printed=0)
    return [
        presentations_section(report),
        thresholds,
        frames_section(frames, few),
        groups_section("frames by size of the face, pixels", sizes, len(sizes)),
        sources_section(report["evaluation"]),
        groups_section("frames by person, as files are named", report["by_person"]),
        untested_section(report),
    ]


def presentations_section(report: dict) -> Section:
    """Tabulate errors and non-responses of presentations by class."""
    figures, rows = report["evaluation"]["presentations"], []
    silent = {k: format_silent(own) for k, own in report["non_response"].items()}
    for label, name, rate in rates_of(figures):
        own = [n for n, labels in report["by_person"].items() if n and label in labels]
        persons = f"{len(own)} ({join(own, 3)})" if own else "not known"
        rows.append([name, count(rate), interval(rate), silent.pop(label), persons])
    for label, text in silent.items():
        rows.append([label, "no face in any", "", text, ""])
    notes = [
        "presentation: a video, photograph or session, by the mean score of its crops; "
        "the demo averages over half a second"
    ]
    if is_enough(figures):
        acer = percent(figures["acer"])
        notes.append(f"ACER {acer}; it is not a term of the standard")
    title = f"presentations, threshold {report['evaluation']['threshold']:g}"
    header = ["errors", "95 % interval", "no face (BPNRR, APNRR)", "persons, by name"]
    return Section(title, header, rows, notes, 1 + KINDS_PRINTED)


def thresholds_section(report: dict) -> Section:
    """Tabulate what each threshold, as printed, costs in presentations."""
    figures = report["evaluation"]["presentations"]
    points = list(figures["operating_points"].items())
    at_own = report.get("evaluation_at_development_threshold")
    if points and at_own:
        own = at_own["presentations"]["operating_points"]["chosen beforehand"]
        points.insert(1, ("of the training", own))
    rows, notes = {}, []
    for name, point in points:
        apcer, bpcer = point["apcer"], point["bpcer"]
        if row := rows.get(point["threshold"]):
            row[1] += f", {name}"
            continue
        row = [f"--threshold {point['threshold']}", name]
        row += [f"{count(apcer)} {point['instrument']}", interval(apcer)]
        row += [count(bpcer), interval(bpcer)]
        rows[point["threshold"]] = row
    for percentage in LIMITS if points else ():
        name, need = f"APCER at most {percentage} %", 100 // percentage
        lacking = [
            f"{need - rate['n']} more of {kind}"
            for kind, rate in figures["apcer"].items()
            if rate["n"] < need
        ]
        if lacking:
            text = f"needs {need} presentations of each kind of attack"
            notes.append(f"{name}: {text}, {join(lacking)}")
        elif name not in figures["operating_points"]:
            notes.append(f"{name}: reached at no threshold")
    if points:
        notes.append(
            "to claim 10, 5 or 1 % takes 35, 73 or 381 of each kind without an error; "
            "thresholds chosen on these presentations are optimistic"
        )
    header = ["chosen", "APCER", "95 %", "BPCER", "95 %"]
    return Section("thresholds", header, list(rows.values()), notes, len(rows))


def frames_section(figures: dict, few: list[str]) -> Section:
    """Tabulate errors of single crops by class; `few` have too few of them."""
    rows = [[name, count(rate), interval(rate)] for _, name, rate in rates_of(figures)]
    notes = []
    if few:
        notes.append(
            f"too few crops of {' and '.join(few)} for rates and thresholds: gather at "
            f"least {ENOUGH} of each class, in other places and of other persons; "
            "--evaluate on other footage tells more"
        )
    elif figures["auc"] is not None:
        point = figures["operating_points"]["equal error"]
        notes.append(
            f"EER {percent(figures['eer'])} ({figures['eer_instrument']}) at "
            f"--threshold {point['threshold']}, chosen on these very crops: "
            f"optimistic; AUC {figures['auc']:.3f}"
        )
    title = "frames, which resemble each other"
    header = ["errors", "95 %, too narrow"]
    return Section(title, header, rows, notes, 1 + KINDS_PRINTED // 2)


def groups_section(title: str, groups: dict, printed: int = 0) -> Section:
    """Tabulate errors of crops by group and by class."""
    labels = list(dict.fromkeys(label for own in groups.values() for label in own))
    labels.sort(key=lambda label: label != BONA_FIDE)
    rows = [
        [group or "no name", *(count(own.get(label)) for label in labels)]
        for group, own in groups.items()
    ]
    return Section(title, labels, rows, (), printed)


def sources_section(evaluation: dict) -> Section:
    """List presentations, those that were classified wrongly first."""
    wrong, right = [], []
    sources = sorted(evaluation["sources"], key=lambda source: -source["rate"])
    for source in sources:
        score = source["mean_score"]
        row = [source["source"], source["label"], f"{score:.3f}", count(source)]
        if (score >= evaluation["threshold"]) == (source["label"] == BONA_FIDE):
            right.append(row)
        else:
            wrong.append([*row, "WRONG"])
    with_errors = sum(source["errors"] > 0 for source in sources)
    header = ["class", "mean score", "errors of frames", ""]
    title = "presentations with the most errors"
    return Section(title, header, wrong + right, (), min(with_errors, 3))


def untested_section(report: dict) -> Section:
    """List what there is no evidence of."""
    rows = [[gap] for gap in report["not_tested"]]
    notes = [
        "what files cannot tell: cameras, days, light, devices, who the persons are"
    ]
    return Section("not tested", [], rows, notes, len(rows))


def made_section(report: dict) -> Section:
    """List what is needed to make the report again."""
    keys = "command", "date", "model", "model_sha256", "recipe", "seed", "split"
    keys += "dataset", "dataset_sha256", "margin", "detector", "recaptures", "versions"
    rows = []
    for key in keys:
        value = report.get(key)
        if isinstance(value, dict):
            value = ", ".join(f"{name} {own}" for name, own in value.items())
        if value is not None:
            rows.append([key, str(value)])
    crops, presentations = Counter(), Counter()
    for file in report["files"]:
        crops[file["label"]] += file["crops"]
        presentations[file["label"]] += 1
    for label, own in crops.items():
        text = count_of(presentations[label], "presentation")
        rows.append([label, f"{count_of(own, 'crop')} of {text}"])
    return Section("what this was made of", [], rows)


def files_section(report: dict) -> Section:
    """List the files of the dataset and how they were searched for faces."""
    rows = []
    for file in report["files"]:
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


def rates_of(figures: dict) -> list[tuple[str, str, dict]]:
    """List class, name and rate, BPCER first, then the kinds of attack, worst first."""
    rates = [(BONA_FIDE, f"BPCER  {BONA_FIDE}", figures["bpcer"])]
    kinds = sorted(figures["apcer"].items(), key=lambda item: -item[1]["rate"])
    for label, rate in kinds:
        is_worst = label == figures["worst_instrument"] and len(kinds) > 1
        name = f"{label} (worst)" if is_worst else label
        rates.append((label, f"APCER  {name}", rate))
    return [item for item in rates if item[2]["n"]]


def is_enough(figures: dict) -> bool:
    """Say whether there are enough trials of real faces and of attacks for rates."""
    rates = [figures["bpcer"], *figures["apcer"].values()]
    return len(rates) > 1 and min(rate["n"] for rate in rates) >= ENOUGH


def count(rate: dict | None) -> str:
    """Format errors: as a rate, or as a count and Wilson's limit if trials are few."""
    if rate is None:
        return "-"
    if rate["n"] < ENOUGH:
        limit = percent(rate["interval"][1])
        return f"{rate['errors']} of {rate['n']} (up to {limit})"
    return f"{percent(rate['rate'])} of {rate['n']}"


def interval(rate: dict) -> str:
    """Format Wilson's interval, of enough trials."""
    if rate["n"] < ENOUGH:
        return ""
    low, high = map(percent, rate["interval"])
    return f"{low} to {high}"


def format_silent(counts: dict) -> str:
    """Format in how many presentations, and in how many frames, no face was found."""
    if not counts["presentations"]["n"]:
        return "not known"
    presentations, frames = count(counts["presentations"]), count(counts["frames"])
    text = f"{presentations}; frames: {frames}"
    if counts["not_known"]:
        text += f"; {counts['not_known']} not known"
    return text


def percent(share: float, decimals: int = 1) -> str:
    """Format a share with these decimals, or as many as tell it from 0 and 100 %."""
    margin = 100 * min(share, 1 - share)
    if margin > 0:
        decimals = max(decimals, -math.floor(math.log10(margin)))
    return f"{share:.{decimals}%}"


def join(texts: list[str], most: int = LISTED) -> str:
    """List texts, or the first of many and how many more there are."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
