import itertools
import signal
import sys

from pyimagesearch.console import UserError
from pyimagesearch.encoder import SUFFIXES, video_file
from pyimagesearch.frames import Frame
from pyimagesearch.live import open_frames

import av
import numpy as np
import pytest
from conftest import read_all, run_ffmpeg

NUMBERS = itertools.count()


def picture(height, width, value=100, time=None):
    """Make the next frame of a video; every call is 0.08 seconds later."""
    image = np.full((height, width, 3), value, np.uint8)
    return Frame(image, "a", 1, 0.08 * next(NUMBERS) if time is None else time)


def write_at(path, times):
    with video_file(path) as write:
        for number, time in enumerate(times):
            assert write(picture(64, 64, 40 * number % 250, time))
    return [frame.time for frame in open_frames(str(path))]


@pytest.mark.parametrize("ending", [*SUFFIXES, ".MP4"])
@pytest.mark.parametrize("size", [(120, 160), (121, 163), (1, 1)])
def test_every_kind_of_video_can_be_played(ending, size, tmp_path):
    path = tmp_path / f"out{ending}"
    with video_file(path) as write:
        for value in range(0, 250, 25):
            assert write(picture(*size, value))
        assert not path.exists()
    images = read_all(path)
    even = tuple(side + side % 2 for side in size)
    assert [image.shape for image in images] == [(*even, 3)] * 10
    np.testing.assert_allclose(
        [image.mean() for image in images], range(0, 250, 25), atol=6
    )
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", SUFFIXES)
def test_browsers_phones_and_editors_play_it(ending, tmp_path):
    """They play H.264 with 4:2:0 chroma, which wants even sides."""
    write_at(tmp_path / f"out{ending}", [0, 0.04])
    with av.open(str(tmp_path / f"out{ending}")) as container:
        (stream,) = container.streams
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"


@pytest.mark.parametrize("ending", SUFFIXES)
@pytest.mark.parametrize(
    "times",
    [
        [n / 211.222 for n in range(20)],  # slow motion
        [n / 66.667 for n in range(20)],
        [n * 1001 / 30000 for n in range(20)],
        [n / 0.5 for n in range(5)],
        [0, 0.3, 1.0, 1.03, 1.06, 1.5],  # a slow camera
        [0, 0.04, 0.08, 150, 150.04, 150.08],  # a pause, or a stream that stood still
        [0, 0.04, 3000, 3000.04],
    ],
    ids=["211", "66", "29.97", "slow", "varying", "pause", "long pause"],
)
def test_every_frame_keeps_its_time(ending, times, tmp_path):
    written = write_at(tmp_path / f"out{ending}", [7 + time for time in times])
    assert written == pytest.approx(times, abs=0.001)


def test_a_pause_takes_no_space(tmp_path):
    write_at(tmp_path / "short.mp4", [0, 0.04, 0.08])
    write_at(tmp_path / "long.mp4", [0, 0.04, 600])
    sizes = [(tmp_path / name).stat().st_size for name in ("short.mp4", "long.mp4")]
    assert sizes[1] < sizes[0] + 100


def test_ffmpeg_finds_nothing_wrong_with_a_video(tmp_path):
    for ending in SUFFIXES:
        path = tmp_path / f"out{ending}"
        write_at(path, [0, 0.04, 0.3])
        options = ["-v", "warning", "-i", path, "-fps_mode", "passthrough"]
        assert run_ffmpeg(*options, "-f", "null", "-") == ""


def test_frames_of_another_size_are_resized_to_the_first(tmp_path):
    with video_file(tmp_path / "out.mp4") as write:
        for size in [(120, 160), (240, 320), (60, 160)]:
            write(picture(*size))
    images = read_all(tmp_path / "out.mp4")
    assert [image.shape for image in images] == [(120, 160, 3)] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_a_video_plays_whatever_error_ended_it(error, tmp_path):
    with pytest.raises(error), video_file(tmp_path / "out.mp4") as write:
        for _ in range(5):
            write(picture(120, 160))
        raise error
    assert len(read_all(tmp_path / "out.mp4")) == 5


def test_without_frames_no_file_is_made(tmp_path):
    with video_file(tmp_path / "out.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_no_video_can_hold_is_one_line(tmp_path):
    (tmp_path / "out.mp4").write_text("yesterday's")
    with (
        pytest.raises(UserError, match=r"out\.mp4: the video cannot be written: "),
        video_file(tmp_path / "out.mp4") as write,
    ):
        write(picture(40, 20_000))
    assert (tmp_path / "out.mp4").read_text() == "yesterday's"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="files have no size limit there")
@pytest.mark.parametrize("ending", SUFFIXES)
def test_on_a_full_disk_the_old_video_stays(ending, tmp_path, capfd):
    import resource

    path, noise = tmp_path / f"out{ending}", np.random.default_rng(0)
    path.write_text("yesterday's")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(UserError, match="cannot be wr"), video_file(path) as write:
            for number in range(60):
                image = noise.integers(0, 256, (64, 96, 3), np.uint8)
                write(Frame(image, "a", number, number / 25))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_text() == "yesterday's"
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr().err == ""  # PyAV prints what it drops
