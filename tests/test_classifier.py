import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyimagesearch import classifier as classifier_module
from pyimagesearch.classifier import (
    LOST_SECONDS,
    FaceClassifier,
    Tracker,
    decide,
    overlap,
)
from pyimagesearch.console import UserError
from pyimagesearch.faces import DetectorPool, Face, crop_face, detect_faces
from pyimagesearch.inputs import open_frames
from pyimagesearch.labels import Labels, load_labels, save_labels
from pyimagesearch.models import Network, load_classifier
from pyimagesearch.video import read_image

import cv2
import numpy as np
import pytest

FPS = 25


class FixedNetwork:
    """Stands for a network whose probabilities are known."""

    def __init__(self, *rows):
        self.rows = np.array(rows, np.float32)
        self.calls = []

    def predict(self, batch):
        self.calls.append(batch.shape)
        return self.rows[: len(batch)]


def make_classifier(fixed, classes=("fake", "real"), detectors=None, **options):
    network = Network(fixed.predict, height=32, width=32, classes=len(classes))
    return FaceClassifier(network, Labels(list(classes)), detectors, **options)


@pytest.fixture(scope="module")
def files(trained, detector_folder):
    """What FaceClassifier.load takes."""
    return trained / "liveness.onnx", trained / "le.pickle", detector_folder


def test_all_faces_go_into_one_call_of_the_network(detector, group_photo):
    fixed = FixedNetwork([0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.7, 0.3])
    image = read_image(group_photo)
    faces, _ = detect_faces(detector, image)
    found = make_classifier(fixed).classify(image, faces, 0.0)
    assert fixed.calls == [(5, 32, 32, 3)]
    assert [(face.label, round(face.probability, 1)) for face in found] == [
        ("real", 0.9),
        ("fake", 0.8),
        ("real", 0.7),
        ("fake", 0.6),
        ("fake", 0.7),
    ]
    assert [face.box for face in found] == faces
    assert [face.track for face in found] == [1, 2, 3, 4, 5]
    for face, row in zip(found, fixed.rows, strict=True):
        np.testing.assert_array_equal(face.probabilities, row)
        np.testing.assert_array_equal(face.crop, crop_face(image, face.box))
        assert np.shares_memory(face.crop, image)


@pytest.mark.parametrize(
    ("smooth", "expected"), [(0, [0.9, 0.1, 0.9]), (1, [0.9, 0.5, 1.9 / 3])]
)
def test_scores_are_averaged_but_probabilities_are_of_one_image(
    smooth, expected, detector, face_image
):
    faces, _ = detect_faces(detector, face_image)
    fixed = FixedNetwork()
    classifier = make_classifier(fixed, smooth=smooth)
    scores = []
    for number, p in enumerate([0.9, 0.1, 0.9]):
        fixed.rows = np.array([[1 - p, p]], np.float32)
        (face,) = classifier.classify(face_image, faces, number / 25)
        assert face.probabilities[1] == np.float32(p)
        assert face.label == ("real" if face.score >= 0.5 else "fake")
        scores.append(face.score)
    assert scores == pytest.approx(expected)
    assert face.track == (1 if smooth else face.track)


@pytest.mark.parametrize("smooth", [0, 1])
def test_no_score_is_beyond_1_by_rounding(smooth, detector, face_image):
    faces, _ = detect_faces(detector, face_image)
    fixed = FixedNetwork([0, np.nextafter(np.float32(1), np.float32(2))])
    classifier = make_classifier(fixed, smooth=smooth)
    for number in range(3):
        (face,) = classifier.classify(face_image, faces, number / 25)
        assert (face.score, face.probability) == (1, 1)


def test_a_reset_forgets_tracks_and_scores(detector, face_image):
    faces, _ = detect_faces(detector, face_image)
    fixed = FixedNetwork([0.1, 0.9])
    classifier = make_classifier(fixed)
    classifier.classify(face_image, faces, 0.0)
    fixed.rows = np.array([[1, 0]], np.float32)
    classifier.reset()
    (face,) = classifier.classify(face_image, faces, 0.0)
    assert (face.track, face.score) == (1, 0)


def test_without_a_face_the_network_is_not_called():
    fixed = FixedNetwork()
    classifier = make_classifier(fixed)
    assert classifier.classify(np.zeros((90, 90, 3), "u1"), [], 0.0) == []
    assert fixed.calls == []


