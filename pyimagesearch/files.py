"""Find files; write them whole or not at all, or append whole lines."""

import csv
import errno
import hashlib
import io
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path

from pyimagesearch.console import UserError, count_of, info, listing, warn

FINGERPRINT_BYTES = 1 << 20  # of a file's beginning and end
# Folders of systems' own: of Synology, Windows, macOS and Linux.
SYSTEM_FOLDERS = {"@eadir", "$recycle.bin", "system volume information", "__macosx"}
SYSTEM_FOLDERS |= {"lost+found"}


def is_left_out(name: str) -> bool:
    """Return whether a folder of this name is hidden or the system's own."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def find_files(
    folder: Path, suffixes: Set[str] | None = None, says: bool = False
) -> list[Path]:
    """Find the files at any depth below a folder, in natural order (2 before 10).

    Links are followed, but each folder is read once. Hidden files, hidden folders and
    system folders are left out; `says` prints which, and what cannot be read. Suffixes
    match in lower and upper case. A folder that cannot be read itself is a UserError.
    """
    found, left_out, unreadable = [], [], []
    folders, links, seen = [folder], [], set()
    while folders or links:  # a folder has its own name rather than that of a link
        current = folders.pop() if folders else links.pop(0)
        if (real := current.resolve()) in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(current) as entries:
                entries = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if current == folder:
                raise UserError(f"{folder}: {error.strerror}") from None
            unreadable.append(str(current))
            continue
        for entry in entries:
            path = current / entry.name
            if is_left_out(entry.name):
                if entry.is_dir(follow_symlinks=False):
                    left_out.append(entry.name)
            elif not os.access(path, os.R_OK):  # nor where a link leads nowhere
                unreadable.append(str(path))
            elif entry.is_dir():
                (links if entry.is_symlink() else folders).append(path)
            elif entry.is_file():
                found.append(path)
    if says and left_out:
        names = listing(sorted(left_out), 5)
        info(f"{folder}: left out hidden and system folders: {names}")
    if says and unreadable:
        names = listing(sorted(unreadable), 5)
        warn(f"{folder}: {count_of(len(unreadable), 'path')} cannot be read: {names}")
    found.sort(key=natural_key)
    return [x for x in found if suffixes is None or x.suffix.lower() in suffixes]


def natural_key(path: Path) -> list:
    """Sort key that puts 2 before 10."""
    parts = re.split(r"([0-9]+)", str(path))
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


@contextmanager
def temporary_beside(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """Yield a hidden, unused path beside another; remove the file there at the end."""
    temporary = path.with_name(f".{secrets.token_hex(8)}{suffix}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """Yield a path to write to; its file replaces `path` only if the block succeeds."""
    with temporary_beside(path, suffix) as temporary:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


def write_new(path: Path, content: bytes) -> bool:
    """Write a file whole; return False if the name is taken."""
    if path.exists():
        return False
    with temporary_beside(path) as temporary:
        temporary.write_bytes(content)
        try:
            os.link(temporary, path)  # unlike a rename, it never overwrites
        except FileExistsError:
            return False
        except OSError:  # a file system without links, as on memory cards
            temporary.replace(path)
    return True


class Appender:
    """A file that grows by whole lines.

    Each is added in one write, so it stays whole if several programs append at the same
    time or one is killed. A missing file is made, with the header; a file that begins
    with another line is a UserError.
    """

    def __init__(self, path: Path, header: bytes = b""):
        write_new(path, header)
        self._file = path.open("ab+", buffering=0)
        self.close = self._file.close
        self._file.seek(0)
        if self._file.read(len(header)) != header:
            self.close()
            raise UserError(f"{path}: it has other columns; name another file")
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - 1))
        if self._file.read(1) not in (b"\n", b""):
            self.add(b"\n")  # end a line that a full disk cut short

    def add(self, line: bytes) -> None:
        """Append a line, with its newline."""
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fingerprint_of(path: Path) -> str:
    """Return 16 hexadecimal digits and the suffix of a file, "" for a FIFO."""
    if path.is_fifo():  # which can be read only once
        return ""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest = hashlib.sha256(str(size).encode())
        for start in (0, max(0, size - FINGERPRINT_BYTES)):
            file.seek(start)
            digest.update(file.read(FINGERPRINT_BYTES))
    return digest.hexdigest()[:16] + path.suffix.lower()


def to_csv(values: Iterable, delimiter: str = ",") -> bytes:
    """Format values as one line of CSV."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(values)
    return text.getvalue().encode("utf-8", "surrogateescape")


def check_writable(path: Path) -> None:
    """Raise a UserError, before the work, if its result cannot be written to `path`."""
    try:
        if path.is_dir():
            raise UserError(f"{path}: a folder; remove it or name another file")
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
        with suppress(FileNotFoundError):
            path.lstat()  # the name may be too long
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def keep_writable(files: dict[str, str], suffix: str, folder: Path) -> dict[str, str]:
    """Leave out sources whose <source><suffix> a folder cannot take, see `without`."""
    kept, refused = {}, []
    for source, file in files.items():
        try:
            check_writable(folder / f"{source}{suffix}")
            kept[source] = file
        except UserError as error:
            refused.append(str(error))
    return without(refused, kept)


def without(refused: Sequence[str], kept: dict) -> dict:
    """Warn of what was refused, and return what was kept; nothing is a UserError."""
    if refused and not kept:
        raise UserError(refused[0])
    for text in refused:
        warn(f"{text}; skipped")
    return kept


def check_outside(output: Path, source: str) -> None:
    """Raise a UserError if an output is the input, or inside the input's folder."""
    folder = Path(source or "missing")
    if folder.is_file() and output.exists() and output.samefile(folder):
        raise UserError(f"--output {output}: that is the input; name another file")
    if folder.is_dir() and output.resolve().is_relative_to(folder.resolve()):
        text = f"--output {output} is inside --input {source}"
        raise UserError(f"{text}, so the next run would read it; name another folder")


def check_distinct(**paths: Path | None) -> None:
    """Raise a UserError if two flags, given by name, are the same file."""
    seen = {}
    for flag, path in paths.items():
        if path and (other := seen.setdefault(path.resolve(), flag)) != flag:
            raise UserError(f"--{other} and --{flag} are the same file: {path}")
