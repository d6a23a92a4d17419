import subprocess
import sys

from pyimagesearch.console import UserError
from pyimagesearch.detectors import Res10, YuNet, load_detector
from pyimagesearch.faces import Detectors, detect_faces, detect_in_frames
from pyimagesearch.sources import open_frames

import cv2
import numpy as np
import pytest
from conftest import NEEDS_RES10


@NEEDS_RES10
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


def test_opencv_5_takes_yunet_or_is_told_what_to_install(monkeypatch, detector_folder):
    monkeypatch.delattr(cv2.dnn, "readNetFromCaffe", raising=False)
    assert load_detector(detector_folder).NAME == "YuNet"
    with pytest.raises(UserError, match=r'pip install "opencv-python>=4\.13,<5"'):
        load_detector(detector_folder / "deploy.prototxt")


YUNET = "face_detection_yunet_2023mar.onnx"


@pytest.fixture(scope="module")
def yunet(detector_folder):
    return load_detector(detector_folder / YUNET)


def enlarge(image, face, shape, fill):
    """Show a face so that it fills this share of a frame's height, its middle kept."""
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
@pytest.mark.parametrize("kind", ["res10", "YuNet"])
def test_a_face_is_found_once_however_much_of_the_frame_it_fills(
    kind, shape, detector_folder, face_image
):
    """The published prototxt makes a second box, and on upright frames no right one."""
    detector = load_detector(detector_folder, kind)
    (face,), _ = detect_faces(detector, face_image)
    for fill in np.arange(0.3, 1.01, 0.1):
        (found,), _ = detect_faces(detector, enlarge(face_image, face, shape, fill))
        assert abs((found.left + found.right) / 2 - shape[1] / 2) < 0.1 * shape[0]
        assert abs((found.top + found.bottom) / 2 - shape[0] / 2) < 0.1 * shape[0]


@NEEDS_RES10
def test_the_published_prototxt_differs_in_two_numbers(detector_folder):
    text = (detector_folder / "deploy.prototxt").read_bytes()
    corrected = Res10.PADDING.sub(rb"\g<1>0", text)
    lines = zip(text.splitlines(), corrected.splitlines(), strict=True)
    changed = [(old.strip(), new.strip()) for old, new in lines if old != new]
    assert changed == [(b"pad: 1", b"pad: 0")] * 2


@NEEDS_RES10
def test_a_folder_means_the_one_that_is_wanted_and_a_file_itself(detector_folder):
    assert load_detector(detector_folder).NAME == "res10"
    assert load_detector(detector_folder, "YuNet").NAME == "YuNet"
    for name in Res10.FILES:
        assert load_detector(detector_folder / name, "YuNet").NAME == "res10"


def test_a_folder_without_res10_means_yunet(detector_folder, tmp_path):
    (tmp_path / YUNET).write_bytes((detector_folder / YUNET).read_bytes())
    assert load_detector(tmp_path, "res10").NAME == "YuNet"


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
def test_pictures_of_odd_shapes_have_no_face_made_of_old_memory(
    shape, yunet, face_image
):
    """OpenCV 4 leaves a part of YuNet's output unwritten where a side is under 33."""
    blank = np.full((*shape, 3), 90, np.uint8)
    for _ in range(3):
        assert len(detect_faces(yunet, face_image)[0]) == 1
        assert detect_faces(yunet, blank) == ([], 0)


def test_detectors_of_several_threads_agree(detector_folder, carphone):
    frames = list(open_frames(str(carphone), skip=6))
    expected = [
        detect_faces(load_detector(detector_folder / YUNET), f.image) for f in frames
    ]
    found = detect_in_frames(frames, Detectors(detector_folder / YUNET))
    assert [(faces, dropped) for _, faces, dropped in found] == expected


def test_nothing_is_printed_by_opencv(detector_folder, face_image):
    program = (
        "import sys, cv2\n"
        "from pathlib import Path\n"
        "from pyimagesearch.console import silence_libraries\n"
        "from pyimagesearch.faces import Detectors, detect_faces\n"
        "import numpy as np\n"
        "silence_libraries()\n"
        "with Detectors(Path(sys.argv[1])).borrow() as detector:\n"
        "    detect_faces(detector, np.zeros((90, 120, 3), np.uint8))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(detector_folder / YUNET)],
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
