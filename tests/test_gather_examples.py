import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import gather_examples
from pyimagesearch import crops
from pyimagesearch.crops import Source, SourceList
from pyimagesearch.faces import crop_face, detect_faces
from pyimagesearch.files import fingerprint_of
from pyimagesearch.inputs import Frame
from pyimagesearch.video import read_image

import av
import cv2
import numpy as np
import pytest
from conftest import (
    NEEDS_RES10,
    make_video,
    read_all,
    run_ffmpeg,
    write_image,
    write_video,
)


@pytest.fixture
def gather(detector_folder, tmp_path, capsys):
    """Run the command; returns its status, stdout and stderr, and the files it made."""

    def run(source, *options, output="out"):
        arguments = ["-i", source, "-o", tmp_path / output, "-d", detector_folder]
        status = gather_examples.main([str(a) for a in [*arguments, *options]])
        crops = sorted((tmp_path / output).rglob("*.png"))
        return status, *capsys.readouterr(), crops

    return run


def test_a_videos_most_confident_faces_are_saved_as_they_are(
    gather, carphone, detector
):
    status, out, _, crops = gather(carphone)
    assert status == 0
    names = [f"carphone_pristine_{number:06d}.png" for number in range(16, 113, 16)]
    assert [crop.name for crop in crops] == names
    for crop in crops:
        assert f"[INFO] saved {crop} to disk" in out
    assert "read 120 frames, searched 7, 0 without a face; saved 7 faces" in out

    # The pixels are those of the frame.
    video = cv2.VideoCapture(str(carphone))
    for _ in range(16):
        frame = video.read()[1]
    (face, *_), _ = detect_faces(detector, frame)
    np.testing.assert_array_equal(cv2.imread(str(crops[0])), crop_face(frame, face))


def test_another_run_changes_nothing_and_a_smaller_skip_adds_crops(gather, carphone):
    *_, crops = gather(carphone)
    before = {crop: crop.stat().st_mtime_ns for crop in crops}
    status, out, *_ = gather(carphone)
    assert status == 0
    assert "saved 0 faces" in out
    assert "7 were there already" in out
    *_, more = gather(carphone, "--skip", 8)
    assert len(more) == 15
    assert before == {crop: crop.stat().st_mtime_ns for crop in crops}


@pytest.mark.parametrize("skip", [16, 8])
def test_another_video_of_that_name_adds_and_overwrites_nothing(
    skip, gather, carphone, tmp_path
):
    *_, crops = gather(carphone)
    before = {crop: crop.read_bytes() for crop in crops}
    other = tmp_path / "other" / carphone.name
    other.parent.mkdir()
    write_video(other, [image[:, ::-1] for image in read_all(carphone)])
    status, _, error, after = gather(other, "--skip", skip)
    assert status == 1
    assert "there are crops, or a file, of another carphone_pristine; rename" in error
    assert {crop: crop.read_bytes() for crop in after} == before
    # Without a list, the pixels are compared.
    (tmp_path / "out" / "sources.csv").unlink()
    status, _, error, after = gather(other)
    assert status == 1
    assert "carphone_pristine_000016.png is there already and shows something" in error
    assert {crop: crop.read_bytes() for crop in after} == before


def test_a_second_file_of_that_name_leaves_the_first_ones_crops(
    gather, carphone, tmp_path
):
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "anna.mp4").write_bytes(carphone.read_bytes())
    *_, first = gather(videos)
    assert {crop.name[:-11] for crop in first} == {"anna"}
    write_video(videos / "anna.avi", [x[:, ::-1] for x in read_all(carphone)])
    for saved in (7, 0):
        status, out, _, crops = gather(videos)
        assert status == 0
        assert f"saved {saved} faces" in out
        assert f"{14 - saved} were there already" in out
        assert {crop.name[:-11] for crop in crops} == {"anna", "anna-avi"}
        assert len(crops) == 14


def test_an_image_gives_its_most_confident_face(gather, group_photo):
    status, _, _, crops = gather(group_photo)
    assert status == 0
    assert [crop.name for crop in crops] == ["face_detection_input_000001.png"]


