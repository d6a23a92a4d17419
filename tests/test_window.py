import os
import re
import subprocess
import sys
import threading
import time
from contextlib import closing
from ctypes.util import find_library

from pyimagesearch.classifier import FaceClassifier
from pyimagesearch.collect import STALL_SECONDS, Collector
from pyimagesearch.faces import DetectorPool, Face
from pyimagesearch.inputs import Frame
from pyimagesearch.labels import Labels
from pyimagesearch.outputs import WINDOW_WIDTH
from pyimagesearch.video import read_image
from pyimagesearch.window import (
    LINE_HEIGHT,
    TITLE,
    Window,
    has_display,
    read_key,
    with_caption,
)

import cv2
import numpy as np
import pytest

LEFT, RIGHT = Face(40, 100, 240, 300, 0.8), Face(700, 100, 900, 300, 0.9)


def picture(height, width, value=100, seconds=0.0, **options):
    image = np.full((height, width, 3), value, np.uint8)
    return Frame(image, "a", 1, seconds, **options)


@pytest.fixture
def collector(tmp_path, detector_folder):
    classifier = FaceClassifier(None, Labels([]), DetectorPool(detector_folder))
    with closing(Collector(tmp_path / "dataset", classifier)) as collector:
        yield collector


def show_faces(window, collector, frame, *faces):
    """Do what the demo's loop does."""
    classifier = collector._classifier
    predictions = []
    if not frame.stale:
        predictions = classifier.classify(frame.image, faces, frame.time)
    collector(frame, predictions)
    return window(frame, predictions)


@pytest.mark.timeout(60)
@pytest.mark.skipif(not find_library("X11-xcb"), reason="the system has no libX11-xcb")
def test_qt_owns_its_events(screen):
    code = "from pyimagesearch.window import Window; Window('video')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"LD_DEBUG": "bindings"},
        capture_output=True,
        text=True,
    )
    owner = re.search(r"to (\S+) \[0\]: .*`XSetEventQueueOwner'", done.stderr)
    assert "opencv_python" not in owner[1]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (90, 4000), (4000, 90)])
def test_the_window_fits_a_small_screen(size, screen):
    with closing(Window("video")) as show:
        assert show(picture(*size)) is True
        cv2.waitKey(300)
        _, _, width, height = cv2.getWindowImageRect(TITLE)
    assert height <= 680
    assert width <= 600
    assert height == 680 or width == 600
    assert height / width == pytest.approx(size[0] / size[1], rel=0.1)


@pytest.mark.timeout(60)
def test_an_image_that_is_very_thin_is_shown(screen):
    with closing(Window("video")) as show:
        assert show(picture(5, 10000)) is True


@pytest.mark.parametrize("action", ["q", "Escape", "close"])
@pytest.mark.timeout(60)
def test_q_escape_or_closing_the_window_ends_it(action, screen):
    user = threading.Thread(target=screen.act, args=[TITLE, action])
    with closing(Window("image")) as show:
        user.start()
        assert show(picture(300, 900)) is False
    user.join()


@pytest.mark.timeout(60)
def test_q_ends_it_with_caps_lock_on(screen, monkeypatch):
    monkeypatch.setattr(cv2, "waitKeyEx", lambda _: ord("Q"))
    with closing(Window("video")) as show:
        assert show(picture(300, 900)) is False


@pytest.mark.timeout(60)
def test_only_plain_characters_tab_and_escape_are_keys(screen):
    """The last eight bits of arrows and of Page Up are letters."""
    with closing(Window("video")) as show:
        show(picture(300, 600))
        pressed = []
        for name in ("Up", "Left", "Prior", "F5", "Delete", "Tab", "Escape", "x"):
            screen.act(TITLE, name)
            while (key := cv2.waitKeyEx(50)) < 0:
                pass
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(cv2, "waitKeyEx", lambda _, key=key: key)
                pressed.append(read_key(1))
    assert pressed == ["", "", "", "", "", "\t", "\x1b", "x"]


