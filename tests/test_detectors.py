from pyimagesearch.console import UserError
from pyimagesearch.detectors import load_detector

import cv2
import pytest


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
    monkeypatch.delattr(cv2.dnn, "readNetFromCaffe")
    assert load_detector(detector_folder).NAME == "YuNet"
    with pytest.raises(UserError, match=r'pip install "opencv-python>=4\.13,<5"'):
        load_detector(detector_folder / "deploy.prototxt")
