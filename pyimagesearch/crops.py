"""A folder of crops: the PNGs, and crops.csv, which says where each was cut from."""

import codecs
import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError, count_of, warn
from pyimagesearch.faces import Face, Res10, crop_face
from pyimagesearch.files import Appender, atomic_write, to_csv, write_new
from pyimagesearch.frames import IMAGE_SUFFIXES, Frame, find_files, read_image
from pyimagesearch.names import UNSURE, as_label, name_crop, resolve_names

import cv2
import numpy as np

MANIFEST_NAME = "crops.csv"
# The box is the detector's in pixels, without the margin; the fingerprint is that of
# the file that the crop was cut from, empty for a camera.
COLUMNS = ["file", "source", "frame", "left", "top", "right", "bottom"]
COLUMNS += ["confidence", "margin", "detector", "fingerprint"]


class CropRecord(NamedTuple):
    """What crops.csv says of a crop; the defaults are the tutorial's."""

    source: str = ""
    margin: float = 0.0
    detector: str = Res10.NAME
    fingerprint: str = ""


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
        self._records = read(folder)
        self._manifest = None
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
        self, crop: np.ndarray, frame: Frame, place: int, face: Face
    ) -> Path | None:
        """Save the crop of a frame's place-th face as PNG, whole or not at all.

        Returns None if this very crop was there already. Another picture of its name
        is a UserError.
        """
        name = name_crop(frame.source, frame.number, place)
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
            self._manifest = open_manifest(self.folder / MANIFEST_NAME)
        box = face.left, face.top, face.right, face.bottom
        confidence, margin = f"{face.confidence:.4f}", f"{record.margin:g}"
        line = [name, record.source, frame.number, *box, confidence, margin]
        self._manifest.add(to_csv([*line, record.detector, fingerprint]))

    def close(self) -> None:
        """Close crops.csv."""
        if self._manifest:
            self._manifest.close()


def find_crops(dataset: Path) -> dict[str, list[Path]]:
    """Find the crops of a dataset by class, those of `unsure` included."""
    crops = {}
    for folder in sorted(dataset.glob("[!.]*")):
        if folder.is_dir():
            own = crops.setdefault(as_label(folder.name), [])
            own += find_files(folder, IMAGE_SUFFIXES)
    return crops


def read_manifest(folder: Path, warns: bool = True) -> dict[str, CropRecord | None]:
    """Read a folder's crops.csv, if there is one, by the names of the crops' files.

    A line that cannot be read gives None, and a warning unless not `warns`.
    """
    path, records = folder / MANIFEST_NAME, {}
    try:
        for row in read_rows(path):
            try:
                margin = float(row["margin"].replace(",", "."))
                fingerprint = row["fingerprint"].strip()
            except (AttributeError, ValueError):  # a full disk may have cut it short
                records[row["file"]] = None
            else:
                records[row["file"]] = CropRecord(
                    row["source"], margin, row["detector"], fingerprint
                )
    except csv.Error as error:
        raise UserError(f"{path}: not a list of crops: {error}") from None
    bad = [name for name, record in records.items() if record is None]
    if bad and warns:
        warn(f"{path}: ignored {count_of(len(bad), 'bad line')}, the first of {bad[0]}")
    return records


def read_rows(path: Path) -> csv.DictReader:
    """Read the lines of a crops.csv, also as a spreadsheet saves it."""
    content = path.read_bytes() if path.exists() else b""
    # UTF-8, unless Python takes the names of files for ASCII.
    encoding = "ascii" if sys.getfilesystemencoding() == "ascii" else "utf-8"
    content = content.removeprefix(codecs.BOM_UTF8) or to_csv(COLUMNS)
    text = content.decode(encoding, "surrogateescape")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    if not set(COLUMNS) <= set(rows.fieldnames):
        raise UserError(
            f"{path}: not a list of crops as gather_examples.py writes it: its columns "
            f"are {', '.join(rows.fieldnames)}"
        )
    return rows


def open_manifest(path: Path) -> Appender:
    """Open a crops.csv to append to; rewrite it first if a spreadsheet saved it."""
    rows = read_rows(path)
    columns = list(dict.fromkeys([*COLUMNS, *rows.fieldnames]))
    header = to_csv(columns)
    if path.exists() and not path.read_bytes().startswith(header):
        lines = [to_csv(row[name] for name in columns) for row in rows]
        with atomic_write(path) as temporary:
            temporary.write_bytes(header + b"".join(lines))
    return Appender(path, header)


def common_cut(paths: list[Path], read=None) -> tuple[float, str]:
    """Look up the margin of crops, and the detector of most, in crops.csv beside them.

    Different margins are a UserError. Detectors may differ: a network does as well on
    the crops of another. `read` is `read_manifest`, or one that remembers.
    """
    read = read or cache(read_manifest)
    examples, detectors = {}, Counter()
    for path, record in _look_up(paths, read):
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


def usual_detector(folder: Path) -> str | None:
    """Name the detector that cut most crops of a folder, or of the folders beside it.

    None if there are no crops. Of the folders beside it, those with a crops.csv count:
    images in others may be anything.
    """
    crops = find_files(folder, IMAGE_SUFFIXES)
    if not crops:
        for manifest in folder.parent.glob(f"*/{MANIFEST_NAME}"):
            crops += find_files(manifest.parent, IMAGE_SUFFIXES)
    read, detectors = cache(partial(read_manifest, warns=False)), Counter()
    with suppress(UserError, OSError):  # CropFolder reports the folder's own
        detectors.update(record.detector for _, record in _look_up(crops, read))
    return max(detectors, key=detectors.get, default=None)


def _look_up(paths: list[Path], read) -> Iterator[tuple[Path, CropRecord]]:
    for path in paths:
        records = read(path.parent)
        if path.name not in records:  # it may have been sorted into its class by hand
            records = read(path.parent.parent / UNSURE)
        if record := records.get(path.name, CropRecord()):
            yield path, record
