import threading

import cv2
import numpy as np
import pytest

from pyimagesearch.console import UserError
from pyimagesearch.outputs import TITLE, open_output, video_file, window


def picture(height, width, value=100):
    return np.full((height, width, 3), value, np.uint8)


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
    with open_output(path, still=False, fps=12.5) as write:
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
    with video_file(tmp_path / "out.mp4", 25) as write:
        for size in [(120, 160), (240, 320), (60, 160)]:
            write(picture(*size))
    images, _ = read_all(tmp_path / "out.mp4")
    assert [image.shape for image in images] == [(120, 160, 3)] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_what_was_written_plays_whatever_ended_it(error, tmp_path):
    with pytest.raises(error), video_file(tmp_path / "out.mp4", 25) as write:
        for _ in range(5):
            write(picture(120, 160))
        raise error
    assert len(read_all(tmp_path / "out.mp4")[0]) == 5


def test_no_frame_makes_no_file(tmp_path):
    with video_file(tmp_path / "out.mp4", 25):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_image(tmp_path):
    image = picture(30, 40)
    with open_output(tmp_path / "a" / "out.PNG", still=True, fps=None) as write:
        assert write(image)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a" / "out.PNG")), image)


@pytest.mark.parametrize(
    ("name", "still", "reason"),
    [("a.png", False, "one video"), ("a.mp4", True, "one image"), ("a", False, ".mp4")],
)
def test_a_name_that_does_not_fit_is_refused_at_once(name, still, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        open_output(tmp_path / name, still, 25)


@pytest.mark.parametrize("action", ["q", "Escape", "close"])
@pytest.mark.timeout(60)
def test_the_window_ends_with_q_escape_or_its_closing(action, screen):
    user = threading.Thread(target=screen.act, args=[TITLE, action])
    with window(still=True) as show:
        user.start()
        assert show(picture(300, 900)) is False
    user.join()


@pytest.mark.timeout(60)
def test_the_window_shows_at_most_600_pixels(screen):
    with window(still=False) as show:
        assert show(picture(300, 900)) is True
        cv2.waitKey(300)
        assert cv2.getWindowImageRect(TITLE)[2:] == (600, 200)
        assert show(picture(200, 300)) is True
