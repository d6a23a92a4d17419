"""Crops collected while the demo runs, for the next training.

In the window a key says what a face is. Without a window, faces that the network is
unsure of are kept for a person to sort.
"""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pyimagesearch.classifier import Prediction
from pyimagesearch.console import count_of, info, warn
from pyimagesearch.crops import CropFolder
from pyimagesearch.faces import Face
from pyimagesearch.frames import Frame
from pyimagesearch.labels import Labels
from pyimagesearch.names import BONA_FIDE, UNSURE, as_label

import numpy as np

KEY_SECONDS = 0.2  # between two crops while a key is held down
UNSURE_SECONDS = 0.5  # between two crops of one face that are kept without a key
UNSURE_SHARE = 0.2  # a score this near to the threshold is unsure
UNSURE_LIMIT = 500  # in one run: an hour's work to sort, 20 MB


def name_keys(classes: Sequence[str]) -> dict[str, str]:
    """Give each class its key: r for real, f for fake, 1 to 9 for kinds of attack."""
    attacks = [name for name in classes if name != BONA_FIDE]
    keys = {BONA_FIDE[0]: BONA_FIDE} if BONA_FIDE in classes else {}
    keys["f"] = "fake" if "fake" in attacks else attacks[0]
    if len(attacks) > 1:
        keys |= {str(n): name for n, name in enumerate(attacks[:9], start=1)}
    return keys


def find_folder(dataset: Path, label: str) -> Path:
    """Return the folder of a class in a dataset: live, if there is no real."""
    others = sorted(dataset.iterdir()) if dataset.is_dir() else []
    same = [path for path in others if path.is_dir() and as_label(path.name) == label]
    return same[0] if same and dataset / label not in same else dataset / label


class Collector:
    """Saves faces to a dataset as gather_examples.py would.

    If `by_key`, keys say what a face is; otherwise the unsure faces are kept. `keys`
    gives the class of each key, `saved` counts crops by the name of their folder.
    """

    def __init__(
        self,
        folder: Path,
        labels: Labels,
        detector: str,
        thresholds: tuple[float, float],
        by_key: bool,
    ):
        self.keys = name_keys(labels.classes)
        self.saved = Counter()
        self._thresholds = thresholds
        self._by_key = by_key
        names = dict.fromkeys(self.keys.values()) if by_key else [UNSURE]
        self._folder = folder
        self._folders = {
            name: CropFolder(find_folder(folder, name), labels.margin, detector)
            for name in names
        }
        self._in_view = []  # of (prediction, crop, frame, place)
        self._last_key = None  # time and frame of the last crop saved by a key
        self._kept = {}  # by track: time of the last crop kept, and the last label
        if by_key:
            listed = ", ".join(f"{key} for {name}" for key, name in self.keys.items())
            info(f"press {listed}: saves the face in view to {folder}")

    def name_sources(self, files: dict[str, str]) -> dict[str, str]:
        """Name files so that their crops are not mixed up with another file's."""
        for folder in self._folders.values():
            files = folder.name_sources(files)
        return files

    def see(self, frame: Frame, predictions: Sequence[Prediction]) -> None:
        """Remember the faces in view, before anything is drawn over them."""
        cut = next(iter(self._folders.values())).cut
        self._in_view = [
            # A copy, as the frame is drawn onto.
            (prediction, cut(frame.image, prediction.box).copy(), frame, place)
            for place, prediction in enumerate(predictions, start=1)
        ]
        if not self._by_key:
            for prediction, crop, _, place in self._in_view:
                self._keep_unsure(prediction, crop, frame, place)

    def target(self, key: str) -> Prediction | None:
        """Return the face that a key would save: one labelled otherwise, or large."""
        seen = self._choose(self.keys[key])
        return seen and seen[0]

    def _choose(self, name: str):
        others = [seen for seen in self._in_view if seen[0].label != name]

        def area(seen) -> int:
            return seen[0].box.width * seen[0].box.height

        return max(others or self._in_view, key=area, default=None)

    def press(self, key: int) -> None:
        """Save the face in view as the class of a key, given by its code."""
        name = self.keys.get(chr(key).lower())
        seen = name and self._choose(name)
        if not seen:
            return
        prediction, crop, frame, place = seen
        now, number = time.monotonic(), (frame.source, frame.number)
        if self._last_key:
            before, last = self._last_key
            if now - before < KEY_SECONDS or number == last:
                return
        self._last_key = now, number
        self._save(name, crop, frame, place, prediction.box)

    def _keep_unsure(
        self, prediction: Prediction, crop: np.ndarray, frame: Frame, place: int
    ) -> None:
        """Keep a crop that is unsure, or whose face has just changed its label."""
        key = frame.source, prediction.track
        then, label = self._kept.get(key, (-UNSURE_SECONDS, prediction.label))
        low, high = self._thresholds
        is_unsure = prediction.label == UNSURE or (
            low == high and abs(prediction.score - high) < UNSURE_SHARE
        )
        is_due = frame.time - then >= UNSURE_SECONDS
        if (is_unsure or label != prediction.label) and is_due:
            if self.saved[UNSURE] < UNSURE_LIMIT:
                self._save(UNSURE, crop, frame, place, prediction.box)
            then = frame.time
        if len(self._kept) > 1000:  # faces that left long ago
            self._kept.clear()
        self._kept[key] = then, prediction.label

    def _save(self, name: str, crop, frame: Frame, place: int, face: Face) -> None:
        try:
            self._folders[name].save(crop, frame, place, face)
        except OSError as error:  # the disk may be full; the demo goes on
            warn(f"{self._folders[name].folder}: not saved: {error.strerror}")
        else:
            self.saved[name] += 1

    def __str__(self) -> str:
        """Say what was saved."""
        return ", ".join(f"{name} {self.saved[name]}" for name in self._folders)

    def close(self) -> None:
        """Close the folders, and say what to do with what was saved."""
        for folder in self._folders.values():
            folder.close()
        total = self.saved.total()
        if not total:
            return
        saved = f"collected {count_of(total, 'crop')} in {self._folder} ({self})"
        train = f"python train.py --dataset {self._folder}"
        if self._by_key:
            info(f"{saved}; to train with them: {train}")
        else:
            info(
                f"{saved}; move them from {self._folder / UNSURE} to the folder of "
                f"their class, then: {train}"
            )
