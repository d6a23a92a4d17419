"""Faces are followed from frame to frame, so that their scores can be averaged."""

from collections import deque

from pyimagesearch.faces import Face

import numpy as np

# A track and a detection that overlap less are two faces (intersection over union).
LEAST_OVERLAP = 0.3
# A face that was lost for longer is a new one; a blink of the detector is shorter.
LOST_SECONDS = 0.5


class Tracker:
    """Follows faces by overlap with where they are expected, and averages scores.

    Parameters
    ----------
    seconds : float
        Over how long to average; 0 gives every frame its own scores.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._tracks = []
        self._count = 0

    def forget_scores(self) -> None:
        """Begin all averages anew, as another network gives the scores from now on."""
        for track in self._tracks:
            track.history.clear()

    def update(
        self, faces: list[Face], probabilities: np.ndarray, time: float
    ) -> list[tuple[int, np.ndarray]]:
        """Match the faces of the next frame to those before.

        Parameters
        ----------
        faces : list of Face, length n
        probabilities : ndarray of shape (n, classes)
            Of each face in this frame.
        time : float
            Of the frame in seconds. Where it goes back, another video has begun.

        Returns
        -------
        list of (int, ndarray of shape (classes,)), length n
            For every face a number that stays with it, counted from 1, and the mean of
            its probabilities over the last seconds.
        """
        self._tracks = [t for t in self._tracks if 0 <= time - t.time <= LOST_SECONDS]
        boxes = np.array([face[:4] for face in faces], float).reshape(-1, 4)
        expected = np.array([track.expect(time) for track in self._tracks])
        overlaps = overlap(boxes, expected.reshape(-1, 4))
        matches = {}
        # The best match first; each face and each track is used once.
        while overlaps.size and overlaps.max() >= LEAST_OVERLAP:
            face, track = np.unravel_index(overlaps.argmax(), overlaps.shape)
            matches[face] = self._tracks[track]
            overlaps[face] = overlaps[:, track] = 0
        for face in set(range(len(faces))) - set(matches):
            self._count += 1
            matches[face] = _Track(self._count)
            self._tracks.append(matches[face])
        return [
            (
                matches[face].number,
                matches[face].add(boxes[face], row, time, self._seconds),
            )
            for face, row in enumerate(probabilities)
        ]


class _Track:
    """One face on its way."""

    def __init__(self, number: int):
        self.number = number
        self.time = None
        self._box = None
        self._velocity = np.zeros(4)  # pixels a second, of each side of the box
        self.history = deque()  # of (time, probabilities)

    def expect(self, time: float) -> np.ndarray:
        """Say where the box should be if the face moves on as it did."""
        return self._box + self._velocity * (time - self.time)

    def add(
        self, box: np.ndarray, probabilities: np.ndarray, time: float, seconds: float
    ) -> np.ndarray:
        if self._box is not None and time > self.time:
            # Half of what is new: the detector's boxes tremble.
            latest = (box - self._box) / (time - self.time)
            self._velocity = (self._velocity + latest) / 2
        self._box, self.time = box, time
        self.history.append((time, probabilities))
        while self.history[0][0] < time - seconds:
            self.history.popleft()
        if not seconds:
            return probabilities
        return np.mean([row for _, row in self.history], axis=0)


def overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute the intersection over union of each box with each other.

    Parameters
    ----------
    boxes : ndarray of shape (n, 4)
    others : ndarray of shape (m, 4)
        Left, top, right, bottom.

    Returns
    -------
    ndarray of shape (n, m)
        In [0, 1].
    """
    corners = np.maximum(boxes[:, None, :2], others[None, :, :2])
    sizes = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - corners
    shared = sizes.clip(0).prod(axis=2)
    areas = [(b[:, 2:] - b[:, :2]).clip(0).prod(axis=1) for b in (boxes, others)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
