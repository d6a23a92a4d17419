import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyimagesearch import faces
from pyimagesearch.console import UserError
from pyimagesearch.faces import (
    MIN_SIDE,
    DetectorPool,
    Face,
    Res10,
    YuNet,
    crop_face,
    detect_faces,
    detect_in_frames,
    find_detector,
    load_detector,
    preprocess,
    scale,
    shrink,
)
from pyimagesearch.flags import DETECTORS
from pyimagesearch.inputs import open_frames

import cv2
import numpy as np
import pytest
import tensorflow as tf
from conftest import NEEDS_RES10

(YUNET,) = YuNet.FILES
PROTOTXT, CAFFEMODEL = Res10.FILES


@pytest.fixture(
    scope="module", params=[YUNET, pytest.param(PROTOTXT, marks=NEEDS_RES10)]
)
def detector(request, detector_folder):
    """Both detectors, one after the other."""
    return load_detector(detector_folder / request.param)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (YuNet, YUNET),
        pytest.param(Res10, PROTOTXT, marks=NEEDS_RES10),
        pytest.param(Res10, CAFFEMODEL, marks=NEEDS_RES10),
    ],
)
@pytest.mark.parametrize("damage", ["missing", "truncated", "other"])
def test_a_missing_or_wrong_file_is_named(
    kind, name, damage, detector_folder, tmp_path
):
    for other in kind.FILES:
        (tmp_path / other).write_bytes((detector_folder / other).read_bytes())
    file = tmp_path / name
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.write_bytes(b"something else")
    with pytest.raises(UserError, match=rf'{file.name} is .*run "make detector"'):
        load_detector(tmp_path)


def test_without_a_caffe_reader_yunet_is_used_or_opencv_4_is_asked_for(
    monkeypatch, detector_folder
):
    monkeypatch.delattr(cv2.dnn, "readNetFromCaffe", raising=False)
    assert load_detector(detector_folder).NAME == "YuNet"
    with pytest.raises(UserError, match=r'pip install "opencv-python>=4\.13,<5"'):
        load_detector(detector_folder / PROTOTXT)


@pytest.fixture(scope="module")
def yunet(detector_folder):
    return load_detector(detector_folder / YUNET)


def enlarge(image, face, shape, fill):
    """Zoom in on a face until it fills this share of the frame's height."""
    height, width = shape
    zoom = fill * height / (face.bottom - face.top)
    center = (face.left + face.right) / 2, (face.top + face.bottom) / 2
    view = np.float32(
        [
            [zoom, 0, width / 2 - zoom * center[0]],
            [0, zoom, height / 2 - zoom * center[1]],
        ]
    )
    return cv2.warpAffine(image, view, (width, height), borderMode=cv2.BORDER_REPLICATE)


@NEEDS_RES10
@pytest.mark.parametrize("shape", [(480, 480), (480, 640), (960, 540)], ids=str)
@pytest.mark.parametrize("file", [PROTOTXT, YUNET], ids=["res10", "YuNet"])
def test_a_face_is_found_once_however_much_of_the_frame_it_fills(
    file, shape, detector_folder, face_image
):
    """The published prototxt gives a second box, and on upright frames a wrong one."""
    detector = load_detector(detector_folder / file)
    (face,), _ = detect_faces(detector, face_image)
    for fill in np.arange(0.3, 1.01, 0.1):
        (found,), _ = detect_faces(detector, enlarge(face_image, face, shape, fill))
        assert abs((found.left + found.right) / 2 - shape[1] / 2) < 0.1 * shape[0]
        assert abs((found.top + found.bottom) / 2 - shape[0] / 2) < 0.1 * shape[0]


@NEEDS_RES10
def test_only_two_numbers_of_the_published_prototxt_are_corrected(detector_folder):
    text = (detector_folder / "deploy.prototxt").read_bytes()
    corrected = Res10.PADDING.sub(rb"\g<1>0", text)
    lines = zip(text.splitlines(), corrected.splitlines(), strict=True)
    changed = [(old.strip(), new.strip()) for old, new in lines if old != new]
    assert changed == [(b"pad: 1", b"pad: 0")] * 2


@NEEDS_RES10
def test_a_folder_of_both_stands_for_yunet_and_a_file_for_its_own(detector_folder):
    assert load_detector(detector_folder).NAME == "YuNet"
    assert load_detector(detector_folder / YUNET).NAME == "YuNet"
    for name in Res10.FILES:
        assert load_detector(detector_folder / name).NAME == "res10"


