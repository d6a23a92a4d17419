import http.server
import itertools
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from types import SimpleNamespace

from pyimagesearch import frames as frames_module
from pyimagesearch.console import UserError
from pyimagesearch.frames import open_frames, read_ahead, read_image

import cv2
import numpy as np
import pytest
from conftest import read_all


def write_image(path, value=0, size=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))


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
    codec = {".webm": "VP80", ".avi": "MJPG"}[ending]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (176, 144))
    for image in read_all(carphone)[:20]:
        writer.write(image)
    writer.release()
    if ending == ".webm":  # made for streaming: nobody went back to note a duration
        content = path.read_bytes()
        position = content.index(b"\x44\x89\x88")  # the Duration element
        void = b"\xec\x89" + bytes(9)
        path.write_bytes(content[:position] + void + content[position + 11 :])
    source = open_frames(str(path))
    assert source.total in (None, 20)
    assert len(list(source)) == source.read == 20


def test_a_folder_is_read_in_natural_order_without_hidden_files(tmp_path, carphone):
    for name in ("10.png", "2.png", "1.png", ".hidden.png", ".trash/3.png"):
        write_image(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "clip.mp4").write_bytes(carphone.read_bytes())
    frames = list(open_frames(str(tmp_path), skip=60))
    assert [(frame.source, frame.number) for frame in frames] == [
        ("1", 1),
        ("2", 1),
        ("10", 1),
        ("clip", 60),
        ("clip", 120),
    ]


def test_files_of_one_stem_get_names_of_their_own(tmp_path):
    for name in ("a.png", "a.jpg", "alice/1.png", "bob/1.png"):
        write_image(tmp_path / name)
    names = [frame.source for frame in open_frames(str(tmp_path))]
    assert names == ["a-jpg", "a-png", "alice-1", "bob-1"]


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


@pytest.mark.parametrize("name", ["missing.mp4", "text.mp4", "folder", "cut.mp4"])
def test_what_cannot_be_read_fails_at_once_and_is_named(name, tmp_path, carphone):
    (tmp_path / "text.mp4").write_text("I am no video")
    (tmp_path / "folder").mkdir()
    (tmp_path / "cut.mp4").write_bytes(carphone.read_bytes()[:3000])
    with pytest.raises(UserError, match=name):
        open_frames(str(tmp_path / name))


def test_a_camera_that_is_not_there_is_named():
    before = threading.active_count()
    with pytest.raises(UserError, match="camera 97 gives no picture"):
        open_frames("97")
    assert threading.active_count() == before


def test_a_photograph_is_turned_upright(tmp_path):
    """EXIF orientation 6: the top of the scene is the right side of the picture."""
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
    ids=["grey", "alpha", "16 bit"],
)
def test_every_kind_of_image_becomes_8_bit_bgr(image, tmp_path):
    assert cv2.imwrite(str(tmp_path / "a.png"), image)
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint8
    assert read.shape == (9, 7, 3)
    assert set(read.flat) == {77}


def test_read_ahead_keeps_order_and_reports_errors():
    def broken():
        yield from range(10)
        raise ValueError("the eleventh")

    items = read_ahead(broken())
    assert [next(items) for _ in range(10)] == list(range(10))
    with pytest.raises(ValueError, match="the eleventh"):
        next(items)


def test_the_thread_ends_and_the_items_are_closed_when_reading_stops_early():
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


class CameraServer:
    """An IP camera: an MJPEG stream over HTTP on this machine."""

    def __init__(self, image):
        self.show(image)
        self.stalled, self.dead = threading.Event(), threading.Event()
        self.paths = []
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                camera.paths.append(self.path)
                if camera.dead.is_set():
                    self.send_error(503)
                    return
                self.send_response(200)
                kind = "multipart/x-mixed-replace; boundary=frame"
                self.send_header("Content-Type", kind)
                self.end_headers()
                clock = threading.Event()
                try:
                    while not camera.dead.is_set():
                        jpeg = camera.jpeg
                        if not camera.stalled.is_set():
                            self.wfile.write(
                                b"--frame\r\nContent-Type: image/jpeg\r\n"
                                b"Content-Length: %d\r\n\r\n"
                                % len(jpeg)
                                + jpeg
                                + b"\r\n"
                            )
                        clock.wait(0.02)
                except OSError:  # the reader has gone
                    pass

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://user:secret@127.0.0.1:{self.server.server_port}/door.mjpg"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def show(self, image):
        self.jpeg = cv2.imencode(".jpg", image)[1].tobytes()


