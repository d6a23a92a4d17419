"""A folder of crops: the PNGs, and sources.csv, which says what they were cut from.

The list lies beside the crops and grows by whole lines: one before the first crop of a
source, and one when the source was read to its end. The last line of a source counts.
"""

import codecs
import csv
import io
import sys
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from pyimagesearch import files
from pyimagesearch.console import UserError, listing, warn
from pyimagesearch.faces import DetectorPool
from pyimagesearch.inputs import Frame
from pyimagesearch.names import CROP_NAME, as_label, name_crop, source_of
from pyimagesearch.video import IMAGE_SUFFIXES, read_image

import cv2
import numpy as np

SOURCES_NAME = "sources.csv"
OLD_NAME = "crops.csv"  # the list of earlier versions
LIST_NAMES = {SOURCES_NAME, OLD_NAME, "frames.csv"}
TEXTS = {"source", "person", "fingerprint", "detector"}  # other columns are numbers
csv.field_size_limit(1 << 30)  # a quote that never ends is a bad row, not an error


class Source(NamedTuple):
    """A line of sources.csv; numbers that are not known are None."""

    source: str = ""  # without the folders that it is in
    person: str = ""  # empty until somebody fills it in
    fingerprint: str = ""  # of its file; empty for a camera or stream
    margin: float | None = None  # see `faces.crop_face`
    detector: str = ""
    detector_size: int | None = None  # longer side of the detector's input in pixels
    confidence: float | None = None  # that faces had to exceed
    skip: int | None = None
    searched: int | None = None  # frames
    faceless: int | None = None  # frames without a face, of those searched


class SourceList:
    """The sources.csv of a folder; `lines` are the last ones, by source.

    People and other programs edit it at any time. Other columns are a UserError.
    """

    def __init__(self, folder: Path):
        self._path, self._state = folder / SOURCES_NAME, (0, 0, 0)
        self.lines: dict[str, Source] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the file again if it is not as it was left."""
        if (state := self._look()) == self._state:
            return
        self._state, self.lines, bad = state, {}, []
        header = files.to_csv(Source._fields)
        rows = read_csv(self._path.read_bytes() if any(state) else header)
        columns = rows.fieldnames or []
        if missing := [name for name in Source._fields if name not in columns]:
            raise UserError(
                f"{self._path}: not a list of sources as gather_examples.py writes it: "
                f"its columns are {', '.join(columns)}, without {', '.join(missing)}"
            )
        for row in rows:
            if line := parse_row(row):
                self.lines[line.source] = line
            elif any(row.values()):
                bad.append(f"row {rows.line_num}")
        if bad:
            warn(f"{self._path}: {listing(bad, 5)} cannot be read")

    def _look(self) -> tuple[int, int, int]:
        if not self._path.exists():
            return 0, 0, 0
        stat = self._path.stat()
        return stat.st_size, stat.st_ino, stat.st_mtime_ns

    def add(self, line: Source) -> None:
        """Append a line, in the order of the file's columns."""
        files.write_new(self._path, files.to_csv(Source._fields))
        with self._path.open("rb") as file:
            header = file.readline()
        rows, values = read_csv(header), line._asdict()
        values["margin"] = f"{line.margin:g}"
        cells, dialect = map(values.get, rows.fieldnames), rows.reader.dialect
        with closing(files.Appender(self._path, header)) as file:
            file.add(files.to_csv(cells, dialect.delimiter))
        self.lines[line.source], self._state = line, self._look()


def read_csv(content: bytes) -> csv.DictReader:
    """Read CSV as people leave it: with a byte order mark, semicolons or tabs."""
    # UTF-8, unless Python takes the names of files for ASCII.
    encoding = "ascii" if sys.getfilesystemencoding() == "ascii" else "utf-8"
    text = content.removeprefix(codecs.BOM_UTF8).decode(encoding, "surrogateescape")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    return csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)


def parse_row(row: dict[str, str | None]) -> Source | None:
    """Read a line, also with decimal commas; None if it is torn or makes no sense."""
    if None in row or None in row.values():  # more or fewer cells than columns
        return None
    values = {name: row[name] for name in Source._fields}
    try:
        for name in values.keys() - TEXTS:
            text = values[name].strip().replace(",", ".")
            number = int if text.isdigit() else float
            values[name] = number(text) if text else None
        line = Source(**values)
        is_sound = line.searched is None or 0 <= line.faceless <= line.searched > 0
        return line if is_sound and 0 <= line.margin <= 1 else None
    except (TypeError, ValueError):
        return None


