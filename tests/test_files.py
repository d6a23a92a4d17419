import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyimagesearch.console import UserError
from pyimagesearch.files import (
    FINGERPRINT_BYTES,
    Appender,
    atomic_write,
    check_distinct,
    check_outside,
    check_writable,
    find_files,
    fingerprint_of,
    natural_key,
    temporary_beside,
    to_csv,
    write_new,
)
from pyimagesearch.video import IMAGE_SUFFIXES

import pytest


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def find(folder, suffixes=None, says=False):
    files = find_files(folder, suffixes, says)
    return [path.relative_to(folder).as_posix() for path in files]


def test_files_are_found_at_any_depth_in_natural_order(tmp_path):
    touch(tmp_path, "10.png", "2.png", "1.txt", "b/3.png", "b/20.png", "a/9/1.png")
    numbers = ["1.txt", "2.png", "10.png"]
    assert find(tmp_path) == [*numbers, "a/9/1.png", "b/3.png", "b/20.png"]


def test_hidden_and_system_folders_are_left_out_with_a_line(tmp_path, capsys):
    folder = tmp_path / ".here"  # which may itself be hidden
    touch(folder, "1.png", ".2.png", ".trash/3.png", "a/.b/c/4.png", "a/@eaDir/1.png")
    touch(folder, "__MACOSX/1.png", "lost+found/1.png", "a/System Volume Information/1")
    touch(folder, "$RECYCLE.BIN/1.png", "a/eaDir/1.png")
    (folder / "folder.png").mkdir()
    assert find(folder, says=True) == ["1.png", "a/eaDir/1.png"]
    names = "$RECYCLE.BIN, .b, .trash, @eaDir, System Volume Information and 2 more"
    line = f"[INFO] {folder}: left out hidden and system folders: {names}\n"
    assert capsys.readouterr() == (line, "")
    find(folder)
    assert capsys.readouterr() == ("", "")


def test_links_to_folders_are_followed_and_each_folder_is_read_once(tmp_path, capsys):
    folder, outside = tmp_path / "in", tmp_path / "outside"
    touch(tmp_path, "in/b/1.png", "in/c/d/2.png", "outside/3.png")
    for name, target in (
        ("a-link", folder / "b"),  # which has its own name
        ("away", outside),
        ("away-too", outside),
        ("b/loop", folder),
        ("c/d/up", folder / "c"),
    ):
        (folder / name).symlink_to(target)
    (outside / "back").symlink_to(folder)
    assert find(folder, says=True) == ["away/3.png", "b/1.png", "c/d/2.png"]
    assert capsys.readouterr() == ("", "")


def test_links_that_lead_nowhere_are_named(tmp_path, capsys):
    touch(tmp_path, "1.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "missing.png")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    assert find(tmp_path, says=True) == ["1.png"]
    names = f"{tmp_path / 'gone.png'}, {tmp_path / 'itself'}"
    warning = f"[WARN] {tmp_path}: 2 paths cannot be read: {names}\n"
    assert capsys.readouterr() == ("", warning)


def test_what_may_not_be_read_is_named(tmp_path, as_nobody, capsys):
    touch(tmp_path, "in/1.png", "in/2.png", "in/closed/3.png", "in/deep/4/5.png")
    for name in ("2.png", "closed", "deep/4"):
        (tmp_path / "in" / name).chmod(0)
    with as_nobody():
        assert find(tmp_path / "in", says=True) == ["1.png"]
        with pytest.raises(UserError, match="in/closed: Permission denied"):
            find(tmp_path / "in" / "closed")
    names = [str(tmp_path / "in" / name) for name in ("2.png", "closed", "deep/4")]
    error = capsys.readouterr().err
    assert f"in: 3 paths cannot be read: {', '.join(names)}\n" in error


def test_suffixes_match_in_upper_case_too(tmp_path):
    touch(tmp_path, "a.PNG", "b.Jpg", "c.txt", "d", "e.png.part")
    assert find(tmp_path, IMAGE_SUFFIXES) == ["a.PNG", "b.Jpg"]
    assert find(tmp_path, {".txt"}) == ["c.txt"]


def test_natural_order_puts_2_before_10_wherever_the_number_is():
    names = ["a10b2", "a2b10", "a2b9", "a", "b1", "10", "9", "a02b1"]
    expected = ["9", "10", "a", "a02b1", "a2b9", "a2b10", "a10b2", "b1"]
    assert sorted(names, key=lambda name: natural_key(Path(name))) == expected


def test_a_failure_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".tmp", ".keras"])
def test_a_temporary_file_is_hidden_beside_its_target_and_gone_in_the_end(
    suffix, tmp_path
):
    names = set()
    for written in (True, False):
        with temporary_beside(tmp_path / "file", suffix) as temporary:
            assert temporary.parent == tmp_path
            assert temporary.name.startswith(".")
            assert temporary.suffix == suffix
            assert not temporary.exists()
            if written:
                temporary.touch()
            names.add(temporary)
        assert list(tmp_path.iterdir()) == []
    assert len(names) == 2


