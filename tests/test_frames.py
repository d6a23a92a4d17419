import http.server
import os
import re
import threading
from contextlib import closing
from itertools import count
from typing import ClassVar

from pyimagesearch.console import UserError
from pyimagesearch.frames import (
    Clock,
    map_ahead,
    read_ahead,
    read_image,
)
from pyimagesearch.live import open_frames

import av
import cv2
import numpy as np
import pytest
from conftest import make_video, read_all, run_ffmpeg, write_image, write_video
from PIL import Image, ImageOps, features


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
    assert last.time == pytest.approx(119 / 29.97, abs=0.01)
    write_image(tmp_path / "a.png")
    image = open_frames(str(tmp_path / "a.png"))
    assert (image.total, image.kind, image.live) == (1, "image", False)
    (frame,) = image
    assert (frame.number, frame.time, frame.still) == (1, 0, True)
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


@pytest.mark.parametrize(
    ("rate", "step"),
    [(None, 1 / 25), (0, 1 / 25), (1e6, 1 / 25), (30, 1 / 30), (0.5, 2)],
)
def test_without_time_stamps_the_rate_counts_if_it_is_plausible(rate, step):
    clock = Clock(rate)
    assert [clock.tell(None) for _ in range(3)] == pytest.approx([0, step, 2 * step])


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([0, 0.04, 0.08, 0.12], [0, 0.04, 0.08, 0.12]),
        ([7, 7.03, 7.11, 7.15], [0, 0.03, 0.11, 0.15]),  # a varying rate, a late start
        ([0, 0, 0, 0], [0, 0.04, 0.08, 0.12]),
        ([0, 0.04, 1e12, 0.12], [0, 0.04, 0.08, 0.12]),
        ([0, 0.08, 0.04, 0.16], [0, 0.08, 0.12, 0.16]),  # back in time
        ([9, 9.04, 0, 0.03], [0, 0.04, 0.08, 0.11]),  # another recording begins
        ([0, None, 0.08, 150.08], [0, 0.04, 0.08, 150.08]),  # a pause
    ],
)
def test_a_files_own_time_stamps_count_where_they_are_plausible(stamps, times):
    clock = Clock(25)
    found = [clock.tell(stamp) for stamp in stamps]
    assert found == pytest.approx(times, abs=1e-3)


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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "webp", "avif", "png"])
def test_photographs_of_every_kind_are_turned_upright(kind, orientation, tmp_path):
    if kind == "avif" and not features.check("avif"):
        pytest.skip("this Pillow cannot write AVIF")
    quarters = np.zeros((40, 60, 3), np.uint8)
    quarters[:20, :30, 0] = quarters[:20, 30:, 1] = quarters[20:, :30, 2] = 255
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(quarters).save(tmp_path / f"a.{kind}", exif=exif, quality=95)
    with Image.open(tmp_path / f"a.{kind}") as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    read = read_image(tmp_path / f"a.{kind}")
    assert read.shape == upright.shape
    assert np.abs(read[..., ::-1].astype(int) - upright).mean() < 10


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_pictures_of_more_than_8_bits_keep_their_brightness(bits, tmp_path):
    ramp = np.linspace(0, 255, 64).astype(np.uint16)
    deep = np.tile(ramp << (bits - 8), (8, 1))
    assert cv2.imwrite(str(tmp_path / "a.png"), deep)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0, :, 1], ramp)


def copy_as_heif(video, path, brand="heic"):
    """Write what FFmpeg takes for a photograph of a phone, one tile of it."""
    options = ["-frames:v", 1, "-c:v", "libx265", "-brand", brand, "-f", "mp4"]
    run_ffmpeg("-i", video, *options, path)


@pytest.mark.parametrize("brand", ["heic", "mif1", "hevc", "avis"])
def test_a_heif_photograph_is_refused_and_says_how_to_convert(
    brand, carphone, tmp_path, capsys
):
    path = tmp_path / "IMG_1.HEIC"
    copy_as_heif(carphone, path, brand)
    with pytest.raises(UserError, match=r"IMG_1\.HEIC: HEIF .* convert them to JPEG"):
        assert open_frames(str(path)).kind
    path.rename(tmp_path / "IMG_1.jpg")  # as some messengers do
    (tmp_path / "b.mp4").write_bytes(carphone.read_bytes())
    assert {frame.source for frame in open_frames(str(tmp_path))} == {"b"}
    error = capsys.readouterr().err
    assert "IMG_1.jpg: HEIF images (.heic) cannot be read here" in error
    assert len(error.splitlines()) == 1


BYTE_NAME = os.fsdecode(b"caf\xe9-real")


