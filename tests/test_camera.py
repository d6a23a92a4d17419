import http.server
import itertools
import re
import socket
import threading
import time
from contextlib import closing, contextmanager, suppress

from pyimagesearch import camera, inputs, video
from pyimagesearch.camera import Camera, read_device
from pyimagesearch.console import UserError
from pyimagesearch.inputs import open_frames

import cv2
import numpy as np
import pytest
from conftest import make_video


def test_a_camera_that_is_not_there_is_named():
    before = threading.active_count()
    with pytest.raises(UserError, match="camera 97 gives no picture"):
        open_frames("97")
    assert threading.active_count() == before


def test_a_device_is_a_camera():
    with pytest.raises(UserError, match="camera /dev/null gives no picture"):
        open_frames("/dev/null")


@pytest.fixture
def impatient(monkeypatch):
    for module in (camera, video):
        monkeypatch.setattr(module, "READ_SECONDS", 1.5)
    monkeypatch.setattr(inputs, "FIRST_PICTURE_SECONDS", 5.0)
    monkeypatch.setattr(camera, "LONGEST_WAIT", 0.05)
    monkeypatch.setattr(camera, "REOPEN_PAUSES", (0.1, 0.2, 0.4))


def count_own_threads():
    return sum("process_request" not in t.name for t in threading.enumerate())


@pytest.mark.timeout(60)
def test_a_stream_gives_its_latest_frames(camera_server, face_image):
    # The server has a thread for each reader.
    before = count_own_threads()
    source = open_frames(camera_server.url, skip=2)
    assert (source.total, source.kind, source.live) == (None, "video", True)
    with closing(iter(source)) as frames:
        new = (frame for frame in frames if not frame.stale)
        first, second = itertools.islice(new, 2)
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
def test_a_stream_that_stalls_is_stale_and_continues_when_it_is_back(
    camera_server, impatient, capsys
):
    with closing(open_frames(camera_server.url)) as source:
        frames = iter(source)
        assert next(frames).stale == 0
        before = len(camera_server.paths)
        camera_server.stalled.set()
        stale = next(frame for frame in frames if frame.stale)
        stale.image[:] = 0  # as if it was drawn onto
        later = next(frames)
        assert later.number == stale.number
        assert later.time > stale.time
        assert later.stale > stale.stale > 0
        assert later.image.any()
        while len(camera_server.paths) == before:
            assert next(frames).stale
        camera_server.stalled.clear()
        assert next(frame for frame in frames if not frame.stale).number > later.number
    error = capsys.readouterr().err
    assert "127.0.0.1-door.mjpg gives no more pictures; trying again in 0.1 s" in error
    assert "127.0.0.1-door.mjpg is back" in error
    assert "secret" not in error


@pytest.mark.timeout(60)
def test_a_dead_stream_is_retried_and_then_given_up(camera_server, impatient, capsys):
    with closing(open_frames(camera_server.url)) as source:
        frames = iter(source)
        next(frames)
        camera_server.dead.set()
        with pytest.raises(UserError, match=r"door\.mjpg: neither an image nor"):
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


def test_an_address_that_accepts_and_says_nothing_ends_in_time(monkeypatch):
    monkeypatch.setattr(inputs, "FIRST_PICTURE_SECONDS", 0.2)
    monkeypatch.setattr(video, "READ_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a"
        with pytest.raises(UserError, match=r"127\.0\.0\.1-a gives no picture"):
            open_frames(address)


@contextmanager
def serve(answer):
    """Serve HTTP/1.1 by `answer(handler)`; yields the address and the requests."""
    paths = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            paths.append(self.path)
            with suppress(OSError):  # the reader is gone
                answer(self)
            self.close_connection = True

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/door", paths
        server.shutdown()


def begin_multipart(handler):
    handler.send_response(200)
    kind = "multipart/x-mixed-replace; boundary=frame"
    handler.send_header("Content-Type", kind)
    handler.end_headers()


def send_part(handler, jpeg):
    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
    handler.wfile.write(head % len(jpeg) + jpeg + b"\r\n")


def as_jpeg(value):  # larger than what FFmpeg wants to see of a stream
    return cv2.imencode(".jpg", np.full((480, 640, 3), value, np.uint8))[1].tobytes()


@pytest.mark.timeout(60)
def test_a_camera_for_one_viewer_is_opened_once():
    def answer(handler):
        if len(paths) > 1:
            handler.send_error(503)
            return
        begin_multipart(handler)
        while True:
            send_part(handler, as_jpeg(90))

    with serve(answer) as (address, paths), closing(open_frames(address)) as source:
        frames = list(itertools.islice(source, 5))
    assert {int(frame.image.mean()) for frame in frames} == {90}
    assert paths == ["/door"]


@pytest.mark.timeout(60)
def test_a_slow_camera_gives_each_picture_once_and_is_not_reopened(monkeypatch):
    monkeypatch.setattr(camera, "LONGEST_WAIT", 0.05)
    taken = threading.Semaphore(0)

    def answer(handler):
        begin_multipart(handler)
        for value in (50, 100, 150):
            send_part(handler, as_jpeg(value))
            taken.acquire()

    with serve(answer) as (address, paths), closing(open_frames(address)) as source:
        frames = iter(source)
        seen = []
        for value in (50, 100, 150):
            new = next(frame for frame in frames if not frame.stale)
            seen.append((new.number, round(new.image.mean())))
            old = list(itertools.islice(frames, 3))
            assert all(frame.stale for frame in old)
            assert {round(frame.image.mean()) for frame in old} == {value}
            taken.release()
    assert seen == [(1, 50), (2, 100), (3, 150)]
    assert paths == ["/door"]


def send_chunked(content):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "video/mp2t")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(content), 65536):
            part = content[start : start + 65536]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        handler.wfile.write(b"0\r\n\r\n")

    return answer


