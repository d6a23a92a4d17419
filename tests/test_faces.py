import threading

from pyimagesearch import faces
from pyimagesearch.console import UserError
from pyimagesearch.faces import (
    Detectors,
    Face,
    crop_face,
    detect_faces,
    load_detector,
    search_frames,
)
from pyimagesearch.frames import open_frames

import cv2
import numpy as np
import pytest


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


def test_it_agrees_with_the_tutorials_own_arithmetic(detector, face_image):
    (face,), _ = detect_faces(detector, face_image)
    h, w = face_image.shape[:2]
    blob = cv2.dnn.blobFromImage(
        cv2.resize(face_image, (300, 300)), 1.0, (300, 300), (104.0, 177.0, 123.0)
    )
    detector.setInput(blob)
    detections = detector.forward()
    i = np.argmax(detections[0, 0, :, 2])
    box = detections[0, 0, i, 3:7] * np.array([w, h, w, h])
    assert face[:4] == tuple(box.astype("int"))
    assert face.confidence == detections[0, 0, i, 2]


def test_five_faces_the_surest_first(detector, group_photo):
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
        rows = [[0, 1, *detection] for detection in detections]
        self.output = np.array(rows, np.float32).reshape(1, 1, -1, 7)

    def setInput(self, blob):  # noqa: N802
        assert blob.shape == (1, 3, 300, 300)

    def forward(self):
        return self.output


def test_clamping_dropping_and_counting():
    detector = FixedDetector(
        (0.9, -0.5, -0.2, 0.5, 0.5),  # over the left and top edge
        (0.8, 0.5, 0.5, 1.7, 1.2),  # over the right and bottom edge
        (0.95, 0.2, 0.2, 0.25, 0.9),  # 5 pixels wide
        (0.7, 1.1, 0.2, 1.5, 0.5),  # wholly outside
        (0.6, 0.8, 0.8, 0.2, 0.2),  # inside out
        (0.5, 0.1, 0.1, 0.9, 0.9),  # not above the confidence
    )
    found, dropped = detect_faces(detector, np.zeros((200, 100, 3), np.uint8))
    assert [face[:4] for face in found] == [(0, 0, 50, 100), (50, 100, 100, 200)]
    assert dropped == 3


def test_no_detections():
    assert detect_faces(FixedDetector(), np.zeros((9, 9, 3), np.uint8)) == ([], 0)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3000), (3000, 2), (299, 301)])
def test_frames_of_any_shape(shape, detector):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for face in detect_faces(detector, image, 0.1)[0]:
        assert_inside(face, image)


def test_a_crop_is_the_frames_own_pixels(face_image):
    crop = crop_face(face_image, Face(10, 20, 50, 90, 1.0))
    assert crop.shape == (70, 40, 3)
    np.testing.assert_array_equal(crop, face_image[20:90, 10:50])


@pytest.mark.parametrize("name", ["deploy.prototxt", "res10_300x300_ssd_iter_140000"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "other"])
def test_a_missing_or_wrong_file_is_named(name, damage, detector_folder, tmp_path):
    for file in detector_folder.iterdir():
        if file.suffix in (".prototxt", ".caffemodel"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (file,) = tmp_path.glob(f"{name}*")
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.write_bytes(b"something else")
    with pytest.raises(UserError, match=rf'{file.name} is .*run "make detector"'):
        load_detector(tmp_path)


def test_opencv_5_is_told_what_to_install(monkeypatch, detector_folder):
    monkeypatch.delattr(cv2.dnn, "readNetFromCaffe")
    with pytest.raises(UserError, match=r'pip install "opencv-python>=4\.13,<5"'):
        load_detector(detector_folder)


def test_frames_searched_ahead_keep_their_order_and_their_faces(
    carphone, detector, detector_folder
):
    frames = list(open_frames(str(carphone), skip=12))
    expected = [(f.number, *detect_faces(detector, f.image, 0.3)) for f in frames]
    threads, running = cv2.getNumThreads(), threading.active_count()
    for ahead in (True, False):
        found = search_frames(frames, Detectors(detector_folder), 0.3, ahead)
        assert [(f.number, *rest) for f, *rest in found] == expected
        found = search_frames(frames, Detectors(detector_folder), 0.3, ahead)
        next(found)
        found.close()
        assert cv2.getNumThreads() == threads
        assert threading.active_count() == running
