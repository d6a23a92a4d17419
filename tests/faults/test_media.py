"""Images and videos that are damaged, odd, or malicious."""

from pathlib import Path

import gather_examples

import cv2
import numpy as np
import pytest
from damage import LINUX, PRINT_PEAK, run, start_program, tries
from PIL import Image

# In a process of its own, so that its memory can be measured.
READ_DAMAGED_MEDIA = """
import sys, time
from pathlib import Path
from pyimagesearch.console import UserError
from pyimagesearch.live import open_frames
from damage import mutate

path = Path(sys.argv[1])
content, slowest, read = path.read_bytes(), 0, 0
for seed in range(int(sys.argv[2])):
    path.write_bytes(mutate(content, seed))
    start = time.perf_counter()
    try:
        for frame in open_frames(str(path), skip=40):
            assert frame.image.dtype == "uint8"
            assert frame.image.ndim == 3
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
    assert (read > 0) == (kind != "png")  # PNGs have check sums
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
    assert crops == expected | {"animated-png", "animated-webp", "video"}
    assert "Traceback" not in error
    skipped = [line for line in error.splitlines() if line.endswith("skipped")]
    assert len(skipped) == len(error.splitlines()) == len(bad)
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
    assert len((tmp_path / "out" / "crops.csv").read_text().splitlines()) >= 3


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
    carphone, detector_folder, tmp_path
):
    folder = tmp_path / "in"
    (folder / "folder.png").mkdir(parents=True)
    (folder / "loop").symlink_to(folder)
    (folder / "nowhere.png").symlink_to(folder / "missing.png")
    (folder / "linked.mp4").symlink_to(carphone)
    arguments = ["-i", folder, "-o", tmp_path / "out", "-d", detector_folder]
    assert gather_examples.main([str(argument) for argument in arguments]) == 0
    assert len(list((tmp_path / "out").glob("linked_*.png"))) == 7


@LINUX
def test_an_image_of_too_many_pixels_is_refused(tmp_path):
    """20 000 x 20 000, all black, in half a megabyte."""
    path = tmp_path / "bomb.png"
    assert cv2.imwrite(str(path), np.zeros((20_000, 20_000), np.uint8))
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pyimagesearch.frames import read_image\n"
        "assert read_image(Path(sys.argv[1])) is None\n"
    )
    process = start_program(program + PRINT_PEAK, path)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert int(out) < 500_000
