from pyimagesearch.faces import Face
from pyimagesearch.tracking import LOST_SECONDS, Tracker, overlap

import numpy as np
import pytest

FPS = 25


def face_at(x, y=100, size=60):
    return Face(round(x), round(y), round(x + size), round(y + size), 1.0)


def follow(paths, seconds=10.0, frames=50, first=0, tracker=None):
    """Show faces on their paths to a tracker; paths give None where nobody is seen.

    Returns the tracker and, for every path, the list of (track, score): score is the
    number of the path, so that a mean tells whose history it is of.
    """
    tracker = tracker or Tracker(seconds)
    seen = {number: [] for number in range(len(paths))}
    for frame in range(first, first + frames):
        shown = [(n, f) for n, p in enumerate(paths) if (f := p(frame)) is not None]
        rows = np.array([[n] for n, _ in shown], float).reshape(-1, 1)
        result = tracker.update([f for _, f in shown], rows, frame / FPS)
        for (number, _), (track, mean) in zip(shown, result, strict=True):
            seen[number].append((track, float(mean[0])))
    return tracker, seen


def test_a_walking_face_is_one_track():
    _, seen = follow([lambda t: face_at(10 + 8 * t)])
    assert {track for track, _ in seen[0]} == {1}


def test_two_faces_that_cross_keep_their_own_history():
    _, seen = follow(
        [lambda t: face_at(8 * t, 100), lambda t: face_at(400 - 8 * t, 110)]
    )
    for number in (0, 1):
        assert len({track for track, _ in seen[number]}) == 1
        assert {score for _, score in seen[number]} == {number}
    assert seen[0][0] != seen[1][0]


def test_a_face_hidden_for_a_moment_behind_another_keeps_its_history():
    def behind(t):
        return None if 22 <= t <= 28 else face_at(400 - 8 * t, 105)

    _, seen = follow([lambda t: face_at(8 * t), behind])
    for number in (0, 1):
        assert len({track for track, _ in seen[number]}) == 1
        assert {score for _, score in seen[number]} == {number}


def test_a_face_lost_for_longer_is_a_new_one():
    gap = round(LOST_SECONDS * FPS)
    short = follow([lambda t: None if 10 <= t < 10 + gap - 2 else face_at(50)])[1]
    long = follow([lambda t: None if 10 <= t < 10 + gap + 2 else face_at(50)])[1]
    assert len({track for track, _ in short[0]}) == 1
    assert len({track for track, _ in long[0]}) == 2


def test_who_enters_starts_anew_and_who_leaves_is_forgotten():
    def leaves(t):
        return face_at(50) if t < 20 else None

    def enters(t):  # in the same place, somebody else, later
        return face_at(52) if t >= 45 else None

    _, seen = follow([leaves, enters], frames=60)
    assert {score for _, score in seen[1]} == {1}
    assert seen[0][-1][0] != seen[1][0][0]


def test_a_cut_or_a_jump_back_begins_anew():
    tracker, before = follow([lambda t: face_at(50)])
    _, cut = follow([lambda t: face_at(500, 300)], first=50, tracker=tracker)
    _, again = follow([lambda t: face_at(500, 300)], first=0, tracker=tracker)
    tracks = [run[0][0][0] for run in (before, cut, again)]
    assert len(set(tracks)) == 3


def test_the_mean_is_over_the_last_seconds():
    tracker = Tracker(1.0)
    means = [
        tracker.update([face_at(50)], np.array([[score]]), time)[0][1][0]
        for time, score in [(0, 0), (0.4, 1), (0.8, 1), (1.2, 1), (1.6, 0)]
    ]
    assert means == pytest.approx([0, 1 / 2, 2 / 3, 1, 2 / 3])


def test_no_smoothing_gives_every_frame_its_own():
    tracker = Tracker(0)
    for time, score in [(0, 0.1), (0, 0.7), (0.04, 0.9)]:
        ((_, mean),) = tracker.update([face_at(50)], np.array([[score]]), time)
        assert mean == [score]


def test_no_faces():
    assert Tracker(1).update([], np.empty((0, 2)), 0.0) == []


def test_overlap():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], float)
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], float)
    np.testing.assert_allclose(overlap(boxes, others), [[1, 1 / 3, 0], [0, 0, 0]])
    assert overlap(np.empty((0, 4)), others).shape == (0, 3)