def test_frames_of_several_faces_are_counted(gather, group_photo, carphone):
    out = gather(group_photo)[1]
    advice = "the most confident one was saved: look through the crops, or use --all-f"
    assert f"1 of 1 frame show several faces; {advice}" in out
    assert advice not in gather(group_photo, "--all-faces", output="all")[1]
    assert advice not in gather(carphone, output="one")[1]


def test_all_faces_of_an_image_are_saved_on_request(gather, group_photo):
    status, _, _, crops = gather(group_photo, "--all-faces")
    assert status == 0
    assert [crop.name for crop in crops] == [
        "face_detection_input_000001-2.png",
        "face_detection_input_000001-3.png",
        "face_detection_input_000001-4.png",
        "face_detection_input_000001-5.png",
        "face_detection_input_000001.png",
    ]
    _, _, _, best = gather(group_photo, output="most confident")
    assert best[0].read_bytes() == crops[-1].read_bytes()


def test_folders_below_the_input_are_folders_below_the_output(
    gather, carphone, group_photo, tmp_path
):
    raw, out = tmp_path / "raw", tmp_path / "real"
    for name in ("anna/near.mp4", "ben/near.mp4", "ben/old/x.mp4"):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(carphone.read_bytes())
    for saved in (21, 0):
        status, text, error, crops = gather(raw, output="real")
        assert (status, error) == (0, "")
        assert f"saved {saved} faces" in text
        assert len(crops) == 21
    assert crops[0] == out / "anna" / "near_000016.png"
    lists = sorted(path.parent for path in out.rglob("sources.csv"))
    assert lists == [out / "anna", out / "ben", out / "ben" / "old"]
    assert [list(SourceList(path).lines) for path in lists] == [["near"]] * 2 + [["x"]]
    # A folder that is gathered by itself is the same.
    assert gather(raw / "anna", output="real/anna")[3] == crops[:7]