def test_a_new_file_never_replaces_another(tmp_path):
    path = tmp_path / "file"
    assert write_new(path, b"first")
    assert not write_new(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_only_one_of_several_simultaneous_writers_makes_a_new_file(tmp_path):
    path = tmp_path / "file"
    with ThreadPoolExecutor(8) as threads:
        contents = [b"%d" % number * 10_000 for number in range(8)]
        won = list(threads.map(lambda content: write_new(path, content), contents))
    assert won.count(True) == 1
    assert path.read_bytes() == contents[won.index(True)]
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_can_be_written_where_there_are_no_links(tmp_path, monkeypatch):
    def link(source, target):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    assert write_new(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def append(path, *lines, header=b"a,b\n"):
    appender = Appender(path, header)
    for line in lines:
        appender.add(line)
    appender.close()


def test_lines_are_added_below_one_header(tmp_path):
    path = tmp_path / "file"
    append(path, b"1,2\n", b"3,4\n")
    append(path, b"5,6\n")
    assert path.read_bytes() == b"a,b\n1,2\n3,4\n5,6\n"


def test_a_torn_line_is_ended_before_the_next_one(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a,b\n1,")
    append(path, b"3,4\n")
    assert path.read_bytes() == b"a,b\n1,\n3,4\n"


def test_an_empty_header_fits_every_file(tmp_path):
    path = tmp_path / "file"
    append(path, header=b"")
    assert path.read_bytes() == b""
    append(path, b"{}\n", header=b"")
    append(path, b"[]\n", header=b"")
    assert path.read_bytes() == b"{}\n[]\n"


def test_a_file_with_another_header_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"c,d\n")
    with pytest.raises(
        UserError, match="file: it has other columns; name another file"
    ):
        Appender(path, b"a,b\n")
    assert path.read_bytes() == b"c,d\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error():
    with pytest.raises(OSError, match="No space left"):
        append(Path("/dev/full"), b"1,2\n", header=b"")


def test_a_line_of_csv_is_quoted_where_it_must_be():
    assert to_csv(["a", 1, 0.5, 'b"c', "d,e", "f\ng", "ü"]) == (
        'a,1,0.5,"b""c","d,e","f\ng",ü\n'.encode()
    )


def test_the_folder_of_a_result_is_made_before_the_work(tmp_path):
    check_writable(tmp_path / "a" / "b" / "file")
    assert (tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []
    with pytest.raises(UserError, match=": a folder; remove it"):
        check_writable(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="below: cannot be written: "):
        check_writable(tmp_path / "file" / "below")
    for path in (tmp_path / ("é" * 130), tmp_path.joinpath(*["a" * 250] * 17, "b")):
        with pytest.raises(UserError, match="cannot be written: File name too long"):
            check_writable(path)


def test_an_output_may_not_be_its_input_nor_inside_it(tmp_path):
    folder, file = tmp_path / "in", tmp_path / "in" / "a.mp4"
    folder.mkdir()
    file.touch()
    (tmp_path / "link").symlink_to(folder)
    for output in (folder, folder / "out", folder / "a" / "b", tmp_path / "link" / "a"):
        with pytest.raises(UserError, match="so the next run would read it"):
            check_outside(output, str(folder))
    with pytest.raises(UserError, match="that is the input"):
        check_outside(tmp_path / "link" / "a.mp4", str(file))
    for source in (str(file), "0", "", "rtsp://camera/door"):
        check_outside(folder / "out", source)
    check_outside(tmp_path / "in2", str(folder))


def test_two_flags_that_name_one_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_distinct(model=Path("a"), plot=None, report=None, le=Path("b"))
    with pytest.raises(UserError, match="--model and --le are the same file"):
        check_distinct(model=Path("a"), le=tmp_path / "x" / ".." / "a")


def test_a_fingerprint_depends_on_size_beginning_end_and_suffix(tmp_path):
    zeros = bytes(3 * FINGERPRINT_BYTES)
    prints = []
    for name, content in (
        ("a.mp4", zeros),
        ("b.MP4", zeros),  # the same
        ("a.mov", zeros),
        ("c.mp4", b"x" + zeros[1:]),
        ("d.mp4", zeros[:-1] + b"x"),
        ("e.mp4", zeros + b"\0"),
        ("f.mp4", b""),
        ("g", b"x"),
    ):
        (tmp_path / name).write_bytes(content)
        prints.append(fingerprint_of(tmp_path / name))
    assert prints[0] == prints[1]
    assert len(set(prints)) == len(prints) - 1
    assert all(len(one.split(".")[0]) == 16 for one in prints)


def test_hidden_files_and_folders_are_ignored(tmp_path):
    touch(tmp_path / ".here", "1.png", ".2.png", ".trash/3.png", "a/.b/c/4.png")
    (tmp_path / ".here" / "folder.png").mkdir()
    # The folder that is searched may itself be hidden.
    assert find(tmp_path / ".here") == ["1.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no FIFOs")
@pytest.mark.timeout(60)
def test_a_fifo_has_no_fingerprint_as_it_can_be_read_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert fingerprint_of(tmp_path / "fifo") == ""