def make_recording(path, *options):
    """Write 40 frames that last so long that a busy machine is ahead of their time."""
    codec = ["-c:v", "libx264", "-f", "mpegts"]
    return make_video(path, *options, *codec, rate=2, seconds=20)


@pytest.mark.timeout(60)
def test_a_recording_that_is_sent_chunked_is_read_once_and_whole(tmp_path):
    path = make_recording(tmp_path / "clip.ts")
    wanted = list(open_frames(str(path)))
    content = path.read_bytes()
    served = serve(send_chunked(content))
    with served as (address, paths), closing(open_frames(address)) as source:
        assert source.live
        frames = list(source)
        assert source.read == 40
    assert paths == ["/door"]
    assert [frame.number for frame in frames] == [*range(1, 41)]
    for frame, other in zip(frames, wanted, strict=True):
        np.testing.assert_array_equal(frame.image, other.image)
        assert frame.time - frames[0].time == pytest.approx(other.time, abs=0.01)


@pytest.mark.timeout(60)
def test_a_stream_without_a_size_that_stalls_is_reopened(tmp_path, impatient, capsys):
    content = make_recording(tmp_path / "clip.ts").read_bytes()
    done = threading.Event()

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "video/mp2t")
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2])
        done.wait(30)

    with serve(answer) as (address, paths), closing(open_frames(address)) as source:
        frames = iter(source)
        while len(paths) < 2:
            next(frames)
        done.set()
    assert "127.0.0.1-door gives no more pictures" in capsys.readouterr().err


@pytest.mark.timeout(60)
def test_with_reconnect_a_stream_without_a_size_has_no_end(tmp_path, monkeypatch):
    monkeypatch.setattr(camera, "REOPEN_PAUSES", (0.1,))
    content = make_recording(tmp_path / "clip.ts").read_bytes()
    with serve(send_chunked(content)) as (address, paths):
        source = open_frames(address, patient=True)
        frames = iter(source)
        while len(paths) < 3:
            next(frames)
        source.close()


@pytest.mark.timeout(60)
def test_sound_may_come_before_the_picture(tmp_path):
    sound = ["-f", "lavfi", "-i", "sine=duration=24", "-c:a", "aac"]
    delay = [*sound, "-vf", "setpts=PTS+4/TB"]
    content = make_recording(tmp_path / "clip.ts", *delay).read_bytes()
    served = serve(send_chunked(content))
    with served as (address, paths), closing(open_frames(address)) as source:
        assert len(list(source)) == 40
    assert paths == ["/door"]


@pytest.mark.timeout(60)
def test_a_recording_sent_over_tcp_ends(tmp_path):
    content = make_recording(tmp_path / "clip.ts").read_bytes()

    def send():
        with server.accept()[0] as viewer:
            viewer.sendall(content)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=send, daemon=True).start()
        host = f"127.0.0.1:{server.getsockname()[1]}"
        with closing(open_frames(f"TCP://{host}")) as source:
            assert len(list(source)) == 40


