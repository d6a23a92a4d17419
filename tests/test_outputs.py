import itertools
import threading

from pyimagesearch.console import UserError
from pyimagesearch.frames import Frame
from pyimagesearch.outputs import (
    TITLE,
    open_output,
    shrink_to_window,
    video_file,
    window,
    window_zoom,
)
from pyimagesearch.sources import open_frames

import cv2
import numpy as np
import pytest
from conftest import read_all

FRAMES = itertools.count()


def picture(height, width, value=100, time=None, fps=12.5, source="a"):
    """Make the next frame of a film; every call is one frame later."""
    image = np.full((height, width, 3), value, np.uint8)
    seconds = next(FRAMES) / (fps or 1) if time is None else time
    return Frame(image, source, 1, seconds, fps)


def read_fps(path):
    return cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS)


@pytest.mark.parametrize("ending", ["mp4", "avi", "mkv", "mov", "webm", "MP4"])
@pytest.mark.parametrize("size", [(120, 160), (121, 163)])
def test_videos_that_can_be_played(ending, size, tmp_path):
    path = tmp_path / f"out.{ending}"
    with open_output(path, "video") as write:
        for value in range(0, 250, 25):
            assert write(picture(*size, value))
        assert not path.exists()
    images = read_all(path)
    assert len(images) == 10
    assert read_fps(path) == pytest.approx(12.5)
    # Some codecs want even sizes and leave out a row or column.
    assert 0 <= size[0] - images[0].shape[0] <= 1
    assert 0 <= size[1] - images[0].shape[1] <= 1
    np.testing.assert_allclose(
        [image.mean() for image in images], range(0, 250, 25), atol=6
    )
    assert list(tmp_path.iterdir()) == [path]


def test_a_change_of_size_in_the_middle_does_not_break_the_video(tmp_path):
    with video_file(tmp_path / "out.mp4") as write:
        for size in [(120, 160), (240, 320), (60, 160)]:
            write(picture(*size))
    images = read_all(tmp_path / "out.mp4")
    assert [image.shape for image in images] == [(120, 160, 3)] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_what_was_written_plays_whatever_ended_it(error, tmp_path):
    with pytest.raises(error), video_file(tmp_path / "out.mp4") as write:
        for _ in range(5):
            write(picture(120, 160))
        raise error
    assert len(read_all(tmp_path / "out.mp4")) == 5


def test_no_frame_makes_no_file(tmp_path):
    with video_file(tmp_path / "out.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_image(tmp_path):
    frame = picture(30, 40)
    with open_output(tmp_path / "a" / "out.PNG", "image") as write:
        assert write(frame)
    read = cv2.imread(str(tmp_path / "a" / "out.PNG"))
    np.testing.assert_array_equal(read, frame.image)


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("a.png", "video", "one video"),
        ("a.mp4", "image", "one image"),
        ("a", "video", r"\.mp4"),
    ],
)
def test_a_name_that_does_not_fit_is_refused_at_once(name, kind, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        open_output(tmp_path / name, kind)


def test_a_live_video_is_as_long_as_what_it_shows(tmp_path):
    """A camera of 10 frames a second, too slow for a while and then too fast."""
    times = [0, 0.3, 1.0, 1.01, 1.02, 1.5]
    with open_output(tmp_path / "out.avi", "video") as write:
        for value, time in enumerate(times):
            assert write(picture(64, 64, 40 * value, time + 7, 10.0))
    images = read_all(tmp_path / "out.avi")
    assert read_fps(tmp_path / "out.avi") == 10
    shown = [round(image.mean() / 40) for image in images]
    assert shown == [0] + [1] * 3 + [2] * 7 + [5] * 5


def test_a_film_of_varying_rate_is_as_long_as_what_it_shows(tmp_path):
    """A phone's: 25 frames a second by its header, of which half were left out."""
    with video_file(tmp_path / "out.avi") as write:
        for number in range(25):
            assert write(picture(64, 64, 5 * number, 0.08 * number, 25.0))
    images = read_all(tmp_path / "out.avi")
    images = images[0] if isinstance(images, tuple) else images
    assert len(images) == 49


def test_a_folder_is_not_written_to_the_name_of_a_file(tmp_path):
    for name in ("out.mp4", "out.PNG"):
        with pytest.raises(UserError, match="of a folder comes a folder"):
            open_output(tmp_path / name, "folder")


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (90, 4000), (4000, 90)])
def test_the_window_fits_a_small_screen(size):
    height, width = shrink_to_window(np.zeros((*size, 3), np.uint8)).shape[:2]
    assert height <= 680
    assert width <= 600
    assert height == 680 or width == 600
    assert height / width == pytest.approx(size[0] / size[1], rel=0.1)


def test_a_picture_too_thin_to_be_shrunk_stays():
    image = np.zeros((5, 10000, 3), np.uint8)
    assert shrink_to_window(image) is image


def test_what_is_drawn_grows_with_what_the_window_shrinks():
    for shape, zoom in (((90, 90), 1), ((680, 1200), 2), ((1360, 300), 2)):
        assert window_zoom(np.zeros((*shape, 3), np.uint8)) == zoom


def test_a_slow_video_is_as_long_as_what_it_shows(tmp_path):
    with video_file(tmp_path / "a.mp4") as write:
        for number in range(5):
            assert write(picture(64, 64, time=2.0 * number, fps=0.5))
    frames = list(open_frames(str(tmp_path / "a.mp4")))
    assert [frame.time for frame in frames] == [0, 2, 4, 6, 8]


def test_a_folder_gets_a_file_for_each_source(tmp_path):
    with open_output(tmp_path / "out", "folder") as write:
        assert write(picture(64, 64, source="a", fps=None))
        for _ in range(3):
            assert write(picture(64, 64, source="b"))
        assert write(picture(32, 32, source="c", fps=None))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.png",
        "b.mp4",
        "c.png",
    ]
    assert len(read_all(tmp_path / "out" / "b.mp4")) == 3


@pytest.mark.parametrize("action", ["q", "Escape", "close"])
@pytest.mark.timeout(60)
def test_the_window_ends_with_q_escape_or_its_closing(action, screen):
    user = threading.Thread(target=screen.act, args=[TITLE, action])
    with window("image") as show:
        user.start()
        assert show(picture(300, 900)) is False
    user.join()


@pytest.mark.timeout(60)
def test_the_window_shows_at_most_600_pixels(screen):
    with window("video") as show:
        assert show(picture(300, 900)) is True
        cv2.waitKey(300)
        assert cv2.getWindowImageRect(TITLE)[2:] == (600, 200)
        assert show(picture(200, 300)) is True
