"""Crops collected while the demo runs, for the next training to learn from.

In the window a key says what a face is. Without one, what the network is unsure of is
kept for a person to sort.
"""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pyimagesearch.classifier import Prediction
from pyimagesearch.console import count_of, info, warn
from pyimagesearch.faces import Face
from pyimagesearch.frames import Frame
from pyimagesearch.labels import BONA_FIDE, Labels
from pyimagesearch.manifest import UNSURE, CropFolder

import numpy as np

KEY_SECONDS = 0.2  # between two crops while a key is held down
UNSURE_SECONDS = 0.5  # between two crops of one face that are kept unasked
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


class Collector:
    """Saves faces as gather_examples.py would.

    Parameters
    ----------
    folder : Path
        The dataset; a class's crops go into the folder of its name.
    labels : Labels
        Of the running network.
    detector : str
        Which one finds the faces.
    thresholds : (float, float)
        Those of the demo.
    by_key : bool
        Whether a person says what a face is; otherwise the unsure ones are kept.

    Attributes
    ----------
    keys : dict of str to str
        Class by key.
    saved : Counter
        Crops by the name of their folder.
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
            name: CropFolder(folder / name, labels.margin, detector) for name in names
        }
        self._in_view = []  # of (prediction, crop, frame, place)
        self._last_key = None  # when, and of which frame, a crop was saved
        self._kept = {}  # by track: when a crop was kept, and the label of before
        if by_key:
            listed = ", ".join(f"{key} for {name}" for key, name in self.keys.items())
            info(f"press {listed}: saves the face in view to {folder}")

    def name_sources(self, files: dict[str, str]) -> dict[str, str]:
        """Name files so that no crop of theirs stands among another file's."""
        for folder in self._folders.values():
            files = folder.name_sources(files)
        return files

    def see(self, frame: Frame, predictions: Sequence[Prediction]) -> None:
        """Take note of the faces in view, before anything is drawn over them."""
        cut = next(iter(self._folders.values())).cut
        self._in_view = [
            # A copy, as the frame is drawn onto.
            (prediction, cut(frame.image, prediction.box).copy(), frame, place)
            for place, prediction in enumerate(predictions, start=1)
        ]
        if not self._by_key:
            for seen in self._in_view:
                self._keep_unsure(*seen)

    def target(self, key: str) -> Prediction | None:
        """Say which face in view a key would save: one labelled otherwise, or large."""
        seen = self._choose(self.keys[key])
        return seen and seen[0]

    def _choose(self, name: str):
        others = [seen for seen in self._in_view if seen[0].label != name]
        return max(
            others or self._in_view, key=lambda seen: area(seen[0].box), default=None
        )

    def press(self, key: int) -> None:
        """Save the face in view as the class of a key, by its code."""
        name = self.keys.get(chr(key))
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
        """Keep a crop that was unsure, or whose face has just changed its label."""
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
        if len(self._kept) > 1000:  # faces that have left long ago
            self._kept.clear()
        self._kept[key] = then, prediction.label

    def _save(self, name: str, crop, frame: Frame, place: int, face: Face) -> None:
        try:
            self._folders[name].save(crop, frame, place, face)
        except OSError as error:  # the disk may be full; the demo goes on
            warn(f"{self._folder / name}: not saved: {error.strerror}")
        else:
            self.saved[name] += 1

    def __str__(self) -> str:
        """Say what was saved."""
        counts = {name: self.saved[name] for name in self._folders}
        return ", ".join(f"{name} {count}" for name, count in counts.items())

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
            info(f"{saved}; to learn them: {train}")
        else:
            info(
                f"{saved}; move them from {self._folder / UNSURE} to the folder of "
                f"their class, then: {train}"
            )


def area(face: Face) -> int:
    """Give the size of a face in pixels."""
    return (face.right - face.left) * (face.bottom - face.top)