@pytest.mark.parametrize("kind", [YuNet, pytest.param(Res10, marks=NEEDS_RES10)])
def test_a_folder_with_one_detector_stands_for_it(kind, detector_folder, tmp_path):
    for name in kind.FILES:
        (tmp_path / name).write_bytes((detector_folder / name).read_bytes())
    assert load_detector(tmp_path).NAME == kind.NAME


def test_a_detector_is_found_by_name_unless_a_path_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, kind in {"yunet": YuNet, "YuNet": YuNet, "RES10": Res10}.items():
        assert find_detector(Path(name)) == (kind, DETECTORS)
    (tmp_path / "res10").mkdir()
    for path in (Path("res10"), tmp_path):
        assert find_detector(path) == (YuNet, path)


def test_yunet_finds_five_faces_inside_their_picture(yunet, group_photo):
    image = cv2.imread(str(group_photo))
    found, dropped = detect_faces(yunet, image)
    assert len(found) == 5
    assert dropped == 0
    assert all(face.confidence > YuNet.CONFIDENCE for face in found)
    for face in found:
        assert 0 <= face.left < face.right <= 1920
        assert 0 <= face.top < face.bottom <= 1080


def test_a_larger_input_finds_smaller_faces(yunet, detector_folder, group_photo):
    photo = cv2.resize(cv2.imread(str(group_photo)), (480, 270))
    tiles = np.tile(photo, (5, 4, 1))  # a hundred faces
    large = load_detector(detector_folder / YUNET, size=1280)
    assert len(detect_faces(large, tiles)[0]) == 100
    assert len(detect_faces(yunet, tiles)[0]) < 100


@pytest.mark.parametrize(
    "shape", [(1, 1), (10, 20_000), (20_000, 10), (33, 31), (299, 301), (2, 640)]
)
def test_images_of_odd_shapes_give_no_faces_from_stale_memory(shape, yunet, face_image):
    """OpenCV 4 leaves a part of YuNet's output unwritten where a side is under 33."""
    blank = np.full((*shape, 3), 90, np.uint8)
    for _ in range(3):
        assert len(detect_faces(yunet, face_image)[0]) == 1
        assert detect_faces(yunet, blank) == ([], 0)


def test_detectors_in_several_threads_agree(detector_folder, carphone):
    frames = list(open_frames(str(carphone), skip=6))
    expected = [
        detect_faces(load_detector(detector_folder / YUNET), f.image) for f in frames
    ]
    found = detect_in_frames(frames, DetectorPool(detector_folder / YUNET))
    assert [(faces, dropped) for _, faces, dropped in found] == expected


