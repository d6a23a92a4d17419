"""Images and videos that are damaged, odd, or malicious."""

import random
from fractions import Fraction
from pathlib import Path

import gather_examples
from pyimagesearch.console import UserError, warn
from pyimagesearch.crops import SourceList
from pyimagesearch.inputs import open_frames

import cv2
import numpy as np
import pytest
from conftest import make_video, run_ffmpeg
from damage import FULL, LINUX, PRINT_PEAK, run, start_program, tries
from PIL import Image

# In a process of its own, so that its memory can be measured.
READ_DAMAGED_MEDIA = """
import sys, time
from pathlib import Path
from pyimagesearch.console import UserError
from pyimagesearch.video import read_image
from pyimagesearch.inputs import open_frames
from damage import mutate

path = Path(sys.argv[1])
content, slowest, read = path.read_bytes(), 0, 0
# PNGs have check sums: what is read is right.
right = read_image(path) if path.suffix == ".png" else None
for seed in range(int(sys.argv[2])):
    path.write_bytes(mutate(content, seed))
    start = time.perf_counter()
    try:
        for frame in open_frames(str(path), skip=40):
            assert frame.image.dtype == "uint8"
            assert frame.image.ndim == 3
            assert right is None or (frame.image == right).all()
            read += 1
    except UserError as error:
        assert str(path) in str(error)
    slowest = max(slowest, time.perf_counter() - start)
print(slowest, read)
"""


@LINUX
@pytest.mark.parametrize("kind", ["png", "jpg", "mp4"])
@pytest.mark.timeout(600)
def test_damaged_media_are_read_or_refused(kind, face_image, carphone, tmp_path):
    path = tmp_path / f"damaged.{kind}"
    if kind == "mp4":
        path.write_bytes(carphone.read_bytes())
    else:
        assert cv2.imwrite(str(path), face_image)
    count = len(tries(40, 2000))
    process = start_program(READ_DAMAGED_MEDIA + PRINT_PEAK, path, count)
    out, _ = process.communicate()
    assert process.returncode == 0
    slowest, read, peak = map(float, out.split())
    assert slowest < 10
    assert read > 0 or kind == "png"
    assert peak < 1_000_000


def test_odd_files_of_a_folder_are_read_or_skipped_with_a_line(
    face_image, carphone, detector_folder, tmp_path
):
    folder = tmp_path / "in"
    folder.mkdir()
    photo = Image.fromarray(cv2.resize(face_image, None, fx=2, fy=2)[..., ::-1])
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.convert("L").save(folder / "grey.jpg")
    photo.convert("P").save(folder / "palette.png")
    photo.convert("RGBA").save(folder / "alpha.png")
    others = [photo.rotate(angle) for angle in (5, 10)]
    for name in ("animated.webp", "animated.png"):
        photo.save(folder / name, save_all=True, append_images=others)
    photo.save(folder / "really-a.png", "JPEG")
    deep = cv2.resize(face_image, None, fx=2, fy=2).astype(np.uint16) * 257
    assert cv2.imwrite(str(folder / "deep.png"), deep)
    assert cv2.imwrite(str(folder / "dot.png"), face_image[:1, :1])
    good = sorted(path.name for path in folder.iterdir() if path.name != "dot.png")
    (folder / "video.jpg").write_bytes(carphone.read_bytes())
    bad = ["empty.png", "empty.mp4", "text.jpg", "text.mp4", "half.mp4"]
    for name in bad[:2]:
        (folder / name).touch()
    for name in bad[2:4]:
        (folder / name).write_text("Dear diary, " * 100)
    (folder / "half.mp4").write_bytes(carphone.read_bytes()[:-9000])
    arguments = ["-i", folder, "-o", tmp_path / "out", "-d", detector_folder]
    done = run("gather_examples.py", *arguments)
    assert done.returncode == 0
    error = done.stderr
    crops = {path.name.rsplit("_", 1)[0] for path in (tmp_path / "out").glob("*.png")}
    expected = {Path(name).stem for name in good if "animated" not in name}
    assert crops == expected | {"animated", "animated-webp", "video"}
    assert "Traceback" not in error
    lines = error.splitlines()
    skipped = [line for line in lines if line.endswith("skipped")]
    animated = [line for line in lines if "only its first picture" in line]
    assert len(animated) == 2
    assert len(skipped) == len(bad) == len(lines) - 2
    assert all(any(name in line for line in skipped) for name in bad)


