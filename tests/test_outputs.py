import csv
import itertools
import json
import sys
from types import SimpleNamespace

from pyimagesearch.classifier import Prediction
from pyimagesearch.console import UserError
from pyimagesearch.faces import Face
from pyimagesearch.inputs import Frame
from pyimagesearch.outputs import (
    AMBER,
    GREEN,
    RED,
    draw,
    open_log,
    open_output,
    window_zoom,
)

import cv2
import numpy as np
import pytest
from conftest import read_all

FRAMES = itertools.count()

YUNET = SimpleNamespace(name="YuNet", size=320, confidence=0.7)


def picture(height, width, value=100, seconds=None, fps=12.5, source="a"):
    """Make the next frame of a video; every call is one frame later."""
    image = np.full((height, width, 3), value, np.uint8)
    if seconds is None:
        seconds = next(FRAMES) / (fps or 1)
    return Frame(image, source, 1, seconds, still=fps is None)


def predict(face, label, score=0.9, probability=0.9):
    rows, crop = np.array([1 - score, score]), np.zeros((40, 40, 3), np.uint8)
    return Prediction(face, label, score, probability, rows, 7, crop)


def read_fps(path):
    return cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS)


def test_an_image_is_written_without_loss(tmp_path):
    frame = picture(30, 40)
    with open_output(tmp_path / "a" / "out.PNG", "image") as write:
        assert write(frame, [])
    read = cv2.imread(str(tmp_path / "a" / "out.PNG"))
    np.testing.assert_array_equal(read, frame.image)


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("a.png", "video", "one video"),
        ("a.avi", "video", r"a\.avi: .* must end in one of \.mkv \.mov \.mp4$"),
        ("a.webm", "video", r"a\.webm: .* must end in one of \.mkv \.mov \.mp4$"),
        ("a.mp4", "image", "one image"),
        ("a", "video", r"\.mp4"),
    ],
)
def test_a_name_that_does_not_fit_the_input_is_refused_at_once(
    name, kind, reason, tmp_path
):
    with pytest.raises(UserError, match=reason), open_output(tmp_path / name, kind):
        pass


def test_the_output_of_a_folder_may_not_have_the_name_of_a_file(tmp_path):
    for name in ("out.mp4", "out.PNG"):
        expected = pytest.raises(UserError, match="the output of a folder is a folder")
        with expected, open_output(tmp_path / name, "folder"):
            pass


def test_drawings_grow_as_much_as_the_window_shrinks():
    for shape, zoom in (((90, 90), 1), ((680, 1200), 2), ((1360, 300), 2)):
        assert window_zoom(np.zeros((*shape, 3), np.uint8)) == zoom


def test_a_folder_gets_a_file_for_each_source(tmp_path):
    with open_output(tmp_path / "out", "folder") as write:
        assert write(picture(64, 64, source="a", fps=None), [])
        for _ in range(3):
            assert write(picture(64, 64, source="b"), [])
        assert write(picture(32, 32, source="anna/c", fps=None), [])
        assert write(picture(64, 64, source="anna/near"), [])
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in files) == [
        "a.png",
        "anna/c.png",
        "anna/near.mp4",
        "b.mp4",
    ]
    assert len(read_all(tmp_path / "out" / "b.mp4")) == 3


@pytest.mark.parametrize("size", [(90, 130), (480, 600), (1080, 1920)])
@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)])
def test_labels_stay_inside_the_image(size, place):
    """The text must be as large as it is alone, so nothing of it is cut off."""
    height, width = size
    side = height // 3
    top, left = round(place[0] * (height - side)), round(place[1] * (width - side))
    face = Face(left, top, left + side, top + side, 1.0)
    image = np.zeros((height, width, 3), np.uint8)
    draw(image, predict(face, "fake", 0.01235, 0.98765))
    zoom = max(1.0, width / 600)
    text_size, _ = cv2.getTextSize(
        "fake: 0.9876", cv2.FONT_HERSHEY_SIMPLEX, 0.5 * zoom, round(zoom)
    )
    white = np.argwhere((image > 250).all(axis=2))
    extent = white.max(axis=0) - white.min(axis=0)
    # OpenCV 5 draws less than it says.
    least = (0.9, 0.8) if cv2.__version__ < "5" else (0.7, 0.65)
    assert extent[1] > least[0] * text_size[0]
    assert extent[0] > least[1] * text_size[1]


