import itertools
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from pyimagesearch import live
from pyimagesearch.console import UserError
from pyimagesearch.live import LatestPicture, hide_password, open_frames

import av
import cv2
import numpy as np
import pytest
from conftest import make_video, run_ffmpeg, write_image
from PIL import Image


def test_a_camera_that_is_not_there_is_named():
    before = threading.active_count()
    with pytest.raises(UserError, match="camera 97 gives no picture"):
        open_frames("97")
    assert threading.active_count() == before


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(live, "STALL_SECONDS", 0.7)
    monkeypatch.setattr(live, "REOPEN_PAUSES", (0.1, 0.2, 0.4))
    monkeypatch.setattr(live, "FIRST_FRAME_SECONDS", 3.0)


def count_own_threads():
    return sum("process_request" not in t.name for t in threading.enumerate())


@pytest.mark.timeout(60)
def test_a_stream_gives_its_latest_frames(camera_server, face_image):
    # The server has a thread for each reader.
    before = count_own_threads()
    source = open_frames(camera_server.url, skip=2)
    assert (source.total, source.kind, source.live) == (None, "video", True)
    with closing(iter(source)) as frames:
        first, second = itertools.islice(frames, 2)
    source.close()
    assert (first.number, second.number) == (2, 4)
    assert 0 <= first.time < second.time
    assert first.image.shape == face_image.shape
    assert np.abs(first.image.astype(int) - face_image).mean() < 5
    # The name has a time stamp, and no password.
    assert re.fullmatch(r"127\.0\.0\.1-door\.mjpg-\d{8}-\d{6}", first.source)
    assert count_own_threads() == before


@pytest.mark.timeout(60)
def test_a_stream_may_change_its_size(camera_server, face_image):
    """OpenCV then gives the new pictures in the old size or in their own."""
    height, width = face_image.shape[:2]
    other = 255 - cv2.resize(face_image, (2 * width, 2 * height))
    with closing(open_frames(camera_server.url)) as source:
        for frame in source:
            image = cv2.resize(frame.image, (width, height)).astype(int)
            if np.abs(image - (255 - face_image)).mean() < 10:
                break
            camera_server.show(other)
    assert frame.number > 1


@pytest.mark.timeout(60)
def test_a_stream_that_stalls_continues_when_it_is_back(
    camera_server, impatient, capsys
):
    source = open_frames(camera_server.url)
    with closing(source), closing(iter(source)) as frames:
        next(frames)
        before = len(camera_server.paths)
        camera_server.stalled.set()
        reader = ThreadPoolExecutor(1)
        # Pictures in transit arrive; then none, until the camera is back.
        later = reader.submit(lambda: next(f for f in frames if is_reopened()))

        def is_reopened():
            return len(camera_server.paths) > before

        while not is_reopened():
            pass
        camera_server.stalled.clear()
        assert later.result().number > 1
        reader.shutdown()
    error = capsys.readouterr().err
    assert "127.0.0.1-door.mjpg gives no more pictures; trying again in 0.1 s" in error
    assert "127.0.0.1-door.mjpg is back" in error
    assert "secret" not in error


@pytest.mark.timeout(60)
def test_a_dead_stream_is_retried_and_then_given_up(camera_server, impatient, capsys):
    source = open_frames(camera_server.url)
    with closing(source), closing(iter(source)) as frames:
        next(frames)
        camera_server.dead.set()
        with pytest.raises(UserError, match=r"door\.mjpg died after \d+ frames?"):
            list(frames)
    assert capsys.readouterr().err.count("trying again") == 3