@pytest.mark.parametrize(
    "name",
    ["with space.mp4", "größe ☃.mp4", "-dash.mp4", "new\nline.mp4", "x" * 200 + ".mp4"],
)
def test_odd_names_work(name, carphone, detector_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(carphone.read_bytes())
    arguments = [f"--input={name}", "-o", "out", "-d", str(detector_folder)]
    assert gather_examples.main([*arguments, "-s", "60"]) == 0
    assert len(list(Path("out").glob("*.png"))) == 2
    assert gather_examples.main([*arguments, "-s", "60"]) == 0
    (line,) = SourceList(tmp_path / "out").lines.values()
    assert (f"{line.source}.mp4", line.searched) == (name, 2)


def test_names_that_differ_in_case_only_are_two_files(
    carphone, detector_folder, tmp_path
):
    """On a disk that tells them apart."""
    names = ("Film", "film")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.mp4").write_bytes(carphone.read_bytes())
        arguments = ["-i", tmp_path / name, "-o", tmp_path / "out", "-s", "60"]
        arguments += ["-d", detector_folder]
        assert gather_examples.main([str(argument) for argument in arguments]) == 0
    crops = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert crops == {f"{name}_{n:06d}.png" for name in names for n in (60, 120)}


def test_circular_links_and_folders_named_like_images_are_ignored(
    carphone, detector_folder, tmp_path, capsys
):
    folder = tmp_path / "in"
    (folder / "folder.png").mkdir(parents=True)
    (folder / "loop").symlink_to(folder)
    (folder / "nowhere.png").symlink_to(folder / "missing.png")
    (folder / "linked.mp4").symlink_to(carphone)
    arguments = ["-i", folder, "-o", tmp_path / "out", "-d", detector_folder]
    assert gather_examples.main([str(argument) for argument in arguments]) == 0
    assert len(list((tmp_path / "out").glob("linked_*.png"))) == 7
    error = capsys.readouterr().err
    assert f"1 path cannot be read: {folder / 'nowhere.png'}" in error


@LINUX
def test_an_image_of_too_many_pixels_is_refused(tmp_path):
    """20 000 x 20 000, all black, in half a megabyte."""
    path = tmp_path / "bomb.png"
    assert cv2.imwrite(str(path), np.zeros((20_000, 20_000), np.uint8))
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pyimagesearch.inputs import read_image\n"
        "assert read_image(Path(sys.argv[1])) is None\n"
    )
    process = start_program(program + PRINT_PEAK, path)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert int(out) < 500_000


