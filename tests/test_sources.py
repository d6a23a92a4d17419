from pyimagesearch.console import UserError
from pyimagesearch.sources import open_frames

import pytest
from conftest import write_image


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


def test_no_file_is_lost_where_a_folder_makes_its_name_anothers(tmp_path):
    for name in ("a/x.png", "a-x.png", "b/x.png", "a-x-png.png"):
        write_image(tmp_path / name)
    names = [frame.source for frame in open_frames(str(tmp_path))]
    assert len(names) == len(set(names)) == 4


def test_a_file_named_by_a_number_is_no_camera(tmp_path, monkeypatch):
    write_image(tmp_path / "8.png")
    (tmp_path / "8.png").rename(tmp_path / "8")
    monkeypatch.chdir(tmp_path)
    assert open_frames("8").kind == "image"


@pytest.mark.parametrize("name", ["missing.mp4", "text.mp4", "folder", "cut.mp4"])
def test_what_cannot_be_read_fails_at_once_and_is_named(name, tmp_path, carphone):
    (tmp_path / "text.mp4").write_text("I am no video")
    (tmp_path / "folder").mkdir()
    (tmp_path / "cut.mp4").write_bytes(carphone.read_bytes()[:3000])
    with pytest.raises(UserError, match=name):
        open_frames(str(tmp_path / name))


def test_files_of_other_kinds_are_counted_and_their_kinds_named(tmp_path, capsys):
    for name in ("1.png", "2.jfif"):
        write_image(tmp_path / "a.png")
        (tmp_path / name).write_bytes((tmp_path / "a.png").read_bytes())
    for name in ("a.heic", "b.heic", "notes.txt", ".hidden.heic"):
        (tmp_path / name).write_text("no picture that OpenCV reads")
    assert [frame.source for frame in open_frames(str(tmp_path))] == ["1", "2", "a"]
    error = capsys.readouterr().err
    assert "passed over 3 files: .heic (2), .txt (1)" in error


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "--input is empty"),
        ("99999999999", "they count from 0 to 999"),
        ("rtsp://", "wants a host"),
        ("http:///stream", "wants a host"),
        ("HTTP:///stream", "wants a host"),
        ("http://[::1/a", "not an address"),
        ("http://127.0.0.1:door/a", "not an address"),
    ],
)
def test_what_names_no_source_is_said_in_one_line(source, reason):
    with pytest.raises(UserError, match=reason) as error:
        open_frames(source)
    assert len(str(error.value).splitlines()) == 1


def test_a_folder_named_by_a_number_is_no_camera(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "2024" / "a.png")
    assert [frame.source for frame in open_frames("2024")] == ["a"]