@pytest.mark.parametrize(
    ("probabilities", "thresholds", "expected"),
    [
        ([0.5, 0.5], (0.5, 0.5), ("real", 0.5)),
        ([0.6, 0.4], (0.5, 0.5), ("fake", 0.6)),
        ([0.4, 0.6], (0.7, 0.7), ("fake", 0.4)),
        ([0.4, 0.6], (0.3, 0.7), ("unsure", 0.6)),
        ([0.3, 0.7], (0.3, 0.7), ("real", 0.7)),
        ([0.71, 0.29], (0.3, 0.7), ("fake", 0.71)),
    ],
)
def test_thresholds_decide_the_label(probabilities, thresholds, expected):
    label, score, probability = decide(
        np.array(probabilities), ["fake", "real"], thresholds
    )
    assert (label, probability) == expected
    assert score == probabilities[1]


def test_the_most_probable_attack_or_class_is_named():
    three = np.array([0.35, 0.25, 0.4])
    assert decide(three, ["mask", "print", "real"], (0.5, 0.5))[0] == "mask"
    assert decide(three, ["real", "mask", "print"], (0.3, 0.3))[0] == "real"
    assert decide(three, ["a", "b", "c"], (0.5, 0.5)) == ("c", 0.4, 0.4)


def test_the_faces_of_an_image_are_found_and_classified(files, detector, group_photo):
    classifier = FaceClassifier.load(*files)
    image = read_image(group_photo)
    before = image.copy()
    found = classifier(image)
    np.testing.assert_array_equal(image, before)
    assert [face.box for face in found] == detect_faces(detector, image)[0]
    assert len(found) == 5
    for face in found:
        assert face.label in ("real", "fake")
        assert face.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert face.score == pytest.approx(face.probabilities[1])


@pytest.mark.parametrize(
    ("convert", "found"),
    [
        (lambda image: image / 255, r"ndarray of shape \(144, 176, 3\), dtype float64"),
        (lambda image: image[..., 0], r"shape \(144, 176\), dtype uint8"),
        (lambda image: np.dstack([image, image[..., 0]]), r"shape \(144, 176, 4\)"),
        (lambda image: image[:0], r"shape \(0, 176, 3\)"),
        (lambda image: image[None], r"shape \(1, 144, 176, 3\)"),
        (lambda image: image.tolist(), "a list of shape None"),
        (lambda image: None, "a NoneType of"),
    ],
    ids=["float", "grey", "RGBA", "empty", "batch", "list", "camera without a frame"],
)
def test_an_array_that_is_no_image_is_a_value_error(convert, found, files, face_image):
    classifier = FaceClassifier.load(*files)
    expected = rf"shape \(M, N, 3\), dtype uint8, in BGR; got .*{found}"
    with pytest.raises(ValueError, match=expected):
        classifier(convert(face_image))
    with pytest.raises(ValueError, match=expected):
        classifier.classify(convert(face_image), [], 0.0)


@pytest.mark.parametrize(
    "scatter",
    [
        lambda image: np.ascontiguousarray(image[..., ::-1])[..., ::-1],  # from RGB
        lambda image: np.asfortranarray(image),
        lambda image: np.repeat(image, 2, axis=1)[:, ::2],
        lambda image: np.ascontiguousarray(image[::-1])[::-1],
    ],
)
def test_an_image_may_be_a_view_of_other_arrays(scatter, files, face_image):
    view = scatter(face_image)
    assert not view.flags.c_contiguous
    view.flags.writeable = False
    (expected,) = FaceClassifier.load(*files)(face_image)
    (face,) = FaceClassifier.load(*files)(view)
    assert (face.box, face.score) == (expected.box, expected.score)
    np.testing.assert_array_equal(face.crop, expected.crop)


@pytest.mark.parametrize("word", ["live", "BonaFide", "genuine", "client"])
def test_a_network_whose_labels_have_another_name_for_real_says_real(
    word, files, face_image, tmp_path
):
    """As one that was trained when they were other classes."""
    model, le, detectors = files
    labels = load_labels(le)
    save_labels(labels._replace(classes=["attack", word]), tmp_path / "le.pickle")
    (expected,) = FaceClassifier.load(*files, thresholds=(0.0, 0.0))(face_image)
    options = {"thresholds": (0.0, 0.0)}  # that anything passes
    classifier = FaceClassifier.load(
        model, tmp_path / "le.pickle", detectors, **options
    )
    (face,) = classifier(face_image)
    assert (face.label, face.score) == ("real", expected.score)


