import threading
from contextlib import closing
from itertools import count
from pathlib import Path

from pyimagesearch.frames import (
    IMAGE_SUFFIXES,
    find_files,
    fps_or_default,
    map_ahead,
    natural_key,
    next_time,
    read_ahead,
    read_image,
)
from pyimagesearch.live import open_frames

import cv2
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


def test_a_source_knows_its_length_kind_and_times(carphone, tmp_path):
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
    if ending == ".webm":  # as made for streaming, without a duration
        content = path.read_bytes()
        position = content.index(b"\x44\x89\x88")  # the Duration element
        void = b"\xec\x89" + bytes(9)
        path.write_bytes(content[:position] + void + content[position + 11 :])
    source = open_frames(str(path))
    assert source.total in (None, 20)
    assert len(list(source)) == source.read == 20


def test_an_unreadable_file_of_a_folder_is_named_and_skipped(tmp_path, capsys):
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
    """Stands for a video whose header gives this frame rate."""

    def __init__(self, fps):
        self.fps = fps

    def get(self, _property):
        return self.fps


@pytest.mark.parametrize(
    ("given", "fps"),
    [(0.0, 25), (-1.0, 25), (1e6, 25), (float("nan"), 25), (30.0, 30), (0.5, 0.5)],
)
def test_an_implausible_rate_becomes_25_frames_per_second(given, fps):
    assert fps_or_default(FixedVideo(given)) == fps


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
def test_a_files_own_time_stamps_count_where_they_are_plausible(stamps, times):
    video, seconds, found = FakeVideo(stamps), -1.0, []
    for number in range(1, len(stamps) + 1):
        seconds = next_time(video, seconds, number, 25.0)
        found.append(seconds)
    assert found == pytest.approx(times)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def find(folder, suffixes=None):
    files = find_files(folder, suffixes)
    return [path.relative_to(folder).as_posix() for path in files]


def test_files_are_found_at_any_depth_in_natural_order(tmp_path):
    touch(tmp_path, "10.png", "2.png", "1.txt", "b/3.png", "b/20.png", "a/9/1.png")
    numbers = ["1.txt", "2.png", "10.png"]
    assert find(tmp_path) == [*numbers, "a/9/1.png", "b/3.png", "b/20.png"]


def test_hidden_files_and_folders_are_ignored(tmp_path):
    touch(tmp_path / ".here", "1.png", ".2.png", ".trash/3.png", "a/.b/c/4.png")
    (tmp_path / ".here" / "folder.png").mkdir()
    # The folder that is searched may itself be hidden.
    assert find(tmp_path / ".here") == ["1.png"]


def test_suffixes_match_in_upper_case_too(tmp_path):
    touch(tmp_path, "a.PNG", "b.Jpg", "c.txt", "d", "e.png.part")
    assert find(tmp_path, IMAGE_SUFFIXES) == ["a.PNG", "b.Jpg"]
    assert find(tmp_path, {".txt"}) == ["c.txt"]


def test_natural_order_puts_2_before_10_wherever_the_number_is():
    names = ["a10b2", "a2b10", "a2b9", "a", "b1", "10", "9", "a02b1"]
    expected = ["9", "10", "a", "a02b1", "a2b9", "a2b10", "a10b2", "b1"]
    assert sorted(names, key=lambda name: natural_key(Path(name))) == expected


def test_a_photograph_is_turned_upright(tmp_path):
    """EXIF orientation 6: the scene's top is at the right edge of the stored image."""
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
    ids=["gray", "alpha", "16 bit"],
)
def test_every_kind_of_image_becomes_8_bit_bgr(image, tmp_path):
    assert cv2.imwrite(str(tmp_path / "a.png"), image)
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint8
    assert read.shape == (9, 7, 3)
    assert set(read.flat) == {77}


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n, then nothing"])
def test_a_file_that_is_not_an_image_gives_none(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    assert read_image(tmp_path / "a.png") is None
    assert read_image(tmp_path / "missing.png") is None
    assert read_image(tmp_path) is None


def test_read_ahead_keeps_order_and_reports_errors():
    def broken():
        yield from range(10)
        raise ValueError("the eleventh")

    items = read_ahead(broken(), 2)
    assert [next(items) for _ in range(10)] == list(range(10))
    with pytest.raises(ValueError, match="the eleventh"):
        next(items)


def test_closing_read_ahead_early_ends_its_thread_and_closes_the_items():
    closed = threading.Event()

    def endless():
        try:
            yield from count()
        finally:
            closed.set()

    before = threading.active_count()
    items = read_ahead(endless(), 2)
    assert next(items) == 0
    items.close()
    assert closed.is_set()
    assert threading.active_count() == before


@pytest.fixture
def cores(monkeypatch):
    """Set the number of cores that this process may use."""

    def set_cores(number):
        monkeypatch.setattr(cv2, "getNumberOfCPUs", lambda: number)

    return set_cores


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n", [0, 1, 50])
def test_mapped_items_come_in_order(n, threads, cores):
    cores(threads)
    squares = map_ahead(lambda item: item * item, range(n))
    assert list(squares) == [item * item for item in range(n)]


def test_items_are_taken_in_the_callers_thread_and_mapped_in_others():
    own, takers, mappers = threading.get_ident(), set(), set()

    def items():
        for item in range(20):
            takers.add(threading.get_ident())
            yield item

    for _ in map_ahead(lambda _: mappers.add(threading.get_ident()), items()):
        pass
    assert takers == {own}
    assert own not in mappers


def test_no_more_is_mapped_ahead_than_there_are_cores(cores):
    cores(2)
    taken = []
    items = map(lambda item: taken.append(item) or item, count())
    with closing(map_ahead(lambda item: item, items)) as mapped:
        for item in range(10):
            assert next(mapped) == item
            assert len(taken) == item + 3


def test_a_mapped_items_error_is_raised_in_its_place():
    mapped = map_ahead(lambda item: 1 // (item - 3), range(10))
    assert [next(mapped) for _ in range(3)] == [-1, -1, -1]
    with pytest.raises(ZeroDivisionError):
        next(mapped)


def test_closing_a_map_early_ends_its_threads(cores):
    cores(3)
    before = threading.active_count()
    mapped = map_ahead(lambda item: item, count())
    assert next(mapped) == 0
    mapped.close()
    assert threading.active_count() == before
