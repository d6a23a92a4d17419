"""Where each crop of a folder was cut from: by its name, and by its line in crops.csv.

A crop is named <source>_<frame number>.png, further faces of the frame -2, -3, ...
"""

import csv
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError
from pyimagesearch.faces import Face, crop_face
from pyimagesearch.files import (
    Appender,
    atomic_write,
    fingerprint_of,
    to_csv,
    write_new,
)
from pyimagesearch.frames import Frame
from pyimagesearch.images import IMAGE_SUFFIXES, find_files, read_image

import cv2
import numpy as np

MANIFEST_NAME = "crops.csv"
UNSURE = "unsure"  # the folder of crops that a person has still to sort
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
    "detector",
    "fingerprint",
)
FIRST_COLUMNS = 9  # that the first manifests had
CROP_NAME = re.compile(r"(.+)_(\d{6,})(?:-\d+)?$")


def name_crop(source: str, frame: int, place: int = 1) -> str:
    """Name the crop of a frame's place-th face, counted from 1."""
    return f"{source}_{frame:06d}" + (f"-{place}" if place > 1 else "") + ".png"


def name_source(path: Path, folder: Path) -> str:
    """Tell from a crop's name which video or image it was cut from.

    A name that does not say stands for its folder: `real` for `real/0.png`.
    """
    named = CROP_NAME.match(path.stem)
    return named[1] if named else path.parent.relative_to(folder).as_posix()


class Line(NamedTuple):
    """What the manifest says of a crop; by default, as the tutorial cuts it."""

    source: str = ""
    margin: float = 0.0
    detector: str = "res10"
    fingerprint: str = ""


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
        self._path = folder / MANIFEST_NAME
        self.lines = read_manifest(folder)
        self._file = None

    def add(self, file: str, frame: int, face: Face, line: Line) -> None:
        """Note a crop, unless it is noted already.

        Parameters
        ----------
        file : str
            Name of the crop's file.
        frame : int
            Number in its source, counted from 1.
        face : Face
            The detector's box, without the margin.
        line : Line
            Name of its video, image or camera; what the box was grown by on each side,
            as a share of its size; which detector found it; and `fingerprint_of` the
            file that it was cut from, where there is one.
        """
        noted = self.lines.get(file)
        if noted and noted.fingerprint in ("", line.fingerprint):
            return
        self.lines[file] = line
        *box, confidence = face
        row = (file, line.source, frame, *box, f"{confidence:.4f}", f"{line.margin:g}")
        if self._file is None:
            self._add_missing_columns()
            self._file = Appender(self._path, to_csv(COLUMNS))
        self._file.add(to_csv([*row, line.detector, line.fingerprint]))

    def _add_missing_columns(self) -> None:
        """Bring a manifest of an earlier version up to date."""
        content = self._path.read_bytes() if self._path.exists() else b""
        for count in range(FIRST_COLUMNS, len(COLUMNS)):
            old = to_csv(COLUMNS[:count])
            if content.startswith(old):
                with atomic_write(self._path) as temporary:
                    temporary.write_bytes(to_csv(COLUMNS) + content[len(old) :])

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


