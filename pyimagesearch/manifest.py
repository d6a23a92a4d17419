"""crops.csv: where each crop of a folder was cut from, one line a crop."""

import csv
from contextlib import closing
from pathlib import Path

from pyimagesearch.artifacts import Appender, to_csv
from pyimagesearch.console import UserError
from pyimagesearch.faces import Face

NAME = "crops.csv"
COLUMNS = (
    "file",
    "source",
    "frame",
    "left",
    "top",
    "right",
    "bottom",
    "confidence",
    "margin",
)


class Manifest:
    """The manifest of one folder of crops.

    Lines are added whole. A crop's line comes before the crop, so that a line may lack
    its crop but no crop lacks its line.

    Parameters
    ----------
    folder : Path
        An existing folder; `crops.csv` is made with the first line.
    """

    def __init__(self, folder: Path):
        self._path = folder / NAME
        self._files = set(read_margins(folder))

    def add(self, file: str, source: str, frame: int, face: Face, margin: float):
        """Note a crop, unless it is noted already.

        Parameters
        ----------
        file, source : str
            Names of the crop's file and of its video, image or camera.
        frame : int
            Number in its source, counted from 1.
        face : Face
            The detector's box, without the margin.
        margin : float
            What the box was grown by on each side, as a share of its size.
        """
        if file in self._files:
            return
        self._files.add(file)
        *box, confidence = face
        row = (file, source, frame, *box, f"{confidence:.4f}", f"{margin:g}")
        with closing(Appender(self._path, to_csv(COLUMNS))) as lines:
            lines.add(to_csv(row))


def read_margins(folder: Path) -> dict[str, float]:
    """Read the margin of every crop that the folder's manifest lists, by file name.

    Raises
    ------
    UserError
        When crops.csv is there but is no manifest.
    """
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {
                row["file"]: float(row["margin"])
                for row in csv.DictReader(file)
                if row["margin"] is not None  # a full disk may tear a line
            }
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: not a list of crops as gather_examples.py writes it: {error!r}"
        ) from None


def common_margin(paths: list[Path]) -> float:
    """Look up the margin of the crops in the manifests beside them; 0 without one.

    Raises
    ------
    UserError
        When crops differ in it.
    """
    margins = {folder: read_margins(folder) for folder in {p.parent for p in paths}}
    examples = {}
    for path in paths:
        examples.setdefault(margins[path.parent].get(path.name, 0.0), path)
    if len(examples) > 1:
        (one, path), (other, other_path), *_ = examples.items()
        raise UserError(
            f"{path} was cut with margin {one:g}, {other_path} with margin {other:g}; "
            "gather all of them with the same --margin"
        )
    (margin,) = examples or {0.0}
    return margin