def draw_name(name):
    image = np.zeros((200, 500, 3), np.uint8)
    draw(image, predict(Face(20, 60, 120, 180, 1.0), "real")._replace(name=name))
    return image


@pytest.mark.parametrize("name", ["Зоя", "Zoë", "田中", "\udce9", "a\nb", "👤"])
def test_names_in_any_script_are_drawn(name):
    drawn = draw_name(name)
    assert (drawn != draw_name("")).any()
    assert name.isascii() or (drawn != draw_name("?" * len(name))).any()


@pytest.mark.parametrize("missing", ["PIL", "matplotlib"])
def test_without_pillow_or_a_font_names_are_transliterated(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    np.testing.assert_array_equal(draw_name("Zoë Å"), draw_name("Zoe A"))
    np.testing.assert_array_equal(draw_name("Зоя"), draw_name("???"))


@pytest.mark.parametrize(
    ("label", "color"),
    [("real", GREEN), ("unsure", AMBER), ("fake", RED), ("mask", RED)],
)
def test_the_color_tells_real_faces_unsure_ones_and_attacks_apart(label, color):
    image = np.zeros((90, 130, 3), np.uint8)
    draw(image, predict(Face(20, 40, 60, 80, 1.0), label))
    assert image[79, 40].tolist() == list(color)


def test_a_face_has_a_box_without_a_label_while_there_is_no_network():
    image = np.zeros((90, 130, 3), np.uint8)
    draw(image, predict(Face(20, 40, 60, 80, 1.0), "", np.nan))
    ys, xs = image.max(axis=2).nonzero()
    assert (ys.min(), xs.min()) >= (38, 18)
    assert image[79, 40].tolist() == [255, 255, 255]


def test_drawing_leaves_the_frame_and_its_crops_as_they_are(tmp_path):
    frame = picture(200, 300, fps=None)
    with open_output(tmp_path / "out.png", "image") as write:
        assert write(frame, [predict(Face(20, 20, 90, 90, 0.9), "fake")])
    assert (frame.image == 100).all()
    written = cv2.imread(str(tmp_path / "out.png"))
    assert written[89, 50].tolist() == list(RED)


def test_stale_frames_are_not_written(tmp_path):
    with open_output(tmp_path / "out.mp4", "video") as write:
        for stale in (0.0, 0.5, 9.0, 0.0):
            assert write(picture(64, 64)._replace(stale=stale), [])
    assert len(read_all(tmp_path / "out.mp4")) == 2


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_log_has_a_line_for_every_face_and_grows(ending, tmp_path):
    path = tmp_path / "logs" / f"log.{ending}"
    frame = Frame(np.zeros((9, 9, 3), np.uint8), "anna, real", 16, 0.6404)
    for label in ("real", "fake"):  # a second run adds to the first
        with open_log(path, ["fake", "real"]) as log:
            assert log(frame, [predict(Face(1, 2, 30, 40, 0.75), label, 0.25)])
    with path.open(newline="") as file:
        if ending == "csv":
            rows = list(csv.DictReader(file))
        else:
            rows = [json.loads(line) for line in file]
    expected = {"source": "anna, real", "frame": 16, "time": 0.64, "track": 7}
    expected |= {"left": 1, "top": 2, "right": 30, "bottom": 40, "confidence": 0.75}
    expected |= {"p_fake": 0.75, "p_real": 0.25, "score": 0.25}
    for row, label in zip(rows, ("real", "fake"), strict=True):
        wanted = expected | {"decision": label}
        if ending == "csv":
            wanted = {name: str(value) for name, value in wanted.items()}
        assert row == wanted


def test_a_log_of_another_name_or_of_other_columns_is_refused(tmp_path):
    for name, content, reason in (
        ("log.txt", "", r"its name must end in \.csv or \.jsonl"),
        ("log.csv", "other,columns\n", "it has other columns"),
    ):
        path = tmp_path / name
        path.write_text(content)
        expected = pytest.raises(UserError, match=reason)
        with expected, open_log(path, ["fake", "real"]):
            pass
        assert path.read_text() == content
