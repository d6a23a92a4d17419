"""What was thought of every face of every frame, line by line, for other programs."""

import json
from pathlib import Path

from pyimagesearch.classifier import Prediction
from pyimagesearch.console import UserError
from pyimagesearch.files import Appender, check_writable, to_csv
from pyimagesearch.frames import Frame


class FaceLog:
    """A file to which one line a face is added; `tail -f` can follow it.

    Lines are added whole, to what is in the file already.

    Parameters
    ----------
    path : Path
        Ends in .csv or .jsonl.
    classes : list of str
        Names of the network's outputs.

    Raises
    ------
    UserError
        When the name ends in something else, or the file has other columns.
    """

    def __init__(self, path: Path, classes: list[str]):
        if path.suffix not in (".csv", ".jsonl"):
            raise UserError(f"--log {path}: its name must end in .csv or .jsonl")
        self._columns = [
            *("source", "frame", "time", "track", "left", "top", "right", "bottom"),
            *("confidence", *(f"p_{name}" for name in classes), "score", "decision"),
        ]
        self._is_csv = path.suffix == ".csv"
        check_writable(path)
        self._lines = Appender(path, to_csv(self._columns) if self._is_csv else b"")

    def add(self, frame: Frame, prediction: Prediction) -> None:
        """Add the line of one face of a frame."""
        *box, confidence = prediction.box
        shares = (confidence, *prediction.probabilities, prediction.score)
        numbers = [round(float(share), 6) for share in shares]
        track, decision = prediction.track, prediction.label
        seconds = round(frame.time, 3)
        values = [frame.source, frame.number, seconds, track, *box, *numbers, decision]
        if self._is_csv:
            self._lines.add(to_csv(values))
        else:
            row = dict(zip(self._columns, values, strict=True))
            self._lines.add(json.dumps(row).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._lines.close()