def test_a_port_on_which_nobody_sends_yet_has_a_name(impatient, monkeypatch):
    monkeypatch.setattr(inputs, "FIRST_PICTURE_SECONDS", 0.1)
    with socket.socket(type=socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with closing(open_frames(f"udp://@:{port}", patient=True)) as source:
        assert source.name == f"udp-{port}"
        frame = next(iter(source))
    assert (frame.number, frame.image.shape) == (0, (480, 640, 3))
    assert not frame.image.any()
    assert frame.stale > 0


class FakeCapture:
    """Stands for a cv2.VideoCapture that dies after some pictures."""

    def __init__(self, *values):
        self.values, self.released = list(values), False

    def isOpened(self):  # noqa: N802
        return True

    def read(self):
        if not self.values:
            return False, None
        return True, np.full((4, 4, 3), self.values.pop(0), np.uint8)

    def release(self):
        self.released = True


@pytest.mark.parametrize(
    ("device", "backend"), [(3, cv2.CAP_ANY), ("/dev/video3", cv2.CAP_V4L2)]
)
def test_a_device_is_read_until_it_gives_no_more(device, backend, monkeypatch):
    monkeypatch.setattr(camera, "READ_SECONDS", 0.05)
    capture, opened = FakeCapture(10, 20), []
    monkeypatch.setattr(cv2, "VideoCapture", lambda *a: opened.append(a) or capture)
    pictures, values = read_device(device), []
    with pytest.raises(UserError, match=f"camera {device} gives no picture"):
        values += [int(image[0, 0, 0]) for image, _ in pictures]
    assert opened == [(device, backend)]
    assert capture.values == []
    assert capture.released


def test_a_device_is_released_when_it_is_no_longer_read(monkeypatch):
    capture = FakeCapture(10, 20)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *a: capture)
    pictures = read_device(0)
    next(pictures)
    pictures.close()
    assert capture.released


def film(*values, dies=True):
    """Yield pictures that are ahead of their time, so that none is dropped."""
    for value in values:
        yield np.full((4, 4, 3), value, np.uint8), time.monotonic() + 1000
    if dies:
        raise UserError("it died")


def open_camera(*films, patient=False, skip=1):
    films = itertools.chain(films, (film() for _ in itertools.count()))
    return Camera("camera3", films, patient, skip, seconds=10.0)


def values_of(source):
    return [
        (frame.number, int(frame.image[0, 0, 0])) for frame in source if not frame.stale
    ]


def test_every_picture_is_given_once_the_first_included():
    source = open_camera(film(*range(100), dies=False))
    assert values_of(source) == [(value + 1, value) for value in range(100)]
    assert source.read == 100


def test_a_camera_that_dies_is_reopened(impatient, capsys):
    before = threading.active_count()
    source, seen = open_camera(film(1, 2, 3), film(), film(4, 5)), []
    with pytest.raises(UserError, match="it died"):
        for frame in source:
            if not frame.stale:
                seen.append((frame.number, int(frame.image[0, 0, 0])))
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]
    error = capsys.readouterr().err
    assert error.count("camera3 gives no more pictures; trying again in") == 5
    assert error.count("camera3 is back") == 1
    source.close()
    assert threading.active_count() == before


def test_a_patient_input_waits_for_a_late_camera(impatient, capsys):
    films = [film() for _ in range(6)]
    with closing(open_camera(*films, film(7, 8, dies=False), patient=True)) as source:
        assert values_of(source) == [(1, 7), (2, 8)]
    error = capsys.readouterr().err
    assert error.count("camera3 gives no picture; trying again in") == 6


@pytest.mark.parametrize("has_clock", [False, True])
def test_only_the_latest_picture_of_a_camera_is_kept(has_clock):
    received, done = threading.Event(), threading.Event()

    def shoot():
        due = time.monotonic() if has_clock else None
        for value in range(100):
            yield np.full((4, 4, 3), value, np.uint8), due
        received.set()
        done.wait(30)

    source = open_camera(shoot())
    assert received.wait(30)
    frame = next(iter(source))
    assert (frame.number, frame.image[0, 0, 0]) == (1, 99)
    done.set()
    source.close()


def test_skipped_pictures_are_counted_and_do_not_stop_the_loop(monkeypatch):
    monkeypatch.setattr(camera, "LONGEST_WAIT", 0.05)
    source = open_camera(film(*range(8), dies=False), skip=3)
    assert [frame.number for frame in source if not frame.stale] == [3, 6]
    assert source.read == 8


def test_a_read_that_hangs_is_left_alone(monkeypatch):
    monkeypatch.setattr(camera, "LONGEST_WAIT", 0.05)
    done = threading.Event()

    def hang():
        yield np.full((4, 4, 3), 9, np.uint8), None
        done.wait(60)

    source = open_camera(hang())
    frames = iter(source)
    next(frames)
    frame = next(frames)
    assert (frame.number, frame.image[0, 0, 0]) == (1, 9)
    assert frame.stale > 0
    source.close()
    assert not source._end.done()
    done.set()


def test_a_bug_in_the_thread_is_not_hidden():
    def broken():
        yield np.zeros((4, 4, 3), np.uint8), None
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        values_of(open_camera(broken()))