@pytest.fixture
def byte_named(tmp_path, carphone):
    """A folder with an image and a video whose names are not UTF-8."""
    try:
        (tmp_path / f"{BYTE_NAME}.mp4").write_bytes(carphone.read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    image = cv2.imencode(".png", np.full((20, 30, 3), 9, np.uint8))[1]
    (tmp_path / f"{BYTE_NAME}2.png").write_bytes(image.tobytes())
    return tmp_path


def test_names_that_are_not_utf_8_can_be_read(byte_named):
    for source in (byte_named, byte_named / f"{BYTE_NAME}.mp4"):
        frames = list(open_frames(str(source), skip=60))
        assert [f.number for f in frames if f.source == BYTE_NAME] == [60, 120]
    assert frames[0].image.shape == (144, 176, 3)
    (frame,) = open_frames(str(byte_named / f"{BYTE_NAME}2.png"))
    assert frame.image.shape == (20, 30, 3)


def test_interlaced_video_shows_its_own_pictures(tmp_path):
    """OpenCV gives memory that holds the pictures of the video before."""
    folder = tmp_path / "in"
    folder.mkdir()
    make_video(folder / "1-phone.mp4", "-vf", "negate")
    fields = ["-flags", "+ildct+ilme", "-x264opts", "tff=1", "-c:v", "libx264"]
    make_video(folder / "2-camcorder.mts", *fields, "-f", "mpegts")
    plain = make_video(tmp_path / "plain.avi", "-c:v", "ffv1")
    frames = [f for f in open_frames(str(folder)) if f.source == "2-camcorder"]
    for frame, wanted in zip(frames, open_frames(str(plain)), strict=True):
        assert np.abs(frame.image.astype(int) - wanted.image).mean() < 30


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_a_video_whose_picture_pauses_is_read_to_its_end(ending, tmp_path):
    """OpenCV gives up after 4096 packets of sound."""
    pause = "setpts='if(lt(N,30),PTS,PTS+150/TB)'"
    path = tmp_path / f"pause.{ending}"
    sound = ["-f", "lavfi", "-i", "sine=duration=154", "-c:a", "aac"]
    options = [*sound, "-vf", pause, "-fps_mode", "passthrough", "-c:v", "libx264"]
    frames = list(open_frames(str(make_video(path, *options, seconds=4))))
    assert len(frames) == 100
    assert frames[30].time - frames[29].time == pytest.approx(150, abs=0.1)


def test_damage_near_the_end_loses_no_more_than_a_decoder_holds(tmp_path):
    """FFmpeg decodes a frame in each of at most 17 threads; an error loses them."""
    path = make_video(tmp_path / "a.flv", "-c:v", "libx264", "-g", 12)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    counted = run_ffmpeg("-i", path, "-fps_mode", "passthrough", "-f", "null", "-")
    expected = int(re.findall(r"frame=\s*(\d+)", counted)[-1])
    read = len(list(open_frames(str(path))))
    assert expected - 17 <= read <= expected


def test_damage_in_the_middle_is_counted_in_one_line(tmp_path, capsys):
    path = make_video(tmp_path / "a.avi", "-c:v", "mjpeg")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 800] = bytes(800)
    path.write_bytes(content)
    read = len(list(open_frames(str(path))))
    assert read > 40
    error = capsys.readouterr().err
    assert f"a.avi: damaged: read {read} frames" in error
    assert len(error.splitlines()) == 1


def test_a_video_is_opened_once(carphone, monkeypatch):
    opened, open_container = [], av.open
    monkeypatch.setattr(
        av,
        "open",
        lambda *a, **options: opened.append(a) or open_container(*a, **options),
    )
    with closing(open_frames(str(carphone), skip=16)) as source:
        assert (source.kind, source.total) == ("video", 120)
        assert len(list(source)) == 7
    assert len(opened) == 1


def test_an_image_is_decoded_once(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png")
    decoded, decode = [], cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *a: decoded.append(1) or decode(*a))
    source = open_frames(str(tmp_path / "a.png"))
    assert (source.kind, len(list(source))) == ("image", 1)
    assert len(decoded) == 1


def test_a_video_of_which_nothing_is_read_is_closed(carphone):
    source = open_frames(str(carphone))
    video = source._opening.result()
    source.close()
    with pytest.raises(AssertionError, match="not open"):
        next(video.frames())


def test_a_video_shorter_than_skip_gives_its_middle_frame(carphone, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for length in (1, 2, 12, 15, 16):
        options = ["-frames:v", length, "-c:v", "ffv1"]
        run_ffmpeg("-i", carphone, *options, folder / f"{length}.mkv")
    source = open_frames(str(folder), skip=16)
    found = {frame.source: frame for frame in source}
    numbers = {name: frame.number for name, frame in found.items()}
    assert numbers == {"1": 1, "2": 1, "12": 6, "15": 8, "16": 16}
    assert source.read == 46
    plain = read_all(folder / "12.mkv")
    assert np.abs(found["12"].image.astype(int) - plain[5]).mean() < 3


class Visitors(http.server.BaseHTTPRequestHandler):
    paths: ClassVar[list] = []

    def do_GET(self):
        self.paths.append(self.path)
        self.send_error(404)

    def log_message(self, *args):
        pass


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {}\n",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static' "
        "mediaPresentationDuration='PT2S'><Period><AdaptationSet mimeType='video/mp4'>"
        "<Representation id='1' bandwidth='9'><BaseURL>{}</BaseURL></Representation>"
        "</AdaptationSet></Period></MPD>",
    ],
    ids=["HLS", "concat", "DASH"],
)
def test_a_playlist_under_a_videos_name_opens_nothing_else(
    content, carphone, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.mp4").write_bytes(carphone.read_bytes())
    run_ffmpeg("-i", "secret.mp4", "-c", "copy", "secret.ts")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Visitors) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}/a.ts"
        for target in (address, "secret.ts", "secret.mp4", str(tmp_path / "secret.ts")):
            (tmp_path / "list.mp4").write_text(content.format(target))
            with pytest.raises(UserError, match=r"list\.mp4: neither an image nor"):
                assert open_frames("list.mp4").kind
        server.shutdown()
    assert Visitors.paths == []


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

    items = read_ahead(broken())
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
    items = read_ahead(endless())
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
