"""Turn the figures of an evaluation into text, JSON and HTML.

The text is printed and kept short; the HTML says everything, with the picture inside.
"""

import base64
import html
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import count_of
from pyimagesearch.files import atomic_write
from pyimagesearch.names import BONA_FIDE

ENOUGH = 20  # trials; of fewer, one error is more than 5 %, and a rate says too little
LISTED = 5  # names in a line
MOST_ROWS = 100  # of a table in the HTML; the JSON has all

QUESTIONS = (
    "Which cameras filmed the footage? Is the one that will be used among them?",
    "On which days, in which rooms and lights was it filmed?",
    "Which phones, tablets, printers and papers were used for the attacks?",
    "Who are the persons: age, sex, skin colour, glasses, beards, make-up?",
    "Was any footage chosen or left out after somebody had seen figures?",
)
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse } img { max-width: 100% }
th, td { text-align: left; padding: .2em 1em .2em 0; border-bottom: 1px solid #ddd }
.warning { color: #b00; font-weight: bold }
"""


class Section(NamedTuple):
    """A table with a title, and lines below it."""

    title: str
    header: Sequence[str]  # of all columns but the first
    rows: list[list[str]]
    notes: Sequence[str] = ()
    printed: int = MOST_ROWS  # rows of the text


def write_report(path: Path, report: dict, picture: bytes) -> None:
    """Write a report as HTML, with the picture, a PNG, inside; otherwise as JSON."""
    if path.suffix.lower() in (".html", ".htm"):
        text = format_html(report, picture)
    else:
        text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def format_report(report: dict) -> str:
    """Format what is printed: the figures, or what can be known from few crops."""
    frames = report["evaluation"]["frames"]
    rates = [rate for _, _, rate in list_rates(frames) if rate["n"]]
    if min(rate["n"] for rate in rates) < ENOUGH:
        return format_few(frames)
    sections = [*measured_sections(report), untested_section(report)]
    return "\n\n".join(format_text(section) for section in sections if section.printed)


def format_few(frames: dict) -> str:
    """Say what the figures of frames tell if crops are few: errors, Wilson's interval."""
    rates = [(label, rate) for _, label, rate in list_rates(frames) if rate["n"]]
    lines = [f"at the threshold {0.5:g}, chosen beforehand:"]
    for label, rate in rates:
        low, high = (percent(share, 0) for share in rate["interval"])
        errors = count_of(rate["errors"], "error") if rate["errors"] else "no error"
        possible = f"{low} to {high}" if rate["errors"] else f"up to {high}"
        crops = count_of(rate["n"], "crop")
        lines.append(f"{label}: {errors} in {crops}: {possible} is possible")
    few = join([label for label, rate in rates if rate["n"] < ENOUGH])
    lines.append(
        f"too few crops of {few} for rates and thresholds: gather at least {ENOUGH} of "
        "each class, in other places and of other persons; --evaluate on other footage "
        "tells more"
    )
    return "\n".join(lines)


def format_text(section: Section) -> str:
    """Format a section for a terminal."""
    rows = section.rows[: section.printed]
    table = [[section.title, *section.header], *rows]
    columns = max(map(len, table))
    table = [[*row, *[""] * (columns - len(row))] for row in table]
    # A last cell may be as long as it likes.
    widths = [
        max(len(row[column]) for row in table if any(row[column + 1 :]) or not column)
        for column in range(columns - 1)
    ]
    lines = []
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    if section.rows[section.printed :] and section.printed > 1:
        lines.append(f"and {len(section.rows) - section.printed} more in --report FILE")
    return "\n".join([*lines, *section.notes])
