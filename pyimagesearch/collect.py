"""Crops collected in the demo's window by keys, for the next training."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from pyimagesearch.classifier import Prediction
from pyimagesearch.console import command_line, count_of, info, warn
from pyimagesearch.crops import CropFolder, common_margin, find_crops, read_lists
from pyimagesearch.faces import DetectorPool, shrink
from pyimagesearch.files import find_files
from pyimagesearch.frames import IMAGE_SUFFIXES, Frame
from pyimagesearch.labels import Labels
from pyimagesearch.names import ATTACK, BONA_FIDE, UNSURE, as_label, name_files

import numpy as np

ENOUGH_TO_TRAIN = 8  # crops of a class, to begin with
KEY_SECONDS = 0.2  # between two actions while a key is held down
# Two crops are one view if their network inputs differ by less: the mean difference, as
# a share of the standard deviation. An unmoving face differs by 0.05 from one frame to
# the next; of a moving one, 8 % of neighbouring crops differ by less than this, and 1 %
# of those ten crops apart.
LEAST_DIFFERENCE = 0.1
COMPARED = 8  # a crop is compared with so many of the last ones of its class
NOTE_SECONDS = 3.0  # how long a note stays in the window


def labels_of(dataset: Path) -> Labels:
    """Say how a dataset's crops are cut, while no network says so: without classes."""
    files = find_files(dataset) if dataset.is_dir() else []
    crops = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    margin, _ = common_margin(crops, read_lists(files))
    return Labels([], margin)


def name_keys(classes: Iterable[str]) -> dict[str, str]:
    """Give each class its key: r for real, f for fake, 1 to 9 for kinds of attack."""
    attacks = [name for name in classes if name != BONA_FIDE]
    keys = {BONA_FIDE[0]: BONA_FIDE} if BONA_FIDE in classes else {}
    keys["f"] = ATTACK if ATTACK in attacks else attacks[0]
    if len(attacks) > 1:
        keys |= {str(n): name for n, name in enumerate(attacks[:9], start=1)}
    return keys


def find_folder(dataset: Path, label: str) -> Path:
    """Return the folder of a class in a dataset: live, if there is no real."""
    others = sorted(dataset.iterdir()) if dataset.is_dir() else []
    same = [path for path in others if path.is_dir() and as_label(path.name) == label]
    return same[0] if same and dataset / label not in same else dataset / label


