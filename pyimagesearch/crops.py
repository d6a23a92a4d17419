"""A folder of crops: the PNGs, crops.csv and frames.csv.

crops.csv says where each crop was cut from; frames.csv says in how many frames of each
source there was no face.
"""

import codecs
import csv
import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError, count_of, warn
from pyimagesearch.faces import Face, Res10, crop_face
from pyimagesearch.files import Appender, atomic_write, find_files, to_csv, write_new
from pyimagesearch.inputs import Frame
from pyimagesearch.names import UNSURE, as_label, name_crop, resolve_names
from pyimagesearch.video import IMAGE_SUFFIXES, read_image

import cv2
import numpy as np

MANIFEST_NAME = "crops.csv"
# The box is the detector's in pixels, without the margin; the fingerprint is that of
# the file that the crop was cut from, empty for a camera.
COLUMNS = ["file", "source", "frame", "left", "top", "right", "bottom"]
COLUMNS += ["confidence", "margin", "detector", "fingerprint"]
FRAMES_NAME = "frames.csv"


class CropRecord(NamedTuple):
    """What crops.csv says of a crop; the defaults are the tutorial's."""

    source: str = ""
    margin: float = 0.0
    detector: str = Res10.NAME
    fingerprint: str = ""


class Search(NamedTuple):
    """What frames.csv says of a source: how it was searched for faces."""

    source: str
    fingerprint: str  # of its file, empty for a camera
    skip: int
    detector: str
    detector_size: int  # longer side of the detector's input in pixels
    confidence: float  # that faces had to exceed
    searched: int  # frames
    faceless: int  # frames without a face, of those searched


class CropFolder:
    """A folder that crops are saved to; made if missing.

    A crop's line in crops.csv is written before the crop, so that a line may lack its
    crop but no crop lacks its line. Crops of another margin (see `crop_face`) in the
    folder are a UserError.
    """

    def __init__(self, folder: Path, margin: float, detector: str):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder}: the folder cannot be made: {error.strerror}"
            ) from None
        crops, read = find_files(folder, IMAGE_SUFFIXES), cache(read_manifest)
        if crops and (theirs := common_cut(crops, read)[0]) != margin:
            raise UserError(
                f"{folder} holds crops with margin {theirs:g}, not {margin:g}; use "
                "that --margin or another folder"
            )
        self.folder, self._margin, self._detector = folder, margin, detector
        self._records, self._searches = read(folder), read_searches(folder)
        self._manifest = self._frames = None
        self._replaces = False
        existing = {crop.name for crop in crops if crop.parent == folder}
        self._fingerprints = {  # by the source of the crops that are there
            record.source: record.fingerprint
            for name, record in self._records.items()
            if record and name in existing
        }

    def name_sources(self, files: dict[str, str]) -> dict[str, str]:
        """Rename sources, (path by name), as `names.resolve_names` does."""
        resolved = resolve_names(files, self._fingerprints, self.folder)
        for name, (_, fingerprint) in resolved.items():
            self._fingerprints[name] = fingerprint
        return {name: file for name, (file, _) in resolved.items()}

    def cut(self, image: np.ndarray, face: Face) -> np.ndarray:
        """Cut a face out of its frame, (h, w, 3) uint8 BGR, as it is saved."""
        return crop_face(image, face, self._margin)

    def save(
        self, crop: np.ndarray, frame: Frame, rank: int, face: Face
    ) -> Path | None:
        """Save the crop of a frame's rank-th face as PNG, whole or not at all.

        Returns None if this very crop was there already. Another picture of its name
        is a UserError.
        """
        name = name_crop(frame.source, frame.number, rank)
        path = self.folder / name
        is_there = self._holds(path, crop)
        self._record(name, frame, face)
        if is_there:
            return None
        png = cv2.imencode(".png", crop)[1].tobytes()
        if not write_new(path, png) and self._holds(path, crop):
            return None
        return path

    def _holds(self, path: Path, crop: np.ndarray) -> bool:
        if not path.exists():
            return False
        if np.array_equal(read_image(path), crop):
            return True
        raise UserError(
            f"{path} is there already and shows something else; nothing was "
            "overwritten: rename the video or name another --output"
        )

    def _record(self, name: str, frame: Frame, face: Face) -> None:
        fingerprint = self._fingerprints.get(frame.source, "")
        known = self._records.get(name)
        if known and known.fingerprint in ("", fingerprint):
            return
        record = CropRecord(frame.source, self._margin, self._detector, fingerprint)
        self._records[name] = record
        if self._manifest is None:
            self._manifest = open_manifest(self.folder / MANIFEST_NAME, COLUMNS)
        box = face.left, face.top, face.right, face.bottom
        confidence, margin = f"{face.confidence:.4f}", f"{record.margin:g}"
        line = [name, record.source, frame.number, *box, confidence, margin]
        self._manifest.add(to_csv([*line, record.detector, fingerprint]))

    def record_search(self, search: Search, is_whole: bool) -> None:
        """Write how a source was searched to frames.csv, in place of its old line.

        The fingerprint is filled in. An interrupted search replaces no line.
        """
        search = search._replace(fingerprint=self._fingerprints.get(search.source, ""))
        known = self._searches.get(search.source)
        if search == known or (known and not is_whole):
            return
        self._searches[search.source] = search
        self._replaces |= known is not None
        if self._frames and self._frames.is_replaced():  # by another run
            self._frames.close()
            self._frames = None
        if self._frames is None:
            self._frames = open_manifest(self.folder / FRAMES_NAME, Search._fields)
        self._frames.add(to_csv(search))

    def close(self) -> None:
        """Close crops.csv and frames.csv; remove lines that were replaced."""
        for file in (self._manifest, self._frames):
            if file:
                file.close()
        if self._replaces:  # until then, the last line of a source counts
            path = self.folder / FRAMES_NAME
            rows, columns = read_rows(path, Search._fields)
            last = {row["source"]: row for row in rows}
            rewrite(path, last.values(), columns)


