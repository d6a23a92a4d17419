from pathlib import Path

from pyimagesearch.images import IMAGE_SUFFIXES, find_files, natural_key, read_image

import cv2
import numpy as np
import pytest


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def find(folder, *suffixes):
    files = find_files(folder, *suffixes)
    return [path.relative_to(folder).as_posix() for path in files]


def test_files_are_found_at_any_depth_in_natural_order(tmp_path):
    touch(tmp_path, "10.png", "2.png", "1.txt", "b/3.png", "b/20.png", "a/9/1.png")
    numbers = ["1.txt", "2.png", "10.png"]
    assert find(tmp_path) == [*numbers, "a/9/1.png", "b/3.png", "b/20.png"]


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    touch(tmp_path / ".here", "1.png", ".2.png", ".trash/3.png", "a/.b/c/4.png")
    (tmp_path / ".here" / "folder.png").mkdir()
    # Of the folder that is searched itself, the name does not matter.
    assert find(tmp_path / ".here") == ["1.png"]


def test_a_suffix_is_known_in_upper_case_too(tmp_path):
    touch(tmp_path, "a.PNG", "b.Jpg", "c.txt", "d", "e.png.part")
    assert find(tmp_path, IMAGE_SUFFIXES) == ["a.PNG", "b.Jpg"]
    assert find(tmp_path, {".txt"}) == ["c.txt"]


def test_natural_order_puts_2_before_10_wherever_the_number_stands():
    names = ["a10b2", "a2b10", "a2b9", "a", "b1", "10", "9", "a02b1"]
    expected = ["9", "10", "a", "a02b1", "a2b9", "a2b10", "a10b2", "b1"]
    assert sorted(names, key=lambda name: natural_key(Path(name))) == expected


def test_a_photograph_is_turned_upright(tmp_path):
    """EXIF orientation 6: the top of the scene is the right side of the picture."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 255
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])
    upright = read_image(tmp_path / "a.jpg")
    assert upright.shape == (60, 40, 3)
    assert upright[:25].mean() < 10
    assert upright[35:].mean() > 245


@pytest.mark.parametrize(
    "image",
    [
        np.full((9, 7), 77, np.uint8),
        np.full((9, 7, 4), 77, np.uint8),
        np.full((9, 7, 3), 77 * 257, np.uint16),
    ],
    ids=["grey", "alpha", "16 bit"],
)
def test_every_kind_of_image_becomes_8_bit_bgr(image, tmp_path):
    assert cv2.imwrite(str(tmp_path / "a.png"), image)
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint8
    assert read.shape == (9, 7, 3)
    assert set(read.flat) == {77}


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n, then nothing"])
def test_what_is_no_image_gives_none(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    assert read_image(tmp_path / "a.png") is None
    assert read_image(tmp_path / "missing.png") is None
    assert read_image(tmp_path) is None