@pytest.mark.timeout(60)
@pytest.mark.parametrize("scheme", ["http", "rtsp", "tcp"])
def test_an_address_that_does_not_answer_is_named(scheme, impatient):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UserError, match=r"^\S*127\.0\.0\.1\S*a(:| gives)") as error:
            open_frames(f"{scheme}://u:secret@{host}/a?key=secret")
    assert "secret" not in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://admin:S3cr#t@camera/door", "rtsp://"),
        ("rtsp://admin:s/cret@camera:554/door", "rtsp://camera:554/door"),
        ("rtsp://admin:p@ss@camera/door", "rtsp://camera/door"),
        ("rtsp://admin:s?cr/e@t@camera", "rtsp://"),
        ("rtsp://admin:12/34@camera/door", "rtsp://camera/door"),
        ("http://admin:secret@[fe80::1]:80/a", "http://[fe80::1]:80/a"),
        ("http://camera/a.mjpg?user=a&password=secret", "http://camera/a.mjpg"),
        ("http://camera/a?user=a@b.org&password=secret", "http://"),
        ("http://camera:8080/a/b.mp4#t", "http://camera:8080/a/b.mp4"),
        ("http://camera/@ada/b.mp4", "http://ada/b.mp4"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
    ],
)
def test_a_password_is_never_shown(address, shown):
    assert hide_password(address) == shown


@pytest.mark.parametrize(
    "address",
    [
        "rtp://camera:5004",
        "udp://:1234",
        "TCP://camera:9",
        "srt://camera:9?mode=caller",
    ],
)
def test_what_ffmpeg_accepts_reaches_opencv_unchanged(address, cameras):
    fakes = cameras(FakeCamera(1))
    with closing(open_frames(address)) as source:
        assert source.live
    assert fakes.arguments[0][0] == address


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.ts", "clip.avi"])
def test_a_video_at_an_address_is_read_like_a_file(name, web):
    folder, address = web
    make_video(folder / name, *["-live", 1] * name.endswith("webm"))
    source = open_frames(f"{address}/{name}?key=secret", skip=20)
    assert (source.live, source.kind) == (False, "video")
    frames = list(source)
    assert [(f.source, f.number) for f in frames] == [
        (f"127.0.0.1-{name}", 20),
        (f"127.0.0.1-{name}", 40),
    ]
    assert source.read == 50
    assert frames[1].time == pytest.approx(39 / 25, abs=0.01)


def test_a_recording_at_an_address_is_opened_once(web, monkeypatch):
    opened, open_container = [], av.open
    monkeypatch.setattr(
        av,
        "open",
        lambda *a, **options: opened.append(a) or open_container(*a, **options),
    )
    make_video(web[0] / "clip.mp4")
    assert len(list(open_frames(f"{web[1]}/clip.mp4", skip=20))) == 2
    assert len(opened) == 1


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_a_picture_at_an_address_is_an_image(kind, web, face_image):
    folder, address = web
    Image.fromarray(face_image[..., ::-1]).save(folder / f"a.{kind}", quality=95)
    source = open_frames(f"{address}/a.{kind}", skip=16)
    assert (source.live, source.kind, source.total) == (False, "image", 1)
    (frame,) = source
    assert (frame.source, frame.number, frame.still) == (f"127.0.0.1-a.{kind}", 1, True)
    assert np.abs(frame.image.astype(int) - face_image).mean() < 3


def test_a_file_that_is_missing_at_an_address_is_one_line(web):
    with pytest.raises(UserError, match=r"/none\.mp4: neither an image nor a video"):
        open_frames(f"{web[1]}/none.mp4")