def test_keys_held_down_with_another_do_not_change_it(monkeypatch):
    """As Num Lock does with GTK."""
    monkeypatch.setattr(cv2, "waitKeyEx", lambda _: 0x100000 | ord("r"))
    assert read_key(1) == "r"
    monkeypatch.setattr(cv2, "waitKeyEx", lambda _: -1)
    assert read_key(1) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="a display is never missing there")
@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"DISPLAY": ":997"},
        {"DISPLAY": "localhost:10.0"},  # yesterday's ssh -X
        {"DISPLAY": "no-such-host.invalid:0"},
        {"WAYLAND_DISPLAY": "wayland-0"},
    ],
)
def test_a_display_that_cannot_be_reached_is_none(variables, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert not has_display()
    said = f"qt.qpa.xcb: could not connect to display {variables.get('DISPLAY', '')}"
    assert (said in capsys.readouterr().err) == bool(variables)


@pytest.mark.timeout(60)
def test_a_display_that_answers_is_one(screen):
    assert has_display()


@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform != "linux", reason="Qt's platform is chosen there")
def test_a_platform_that_this_qt_does_not_have_is_replaced_by_xcb(screen):
    program = (
        "from pyimagesearch.window import Window, has_display\n"
        "assert has_display()\n"
        "Window('video').close()\n"
        "print('open')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"QT_QPA_PLATFORM": "not-there"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "open\n"), done.stderr


@pytest.mark.parametrize("width", [100, 600])
@pytest.mark.parametrize("missing", [None, "PIL"])
def test_a_caption_stands_below_the_picture_and_is_cut_nowhere(
    width, missing, monkeypatch
):
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    image = np.full((150, width, 3), 90, np.uint8)
    lines = [f"real 5 of 8, fake 0 of {missing}", "a very long line " * 9, "é ж"]
    shown = with_caption(image, lines)
    assert shown.shape[1] == WINDOW_WIDTH
    np.testing.assert_array_equal(shown[:150, :width], image)
    text = shown[150:].max(axis=2) > 128
    for line in range(3):
        assert text[line * LINE_HEIGHT :][:LINE_HEIGHT].any()
    assert not text[:, -3:].any()


@pytest.mark.timeout(60)
def test_frames_of_files_are_shown_at_their_times_while_collecting(screen, collector):
    with closing(Window("video", collector=collector)) as show:
        start = time.monotonic()
        for number in range(4):
            frame = picture(90, 90, seconds=number / 5)
            assert show(frame)
            assert time.monotonic() - start >= number / 5
        assert show(picture(90, 90))


@pytest.mark.timeout(60)
def test_keys_go_to_the_collector_and_its_caption_follows(screen, collector, tmp_path):
    def act():
        screen.act(TITLE, "r")
        while not list(tmp_path.rglob("*.png")):
            pass
        while list(tmp_path.rglob("*.png")):
            screen.act(TITLE, "u")
            threading.Event().wait(0.3)  # pressed sooner, it would be ignored
        screen.act(TITLE, "q")

    user = threading.Thread(target=act)
    frame = picture(200, 300, 0, still=True)
    with closing(Window("image", "", collector)) as show:
        user.start()
        face = Face(20, 20, 90, 90, 0.9)
        assert show_faces(show, collector, frame, face) is False
    user.join()
    assert collector.saved == {"real": 0}


@pytest.mark.timeout(60)
def test_of_two_faces_keys_save_the_one_that_is_clicked(screen, collector, tmp_path):
    """In a frame that the window shows smaller than it is."""
    frame = picture(600, 1000, still=True)
    frame.image[:, 500:] = 30  # in which the right face is
    nothing = []

    def act():
        while not collector._note[0]:
            screen.act(TITLE, "f")
        nothing.extend(tmp_path.rglob("*.png"))
        while not list(tmp_path.rglob("*.png")):
            screen.click(TITLE, *(round(0.6 * place) for place in (800, 200)))
            screen.act(TITLE, "f")
            threading.Event().wait(0.3)  # pressed too often, keys queue up
        screen.act(TITLE, "q")

    user = threading.Thread(target=act)
    with closing(Window("image", "", collector)) as show:
        user.start()
        assert show_faces(show, collector, frame, LEFT, RIGHT) is False
    user.join()
    assert nothing == []
    (path,) = tmp_path.rglob("*.png")
    assert path.parent.name == "fake"
    np.testing.assert_array_equal(read_image(path), frame.image[100:300, 700:900])


def shown(screen):
    """See what the window shows, once it is drawn and stays the same."""
    pictures = [np.zeros(0)] * 3
    while not pictures[0].any() or not all(
        np.array_equal(pictures[0], other) for other in pictures[1:]
    ):
        cv2.waitKeyEx(50)
        x, y, width, height = cv2.getWindowImageRect(TITLE)
        picture = screen.screenshot()[y : y + height, x : x + width]
        pictures = [*pictures[1:], picture]
    return pictures[0]


@pytest.mark.timeout(60)
def test_the_selected_face_has_a_thick_box_with_the_keys_below_it(screen, collector):
    frame = picture(600, 1000)
    with closing(Window("video", "camera0", collector)) as show:
        show_faces(show, collector, frame, LEFT, RIGHT)
        thin = (shown(screen)[:360] == 255).sum(axis=(0, 2))
        collector.choose_next()
        show(frame._replace(stale=0.5))
        thick = (shown(screen)[:360] == 255).sum(axis=(0, 2))
    assert thick[:300].sum() > 3 * thin[:300].sum()
    np.testing.assert_array_equal(thick[300:], thin[300:])


@pytest.mark.timeout(60)
def test_a_face_that_was_saved_is_framed_for_a_moment(screen, collector):
    with closing(Window("video", "camera0", collector)) as show:
        frame = picture(300, 600)
        frame.image[::2, ::2] = 0
        show_faces(show, collector, frame, LEFT)
        before = (shown(screen)[:300] == 255).sum()
        collector.press("r")
        collector.flash_end += 60
        show(frame._replace(stale=0.1))
        assert (shown(screen)[:300] == 255).sum() > 2 * before
        collector.flash_end = 0.0
        show(frame._replace(stale=0.2))
        assert (shown(screen)[:300] == 255).sum() == before


@pytest.mark.timeout(60)
@pytest.mark.parametrize("collects", [True, False])
def test_a_picture_that_is_out_of_date_is_grey_and_without_boxes(
    collects, screen, collector
):
    frame = picture(300, 600)
    frame.image[:] = 20, 90, 160
    options = ["camera0", collector] if collects else ["camera0"]
    with closing(Window("video", *options)) as show:
        show_faces(show, collector, frame, LEFT)
        before = shown(screen)
        assert show_faces(show, collector, frame._replace(stale=STALL_SECONDS - 0.5))
        np.testing.assert_array_equal(shown(screen), before)
        assert show_faces(show, collector, frame._replace(stale=STALL_SECONDS))
        assert (shown(screen)[:300] == shown(screen)[0, 0, 0]).all()
        assert shown(screen)[300:].any()  # what is the matter
        collector.press("r")
        assert collector.saved.total() == 0
        show_faces(show, collector, frame._replace(number=2), LEFT)
        np.testing.assert_array_equal(shown(screen)[:300], before[:300])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("stale", [0.5, 60.0])
def test_before_the_first_picture_a_window_says_so_and_q_ends_it(
    stale, screen, collector
):
    frame = Frame(np.zeros((480, 640, 3), np.uint8), "a", 0, 0.0, stale=stale)
    with closing(Window("video", "camera0", collector)) as show:
        assert show_faces(show, collector, frame) is True
        text = shown(screen)[450:]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(cv2, "waitKeyEx", lambda _: ord("q"))
            assert show_faces(show, collector, frame) is False
    black = np.zeros((450, 600, 3), np.uint8)
    expected = with_caption(black, ["counts", "waiting for camera0"])[450:]
    np.testing.assert_array_equal(text[32:], expected[32:])