def test_files_may_be_given_as_text_or_paths(files, face_image):
    one = FaceClassifier.load(*files)(face_image, 0.0)
    other = FaceClassifier.load(*map(str, files))(face_image, 0.0)
    assert len(one) == len(other) == 1
    assert one[0].score == other[0].score


def test_the_default_time_is_now(files, face_image, monkeypatch):
    """A face that is seen twice is followed; seen again after a pause, it is new."""
    classifier = FaceClassifier.load(*files)
    tracks = []
    for now in (1000.0, 1000.1, 1002.0):
        monkeypatch.setattr("time.monotonic", lambda now=now: now)
        tracks += [face.track for face in classifier(face_image)]
    assert tracks == [1, 1, 2]


def test_cameras_in_threads_do_not_mix_up_tracks_and_scores(files, videos):
    """Each as if it were alone, in a thread of its own."""
    frames = {
        name: list(open_frames(str(videos / f"{name}.mp4"), skip=6))
        for name in ("real", "fake")
    }

    def watch(name, classifier):
        return [
            (face.track, face.score)
            for frame in frames[name]
            for face in classifier(frame.image, frame.time)
        ]

    alone = {name: watch(name, FaceClassifier.load(*files)) for name in frames}
    one, other = FaceClassifier.load(*files), FaceClassifier.load(*files)
    shared = FaceClassifier(one.network, one.labels, one.detectors)
    cameras = [("real", one), ("fake", other), ("fake", shared), ("real", shared)]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(watch, *zip(*cameras[:3], strict=True)))
    for (name, _), seen in zip(cameras[:3], together, strict=True):
        assert {track for track, _ in seen} == {track for track, _ in alone[name]}
        assert seen == alone[name]


def test_a_crop_has_the_pixels_that_gather_examples_saves(files, videos, dataset):
    classifier = FaceClassifier.load(*files)
    for frame in open_frames(str(videos / "real.mp4"), skip=20):
        face, *_ = classifier(frame.image, frame.time)
        saved = dataset / "real" / f"real_{frame.number:06d}.png"
        np.testing.assert_array_equal(face.crop, read_image(saved))


def test_crops_have_the_margin_of_the_training(trained, detector_folder, face_image):
    network = FaceClassifier.load(
        trained / "liveness.onnx", trained / "le.pickle", detector_folder
    ).network
    labels = Labels(["fake", "real"], margin=0.25)
    classifier = FaceClassifier(network, labels, DetectorPool(detector_folder))
    (face,) = classifier(face_image)
    expected = crop_face(face_image, face.box, 0.25)
    np.testing.assert_array_equal(face.crop, expected)
    assert face.crop.size > crop_face(face_image, face.box).size


def test_options_reach_the_decision(files, group_photo):
    image = read_image(group_photo)
    few = FaceClassifier.load(*files, confidence=0.9)(image)
    assert 0 < len(few) < 5
    unsure = FaceClassifier.load(*files, thresholds=(0.0, 1.0), smooth=0)(image)
    assert {face.label for face in unsure if face.score < 1} == {"unsure"}


@pytest.mark.parametrize(
    ("place", "name", "reason"),
    [
        (0, "missing.onnx", "no model .*missing.onnx; run train.py first"),
        (1, "missing.pickle", "no labels .*missing.pickle; run train.py first"),
        (2, "missing", "no face detector in .*missing"),
        (0, "text", "text: neither a .keras archive nor"),
        (1, "text", "text: not the labels"),
        (1, "other", "not the network that was exported with these labels"),
    ],
)
def test_a_wrong_file_is_reported_in_one_line(place, name, reason, files, tmp_path):
    (tmp_path / "text").write_text("hello")
    save_labels(Labels(["fake", "real"]), tmp_path / "other")
    arguments = list(files)
    arguments[place] = tmp_path / name
    with pytest.raises(UserError, match=reason) as error:
        FaceClassifier.load(*arguments)
    assert len(str(error.value).splitlines()) == 1


