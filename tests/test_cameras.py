import base64
import http.server
import itertools
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pyimagesearch import cameras as cameras_module
from pyimagesearch.cameras import LatestPicture
from pyimagesearch.console import UserError
from pyimagesearch.sources import open_frames

import cv2
import numpy as np
import pytest


def test_a_camera_that_is_not_there_is_named():
    before = threading.active_count()
    with pytest.raises(UserError, match="camera 97 gives no picture"):
        open_frames("97")
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
    monkeypatch.setattr(cameras_module, "STALL_SECONDS", 0.7)
    monkeypatch.setattr(cameras_module, "REOPEN_PAUSES", (0.1, 0.2, 0.4))
    monkeypatch.setattr(cameras_module, "FIRST_FRAME_SECONDS", 3.0)


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
        with pytest.raises(UserError, match=r"door\.mjpg died after \d+ frames?"):
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
    """Stands for a cv2.VideoCapture that dies after some pictures.

    It waits with each until the one before has been taken, as no picture is dropped
    then and the test knows what comes.
    """

    def __init__(self, *values, is_open=True, fps=0.0):
        self.values, self.is_open, self.fps = list(values), is_open, fps
        self.picture = None
        self.released = False

    def isOpened(self):  # noqa: N802
        return self.is_open

    def get(self, _property):
        return self.fps

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
    """Stand for the cameras that are opened one after the other."""

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
    monkeypatch.setattr(cameras_module, "REOPEN_PAUSES", (0.001, 0.002, 0.004))

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


def test_every_picture_that_is_awaited_is_given_once_the_first_included(cameras):
    fakes = cameras(FakeCamera(10, 20, 30, 40))
    with closing(open_frames("3")) as source:
        assert values(itertools.islice(source, 4)) == [10, 20, 30, 40]
        assert source.read == 4
    assert fakes.arguments == [(3,)]
    assert fakes.opened[0].released


def test_a_camera_that_dies_is_opened_again(cameras, capsys):
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


def test_a_patient_camera_may_come_late(cameras, capsys):
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


def test_a_camera_without_a_picture_is_freed(cameras):
    fakes = cameras(FakeCamera(is_open=False))
    with pytest.raises(UserError, match="camera 3 gives no picture"):
        open_frames("3")
    assert fakes.opened[0].released


@pytest.mark.parametrize(
    ("said", "fps"), [(0.0, 25), (-1.0, 25), (1e6, 25), (float("nan"), 25), (30.0, 30)]
)
def test_a_rate_that_cannot_be_right_is_25_frames_a_second(said, fps, cameras):
    cameras(FakeCamera(1, fps=said))
    with closing(open_frames("0")) as source:
        assert next(iter(source)).fps == fps


@pytest.mark.parametrize("path", ["missing.mp4", "broken"])
def test_what_an_address_answers_is_said_without_its_password(path, impatient):
    class Answer(BaseHTTPRequestHandler):
        asked = None

        def do_GET(self):  # what the server calls
            Answer.asked = self.headers["Authorization"]
            self.send_error(404)

        def log_message(self, *_arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://u:secret@127.0.0.1:{server.server_port}/{path}"
        text = cameras_module.explain_no_picture(address, "door")
        server.shutdown()
        thread.join()
    assert text == "door gives no picture: HTTP Error 404: Not Found"
    assert base64.b64decode(Answer.asked.split()[1]) == b"u:secret"


def test_an_address_is_given_a_time_to_answer_in(cameras):
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
        camera.picture = None  # wait for nobody
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
