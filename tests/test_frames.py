from pyimagesearch.frames import fps_or_default, next_time
from pyimagesearch.sources import open_frames

import numpy as np
import pytest
from conftest import read_all, write_image, write_video


def test_a_video_gives_every_frame_as_opencv_reads_it(carphone):
    frames = list(open_frames(str(carphone)))
    assert [frame.number for frame in frames] == list(range(1, 121))
    assert {frame.source for frame in frames} == {"carphone_pristine"}
    for frame, image in zip(frames, read_all(carphone), strict=True):
        np.testing.assert_array_equal(frame.image, image)


def test_skip_takes_the_frames_that_the_tutorial_takes(carphone):
    source = open_frames(str(carphone), skip=16)
    frames = list(source)
    # `read += 1; if read % skip != 0: continue`
    assert [frame.number for frame in frames] == [16, 32, 48, 64, 80, 96, 112]
    np.testing.assert_array_equal(frames[0].image, read_all(carphone)[15])
    assert source.read == 120


def test_what_a_video_says_of_itself(carphone, tmp_path):
    source = open_frames(str(carphone))
    assert (source.total, source.kind, source.live) == (120, "video", False)
    last = list(source)[-1]
    assert last.fps == pytest.approx(29.97, abs=0.01)
    assert last.time == pytest.approx(119 / 29.97, abs=0.01)
    write_image(tmp_path / "a.png")
    image = open_frames(str(tmp_path / "a.png"))
    assert (image.total, image.kind, image.live) == (1, "image", False)
    (frame,) = image
    assert (frame.number, frame.time, frame.fps) == (1, 0, None)
    folder = open_frames(str(tmp_path))
    assert (folder.total, folder.kind, folder.live) == (1, "folder", False)


@pytest.mark.parametrize("ending", [".webm", ".avi"])
def test_a_video_without_a_frame_count_is_read_to_its_end(ending, carphone, tmp_path):
    path = tmp_path / f"clip{ending}"
    write_video(path, read_all(carphone)[:20])
    if ending == ".webm":  # made for streaming: nobody went back to note a duration
        content = path.read_bytes()
        position = content.index(b"\x44\x89\x88")  # the Duration element
        void = b"\xec\x89" + bytes(9)
        path.write_bytes(content[:position] + void + content[position + 11 :])
    source = open_frames(str(path))
    assert source.total in (None, 20)
    assert len(list(source)) == source.read == 20


def test_an_unreadable_file_of_a_folder_is_named_and_passed_over(tmp_path, capsys):
    write_image(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n, and then nothing")
    (tmp_path / "empty.mp4").touch()
    source = open_frames(str(tmp_path))
    assert [frame.source for frame in source] == ["good"]
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2
    assert "bad.png" in warnings[0]
    assert "empty.mp4" in warnings[1]


class FixedVideo:
    """Stands for a video that says of itself what a test wants."""

    def __init__(self, fps):
        self.fps = fps

    def get(self, _property):
        return self.fps


@pytest.mark.parametrize(
    ("said", "fps"),
    [(0.0, 25), (-1.0, 25), (1e6, 25), (float("nan"), 25), (30.0, 30), (0.5, 0.5)],
)
def test_a_rate_that_cannot_be_right_is_25_frames_a_second(said, fps):
    assert fps_or_default(FixedVideo(said)) == fps


class FakeVideo:
    """Stands for a video with these time stamps, in milliseconds."""

    def __init__(self, stamps):
        self.stamps = iter(stamps)

    def get(self, _property):
        return next(self.stamps)


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([0, 40, 80, 120], [0, 0.04, 0.08, 0.12]),
        ([0, 30, 110, 150], [0, 0.03, 0.11, 0.15]),  # a varying rate
        ([0, 0, 0, 0], [0, 0.04, 0.08, 0.12]),  # no time stamps
        ([-1, -1, -1, -1], [0, 0.04, 0.08, 0.12]),
        ([0, 40, 1e12, 120], [0, 0.04, 0.08, 0.12]),
        ([0, 80, 40, 160], [0, 0.08, 0.12, 0.16]),  # back in time
        ([0, float("nan"), 80, 120], [0, 0.04, 0.08, 0.12]),
    ],
)
def test_a_files_own_time_stamps_count_where_they_make_sense(stamps, times):
    video, seconds, found = FakeVideo(stamps), -1.0, []
    for number in range(1, len(stamps) + 1):
        seconds = next_time(video, seconds, number, 25.0)
        found.append(seconds)
    assert found == pytest.approx(times)