def test_a_live_playlist_stays_live_and_opens_no_local_file(web, carphone):
    folder, address = web
    run_ffmpeg("-i", carphone, "-c", "copy", folder / "a.ts")
    start = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n"
    (folder / "live.m3u8").write_text(f"{start}{address}/a.ts\n")
    with closing(open_frames(f"{address}/live.m3u8")) as source:
        assert source.live
    (folder / "evil.m3u8").write_text(f"{start}file://{folder}/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(UserError, match=r"evil\.m3u8"):
        open_frames(f"{address}/evil.m3u8")


class FakeCamera:
    """Stands for a cv2.VideoCapture that dies after some pictures.

    It holds each picture back until the one before was taken, so that none is dropped
    and the test knows what comes.
    """

    def __init__(self, *values, is_open=True):
        self.values, self.is_open = list(values), is_open
        self.picture = None
        self.released = False

    def isOpened(self):  # noqa: N802
        return self.is_open

    def read(self):
        if self.picture is not None and self.picture._image is not None:
            return False, None
        if not self.values:
            self.is_open = False
            return False, None
        return True, np.full((4, 4, 3), self.values.pop(0), np.uint8)

    def release(self):
        self.released = True


class FakeCameras:
    """Stand for the cameras that are opened one after another."""

    def __init__(self, *cameras):
        self.cameras = list(cameras)
        self.opened, self.arguments = [], []

    def open(self, *arguments):
        number = len(self.opened)
        known = number < len(self.cameras)
        camera = self.cameras[number] if known else FakeCamera(is_open=False)
        self.opened.append(camera)
        self.arguments.append(arguments)
        return camera


@pytest.fixture
def cameras(monkeypatch, impatient):
    """Replace cv2.VideoCapture; returns a function that takes the cameras to open."""
    monkeypatch.setattr(live, "REOPEN_PAUSES", (0.001, 0.002, 0.004))

    def install(*cameras):
        fakes = FakeCameras(*cameras)
        monkeypatch.setattr(cv2, "VideoCapture", fakes.open)
        start = LatestPicture.__init__

        def remember(picture, address):
            number = len(fakes.opened)
            if number < len(fakes.cameras):
                fakes.cameras[number].picture = picture
                picture._image = None
            start(picture, address)

        monkeypatch.setattr(LatestPicture, "__init__", remember)
        return fakes

    return install


def values(frames):
    return [int(frame.image[0, 0, 0]) for frame in frames]


def test_every_picture_is_given_once_the_first_included(cameras):
    fakes = cameras(FakeCamera(10, 20, 30, 40))
    with closing(open_frames("3")) as source:
        assert values(itertools.islice(source, 4)) == [10, 20, 30, 40]
        assert source.read == 4
    assert fakes.arguments == [(3,)]
    assert fakes.opened[0].released


def test_a_camera_that_dies_is_reopened(cameras, capsys):
    fakes = cameras(FakeCamera(1, 2, 3), FakeCamera(), FakeCamera(4, 5))
    before = threading.active_count()
    source, seen = open_frames("3"), []
    with pytest.raises(UserError, match="camera3 died after 5 frames"):
        for frame in source:
            seen.append((frame.number, *values([frame])))
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]
    assert fakes.arguments == [(3,)] * 6
    error = capsys.readouterr().err
    assert error.count("camera3 gives no more pictures; trying again in") == 5
    assert error.count("camera3 is back") == 1
    source.close()
    assert all(camera.released for camera in fakes.opened)
    assert threading.active_count() == before


def test_a_patient_input_waits_for_a_late_camera(cameras, capsys):
    dead = [FakeCamera(is_open=False) for _ in range(6)]
    fakes = cameras(*dead, FakeCamera(7, 8))
    with closing(open_frames("3", patient=True)) as source:
        assert values(itertools.islice(source, 2)) == [7, 8]
    error = capsys.readouterr().err
    assert error.count("camera3 gives no picture; trying again in") == 6
    assert all(camera.released for camera in fakes.opened)


def test_closing_a_camera_leaves_another_one_running(cameras):
    cameras(FakeCamera(1, 2), FakeCamera(10, 20, 30))
    one, other = open_frames("0"), open_frames("1")
    numbers = iter(other)
    assert values([next(iter(one)), next(numbers)]) == [1, 10]
    one.close()
    assert values(itertools.islice(numbers, 2)) == [20, 30]
    other.close()


def test_a_camera_without_a_picture_is_released(cameras):
    fakes = cameras(FakeCamera(is_open=False))
    with pytest.raises(UserError, match="camera 3 gives no picture"):
        open_frames("3")
    assert fakes.opened[0].released