H264, VP8, MPEG4 = "-c:v libx264 -g 12", "-c:v libvpx", "-c:v mpeg4"
VP9, HEVC, MJPEG = "-c:v libvpx-vp9 -cpu-used 8", "-c:v libx265", "-c:v mjpeg"
FIELDS = "-flags +ildct+ilme"
SOUND = "-f lavfi -i sine=duration=160 -fps_mode passthrough"
PAUSE = f"{SOUND} -vf setpts='if(lt(N,30),PTS,PTS+150/TB)'"
LATE = f"{SOUND} -vf setpts=PTS+8/TB"
MEDIA = {  # how ffmpeg writes 50 frames of 96 x 64
    "h264.mp4": H264,
    "b-frames.mkv": f"{H264} -bf 3",
    "fragments.mp4": f"{H264} -movflags frag_keyframe+empty_moov",
    "10-bit.mp4": f"{H264} -pix_fmt yuv420p10le",
    "4-4-4.mp4": f"{H264} -pix_fmt yuv444p",
    "rgb.mkv": "-c:v libx264rgb",
    "grey.mp4": f"{H264} -pix_fmt gray",
    "full-range.mp4": f"{H264} -pix_fmt yuvj420p",
    "slices.ts": f"{H264} -slices 4",
    "h264.flv": H264,
    "interlaced.mts": f"{H264} {FIELDS} -x264opts tff=1 -f mpegts",
    "interlaced.m2ts": f"{H264} {FIELDS} -x264opts bff=1",
    "interlaced.mpg": f"-c:v mpeg2video -b:v 2M {FIELDS}",
    "dv.avi": "-s 720x576 -c:v dvvideo -pix_fmt yuv420p",
    "mpeg1.mpeg": "-c:v mpeg1video",
    "trail-camera.avi": f"{MJPEG} -q:v 3",
    "4-2-2.avi": f"{MJPEG} -pix_fmt yuvj422p",
    "mjpeg.mov": MJPEG,
    "b-frames.avi": f"{MPEG4} -bf 2 -vtag DX50",
    "xvid.avi": "-c:v libxvid -bf 2",
    "mpeg4.mp4": f"{MPEG4} -bf 2",
    "msmpeg4.avi": "-c:v msmpeg4",
    "wmv2.wmv": "-c:v wmv2",
    "flv1.flv": "-c:v flv",
    "h263.3gp": "-s 176x144 -c:v h263",
    "hevc.mp4": f"{HEVC} -tag:v hvc1",
    "hevc-10-bit.mkv": f"{HEVC} -pix_fmt yuv420p10le",
    "vp8.webm": VP8,
    "vp8-hidden.webm": f"{VP8} -auto-alt-ref 1 -lag-in-frames 16",
    "live.webm": f"{VP8} -live 1",
    "vp9.webm": VP9,
    "vp9-hidden.mkv": f"{VP9} -auto-alt-ref 1 -lag-in-frames 16",
    "alpha.webm": f"-vf format=yuva420p {VP9}",
    "av1.mp4": "-c:v libsvtav1 -preset 12",
    "av1-10-bit.mkv": "-c:v libsvtav1 -preset 12 -pix_fmt yuv420p10le",
    "prores.mov": "-c:v prores_ks",
    "prores-alpha.mov": "-c:v prores_ks -profile:v 4 -pix_fmt yuva444p10le",
    "16-bit.mkv": "-c:v ffv1 -pix_fmt yuv420p16le",
    "odd.mkv": "-vf crop=95:63 -c:v ffv1",
    "raw.avi": "-c:v rawvideo -pix_fmt bgr24",
    "alpha.mov": "-c:v qtrle -pix_fmt argb",
    "slow-motion.mov": f"{H264} -r 211.222",
    "66.667.mov": f"{H264} -r 200/3",
    "29.97.mp4": f"{H264} -r 30000/1001",
    "every-2-seconds.mp4": f"{H264} -r 1/2 -t 20",
    "varying.mp4": f"{H264} -fps_mode passthrough -vf setpts=PTS+random(0)*0.01/TB",
    "pause.mkv": f"{PAUSE} {H264} -c:a flac",
    "pause.mp4": f"{PAUSE} {H264}",
    "late.mp4": f"{LATE} {H264}",
    "late.ts": f"{LATE} {H264}",
    "late.webm": f"{LATE} {VP8}",
    "one-frame.mp4": f"{H264} -frames:v 1",
}
DAMAGED = ["h264.mp4", "b-frames.mkv", "slices.ts", "h264.flv", "interlaced.mts"]
DAMAGED += ["interlaced.mpg", "trail-camera.avi", "b-frames.avi", "hevc.mp4"]
DAMAGED += ["fragments.mp4", "vp8.webm", "av1.mp4", "wmv2.wmv", "prores.mov"]
FEW = ["h264.mp4", "interlaced.mts", "pause.mkv", "slow-motion.mov", "live.webm"]


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """Write a video of MEDIA once; returns its path."""
    folder = tmp_path_factory.mktemp("media")

    def write(name):
        if not (folder / name).exists():
            make_video(folder / name, *MEDIA[name].split())
        return folder / name

    return write