def test_opencv_prints_nothing(detector_folder, face_image):
    program = (
        "import sys, cv2\n"
        "from pathlib import Path\n"
        "from pyimagesearch.console import silence_libraries\n"
        "from pyimagesearch.faces import DetectorPool\n"
        "import numpy as np\n"
        "silence_libraries()\n"
        "DetectorPool(Path(sys.argv[1])).detect(np.zeros((90, 120, 3), np.uint8))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(detector_folder / YUNET)],
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def assert_inside(face, image):
    height, width = image.shape[:2]
    assert 0 <= face.left < face.right <= width
    assert 0 <= face.top < face.bottom <= height


def test_the_face_of_a_real_frame_is_found(detector, face_image):
    (face,), dropped = detect_faces(detector, face_image)
    assert dropped == 0
    assert face.confidence > 0.9
    # The man's nose is near (75, 65).
    assert face.left < 75 < face.right
    assert face.top < 65 < face.bottom


def test_five_faces_come_the_most_confident_first(detector, group_photo):
    image = cv2.imread(str(group_photo))
    found, _ = detect_faces(detector, image)
    assert len(found) == 5
    scores = [face.confidence for face in found]
    assert scores == sorted(scores, reverse=True)
    for face in found:
        assert_inside(face, image)
    sure, _ = detect_faces(detector, image, confidence=0.9)
    assert sure == found[: len(sure)]
    assert 0 < len(sure) < 5


@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_boxes_over_an_edge_are_clipped_to_the_frame(side, detector, face_image):
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
            assert min(crop.shape[:2]) >= MIN_SIDE
            limits = {"left": 0, "top": 0, "right": cut.shape[1], "bottom": len(cut)}
            touched += abs(getattr(face, side) - limits[side]) <= 1
    assert touched


class FixedDetector:
    """Stands for a detector whose output is known."""

    def __init__(self, *detections):
        self.detections = np.array(detections, np.float32).reshape(-1, 5)

    def detect(self, image, confidence):
        return self.detections[self.detections[:, 4] > confidence]


def test_boxes_are_clipped_and_small_or_outside_ones_are_counted():
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


def test_a_detector_may_find_nothing():
    assert detect_faces(FixedDetector(), np.zeros((9, 9, 3), "u1"), 0.5) == ([], 0)


@NEEDS_RES10
@pytest.mark.parametrize("stretch", [(0.5, 1), (1, 0.5), (3, 1), (1, 3), (7.3, 6.1)])
def test_res10_finds_a_face_in_a_frame_of_any_shape(
    stretch, detector_folder, face_image
):
    """Its input is square, so a stretched face looks the same to it."""
    detector = load_detector(detector_folder / PROTOTXT)
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
    """Whatever the detector reports at the lowest confidence."""
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    found, dropped = detect_faces(detector, image, 0.0)
    assert found == []
    assert dropped > 0


def test_a_crop_has_the_pixels_of_its_frame(face_image):
    crop = crop_face(face_image, Face(10, 20, 50, 90, 1.0))
    assert crop.shape == (70, 40, 3)
    np.testing.assert_array_equal(crop, face_image[20:90, 10:50])


def test_a_margin_extends_the_box_as_far_as_the_image_goes(face_image):
    crop = crop_face(face_image, Face(20, 20, 60, 80, 1.0), margin=0.5)
    np.testing.assert_array_equal(crop, face_image[0:110, 0:80])


def test_frames_searched_ahead_keep_their_order_and_their_faces(
    carphone, detector, detector_folder
):
    file = next(iter(detector.FILES))
    detectors = DetectorPool(detector_folder / file, confidence=0.3)
    frames = list(open_frames(str(carphone), skip=12))
    expected = [(f.number, *detect_faces(detector, f.image, 0.3)) for f in frames]
    threads, running = cv2.getNumThreads(), threading.active_count()
    for ahead in (True, False):
        found = detect_in_frames(frames, detectors, ahead)
        assert [(f.number, *rest) for f, *rest in found] == expected
        found = detect_in_frames(frames, detectors, ahead)
        next(found)
        found.close()
        assert cv2.getNumThreads() == threads
        assert threading.active_count() == running


def test_threads_share_no_detector_and_a_failed_search_keeps_its_own(
    detector_folder, monkeypatch
):
    """Two searches that wait for each other, then one that fails, then one more."""
    load, loaded, used, meet = load_detector, [], [], threading.Barrier(2)

    def load_and_note(*arguments):
        loaded.append(load(*arguments))
        return loaded[-1]

    def search(detector, _image, confidence):
        used.append(detector)
        if len(loaded) < 2 or not meet.broken:
            meet.wait()
        return [], confidence

    monkeypatch.setattr(faces, "load_detector", load_and_note)
    monkeypatch.setattr(faces, "detect_faces", search)
    detectors = DetectorPool(detector_folder, confidence=0.25)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(detectors.detect, [None, None]))
    assert found == [([], 0.25)] * 2
    assert len(loaded) == 2
    assert used[0] is not used[1]
    meet.abort()
    with monkeypatch.context() as failing, pytest.raises(ZeroDivisionError):
        failing.setattr(faces, "detect_faces", lambda *_: 1 / 0)
        detectors.detect(None)
    for _ in range(3):
        detectors.detect(None)
    assert len(loaded) == 2


def random_crop(height, width):
    rng = np.random.default_rng(height)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (16, 300), (32, 32), (97, 71)])
def test_preprocessing_equals_the_tutorials(shape):
    crop = random_crop(*shape)
    tutorial = cv2.resize(crop, (32, 32)).astype("float") / 255.0
    ours = preprocess([crop])
    assert ours.shape == (1, 32, 32, 3)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours[0], tutorial.astype(np.float32))


def test_crops_are_preprocessed_the_same_together_and_alone():
    crops = [random_crop(20 + i, 50 - i) for i in range(8)]
    together = preprocess(crops)
    for crop, row in zip(crops, together, strict=True):
        np.testing.assert_array_equal(preprocess([crop])[0], row)


def test_no_crops_make_an_empty_batch():
    assert preprocess([]).shape == (0, 32, 32, 3)


def test_crops_can_be_resized_to_another_input_size():
    assert preprocess([random_crop(9, 9)], width=48, height=64).shape == (1, 64, 48, 3)


def test_training_and_demo_scale_alike():
    """tf.cast(x) / 255 in training's graph, scale(x) elsewhere: the same bits."""
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(scale(values), tf.cast(values, tf.float32) / 255)
    assert scale(values).min() == 0
    assert scale(values).max() == 1


def test_colours_stay_bgr():
    crop = np.zeros((50, 40, 3), np.uint8)
    crop[..., 0] = 255
    assert shrink(crop)[..., 0].min() == 255
    assert shrink(crop)[..., 1:].max() == 0
