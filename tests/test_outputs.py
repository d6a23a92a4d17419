import threading

from pyimagesearch.console import UserError
from pyimagesearch.frames import Frame
from pyimagesearch.outputs import TITLE, open_output, video_file, window

import cv2
import numpy as np
import pytest


def picture(height, width, value=100, time=0.0, fps=12.5, source="a"):
    image = np.full((height, width, 3), value, np.uint8)
    return Frame(image, source, 1, time, fps)


def read_all(path):
    video = cv2.VideoCapture(str(path))
    images = []
    while (read := video.read())[0]:
        images.append(read[1])
    return images, video.get(cv2.CAP_PROP_FPS)


@pytest.mark.parametrize("ending", ["mp4", "avi", "mkv", "mov", "webm", "MP4"])
@pytest.mark.parametrize("size", [(120, 160), (121, 163)])
def test_videos_that_can_be_played(ending, size, tmp_path):
    path = tmp_path / f"out.{ending}"
    with open_output(path, "video", live=False) as write:
        for value in range(0, 250, 25):
            assert write(picture(*size, value))
        assert not path.exists()
    images, fps = read_all(path)
    assert len(images) == 10
    assert fps == pytest.approx(12.5)
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
    images, _ = read_all(tmp_path / "out.mp4")
    assert [image.shape for image in images] == [(120, 160, 3)] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_what_was_written_plays_whatever_ended_it(error, tmp_path):
    with pytest.raises(error), video_file(tmp_path / "out.mp4") as write:
        for _ in range(5):
            write(picture(120, 160))
        raise error
    assert len(read_all(tmp_path / "out.mp4")[0]) == 5


def test_no_frame_makes_no_file(tmp_path):
    with video_file(tmp_path / "out.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_image(tmp_path):
    frame = picture(30, 40)
    with open_output(tmp_path / "a" / "out.PNG", "image", live=False) as write:
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
        open_output(tmp_path / name, kind, live=False)


def test_a_live_video_is_as_long_as_what_it_shows(tmp_path):
    """A camera of 10 frames a second, too slow for a while and then too fast."""
    times = [0, 0.3, 1.0, 1.01, 1.02, 1.5]
    with open_output(tmp_path / "out.avi", "video", live=True) as write:
        for value, time in enumerate(times):
            assert write(picture(64, 64, 40 * value, time + 7, 10.0))
    images, fps = read_all(tmp_path / "out.avi")
    assert fps == 10
    shown = [round(image.mean() / 40) for image in images]
    assert shown == [0] + [1] * 3 + [2] * 7 + [5] * 5


def test_a_folder_gets_a_file_for_each_source(tmp_path):
    with open_output(tmp_path / "out", "folder", live=False) as write:
        assert write(picture(64, 64, source="a", fps=None))
        for _ in range(3):
            assert write(picture(64, 64, source="b"))
        assert write(picture(32, 32, source="c", fps=None))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.png",
        "b.mp4",
        "c.png",
    ]
    assert len(read_all(tmp_path / "out" / "b.mp4")[0]) == 3


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
