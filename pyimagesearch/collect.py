"""Crops collected in the demo's window by keys, for the next training."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from pyimagesearch.classifier import Prediction
from pyimagesearch.console import command_line, count_of, info, warn
from pyimagesearch.crops import CropFolder, common_margin, find_crops, read_lists
from pyimagesearch.faces import shrink
from pyimagesearch.files import find_files
from pyimagesearch.flags import LE, MODEL
from pyimagesearch.inputs import Frame, hide_password
from pyimagesearch.labels import Labels
from pyimagesearch.names import ATTACK, BONA_FIDE, UNSURE, as_label, name_files
from pyimagesearch.video import IMAGE_SUFFIXES, is_address

import numpy as np

ENOUGH_TO_TRAIN = 8  # crops of a class, to begin with
KEY_SECONDS = 0.2  # between two actions while a key is held down
LOOK_SECONDS = 1.0  # between two looks at the files of the dataset, or longer
STALL_SECONDS = 8.0  # without a new picture, the last one is out of date
# Two crops are one view if their network inputs' mean difference is a smaller share of
# the standard deviation. From frame to frame, it is 0.05 for an unmoving face, and less
# than this for 8 % of the crops of a moving one.
LEAST_DIFFERENCE = 0.1
COMPARED = 8  # a crop is compared with so many of the last ones of its class
NOTE_SECONDS = 3.0  # how long a note stays in the window
FLASH_SECONDS = 0.2  # how long a face that was saved is framed


def labels_of(dataset: Path) -> Labels:
    """Say how a dataset's crops are cut, while no network says so: without classes."""
    files = find_files(dataset) if dataset.is_dir() else []
    crops = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    return Labels([], common_margin(crops, read_lists(files))[0])


def name_keys(classes: Iterable[str]) -> dict[str, str]:
    """Give each class its key: r for real, f for fake, 1 to 9 for kinds of attack."""
    keys = {name[0]: name for name in (BONA_FIDE, ATTACK) if name in classes}
    kinds = [name for name in classes if name not in (BONA_FIDE, ATTACK)]
    return keys | {str(n): name for n, name in enumerate(kinds[:9], start=1)}


def find_folder(dataset: Path, label: str) -> Path:
    """Return the folder of a class in a dataset: live, if there is no real."""
    own, paths = dataset / label, dataset.glob("*")
    same = [path for path in paths if path.is_dir() and as_label(path.name) == label]
    return own if own in same else min(same, default=own)


def next_commands(folder: Path, source: str, model: Path, le: Path) -> tuple[str, str]:
    """Return the command that learns what is collected, and that to collect more."""
    given = ["--le", str(le)] if le != LE else []
    train, demo = ["--dataset", str(folder), *given], ["--collect", str(folder), *given]
    if source != "0":
        demo += ["--input", hide_password(source) if is_address(source) else source]
    if model != MODEL:
        demo += ["--model", str(model)]
    if model.suffix.lower() == ".onnx":
        train += ["--export", str(model)]
        model = model.with_suffix(".model")
    if model != MODEL:
        train += ["--model", str(model)]
    return command_line("train.py", *train), command_line("liveness_demo.py", *demo)