def compare(path, capsys, may_lose=None):
    """Compare what we read of a video with what ffmpeg decodes of it.

    Of a damaged one some frames may be lost, and a line says so.
    """
    raw, times = path.with_name("raw"), path.with_name("times")
    options = ["-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "demux"]
    options += ["-vf", "scale=iw*sar:ih"]  # to square pixels
    try:
        run_ffmpeg(
            *("-i", path, *options, "-pix_fmt", "bgr24", "-f", "rawvideo", raw),
            *(*options, "-c:v", "rawvideo", "-f", "framecrc", times),
        )
    except AssertionError:
        times.write_text("#tb 0: 1/1\n#dimensions 0: 1x1\n")
        raw.touch()
    lines = times.read_text().splitlines()
    about = dict(line.split(": ") for line in lines if line.startswith("#"))
    unit, (width, height) = Fraction(about["#tb 0"]), about["#dimensions 0"].split("x")
    stamps = [int(line.split(",")[2]) * unit for line in lines if line[0] != "#"]
    images = np.fromfile(raw, np.uint8).reshape(-1, int(height), int(width), 3)
    try:
        frames = list(open_frames(str(path)))
    except UserError as error:
        frames = []
        warn(f"{path}: {error}")
    said = [line for line in capsys.readouterr().err.splitlines() if str(path) in line]
    if FULL:  # with pytest -n 0, a table
        with capsys.disabled():
            print(f"\n| {path.name} | {len(stamps)} | {len(frames)} | {len(said)} |")
    if may_lose is not None:
        assert len(stamps) - may_lose <= len(frames) <= len(stamps)
        assert len(said) <= 1
        return
    assert len(frames) == len(stamps)
    assert said == []
    seconds = [float(stamp - stamps[0]) for stamp in stamps]
    assert [frame.time for frame in frames] == pytest.approx(seconds, abs=0.05)
    for frame, image in zip(frames, images, strict=True):
        assert frame.image.shape == image.shape
        # Of 10 bits or interlaced ones, chroma is enlarged in other ways.
        assert np.abs(frame.image.astype(int) - image).mean() < 15


@pytest.mark.parametrize("name", MEDIA if FULL else FEW)
def test_every_frame_that_ffmpeg_decodes_is_read_at_its_time(name, media, capsys):
    compare(media(name), capsys)


@pytest.mark.parametrize("degrees", [90, 180, 270] if FULL else [90])
def test_a_rotated_video_is_upright(degrees, media, tmp_path, capsys):
    path = tmp_path / f"{degrees}.mp4"
    rotate = ["-display_rotation", degrees, "-i", media("h264.mp4"), "-c", "copy"]
    run_ffmpeg(*rotate, path)
    compare(path, capsys)


@pytest.mark.parametrize(
    "kind", ["begun", "edited", "twice", "resized", "two", "cover"]
)
def test_odd_recordings_are_read_as_ffmpeg_does(kind, media, tmp_path, capsys):
    """Begun in the middle, cut without encoding, joined, with several pictures."""
    path, other = tmp_path / "odd.mp4", tmp_path / "other.ts"
    whole, copy = media("h264.mp4"), ["-c", "copy"]
    make_video(other, *H264.split(), size="64x96", seconds=1)
    match kind:
        case "begun":
            path.write_bytes(media("slices.ts").read_bytes()[188 * 60 :])
        case "edited":
            run_ffmpeg("-ss", 0.7, "-i", whole, *copy, path)
        case "twice":
            path.write_bytes(media("slices.ts").read_bytes() * 2)
        case "resized":
            path.write_bytes(media("slices.ts").read_bytes() + other.read_bytes())
        case "two":
            maps = ["-map", 0, "-map", 1]
            run_ffmpeg("-i", whole, "-i", other, *maps, *copy, path)
        case "cover":
            run_ffmpeg("-i", other, "-frames:v", 1, tmp_path / "cover.png")
            maps = ["-map", 1, "-map", 0, "-disposition:v:1", "attached_pic"]
            run_ffmpeg("-i", tmp_path / "cover.png", "-i", whole, *maps, *copy, path)
    compare(path, capsys, may_lose=0 if kind in ("begun", "resized") else None)


@pytest.mark.parametrize("name", DAMAGED if FULL else ["h264.flv"])
@pytest.mark.parametrize("kind", ["bits", "hole", "end", "cut"])
def test_of_a_damaged_video_all_but_its_end_is_read_that_ffmpeg_decodes(
    kind, name, media, tmp_path, capsys
):
    content = bytearray(media(name).read_bytes())
    rng, size = random.Random(0), len(content)
    match kind:
        case "bits":
            for _ in range(max(6, size // 4000)):
                content[rng.randrange(size // 10, size)] ^= 1 << rng.randrange(8)
        case "hole":
            content[size // 2 : size // 2 + 800] = bytes(800)
        case "end":
            content[-7000:-3300] = rng.randbytes(3700)
        case "cut":
            del content[size * 7 // 10 :]
    path = tmp_path / f"{kind}-{name}"
    path.write_bytes(content)
    compare(path, capsys, may_lose=17)  # a decoder's threads, each with a frame