def test_a_folder_named_as_another_class_is_warned_of(gather, carphone, tmp_path):
    for name in ("anna/real", "anna/print", "Replay", "video"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        (tmp_path / "raw" / name / "a.mp4").write_bytes(carphone.read_bytes())
    for output, others in (
        ("data/real", "Replay, print"),
        ("data/Fake", "Replay, print, real"),
        ("data/real/anna", "Replay, print"),
        ("data/replay", "print, real"),
    ):
        _, _, error, crops = gather(tmp_path / "raw", "-s", 60, output=output)
        warning = f"{others}: named as another class than {tmp_path / output}"
        assert error == f"[WARN] {warning}\n"
        assert tmp_path / output / "anna" / "real" / "a_000060.png" in crops


def test_two_files_of_one_name_that_cannot_be_told_apart_cost_one_of_them(
    gather, group_photo, tmp_path
):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("IMG_1.JPG", "IMG_1.jpg", "IMG_2.jpg"):
        (folder / name).write_bytes(group_photo.read_bytes())
    status, _, error, crops = gather(folder)
    assert status == 0
    assert [crop.name for crop in crops] == ["IMG_1_000001.png", "IMG_2_000001.png"]
    assert "IMG_1.jpg: there are crops, or a file, of another IMG_1; rename it" in error


def test_files_that_are_left_out_or_cannot_be_read_end_no_batch(
    gather, group_photo, tmp_path
):
    folder = tmp_path / "in"
    for name in ("a.jpg", "@eaDir/a.jpg", "lost+found/b.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(group_photo.read_bytes())
    (folder / "gone.jpg").symlink_to(folder / "missing.jpg")
    (folder / "elsewhere").symlink_to(group_photo.parent)
    (folder / "damaged.png").write_bytes(b"damaged")
    status, out, error, crops = gather(folder)
    assert status == 0
    names = {crop.relative_to(tmp_path / "out").as_posix() for crop in crops}
    photo = f"elsewhere/{group_photo.stem}_000001.png"
    assert {"a_000001.png", photo} <= names
    assert "left out hidden and system folders: @eaDir, lost+found" in out
    assert f"1 path cannot be read: {folder / 'gone.jpg'}" in error
    assert "damaged.png" in error


def test_another_margin_in_the_same_folder_is_refused(gather, carphone, tmp_path):
    *_, before = gather(carphone, "--margin", 0.5)
    status, _, error, after = gather(carphone)
    assert status == 1
    assert "holds crops with margin 0.5, not 0; use that --margin or another" in error
    assert after == before
    # Crops without a list are the tutorial's.
    (tmp_path / "out" / "sources.csv").unlink()
    status, _, error, _ = gather(carphone, "--margin", 0.5)
    assert status == 1
    assert "holds crops with margin 0, not 0.5" in error


def test_faces_below_the_confidence_are_ignored(gather, group_photo):
    *_, crops = gather(group_photo, "--all-faces", "--confidence", 0.9)
    assert 0 < len(crops) < 5


def test_frames_without_a_face_are_counted_for_each_source(gather, carphone, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(carphone.read_bytes())
    write_image(folder / "wall.png")
    # A face, then nothing.
    frames = [*read_all(carphone)[:20], *[np.zeros((144, 176, 3), np.uint8)] * 20]
    write_video(folder / "b.mp4", frames)
    assert gather(folder, "--skip", 10)[0] == 0
    how = 0, "YuNet", 320, 0.7, 10
    expected = [
        Source(name.split(".")[0], "", fingerprint_of(folder / name), *how, *own)
        for name, own in (
            ("a.mp4", (12, 0)),
            ("b.mp4", (4, 2)),
            ("wall.png", (1, 1)),
        )
    ]
    assert list(SourceList(tmp_path / "out").lines.values()) == expected
    text = (tmp_path / "out" / "sources.csv").read_bytes()
    assert text.count(b"\n") == 1 + 2 + 2 + 1  # the header; two if there are crops
    assert gather(folder, "--skip", 10)[0] == 0
    assert (tmp_path / "out" / "sources.csv").read_bytes() == text
    assert gather(folder, "--skip", 20, "-c", 0.6)[0] == 0
    line = SourceList(tmp_path / "out").lines["a"]
    assert line[4:] == ("YuNet", 320, 0.6, 20, 6, 0)


def test_an_interrupted_search_is_counted_as_far_as_it_came(
    gather, carphone, tmp_path, monkeypatch
):
    save, saved = crops.CropFolder.save, []

    def interrupt(self, *arguments):
        saved.append(arguments)
        if len(saved) == 5:
            raise KeyboardInterrupt
        return save(self, *arguments)

    monkeypatch.setattr(crops.CropFolder, "save", interrupt)
    assert gather(carphone)[0] == 130
    (search,) = SourceList(tmp_path / "out").lines.values()
    assert (search.searched, search.faceless) == (5, 0)
    assert gather(carphone)[0] == 0
    (search,) = SourceList(tmp_path / "out").lines.values()
    assert (search.searched, search.faceless) == (7, 0)


def test_a_source_without_any_face_is_counted(gather, tmp_path):
    write_image(tmp_path / "wall.png")
    assert gather(tmp_path / "wall.png")[0] == 1
    (search,) = SourceList(tmp_path / "out").lines.values()
    assert search[:1] + search[-2:] == ("wall", 1, 1)


def test_a_folder_of_images_and_videos_is_gathered(
    gather, group_photo, carphone, tmp_path
):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "b.jpg").write_bytes(group_photo.read_bytes())
    (folder / "a.mp4").write_bytes(carphone.read_bytes())
    (folder / "c.png").write_bytes(b"damaged")
    status, _, error, crops = gather(folder, "--skip", 60)
    assert status == 0
    assert "c.png" in error
    names = ["a_000060.png", "a_000120.png", "b_000001.png"]
    assert [crop.name for crop in crops] == names


def test_tiny_faces_are_dropped_and_counted(gather, group_photo, tmp_path):
    image = cv2.resize(cv2.imread(str(group_photo)), (200, 112))
    assert cv2.imwrite(str(tmp_path / "far.png"), image)
    status, out, error, crops = gather(tmp_path / "far.png", "--all-faces")
    dropped = int(re.search(r"(\d+) too small", out)[1])
    assert dropped + len(crops) == 5
    assert dropped > 0
    assert status == (0 if crops else 1)
    assert crops or "no face found" in error


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("blank.png", "no face found in 1 frame;"),
        ("short.mp4", "no face found in 1 frame;"),
        ("damaged.png", "no picture can be read from it"),
        ("missing.mp4", "no such file"),
        ("empty", "no images or videos"),
    ],
)
def test_nothing_to_gather_exits_1_with_one_line(name, reason, gather, tmp_path):
    assert cv2.imwrite(str(tmp_path / "blank.png"), np.zeros((90, 90, 3), np.uint8))
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG")
    (tmp_path / "empty").mkdir()
    write_video(tmp_path / "short.mp4", [np.zeros((64, 64, 3), np.uint8)] * 9)
    status, _, error, crops = gather(tmp_path / name)
    assert status == 1
    assert f"{name}: " in error
    assert reason in error
    assert len(error.splitlines()) == 1
    assert crops == []