def find_crops(dataset: Path) -> dict[str, list[Path]]:
    """Find the crops of a dataset by class, those of `unsure` included."""
    crops = {}
    for folder in sorted(dataset.glob("[!.]*")):
        if folder.is_dir():
            own = crops.setdefault(as_label(folder.name), [])
            own += find_files(folder, IMAGE_SUFFIXES)
    return crops


def read_manifest(folder: Path) -> dict[str, CropRecord | None]:
    """Read a folder's crops.csv, if there is one, by the names of the crops' files.

    A line that cannot be read gives None, and a warning.
    """
    path, records = folder / MANIFEST_NAME, {}
    for row in read_rows(path, COLUMNS)[0]:
        try:
            margin = float(row["margin"].replace(",", "."))
            fingerprint = row["fingerprint"].strip()
        except (AttributeError, ValueError):  # a full disk may have cut it short
            records[row["file"]] = None
        else:
            records[row["file"]] = CropRecord(
                row["source"], margin, row["detector"], fingerprint
            )
    bad = [name for name, record in records.items() if record is None]
    if bad:
        warn(f"{path}: ignored {count_of(len(bad), 'bad line')}, the first of {bad[0]}")
    return records


def read_searches(folder: Path) -> dict[str, Search]:
    """Read a folder's frames.csv, if there is one, by source; warn of bad lines."""
    path, searches, bad = folder / FRAMES_NAME, {}, 0
    for row in read_rows(path, Search._fields)[0]:
        try:
            search = Search(
                row["source"],
                row["fingerprint"],
                int(row["skip"]),
                row["detector"],
                int(row["detector_size"]),
                float(row["confidence"].replace(",", ".")),
                int(row["searched"]),
                int(row["faceless"]),
            )
        except (AttributeError, TypeError, ValueError):  # as a full disk leaves it
            bad += 1
            continue
        if 0 <= search.faceless <= search.searched > 0 <= search.confidence <= 1:
            searches[search.source] = search
        else:
            bad += 1
    if bad:
        warn(f"{path}: ignored {count_of(bad, 'bad line')}")
    return searches


def read_rows(path: Path, columns: Sequence[str]) -> tuple[list[dict], list[str]]:
    """Read the lines and the columns of such a file, also as a spreadsheet saves it."""
    content = path.read_bytes() if path.exists() else b""
    # UTF-8, unless Python takes the names of files for ASCII.
    encoding = "ascii" if sys.getfilesystemencoding() == "ascii" else "utf-8"
    content = content.removeprefix(codecs.BOM_UTF8) or to_csv(columns)
    text = content.decode(encoding, "surrogateescape")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    what = f"not a list of {path.stem} as gather_examples.py writes it"
    try:
        if set(columns) <= set(rows.fieldnames):
            return list(rows), rows.fieldnames
        reason = f"its columns are {', '.join(rows.fieldnames)}"
    except csv.Error as error:
        reason = error
    raise UserError(f"{path}: {what}: {reason}")


def open_manifest(path: Path, columns: Sequence[str]) -> Appender:
    """Open such a file to append to; rewrite it first if a spreadsheet saved it."""
    rows, found = read_rows(path, columns)
    columns = list(dict.fromkeys([*columns, *found]))
    header = to_csv(columns)
    if path.exists() and not path.read_bytes().startswith(header):
        rewrite(path, rows, columns)
    return Appender(path, header)


def rewrite(path: Path, rows: Iterable[dict], columns: Sequence[str]) -> None:
    """Write such a file anew."""
    lines = [to_csv(row[name] for name in columns) for row in rows]
    with atomic_write(path) as temporary:
        temporary.write_bytes(to_csv(columns) + b"".join(lines))


def common_cut(paths: list[Path], read=None) -> tuple[float, str]:
    """Look up the margin of crops, and the detector of most, in crops.csv beside them.

    Different margins are a UserError. Detectors may differ: a network does as well on
    the crops of another. `read` is `read_manifest`, or one that remembers.
    """
    read = read or cache(read_manifest)
    examples, detectors = {}, Counter()
    for path, record in look_up(paths, read):
        examples.setdefault(record.margin, path)
        detectors[record.detector] += 1
    if len(examples) > 1:
        (one, path), (other, other_path), *_ = examples.items()
        raise UserError(
            f"{path} was cut with margin {one:g}, {other_path} with margin {other:g}; "
            "gather all of them with the same --margin"
        )
    if paths and not examples:
        raise UserError(
            f"{paths[0].parent / MANIFEST_NAME}: no line about a crop can be read, so "
            "their --margin is not known; gather them again"
        )
    if not paths:
        return CropRecord().margin, CropRecord().detector
    return next(iter(examples)), detectors.most_common(1)[0][0]


def look_up(paths: list[Path], read) -> Iterator[tuple[Path, CropRecord]]:
    """Yield crops with their records, without those whose line is bad."""
    for path in paths:
        records = read(path.parent)
        if path.name not in records:  # it may have been sorted into its class by hand
            records = read(path.parent.parent / UNSURE)
        if record := records.get(path.name, CropRecord()):
            yield path, record
