import http.server
import os
import shutil
import threading
from contextlib import closing, suppress
from typing import ClassVar

from pyimagesearch.console import UserError
from pyimagesearch.inputs import hide_password, open_frames

import av
import cv2
import numpy as np
import pytest
from conftest import make_video, read_all, run_ffmpeg, write_image, write_video
from PIL import Image


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


def test_a_short_video_at_a_long_address_gives_its_middle_frame(web):
    """The address is longer than a file's name may be."""
    make_video(web[0] / "clip.mp4")
    (frame,) = open_frames(f"{web[1]}/clip.mp4?key={'a' * 300}", skip=60)
    assert frame.number == 25


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
        ("99999999999", "no such file, folder or camera"),
        ("192.168.1.5:8080", "camera; for a camera on the network: http://"),
        ("camera.local/stream", "camera; for a camera on the network: http://"),
        ("rtsp://", "then :// and a host"),
        ("http:///stream", "then :// and a host"),
        ("HTTP:///stream", "then :// and a host"),
        ("http://[::1/a", "neither an image nor a video"),
        ("http://127.0.0.1:door/a", "neither an image nor a video"),
        ("srt://camera:9", "an address is one of http"),
        ("gopher://camera/a", "an address is one of http, https, rtmp, rtp"),
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


NEEDS_FIFOS = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no FIFOs")


@pytest.fixture
def fifo(tmp_path):
    """Return a function that sends a file through a FIFO, and returns its path."""
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def send(file):
        def copy():
            with suppress(OSError), file.open("rb") as source, path.open("wb") as sink:
                shutil.copyfileobj(source, sink)

        threading.Thread(target=copy, daemon=True).start()
        return path

    return send


@NEEDS_FIFOS
@pytest.mark.timeout(60)
@pytest.mark.parametrize(("skip", "numbers"), [(20, [20, 40]), (60, [])])
def test_a_fifo_is_read_once(skip, numbers, fifo, tmp_path):
    path = make_video(tmp_path / "a.ts", "-c:v", "libx264", "-f", "mpegts")
    source = open_frames(str(fifo(path)), skip)
    assert source.kind == "video"
    assert [(f.source, f.number) for f in source] == [("fifo", n) for n in numbers]
    assert source.read == 50


@NEEDS_FIFOS
@pytest.mark.timeout(60)
def test_a_fifo_that_nobody_writes_to_can_be_closed(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    open_frames(str(tmp_path / "fifo")).close()


class HalfOfIt(http.server.BaseHTTPRequestHandler):
    content: ClassVar[bytes]

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: len(self.content) // 2])

    def log_message(self, *args):
        pass


@pytest.mark.timeout(60)
@pytest.mark.parametrize("patient", [False, True])
def test_a_recording_that_breaks_off_ends_with_a_line(patient, tmp_path, capsys):
    path = make_video(tmp_path / "a.avi", "-c:v", "mjpeg")
    HalfOfIt.content = path.read_bytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HalfOfIt) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/a.avi"
        source = open_frames(address, patient=patient)
        assert not source.live
        assert 10 < len(list(source)) < 50
        server.shutdown()
    (line,) = capsys.readouterr().err.splitlines()
    assert "/a.avi: broke off (" in line