USE = """
import sys
from pyimagesearch.classifier import FaceClassifier
import cv2

def refuse(*_arguments):
    raise AssertionError("a window")

cv2.imshow = cv2.namedWindow = refuse
opened = []

def note(event, arguments):
    if event == "open" and arguments[2] & 3:  # for writing
        opened.append(arguments[0])

sys.addaudithook(note)
classifier = FaceClassifier.load(*sys.argv[1:4])
(face,) = classifier(cv2.imread(sys.argv[4]))
print(face.label, face.score)
heavy = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "tqdm", "h5py"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert not opened, opened
"""


def test_with_onnx_nothing_heavy_is_imported_and_nothing_is_written(
    files, face_image, tmp_path
):
    assert cv2.imwrite(str(tmp_path / "face.png"), face_image)
    done = subprocess.run(
        [sys.executable, "-c", USE, *map(str, files), "face.png"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    label, score = done.stdout.split()
    (face,) = FaceClassifier.load(*files)(face_image)
    assert (label, float(score)) == (face.label, pytest.approx(face.score, abs=1e-6))
    assert [path.name for path in tmp_path.iterdir()] == ["face.png"]


@pytest.fixture
def pair(trained, tmp_path):
    """An ONNX model and its labels, in a folder where they may be replaced."""
    names = ("liveness.onnx", "le.pickle")
    return [shutil.copy(trained / name, tmp_path / name) for name in names]


def refresh(classifier):
    """Refresh as a loop of frames does, until there is something to say."""
    while not (text := classifier.refresh()):
        pass
    return text


def watch(pair, labels=None):
    """Begin with the labels of a network that is not loaded."""
    return FaceClassifier(None, labels or load_labels(pair[1]), None, files=pair)


@pytest.mark.timeout(60)
def test_a_refresh_waits_until_model_and_labels_fit(pair, trained, monkeypatch):
    tried = []

    def load(*files):
        tried.append(files)
        return load_classifier(*files)

    monkeypatch.setattr(classifier_module, "load_classifier", load)
    classifier = watch(pair)

    def refresh_until(count):
        """Refresh until so many loadings were tried and are over."""
        while len(tried) < count or classifier._loading:
            assert classifier.refresh() == ""

    model, le = pair
    content = model.read_bytes()
    refresh_until(0)
    model.write_bytes(content[:-1])
    refresh_until(1)
    for _ in range(9):  # it is not tried again
        assert classifier.refresh() == ""
    model.unlink()
    refresh_until(1)
    assert len(tried) == 1
    model.write_bytes(content)
    assert refresh(classifier) == "using the new network"
    assert classifier.labels.classes == ["fake", "real"]
    save_labels(load_labels(le), le)  # with the threshold, say, after the folds
    for _ in range(9):
        assert classifier.refresh() == ""
    assert len(tried) == 2


@pytest.mark.timeout(60)
def test_a_model_that_cannot_be_used_is_named_once_after_a_minute(pair, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    classifier = watch(pair)

    def refresh_all():
        """Refresh until nothing is loading; return what was said."""
        texts = [classifier.refresh()]
        while classifier._loading:
            texts.append(classifier.refresh())
        return [text for text in texts if text]

    model, le = pair
    content = model.read_bytes()
    model.write_bytes(content[:-1])
    assert refresh_all() == []
    now[0] += 59
    os.utime(le, (0, 0))  # the labels are replaced, and tried, but do not fit
    assert refresh_all() == []
    now[0] += 2
    (text,) = refresh_all()
    assert text.startswith(f"the new network is not used: {model}: not the network")
    now[0] += 1000
    assert refresh_all() == []
    model.write_bytes(content)
    assert refresh_all() == ["using the new network"]


@pytest.mark.timeout(60)
def test_a_network_that_came_while_the_program_started_is_used(pair):
    classifier = watch(pair, Labels([]))
    assert refresh(classifier) == "using the new network"


def test_a_classifier_that_was_loaded_from_files_may_be_refreshed(
    pair, detector_folder, tmp_path
):
    model, _ = pair
    classifier = FaceClassifier.load(*pair, detector_folder)
    assert classifier.refresh() == ""
    shutil.copy(model, tmp_path / "new").replace(model)
    old = classifier.network
    assert refresh(classifier) == "using the new network"
    assert classifier.network is not old


def test_a_new_network_keeps_the_tracks_but_not_the_scores(
    pair, detector, face_image, tmp_path
):
    model, _ = pair
    faces, _ = detect_faces(detector, face_image)
    classifier = make_classifier(FixedNetwork([0.0, 1.0]), smooth=9, files=pair)
    classifier.labels = load_labels(pair[1])
    classifier.classify(face_image, faces, 0.0)
    shutil.copy(model, tmp_path / "new").replace(model)
    refresh(classifier)
    (face,) = classifier.classify(face_image, faces, 0.04)
    assert face.track == 1
    assert face.score == face.probabilities[1]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"classes": ["mask", "print", "real"]}, "other classes"),
        ({"margin": 0.5}, "another margin"),
        ({"classes": [], "margin": 0.5}, "another margin"),
    ],
)
def test_a_new_network_that_needs_other_crops_is_not_used(
    changes, difference, pair, tmp_path
):
    model, le = pair
    classifier = watch(pair, load_labels(le)._replace(**changes))
    shutil.copy(model, tmp_path / "new").replace(model)
    text = f"the new network has {difference}; restart the demo"
    assert refresh(classifier) == text
    assert classifier.network is None
    for _ in range(9):
        assert classifier.refresh() == ""