class Collector:
    """Saves faces to a dataset, as gather_examples.py would, when a key is pressed.

    Labels without classes mean that there is no network yet; `detectors` find the
    faces, `options` are those of the train.py that learns the crops. `keys` gives the
    class of each key, `saved` counts the crops of this run.
    """

    def __init__(
        self,
        folder: Path,
        labels: Labels,
        detectors: DetectorPool,
        options: Sequence[str] = (),
    ):
        crops = find_crops(folder)
        crops.pop(UNSURE, None)
        classes = {*labels.classes, *crops}
        if not labels.classes:
            classes |= {BONA_FIDE} if classes - {BONA_FIDE} else {BONA_FIDE, ATTACK}
        self.keys = name_keys(sorted(classes))
        self.saved = Counter()
        self._train = command_line("train.py", "--dataset", str(folder), *options)
        self._counts = Counter({name: len(own) for name, own in crops.items()})
        self._newer = None  # how many crops are newer than the network, if there is one
        self._undoable = []  # of (class, path)
        self._recent = {}  # by class: network inputs, (h, w, 3) int16
        self._note = "", 0.0  # and until when it is shown
        self._folder = folder
        self._folders = {
            name: CropFolder(find_folder(folder, name), labels.margin, detectors)
            for name in dict.fromkeys(self.keys.values())
        }
        self._frame, self._in_view = None, []  # the latest, and its predictions
        self._last_key = -KEY_SECONDS  # when a key was last obeyed
        listed = ", ".join(f"{key} for {name}" for key, name in self.keys.items())
        info(f"press {listed}: saves the face in view to {folder}; u takes it back")

    def name_files(self, files: Iterable[str], root: Path) -> dict[str, str]:
        """Name files so that their crops are not mixed up with another file's."""
        owners = set().union(*(folder.owners for folder in self._folders.values()))
        named = name_files(map(Path, files), root, owners)
        for folder in self._folders.values():
            folder.files = named
        return named

    def see(self, frame: Frame, predictions: Sequence[Prediction]) -> None:
        """Remember the faces in view, before anything is drawn over them."""
        self._frame = frame
        # Copies, as the frame is drawn onto.
        self._in_view = [face._replace(crop=face.crop.copy()) for face in predictions]

    def target(self, key: str) -> Prediction | None:
        """Return the face that a key would save: one labelled otherwise, or large."""
        others = [face for face in self._in_view if face.label != self.keys[key]]

        def area(face: Prediction) -> int:
            return face.box.width * face.box.height

        return max(others or self._in_view, key=area, default=None)

    def press(self, key: int) -> None:
        """Save the face in view as the class of a key, given by its code.

        The key u deletes the last crop of this run, and then the one before it.
        """
        letter, now = chr(key).lower(), time.monotonic()
        name = self.keys.get(letter)
        if not (name or letter == "u") or now - self._last_key < KEY_SECONDS:
            return
        self._last_key = now
        if not name:
            self._undo()
        elif face := self.target(letter):
            self._save(name, face)
        else:
            self.note("no face in view")

    def _undo(self) -> None:
        if not self._undoable:
            self.note("nothing to take back")
            return
        name, path = self._undoable[-1]
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            warn(f"{path}: not deleted: {error.strerror}")
            self.note(f"not deleted: {error.strerror}")
            return
        self._undoable.pop()
        self._add(name, -1)
        if self._recent[name]:
            self._recent[name].pop()
        self.note(f"took back the last {name}")

    def _add(self, name: str, number: int) -> None:
        self.saved[name] += number
        self._counts[name] += number
        if self._newer is not None:
            self._newer = max(0, self._newer + number)

    def _save(self, name: str, face: Prediction) -> None:
        view = shrink(face.crop).astype(np.int16)
        recent = self._recent.setdefault(name, deque(maxlen=COMPARED))
        least = LEAST_DIFFERENCE * view.std()
        if any(np.abs(view - other).mean() < least for other in recent):
            self.note("move a little: this view is saved already")
            return
        rank = [seen.box for seen in self._in_view].index(face.box) + 1
        try:
            path = self._folders[name].save(face.crop, self._frame, rank)
        except OSError as error:  # the disk may be full; the demo goes on
            warn(f"{self._folders[name].folder}: not saved: {error.strerror}")
            self.note(f"not saved: {error.strerror}")
            return
        if path is None:
            self.note("this crop is in the dataset already")
            return
        recent.append(view)
        self._undoable.append((name, path))
        self._add(name, 1)

    def note(self, text: str) -> None:
        """Show a note in the window for a while."""
        self._note = text, time.monotonic() + NOTE_SECONDS

    def compare_with(self, model: Path) -> None:
        """Count the crops that are newer than the network that is now used."""
        crops = find_crops(self._folder)
        crops.pop(UNSURE, None)
        trained = model.stat().st_mtime_ns
        self._newer = sum(
            crop.stat().st_mtime_ns > trained for own in crops.values() for crop in own
        )

    def caption(self) -> list[str]:
        """Say in two lines what there is, and what to do next."""
        counts = [
            f"{name} {self._counts[name]}"
            + f" of {ENOUGH_TO_TRAIN}" * (self._counts[name] < ENOUGH_TO_TRAIN)
            for name in self._folders
        ]
        keys = {}
        for key, name in self.keys.items():
            keys.setdefault(name, []).append(key)
        listed = [f"{' '.join(own)} {name}" for name, own in keys.items()]
        text, end = self._note
        if time.monotonic() >= end:
            text = self._advise()
        return [f"{', '.join(counts)} | {', '.join(listed)}, u undo, q quit", text]

    def _advise(self) -> str:
        real = self._counts[BONA_FIDE]
        if BONA_FIDE in self._folders and real < ENOUGH_TO_TRAIN:
            return "look into the camera and press r: near, far, turned"
        if sum(self._counts[name] for name in self._folders) - real < ENOUGH_TO_TRAIN:
            return "hold a phone with your picture or video before it, press f"
        if self._newer is None:
            return f"enough to begin: run  {self._train}"
        if self._newer:
            new = count_of(self._newer, "crop")
            return f"{new} not yet learnt: run  {self._train}"
        return "where a label is wrong, press the key of the right one"

    def close(self) -> None:
        """Close the folders; say what was saved, and which command comes next."""
        saved = ", ".join(f"{name} {self.saved[name]}" for name in self._folders)
        total = count_of(self.saved.total(), "crop")
        info(f"collected {total} in {self._folder} ({saved})")
        command = command_line("liveness_demo.py", "--collect", str(self._folder))
        if 0 < self._counts[BONA_FIDE] < self._counts.total():
            command = self._train
        info(f"next: {command}")