@pytest.fixture
def camera_server(face_image):
    camera = CameraServer(face_image)
    yield camera
    camera.dead.set()
    camera.server.shutdown()
    camera.server.server_close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(frames_module, "STALL_SECONDS", 0.7)
    monkeypatch.setattr(frames_module, "REOPEN_PAUSES", (0.1, 0.2, 0.4))
    monkeypatch.setattr(frames_module, "FIRST_FRAME_SECONDS", 3.0)


@pytest.mark.timeout(60)
def test_a_stream_gives_its_latest_frames(camera_server, face_image):
    before = set(threading.enumerate())
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
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name == "WebcamVideoStream"]


@pytest.mark.timeout(60)
def test_a_stream_may_change_its_size(camera_server, face_image):
    """OpenCV then gives the new pictures in the old size, or in their own."""
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
def test_a_stream_that_stalls_and_comes_back_goes_on(camera_server, impatient, capsys):
    source = open_frames(camera_server.url)
    with closing(source), closing(iter(source)) as frames:
        next(frames)
        camera_server.stalled.set()
        reader = ThreadPoolExecutor(1)
        # What was on the way comes; then nothing, until the camera is back.
        later = reader.submit(lambda: next(f for f in frames if len(opened()) > 1))

        def opened():
            return camera_server.paths

        while len(opened()) < 2:
            pass
        camera_server.stalled.clear()
        assert later.result().number > 1
        reader.shutdown()
    error = capsys.readouterr().err
    assert "127.0.0.1-door.mjpg gives no more pictures; trying again in 0.1 s" in error
    assert "127.0.0.1-door.mjpg is back" in error
    assert "secret" not in error


@pytest.mark.timeout(60)
def test_a_stream_that_dies_is_tried_again_and_given_up(
    camera_server, impatient, capsys
):
    source = open_frames(camera_server.url)
    with closing(source), closing(iter(source)) as frames:
        next(frames)
        camera_server.dead.set()
        with pytest.raises(UserError, match=r"door\.mjpg died after \d+ frames"):
            list(frames)
    assert capsys.readouterr().err.count("trying again") == 3


@pytest.mark.timeout(60)
def test_an_address_that_does_not_answer_is_named(impatient):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(
            UserError, match=r"127\.0\.0\.1-a gives no picture"
        ) as error:
            open_frames(f"http://u:secret@127.0.0.1:{port}/a")
    assert "secret" not in str(error.value)


class FakeCamera:
    """Stands for a camera, as imutils knows it, that dies after some frames."""

    def __init__(self, images):
        self.images = iter(images)
        self.stream = self
        self.name = "no thread"

    def isOpened(self):  # noqa: N802
        return True

    def get(self, _property):
        return 0.0

    def read(self):
        return next(self.images, None)

    def start(self):
        pass

    stop = release = start


def test_a_camera_that_dies_is_opened_again(monkeypatch, impatient, capsys):
    def images(n):
        return [np.full((4, 4, 3), i, np.uint8) for i in range(n)]

    # The first image of each is only looked at, to see whether there is one.
    cameras = [FakeCamera(images(4)), FakeCamera([]), FakeCamera(images(3))]
    opened = []

    def open_camera(src):
        opened.append(src)
        camera = cameras.pop(0) if cameras else FakeCamera([])
        return SimpleNamespace(stream=camera)

    monkeypatch.setattr(frames_module, "VideoStream", open_camera)
    source = open_frames("3")
    numbers = []
    with pytest.raises(UserError, match="camera3 died after 5 frames"):
        numbers += [frame.number for frame in source]
    assert opened == [3] * 6
    assert "camera3 is back" in capsys.readouterr().err


def test_a_camera_without_a_sane_rate_has_25_frames_a_second(monkeypatch, impatient):
    camera = FakeCamera([np.zeros((4, 4, 3), np.uint8) for _ in range(3)])
    monkeypatch.setattr(
        frames_module, "VideoStream", lambda src: SimpleNamespace(stream=camera)
    )
    with closing(open_frames("0")) as source:
        assert next(iter(source)).fps == 25