def test_an_address_must_answer_within_a_time(cameras):
    fakes = cameras(FakeCamera(1))
    open_frames("rtsp://camera/door").close()
    ((address, backend, options),) = fakes.arguments
    assert (address, backend) == ("rtsp://camera/door", cv2.CAP_FFMPEG)
    assert dict(zip(options[::2], options[1::2], strict=True)) == {
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: 3000,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC: 700,
    }


def test_only_the_latest_picture_is_kept(cameras):
    camera = FakeCamera(*range(1, 100))
    taken = threading.Event()
    read = camera.read

    def read_on():
        camera.picture = None  # hold nothing back
        decoded, image = read()
        if not decoded:
            taken.set()  # all were read
        return decoded, image

    camera.read = read_on
    cameras(camera)
    with closing(open_frames("0")) as source:
        assert taken.wait(10)
        assert values([next(iter(source))]) == [99]
        assert source.read == 1


def test_a_folder_is_read_in_natural_order_without_hidden_files(tmp_path, carphone):
    names = ("10.png", "2.png", "1.png", "ben/3.png", ".hidden.png", ".trash/4.png")
    for name in names:
        write_image(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "clip.mp4").write_bytes(carphone.read_bytes())
    frames = list(open_frames(str(tmp_path), skip=60))
    assert [(frame.source, frame.number) for frame in frames] == [
        ("1", 1),
        ("2", 1),
        ("10", 1),
        ("ben/3", 1),
        ("clip", 60),
        ("clip", 120),
    ]


def test_a_file_whose_name_is_a_number_is_not_a_camera(tmp_path, monkeypatch):
    write_image(tmp_path / "8.png")
    (tmp_path / "8.png").rename(tmp_path / "8")
    monkeypatch.chdir(tmp_path)
    assert open_frames("8").kind == "image"


@pytest.mark.parametrize("name", ["missing.mp4", "text.mp4", "folder", "cut.mp4"])
def test_an_unreadable_input_fails_at_once_and_is_named(name, tmp_path, carphone):
    (tmp_path / "text.mp4").write_text("I am no video")
    (tmp_path / "folder").mkdir()
    (tmp_path / "cut.mp4").write_bytes(carphone.read_bytes()[:3000])
    with pytest.raises(UserError, match=name):
        assert open_frames(str(tmp_path / name)).kind


def test_other_files_of_a_folder_are_counted_by_kind(tmp_path, capsys):
    for name in ("1.png", "2.jfif"):
        write_image(tmp_path / "a.png")
        (tmp_path / name).write_bytes((tmp_path / "a.png").read_bytes())
    for name in ("a.heic", "b.heic", "notes.txt", ".hidden.heic"):
        (tmp_path / name).write_text("no picture that OpenCV reads")
    assert [frame.source for frame in open_frames(str(tmp_path))] == ["1", "2", "a"]
    error = capsys.readouterr().err
    assert "ignored 3 files: .heic (2), .txt (1); HEIF images" in error
    assert "convert them to JPEG" in error


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "--input is empty"),
        ("99999999999", "the index must be 0 to 999"),
        ("rtsp://", "the address has no host"),
        ("http:///stream", "the address has no host"),
        ("HTTP:///stream", "the address has no host"),
        ("http://[::1/a", "neither an image nor a video"),
        ("http://127.0.0.1:door/a", "neither an image nor a video"),
        ("192.168.1.5:8080", "camera; for a camera on the network: http://"),
        ("camera.local/stream", "camera; for a camera on the network: http://"),
        ("gopher://camera/a", "must begin with one of http, https, rtmp, rtp"),
    ],
)
def test_an_input_that_names_nothing_is_explained_in_one_line(source, reason):
    with pytest.raises(UserError, match=reason) as error:
        open_frames(source)
    assert len(str(error.value).splitlines()) == 1


def test_a_folder_whose_name_is_a_number_is_not_a_camera(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "2024" / "a.png")
    assert [frame.source for frame in open_frames("2024")] == ["a"]
