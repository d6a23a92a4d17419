"""The measurements behind README.md."""

from collections.abc import Sequence
from statistics import mean


def format_runs(values: Sequence[float]) -> str:
    """Format the mean of several runs, with the range: 8.8 (6.7 to 11.9)."""
    average, low, high = (f"{f(values):.1f}" for f in (mean, min, max))
    return average if low == high else f"{average} ({low} to {high})"