def test_a_missing_detector_is_reported_before_anything_is_made(
    carphone, tmp_path, capsys
):
    arguments = ["-i", carphone, "-o", tmp_path / "out", "-d", tmp_path]
    assert gather_examples.main([str(a) for a in arguments]) == 1
    assert "yunet_2023mar.onnx is missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@NEEDS_RES10
def test_yunet_cuts_the_crops_unless_res10_is_named(
    gather, carphone, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # the detectors are found from anywhere
    crops = Counter()
    for options, detector in (([], "YuNet"), (["-d", "res10"], "res10")):
        output = tmp_path / "dataset" / "real"
        arguments = ["-i", carphone, "-o", output, "-s", 30 + len(options), *options]
        assert gather_examples.main([str(a) for a in arguments]) == 0
        (line,) = SourceList(output).lines.values()
        assert line.detector == detector
        found = len(list(output.glob("*.png"))) - sum(crops.values())
        crops[detector] = found
    assert crops == {"YuNet": 4, "res10": 3}


def test_where_opencv_cannot_read_res10_one_line_says_what_to_do(
    gather, carphone, monkeypatch
):
    monkeypatch.delattr(cv2.dnn, "readNetFromCaffe", raising=False)
    assert gather(carphone)[0] == 0
    status, _, error, _ = gather(carphone, "-d", "res10")
    assert status == 1
    assert "res10: OpenCV" in error
    assert "cannot read it: use --detector yunet, or run: pip install" in error


def test_the_margin_of_crops_named_in_upper_case_is_compared_too(
    gather, carphone, tmp_path
):
    (tmp_path / "out").mkdir()
    image = np.zeros((20, 20, 3), np.uint8)
    assert cv2.imwrite(str(tmp_path / "out" / "a.png"), image)
    (tmp_path / "out" / "a.png").rename(tmp_path / "out" / "A.PNG")
    status, _, error, _ = gather(carphone, "--margin", 0.5)
    assert status == 1
    assert "holds crops with margin 0, not 0.5" in error


def test_crops_of_crops_are_not_gathered(gather, group_photo, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(group_photo.read_bytes())
    for output in ("in", "in/crops"):
        status, _, error, _ = gather(tmp_path / "in", output=output)
        assert status == 1
        assert "so the next run would read it" in error
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.jpg"]


def test_an_output_that_is_not_a_folder_is_reported_in_one_line(
    gather, carphone, tmp_path
):
    (tmp_path / "out").write_text("a file")
    status, _, error, _ = gather(carphone)
    assert status == 1
    assert "out/sources.csv: cannot be written: File exists" in error
    with pytest.raises(SystemExit, match="2"):
        gather_examples.main(["-i", str(carphone), "-o", ""])


def test_short_clips_give_their_middle_frame_and_empty_files_are_listed(
    gather, carphone, tmp_path
):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "long.mp4").write_bytes(carphone.read_bytes())
    for name, length in (("a", 12), ("b", 5)):
        options = ["-frames:v", length, "-c:v", "ffv1"]
        run_ffmpeg("-i", carphone, *options, folder / f"{name}.mkv")
    for number in range(7):
        write_image(folder / f"blank{number}.png", size=(90, 90))
    for saved in (9, 0):  # the second run changes nothing
        status, out, _, crops = gather(folder)
        assert status == 0
        assert f"saved {saved} faces" in out
        names = [crop.name for crop in crops]
        assert names[:2] == ["a_000006.png", "b_000003.png"]
        assert len(names) == 9
        blank = ", ".join(f"blank{number}" for number in range(5))
        last = f"[INFO] 7 files without a crop: {blank} and 2 more"
        assert out.splitlines()[-2] == last


def test_a_video_at_an_address_is_gathered_once(gather, web, carphone):
    folder, address = web
    copy = ["-c", "copy", "-movflags", "faststart"]  # this server cannot seek
    run_ffmpeg("-i", carphone, *copy, folder / "anna.mp4")
    for saved in (7, 0):
        status, out, _, crops = gather(f"{address}/anna.mp4?key=secret")
        assert status == 0
        assert f"read 120 frames, searched 7, 0 without a face; saved {saved} f" in out
        assert crops[0].name == "127.0.0.1-anna.mp4_000016.png"
        assert len(crops) == 7
        words = shlex.split(out.splitlines()[-1])  # the other class has it too
        assert words[words.index("--input") + 1] == f"{address}/anna.mp4"
    (line,) = SourceList(folder / "out").lines.values()
    assert line.fingerprint == ""
    status, out, error, _ = gather(
        f"{address.replace('//', '//me:secret@')}/missing.mp4"
    )
    assert status == 1
    assert "127.0.0.1" in error
    assert "secret" not in out + error
    make_video(folder / "blank.mp4")
    status, out, error, _ = gather(f"{address.replace('//', '//me:secret@')}/blank.mp4")
    assert "no face found" in error
    assert "secret" not in out + error


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_names_that_are_not_utf_8_are_gathered_and_read_again(
    locale, carphone, detector_folder, tmp_path
):
    """They end the interpreter in every function of OpenCV that opens a file."""
    folder = tmp_path / "in"
    folder.mkdir()
    with av.open(str(carphone)) as container:
        image = next(container.decode(video=0)).to_ndarray(format="bgr24")
    png = cv2.imencode(".png", image)[1].tobytes()
    try:
        Path(os.fsdecode(bytes(folder) + b"/caf\xe9.png")).write_bytes(png)
    except OSError:
        pytest.skip("this file system has no such names")
    Path(os.fsdecode(bytes(folder) + "/Иван.mp4".encode())).write_bytes(
        carphone.read_bytes()
    )
    command = [sys.executable, gather_examples.__file__, "-i", folder]
    command += ["-o", tmp_path / "out", "-d", detector_folder]
    for saved in (8, 0):
        done = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            env=os.environ | {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0"},
        )
        assert done.returncode == 0, done.stderr
        assert f"saved {saved} faces".encode() in done.stdout
    crops = list((tmp_path / "out").glob("*.png"))
    names = {os.fsencode(crop.name) for crop in crops}
    assert {b"caf\xe9_000001.png", "Иван_000112.png".encode()} <= names
    assert all(read_image(crop) is not None for crop in crops)


def test_a_damaged_video_is_read_to_its_end_and_says_so(gather, carphone, tmp_path):
    """OpenCV ends at the damage."""
    run_ffmpeg("-i", carphone, "-c:v", "libx264", "-g", 12, tmp_path / "a.ts")
    content = bytearray((tmp_path / "a.ts").read_bytes())
    middle = len(content) // 4
    content[middle : middle + 4000] = bytes(4000)
    (tmp_path / "a.ts").write_bytes(content)
    status, out, error, crops = gather(tmp_path / "a.ts")
    ((read, faulty),) = re.findall(r"a\.ts: damaged: read (\d+) frames, (\d+)", error)
    assert status == 0
    assert 100 < int(read) < 120
    assert int(faulty) > 0
    assert f"read {read} frames" in out
    assert crops[-1].name >= "a_000096.png"


@pytest.mark.parametrize(
    ("output", "options", "expected"),
    [
        ("my data/real", [], ["videos/fake.mp4", "my data/fake"]),
        ("d/fake", ["--skip", 60], ["videos/real.mp4", "d/real"]),
        ("d/live", ["--margin", 0.5], ["videos/fake.mp4", "d/fake"]),
    ],
)
def test_the_last_line_is_the_command_for_the_other_class_and_then_for_training(
    output, options, expected, gather, carphone, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    _, out, *_ = gather(carphone, *options, output=output)
    kind, _, command = out.splitlines()[-1].partition(": ")
    assert kind == "[INFO] next"
    _, script, _, other, _, folder, *same = shlex.split(command)
    assert Path(script).name == "gather_examples.py"
    assert [other, folder] == [expected[0], str(tmp_path / expected[1])]
    assert same == [str(option) for option in options]
    (tmp_path / "videos").mkdir()
    Path(other).write_bytes(carphone.read_bytes())
    assert gather_examples.main(shlex.split(command)[2:]) == 0
    _, out, *_ = gather(carphone, *options, output=output)
    command = out.splitlines()[-1].partition(": ")[2]
    dataset = str((tmp_path / output).parent)
    assert shlex.split(command)[-2:] == ["--dataset", dataset]
    assert "train.py" in command


def test_folders_of_persons_are_part_of_a_class(gather, carphone, tmp_path):
    _, out, *_ = gather(carphone, output="data/real/anna")
    command = shlex.split(out.splitlines()[-1])
    assert command[command.index("--output") + 1] == str(tmp_path / "data" / "fake")
    for output in ("data/print/anna", "data/real/ben"):
        _, out, *_ = gather(carphone, output=output)
        command = shlex.split(out.splitlines()[-1])
        assert command[-2:] == ["--dataset", str(tmp_path / "data")]


def test_a_stale_frame_of_a_camera_is_not_searched(face_image):
    new = Frame(face_image, "door", 1, 0.0)

    class Camera:
        total, live, read = None, False, 1

        def __iter__(self):
            yield from [new._replace(stale=0.6), new, new._replace(stale=1.1)]

    assert [f.stale for f in gather_examples.with_progress(Camera())] == [0.0]


def test_a_title_of_249_bytes_is_gathered_and_again_changes_nothing(
    gather, carphone, tmp_path
):
    (tmp_path / "raw").mkdir()
    title = "é" * 122 + "a"
    (tmp_path / "raw" / f"{title}.mp4").write_bytes(carphone.read_bytes())
    status, *_, crops = gather(tmp_path / "raw", "--all-faces")
    assert status == 0
    assert len(crops) == 7
    assert all(re.search(r"é-[0-9a-f]{8}_000\d{3}\.png", path.name) for path in crops)
    status, out, *_ = gather(tmp_path / "raw", "--all-faces")
    assert status == 0
    assert "7 were there already" in out


def test_a_file_whose_crops_cannot_be_written_costs_that_file(
    gather, carphone, tmp_path
):
    raw = tmp_path / "raw"
    for place in ("anna", "blocked"):
        (raw / place).mkdir(parents=True)
        (raw / place / "a.mp4").write_bytes(carphone.read_bytes())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "blocked").write_text("not a folder")
    status, out, error, crops = gather(raw)
    assert status == 0
    assert len(crops) == 7
    assert "out/blocked/a_000001.png: cannot be written: " in error
    assert "read 120 frames" in out  # of the other file alone
    status, out, error, _ = gather(raw / "blocked", output="out/blocked")
    assert status == 1
    assert error.count("\n") == 1


def test_of_folders_too_deep_for_their_crops_the_others_are_gathered(
    gather, carphone, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    Path("raw", "a.mp4").write_bytes(carphone.read_bytes())
    os.chdir("raw")
    for _ in range(15):
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    shutil.copyfile(carphone, "b.mp4")
    os.chdir(tmp_path)
    output = "/".join(["o" * 250, "p" * 250])
    status, _, error, crops = gather("raw", output=output)
    assert status == 0
    assert [path.name for path in crops][-1:] == ["a_000112.png"]
    assert "b_000001.png: cannot be written: File name too long; skipped" in error