@pytest.mark.timeout(60)
def test_without_a_network_faces_are_found_until_one_comes(
    pair, trained, detector, face_image, tmp_path
):
    for file in pair:
        file.unlink()
    classifier = watch(pair, Labels([]))
    faces, _ = detect_faces(detector, face_image)
    (face,) = classifier.classify(face_image, faces, 0.0)
    assert (face.box, face.label, face.track) == (faces[0], "", 1)
    assert face.probabilities.shape == (0,)
    shutil.copy(trained / "liveness.onnx", pair[0])  # the labels are still to come
    assert classifier.refresh() == ""
    shutil.copy(trained / "le.pickle", pair[1])
    assert refresh(classifier) == "using the new network"
    (face,) = classifier.classify(face_image, faces, 0.04)
    assert (face.label in ("real", "fake"), face.track) == (True, 1)


def test_the_tracks_in_view_include_those_missed_for_a_moment(face_image):
    classifier = make_classifier(FixedNetwork([0.1, 0.9], [0.2, 0.8]))
    boxes = [Face(0, 0, 40, 40, 0.9), Face(60, 60, 99, 99, 0.9)]
    classifier.classify(face_image, boxes, 0.0)
    classifier.classify(face_image, boxes[:1], LOST_SECONDS - 0.1)
    assert classifier.tracks == [1, 2]
    classifier.classify(face_image, boxes[:1], LOST_SECONDS + 0.1)
    assert classifier.tracks == [1]


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


def test_a_person_who_enters_does_not_inherit_the_scores_of_one_who_left():
    def leaves(t):
        return face_at(50) if t < 20 else None

    def enters(t):  # in the same place, somebody else, later
        return face_at(52) if t >= 45 else None

    _, seen = follow([leaves, enters], frames=60)
    assert {score for _, score in seen[1]} == {1}
    assert seen[0][-1][0] != seen[1][0][0]


def test_a_cut_or_a_jump_back_in_time_starts_new_tracks():
    tracker, before = follow([lambda t: face_at(50)])
    _, cut = follow([lambda t: face_at(500, 300)], first=50, tracker=tracker)
    _, again = follow([lambda t: face_at(500, 300)], first=0, tracker=tracker)
    tracks = [run[0][0][0] for run in (before, cut, again)]
    assert len(set(tracks)) == 3


def test_the_mean_covers_the_last_seconds_only():
    tracker = Tracker(1.0)
    means = [
        tracker.update([face_at(50)], np.array([[score]]), time)[0][1][0]
        for time, score in [(0, 0), (0.4, 1), (0.8, 1), (1.2, 1), (1.6, 0)]
    ]
    assert means == pytest.approx([0, 1 / 2, 2 / 3, 1, 2 / 3])


def test_without_smoothing_every_frame_has_its_own_score():
    tracker = Tracker(0)
    for time, score in [(0, 0.1), (0, 0.7), (0.04, 0.9)]:
        ((_, mean),) = tracker.update([face_at(50)], np.array([[score]]), time)
        assert mean == [score]


def test_a_tracker_accepts_images_without_faces():
    assert Tracker(1).update([], np.empty((0, 2)), 0.0) == []


def test_overlap_is_intersection_over_union():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], float)
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], float)
    np.testing.assert_allclose(overlap(boxes, others), [[1, 1 / 3, 0], [0, 0, 0]])
    assert overlap(np.empty((0, 4)), others).shape == (0, 3)