class Collector:
    """A sink that saves the selected face, as gather_examples.py would, by keys."""

    def __init__(self, folder: Path, classifier, source="0", model=MODEL, le=LE):
        self._folder, self._classifier = folder, classifier
        self._train, self._again = next_commands(folder, source, model, le)
        labels, detectors = classifier.labels, classifier.detectors
        self._start, self._next_look = time.time(), 0.0
        self._look()
        classes = {*labels.classes, *self._counts}
        if not labels.classes:
            classes |= {BONA_FIDE} if classes - {BONA_FIDE} else {BONA_FIDE, ATTACK}
        self.keys = name_keys(sorted(classes))  # the class of each key
        self._folders = {
            name: CropFolder(find_folder(folder, name), labels.margin, detectors)
            for name in self.keys.values()
        }
        self.saved, self._undoable = Counter(), []  # the latter of (class, path)
        self._recent = {}  # by class: network inputs, (h, w, 3) int16
        self._frame, self._in_view, self._chosen = None, [], 0  # the last is a track
        self._note, self._last_key = ("", 0.0), 0.0  # the note, until when it is shown
        self.flash_end = 0.0  # until then, the selected face has just been saved
        listed = ", ".join(f"{key} for {name}" for key, name in self.keys.items())
        info(f"press {listed}: saves the selected face to {folder}; u undoes it")

    def name_files(self, files: Iterable[Path], root: Path) -> dict[str, str]:
        """Name files so that their crops are not mixed up with another file's."""
        owners = set().union(*(folder.owners for folder in self._folders.values()))
        named = name_files(files, root, owners)
        for folder in self._folders.values():
            folder.files = named
        return named

    def __call__(self, frame: Frame, predictions: Sequence[Prediction]) -> bool:
        """Remember the faces in view; of a stale frame, they stay for a while."""
        if not 0 < frame.stale < STALL_SECONDS:
            is_same = self._frame and frame.source == self._frame.source
            if not is_same or self._chosen not in self._classifier.tracks:
                self._chosen = 0
            self._frame, self._in_view = frame, predictions
        return True

    @property
    def selected(self) -> Prediction | None:
        """The face that keys act on: the only one in view, or else the chosen one."""
        tracks = self._classifier.tracks
        track = tracks[0] if len(tracks) == 1 else self._chosen
        return next((face for face in self._in_view if face.track == track), None)

    def choose_at(self, x: float, y: float) -> None:
        """Select the face at a place of the frame, in pixels."""
        for face in self._in_view:
            left, top, right, bottom, _ = face.box
            if left <= x < right and top <= y < bottom:
                self._chosen = face.track

    def choose_next(self) -> None:
        """Select the next face, from left to right and round."""
        tracks = [face.track for face in sorted(self._in_view, key=lambda x: x.box)]
        if self._chosen in tracks:
            tracks = tracks[tracks.index(self._chosen) + 1 :] + tracks
        self._chosen = tracks[0] if tracks else 0

    def press(self, key: str) -> None:
        """Save the selected face, by the key of a class; u undoes it, Tab selects."""
        key, now = key.lower(), time.monotonic()
        if now - self._last_key < KEY_SECONDS or key not in {*self.keys, "u", "\t"}:
            return
        self._last_key = now
        text = ""
        try:
            if key == "u":
                text = self._undo()
            elif key == "\t":
                self.choose_next()
            elif face := self.selected:
                text = self._save(self.keys[key], face)
            else:
                text = self._ask_for_a_face()
        except OSError as error:  # the disk may be full; the demo goes on
            text = f"not {'deleted' if key == 'u' else 'saved'}: {error.strerror}"
            warn(f"{self._folder}: {text}")
        if text:
            self.note(text)

    def _ask_for_a_face(self) -> str:
        number = len(self._classifier.tracks)
        if number < 2:
            return "no face found: come nearer, face the light"
        number = "two" if number == 2 else number
        return f"{number} faces in view: click the one you mean, or press Tab"

    def _undo(self) -> str:
        if not self._undoable:
            return "nothing to undo"
        name, path = self._undoable[-1]
        is_new = self._is_new(path)
        path.unlink(missing_ok=True)
        self._undoable.pop()
        self._counts.subtract([name])
        self.saved.subtract([name])
        self._newer -= 1 if is_new else 0
        if self._recent[name]:
            self._recent[name].pop()
        known = "" if is_new else "; the network knows it until the next training"
        return f"undid the last {name}{known}"

    def _save(self, name: str, face: Prediction) -> str:
        view = shrink(face.crop).astype(np.int16)
        recent = self._recent.setdefault(name, deque(maxlen=COMPARED))
        least = LEAST_DIFFERENCE * view.std()
        if any(np.abs(view - old).mean() < least for old in recent):
            return "move a little: this view is saved already"
        rank = [seen.track for seen in self._in_view].index(face.track) + 1
        path = self._folders[name].save(face.crop, self._frame, rank)
        if path is None:
            return "this crop is in the dataset already"
        recent.append(view)
        self._undoable.append((name, path))
        self._counts.update([name])
        self.saved.update([name])
        self._newer += 1
        self.flash_end = time.monotonic() + FLASH_SECONDS
        return ""

    def note(self, text: str) -> None:
        """Show a note in the window for a while."""
        self._note = text, time.monotonic() + NOTE_SECONDS

    def _is_new(self, crop: Path) -> bool:
        """Return whether the network in use cannot have learnt a crop."""
        read_at = self._classifier.labels.read_at
        with suppress(FileNotFoundError):
            return crop.stat().st_mtime > (self._start if read_at is None else read_at)
        return True

    def _look(self) -> None:
        start = time.monotonic()
        if start < self._next_look:
            return
        crops = find_crops(self._folder)
        crops.pop(UNSURE, None)
        self._counts = Counter({name: len(own) for name, own in crops.items()})
        self._newer = sum(self._is_new(crop) for own in crops.values() for crop in own)
        end = time.monotonic()
        self._next_look = end + max(LOOK_SECONDS, 10 * (end - start))

    def caption(self) -> list[str]:
        """Say in two lines what there is, and what to do next."""
        self._look()
        counts = []
        for name in self._folders:
            number = self._counts[name]
            goal = f" of {ENOUGH_TO_TRAIN}" if number < ENOUGH_TO_TRAIN else ""
            counts.append(f"{name} {number}{goal}")
        keys = [f"{key} {name}" for key, name in self.keys.items()]
        note, end = self._note
        text = note if time.monotonic() < end else self._advise()
        return [f"{', '.join(counts)} | {', '.join(keys)}, u undo, q quit", text]

    def _advise(self) -> str:
        real = self._counts[BONA_FIDE]
        lacks_real = BONA_FIDE in self._folders and real < ENOUGH_TO_TRAIN
        lacks_attacks = self._counts.total() - real < ENOUGH_TO_TRAIN
        if not (lacks_real or lacks_attacks):
            if not self._classifier.network:
                return f"enough to begin: run  {self._train}"
            if self._newer:
                new = count_of(self._newer, "crop")
                return f"{new} not yet learnt: run  {self._train}"
        if not self._chosen and len(self._classifier.tracks) != 1:
            return self._ask_for_a_face()
        if lacks_real:
            return "look into the camera and press r: near, far, turned"
        if lacks_attacks:
            keys = " or ".join(k for k, name in self.keys.items() if name != BONA_FIDE)
            return f"hold up a phone that shows your picture or video, and press {keys}"
        return "where a label is wrong, press the key of the right one"

    def close(self) -> None:
        """Close the folders; say what was saved, and which command comes next."""
        saved = ", ".join(f"{name} {self.saved[name]}" for name in self._folders)
        total = count_of(self.saved.total(), "crop")
        info(f"collected {total} in {self._folder} ({saved})")
        if self.saved.total():
            is_trainable = 0 < self._counts[BONA_FIDE] < self._counts.total()
            info(f"next: {self._train if is_trainable else self._again}")
