import itertools
import re
import signal
import sys
from contextlib import closing
from fractions import Fraction

from pyimagesearch.console import UserError
from pyimagesearch.inputs import open_frames
from pyimagesearch.video import OUTPUT_SUFFIXES, Clock, read_image, video_file

import av
import cv2
import numpy as np
import pytest
from conftest import make_video, read_all, run_ffmpeg
from PIL import Image, ImageOps, features


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


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n, then nothing"])
def test_a_file_that_is_not_an_image_gives_none(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    assert read_image(tmp_path / "a.png") is None
    assert read_image(tmp_path / "missing.png") is None
    assert read_image(tmp_path) is None


NUMBERS = itertools.count()


def picture(height, width, value=100, time=None):
    """Make the next frame of a video; every call is 0.08 seconds later."""
    image = np.full((height, width, 3), value, np.uint8)
    return image, 0.08 * next(NUMBERS) if time is None else time


def write_at(path, times):
    with video_file(path) as write:
        for number, time in enumerate(times):
            write(*picture(64, 64, 40 * number % 250, time))
    return [frame.time for frame in open_frames(str(path))]


@pytest.mark.parametrize("ending", [*OUTPUT_SUFFIXES, ".MP4"])
@pytest.mark.parametrize("size", [(120, 160), (121, 163), (1, 1)])
def test_every_kind_of_video_can_be_played(ending, size, tmp_path):
    path = tmp_path / f"out{ending}"
    with video_file(path) as write:
        for value in range(0, 250, 25):
            write(*picture(*size, value))
        assert not path.exists()
    images = read_all(path)
    even = tuple(side + side % 2 for side in size)
    assert [image.shape for image in images] == [(*even, 3)] * 10
    np.testing.assert_allclose(
        [image.mean() for image in images], range(0, 250, 25), atol=6
    )
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", OUTPUT_SUFFIXES)
def test_browsers_phones_and_editors_play_it(ending, tmp_path):
    """They play H.264 with 4:2:0 chroma, which wants even sides."""
    write_at(tmp_path / f"out{ending}", [0, 0.04])
    with av.open(str(tmp_path / f"out{ending}")) as container:
        (stream,) = container.streams
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"


@pytest.mark.parametrize("ending", OUTPUT_SUFFIXES)
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
    for ending in OUTPUT_SUFFIXES:
        path = tmp_path / f"out{ending}"
        write_at(path, [0, 0.04, 0.3])
        options = ["-v", "warning", "-i", path, "-fps_mode", "passthrough"]
        assert run_ffmpeg(*options, "-f", "null", "-") == ""


def test_frames_of_another_size_are_resized_to_the_first(tmp_path):
    with video_file(tmp_path / "out.mp4") as write:
        for size in [(120, 160), (240, 320), (60, 160)]:
            write(*picture(*size))
    images = read_all(tmp_path / "out.mp4")
    assert [image.shape for image in images] == [(120, 160, 3)] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_a_video_plays_whatever_error_ended_it(error, tmp_path):
    with pytest.raises(error), video_file(tmp_path / "out.mp4") as write:
        for _ in range(5):
            write(*picture(120, 160))
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
        write(*picture(40, 20_000))
    assert (tmp_path / "out.mp4").read_text() == "yesterday's"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="files have no size limit there")
@pytest.mark.parametrize("ending", OUTPUT_SUFFIXES)
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
                write(image, number / 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_text() == "yesterday's"
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr().err == ""  # PyAV prints what it drops


def read_frames(path, skip=1):
    with closing(open_frames(str(path), skip)) as frames:
        return list(frames)


def assert_as_ffmpeg_shows(path, tmp_path, *options):
    run_ffmpeg("-i", path, *options, "-frames:v", 1, tmp_path / "shown.png")
    shown, image = read_image(tmp_path / "shown.png"), read_frames(path)[0].image
    assert image.shape == shown.shape
    assert np.abs(image.astype(int) - shown).mean() < 2


@pytest.mark.parametrize("across", [-1, 1])
@pytest.mark.parametrize("down", [-1, 1])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_video_is_rotated_and_mirrored_as_it_wants(
    across, down, transposed, tmp_path
):
    y, x = np.indices((60, 80))
    image = np.dstack([3 * x, 4 * y, 0 * x]).astype(np.uint8)
    matrix = [across, 0, 0, 0, down, 0]
    if transposed:
        matrix = [0, down, 0, across, 0, 0]
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", 25, {"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 60, 80, "yuv420p"
        stream.set_display_matrix([*(n << 16 for n in matrix), 0, 0, 1 << 30])
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    assert_as_ffmpeg_shows(tmp_path / "a.mp4", tmp_path)


@pytest.mark.parametrize("aspect", ["4/3", "64/45", "2", "8/9", "1/2"])
def test_pixels_that_are_not_square_are_stretched(aspect, tmp_path):
    path = make_video(
        tmp_path / "a.mp4", "-vf", f"gblur=3,setsar={aspect}", size="288x216"
    )
    assert_as_ffmpeg_shows(path, tmp_path, "-vf", "scale=iw*sar:ih,setsar=1")
    frames = read_frames(path)
    with video_file(tmp_path / "out.mp4") as append:
        for frame in frames:
            append(frame.image, frame.time)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio in (None, 0, 1)
        assert stream.width == pytest.approx(288 * float(Fraction(aspect)), abs=1)


def test_an_aspect_ratio_that_makes_no_sense_is_ignored(tmp_path):
    path = make_video(tmp_path / "a.mp4", "-vf", "setsar=200")
    assert read_frames(path)[0].image.shape == (64, 96, 3)


@pytest.mark.parametrize("transfer", ["arib-std-b67", "smpte2084", "bt709"])
@pytest.mark.parametrize("skip", [1, 999])
def test_hdr_costs_one_warning_for_each_file(transfer, skip, tmp_path, capsys):
    for name in ("a.mp4", "b.mp4"):
        make_video(tmp_path / name, "-vf", f"setparams=color_trc={transfer}")
    assert len(read_frames(tmp_path, skip)) in (100, 2)
    warnings = re.findall(r"(\w\.mp4): an HDR video", capsys.readouterr().err)
    assert warnings == ([] if transfer == "bt709" else ["a.mp4", "b.mp4"])


def test_an_animated_gif_is_a_video(tmp_path, capsys):
    pictures = [Image.new("L", (40, 30), value) for value in (10, 120, 250)]
    pictures[0].save(tmp_path / "A.GIF", save_all=True, append_images=pictures[1:])
    pictures[1].save(tmp_path / "still.gif")
    for path in (tmp_path / "A.GIF", tmp_path):
        means = [frame.image.mean() for frame in read_frames(path) if not frame.still]
        assert means == pytest.approx([10, 120, 250], abs=2)
    with closing(open_frames(str(tmp_path / "A.GIF"))) as frames:
        assert frames.kind == "video"
    (still,) = read_frames(tmp_path / "still.gif")
    assert still.still
    assert still.image.mean() == pytest.approx(120, abs=2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".png", ".webp", ".avif"])
def test_of_other_animations_the_first_picture_is_read(suffix, tmp_path, capsys):
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    pictures = [Image.new("RGB", (40, 30), (n, n, n)) for n in (10, 120, 250)]
    path = tmp_path / f"a{suffix}"
    pictures[1].save(path)
    assert read_image(path).mean() == pytest.approx(120, abs=3)
    assert capsys.readouterr().err == ""
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    assert read_image(path).mean() == pytest.approx(10, abs=3)
    assert f"[WARN] {path}: animated" in capsys.readouterr().err