class CropFolder:
    """A folder that crops are saved to, with their manifest.

    Parameters
    ----------
    folder : Path
        Made if missing.
    margin : float
        How far the boxes of all crops are grown, see `crop_face`.
    detector : str
        Which one finds the faces.

    Raises
    ------
    UserError
        When there are crops of another margin in it.
    """

    def __init__(self, folder: Path, margin: float, detector: str):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be made a folder: {error.strerror}"
            ) from None
        crops = find_files(folder, IMAGE_SUFFIXES)
        if crops and (theirs := common_cut(crops).margin) != margin:
            raise UserError(
                f"{folder} holds crops with margin {theirs:g}, not {margin:g}; gather "
                "with that --margin or into another --output"
            )
        self.folder, self._margin, self._detector = folder, margin, detector
        self._manifest = Manifest(folder)
        # Whose crops are here: by the name of the source, the file's fingerprint.
        there = {crop.name for crop in crops if crop.parent == folder}
        self._owners = {
            line.source: line.fingerprint
            for name, line in self._manifest.lines.items()
            if name in there
        }

    def name_sources(self, files: dict[str, str]) -> dict[str, str]:
        """Name files so that each keeps the name that its crops here have.

        Parameters
        ----------
        files : dict of str to str
            Path by name, as they would be named in an empty folder.

        Returns
        -------
        dict of str to str
            The same, but where a name is taken: `anna-mov` beside the crops of an
            `anna.mp4`.

        Raises
        ------
        UserError
            When another file's crops have all names that there are for one.
        """
        named = {}
        for name, file in files.items():
            kind, own = Path(file).suffix, fingerprint_of(Path(file))
            short = name.removesuffix(f"-{kind[1:]}")
            long = f"{short}-{kind[1:]}"
            owners = {c: self._owners.get(c, "") for c in (short, long, name)}
            if own in owners.values():  # gathered before
                choices = [c for c, owner in owners.items() if owner == own]
            elif owners[name] and Path(owners[name]).suffix == kind.lower():
                choices = []  # two of one name would look like one
            else:
                choices = [c for c in (name, long) if not owners[c]]
            choice = next((c for c in choices if c not in named), None)
            if choice is None:
                raise UserError(
                    f"{self.folder} holds crops of another {name}; nothing was "
                    f"overwritten: rename {file} or name another folder"
                )
            self._owners[choice], named[choice] = own, file
        return named

    def cut(self, image: np.ndarray, face: Face) -> np.ndarray:
        """Cut a face out of its frame, (h, w, 3) uint8 BGR, as it is saved."""
        return crop_face(image, face, self._margin)

    def save(
        self, crop: np.ndarray, frame: Frame, place: int, face: Face
    ) -> Path | None:
        """Save the crop of a frame's place-th face as PNG, whole or not at all.

        Returns
        -------
        Path or None
            None if this very crop was there already.

        Raises
        ------
        UserError
            When another picture has the crop's name.
        """
        name = name_crop(frame.source, frame.number, place)
        path = self.folder / name
        is_there = self._holds(path, crop)
        fingerprint = self._owners.get(frame.source, "")
        line = Line(frame.source, self._margin, self._detector, fingerprint)
        self._manifest.add(name, frame.number, face, line)
        png = None if is_there else cv2.imencode(".png", crop)[1].tobytes()
        if is_there or (not write_new(path, png) and self._holds(path, crop)):
            return None
        return path

    def _holds(self, path: Path, crop: np.ndarray) -> bool:
        """Tell whether this very crop is there; raise a UserError if another is."""
        if not path.exists():
            return False
        if np.array_equal(read_image(path), crop):
            return True
        raise UserError(
            f"{path} is there already and shows something else; nothing was "
            "overwritten: rename the video or name another --output"
        )

    def close(self) -> None:
        """Close the manifest."""
        self._manifest.close()


class Cut(NamedTuple):
    """How crops were cut out; by default, as the tutorial does."""

    margin: float = Line().margin
    detector: str = Line().detector


def read_manifest(folder: Path) -> dict[str, Line]:
    """Read the folder's manifest, by the names of the crops' files.

    Raises
    ------
    UserError
        When crops.csv is there but is no manifest.
    """
    path = folder / MANIFEST_NAME
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {
                row["file"]: Line(
                    row["source"],
                    float(row["margin"]),
                    row.get("detector") or Line().detector,
                    row.get("fingerprint") or "",
                )
                for row in csv.DictReader(file)
                if row["margin"] is not None  # a full disk may tear a line
            }
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: not a list of crops as gather_examples.py writes it: {error!r}"
        ) from None


def common_cut(paths: list[Path]) -> Cut:
    """Look up how crops were cut in the manifests beside them.

    Returns
    -------
    Cut
        With the detector of most crops, as one does as well on another's faces.

    Raises
    ------
    UserError
        When crops differ in their margin.
    """
    cuts = {folder: read_manifest(folder) for folder in {p.parent for p in paths}}
    examples, detectors = {}, Counter()
    for path in paths:
        cut = cuts[path.parent].get(path.name)
        if cut is None:  # it may have been sorted into its class by hand
            unsure = path.parent.parent / UNSURE
            if unsure not in cuts:
                cuts[unsure] = read_manifest(unsure)
            cut = cuts[unsure].get(path.name, Line())
        examples.setdefault(cut.margin, path)
        detectors[cut.detector] += 1
    if len(examples) > 1:
        (one, path), (other, other_path), *_ = examples.items()
        raise UserError(
            f"{path} was cut with margin {one:g}, {other_path} with margin {other:g}; "
            "gather all of them with the same --margin"
        )
    if not paths:
        return Cut()
    return Cut(*examples, detectors.most_common(1)[0][0])