class CropFolder:
    """A folder that crops are saved to; made if missing.

    `detectors` find the faces in every `skip`-th frame. Crops of another margin in the
    folder are a UserError. `owners` are the sources with crops and the fingerprints of
    their files; `files` are the paths of those to come, by source.
    """

    def __init__(self, folder: Path, margin: float, detectors: DetectorPool, skip=None):
        files.check_writable(folder / SOURCES_NAME)
        paths = files.find_files(folder)
        crops = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
        lists = self._lists = read_lists(paths)
        theirs, _ = common_margin(crops, lists)
        if crops and theirs != margin:
            text = f"{folder} holds crops with margin {theirs:g}, not {margin:g}"
            raise UserError(f"{text}; use that --margin or another folder")
        self.folder, self.margin, self._begun = folder, margin, {}
        self._how = detectors.name, detectors.size, detectors.confidence, skip
        self.files: dict[str, str] = {}
        self.owners = {
            (source_of(("", *crop.relative_to(folder).parts))[0], line.fingerprint)
            for crop in crops
            if (line := line_of(crop, lists))
        }
        self._at_start = {at / name for at, own in lists.items() for name in own.lines}

    def save(self, crop: np.ndarray, frame: Frame, rank: int) -> Path | None:
        """Save the crop of a frame's rank-th face as PNG, whole or not at all.

        Another picture of its name is a UserError; for this very one, returns None.
        """
        path = self.folder / name_crop(frame.source, frame.number, rank)
        if path.exists():
            check_same(path, crop)
        if frame.source not in self._begun:
            self._begin(frame.source)
        if files.write_new(path, cv2.imencode(".png", crop)[1].tobytes()):
            return path
        check_same(path, crop)
        return None

    def _begin(self, source: str) -> None:
        own, last, line = self._look_up(source)
        place, is_new = self.folder / source, not last or last[2:4] != line[2:4]
        if last and is_new and last.fingerprint and place not in self._at_start:
            text = "another program is saving crops of a file of that name"
            raise UserError(f"{place}: {text}")
        if is_new:
            own.add(line)
        self._begun[source] = line.fingerprint

    def _look_up(self, source: str) -> tuple[SourceList, Source | None, Source]:
        """Return the list of a source, its last line, and the one to write."""
        place, fingerprint = self.folder / source, self._begun.get(source)
        if fingerprint is None:
            file = self.files.get(source)
            fingerprint = files.fingerprint_of(Path(file)) if file else ""
        if place.parent not in self._lists:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._lists[place.parent] = SourceList(place.parent)
        own = self._lists[place.parent]
        own.refresh()
        last = own.lines.get(place.name)
        person = last.person if last else ""
        line = Source(place.name, person, fingerprint, self.margin, *self._how)
        return own, last, line

    def record_search(
        self, source: str, searched: int, faceless: int, is_whole: bool
    ) -> None:
        """Write in how many frames no face was; an interrupted search replaces none."""
        own, last, line = self._look_up(source)
        line = line._replace(searched=searched, faceless=faceless)
        if line != last and (is_whole or not last or last.searched is None):
            own.add(line)


def check_same(path: Path, crop: np.ndarray) -> None:
    """Raise a UserError if an image does not show this crop."""
    if not np.array_equal(read_image(path), crop):
        raise UserError(
            f"{path} is there already and shows something else; nothing was "
            "overwritten: rename the video or name another --output"
        )


def find_crops(dataset: Path) -> dict[str, list[Path]]:
    """Find the crops of a dataset by class, those of `unsure` included."""
    crops = {}
    for folder in sorted(dataset.iterdir()) if dataset.is_dir() else ():
        if folder.is_dir() and not files.is_left_out(folder.name):
            own = crops.setdefault(as_label(folder.name), [])
            own += files.find_files(folder, IMAGE_SUFFIXES)
    return crops


def read_lists(paths: list[Path]) -> dict[Path, SourceList]:
    """Read the lists among paths, by folder; warn of those of earlier versions."""
    if old := [str(path) for path in paths if path.name in LIST_NAMES - {SOURCES_NAME}]:
        warn(f"{listing(old, 2)}: no longer read; gather again for a {SOURCES_NAME}")
    return {x.parent: SourceList(x.parent) for x in paths if x.name == SOURCES_NAME}


def line_of(crop: Path, lists: dict[Path, SourceList]) -> Source | None:
    """Look up the line of a crop's source in the list beside it."""
    named, own = CROP_NAME.match(crop.stem), lists.get(crop.parent)
    return own.lines.get(named[1]) if named and own else None


def common_margin(
    crops: list[Path], lists: dict[Path, SourceList]
) -> tuple[float, int]:
    """Look up the margin of crops, and count those without a line in a list.

    These have the margin of the others, 0 if not named as ours. Two are a UserError.
    """
    examples, unlisted = {}, []
    for crop in crops:
        if line := line_of(crop, lists):
            examples.setdefault(line.margin, crop)
        elif CROP_NAME.match(crop.stem):
            unlisted.append(crop)
        else:
            examples.setdefault(0.0, crop)
    for folder in {crop.parent for crop in unlisted} - lists.keys():
        check_old_list(folder / OLD_NAME)
    if unlisted and not examples:
        for folder, own in lists.items():
            examples |= dict.fromkeys((x.margin for x in own.lines.values()), folder)
    if len(examples) > 1:
        (one, path), (other, other_path), *_ = examples.items()
        text = f"{path} was cut with margin {one:g}, {other_path} with margin {other:g}"
        raise UserError(f"{text}; gather all of them with the same --margin")
    return float(next(iter(examples), 0)), len(unlisted)


def check_old_list(path: Path) -> None:
    """Raise a UserError if the list of an earlier version has another margin than 0."""
    for row in read_csv(path.read_bytes()) if path.exists() else ():
        if (margin := row.get("margin") or "0").strip("0,."):
            raise UserError(
                f"{path}: its crops have margin {margin}, but it is no longer read; "
                f"delete them and gather again with --margin {margin}; crops that were "
                f"collected need a {SOURCES_NAME} with a line for each session, see "
                "docs/data.md"
            )
