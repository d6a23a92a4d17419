import threading

from pyimagesearch import faces
from pyimagesearch.faces import (
    Detectors,
    Face,
    crop_face,
    detect_faces,
    detect_in_frames,
)
from pyimagesearch.sources import open_frames

import cv2
import numpy as np
import pytest
from conftest import NEEDS_RES10


def assert_inside(face, image):
    height, width = image.shape[:2]
    assert 0 <= face.left < face.right <= width
    assert 0 <= face.top < face.bottom <= height


def test_it_finds_the_face_of_a_real_frame(detector, face_image):
    (face,), dropped = detect_faces(detector, face_image)
    assert dropped == 0
    assert face.confidence > 0.9
    # The man's nose is near (75, 65).
    assert face.left < 75 < face.right
    assert face.top < 65 < face.bottom


@NEEDS_RES10
def test_five_faces_come_the_most_confident_first(detector, group_photo):
    image = cv2.imread(str(group_photo))
    found, _ = detect_faces(detector, image)
    assert len(found) == 5
    scores = [face.confidence for face in found]
    assert scores == sorted(scores, reverse=True)
    for face in found:
        assert_inside(face, image)
    sure, _ = detect_faces(detector, image, confidence=0.95)
    assert sure == found[: len(sure)]
    assert 0 < len(sure) < 5


@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_boxes_over_an_edge_are_clamped_to_the_frame(side, detector, face_image):
    """Cut the frame through the face, at several places: the box must not leave it."""
    (whole,), _ = detect_faces(detector, face_image)
    touched = 0
    for share in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4):
        x = round(whole.left + share * (whole.right - whole.left))
        y = round(whole.top + share * (whole.bottom - whole.top))
        cut = {
            "left": face_image[:, x:],
            "top": face_image[y:],
            "right": face_image[:, : whole.right - (x - whole.left)],
            "bottom": face_image[: whole.bottom - (y - whole.top)],
        }[side]
        for face in detect_faces(detector, np.ascontiguousarray(cut), 0.3)[0]:
            assert_inside(face, cut)
            crop = crop_face(cut, face)
            assert min(crop.shape[:2]) >= faces.MIN_SIDE
            limits = {"left": 0, "top": 0, "right": cut.shape[1], "bottom": len(cut)}
            touched += abs(getattr(face, side) - limits[side]) <= 1
    assert touched


class FixedDetector:
    """Stands for a detector whose output is known."""

    def __init__(self, *detections):
        self.detections = np.array(detections, np.float32).reshape(-1, 5)

    def detect(self, image, confidence):
        return self.detections[self.detections[:, 4] > confidence]


def test_clamping_dropping_and_counting():
    detector = FixedDetector(
        (0.5, 0.5, 1.7, 1.2, 0.8),  # over the right and bottom edge
        (-0.5, -0.2, 0.5, 0.5, 0.9),  # over the left and top edge
        (0.2, 0.2, 0.25, 0.9, 0.95),  # 5 pixels wide
        (1.1, 0.2, 1.5, 0.5, 0.7),  # wholly outside
        (0.8, 0.8, 0.2, 0.2, 0.6),  # inside out
        (0.1, 0.1, 0.9, 0.9, 0.5),  # not above the confidence
    )
    found, dropped = detect_faces(detector, np.zeros((200, 100, 3), np.uint8), 0.5)
    assert [face[:4] for face in found] == [(0, 0, 50, 100), (50, 100, 100, 200)]
    assert dropped == 3


def test_no_detections():
    assert detect_faces(FixedDetector(), np.zeros((9, 9, 3), "u1"), 0.5) == ([], 0)


@NEEDS_RES10
@pytest.mark.parametrize("stretch", [(0.5, 1), (1, 0.5), (3, 1), (1, 3), (7.3, 6.1)])
def test_a_face_is_found_in_a_frame_of_any_shape(stretch, detector, face_image):
    """The detector's input is square, so that a stretched face looks the same to it."""
    (whole,), _ = detect_faces(detector, face_image)
    x, y = stretch
    image = cv2.resize(face_image, None, fx=x, fy=y)
    found, _ = detect_faces(detector, image)
    assert found
    assert_inside(found[0], image)
    expected = np.multiply(whole[:4], [x, y, x, y])
    sides = [expected[2] - expected[0], expected[3] - expected[1]] * 2
    np.testing.assert_array_less(np.abs(found[0][:4] - expected) / sides, 0.2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (2, 3000), (3000, 2), (15, 15)])
def test_a_frame_too_small_for_a_face_has_none(shape, detector):
    """Whatever the detector believes to see in it, at the lowest confidence."""
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    found, dropped = detect_faces(detector, image, 0.0)
    assert found == []
    assert dropped > 0


def test_a_crop_is_the_frames_own_pixels(face_image):
    crop = crop_face(face_image, Face(10, 20, 50, 90, 1.0))
    assert crop.shape == (70, 40, 3)
    np.testing.assert_array_equal(crop, face_image[20:90, 10:50])


def test_frames_that_are_searched_ahead_keep_their_order_and_their_faces(
    carphone, detector, detector_folder
):
    frames = list(open_frames(str(carphone), skip=12))
    expected = [(f.number, *detect_faces(detector, f.image, 0.3)) for f in frames]
    threads, running = cv2.getNumThreads(), threading.active_count()
    for ahead in (True, False):
        found = detect_in_frames(frames, Detectors(detector_folder), 0.3, ahead)
        assert [(f.number, *rest) for f, *rest in found] == expected
        found = detect_in_frames(frames, Detectors(detector_folder), 0.3, ahead)
        next(found)
        found.close()
        assert cv2.getNumThreads() == threads
        assert threading.active_count() == running


def test_a_detector_comes_back_when_its_borrower_fails(detector_folder, monkeypatch):
    detectors = Detectors(detector_folder)

    def load(*_arguments):
        raise AssertionError("another one was loaded")

    monkeypatch.setattr(faces, "load_detector", load)
    with detectors.borrow() as first:
        pass
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), detectors.borrow() as again:
            assert again is first
            raise ZeroDivisionError


def test_those_who_borrow_at_once_get_detectors_of_their_own(detector_folder):
    detectors = Detectors(detector_folder)
    with detectors.borrow() as one, detectors.borrow() as other:
        assert one is not other
    with detectors.borrow() as again:
        assert again in (one, other)
