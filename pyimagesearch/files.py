"""Files are written whole or not at all, and grow by whole lines."""

import csv
import errno
import hashlib
import io
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyimagesearch.console import UserError

FINGERPRINT_BYTES = 1 << 20  # of a file's beginning and end


@contextmanager
def temporary_beside(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """Yield a free, hidden path beside another; what is there at the end is removed."""
    temporary = path.with_name(f".{secrets.token_hex(8)}{suffix}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields the path of a temporary file beside `path` for the block to write; it takes
    the place of `path` if the block succeeds and is removed if not.
    """
    with temporary_beside(path, suffix) as temporary:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


def write_new(path: Path, content: bytes) -> bool:
    """Write a file whole, or return False if there is one of this name already."""
    if path.exists():
        return False
    with temporary_beside(path) as temporary:
        temporary.write_bytes(content)
        try:
            os.link(temporary, path)  # unlike a renaming, fails if somebody was faster
        except FileExistsError:
            return False
        except OSError:  # a file system without links, such as that of a memory card
            temporary.replace(path)
    return True


class Appender:
    """A file that grows by whole lines.

    Each line is added in one write, so that lines of programs that work at the same
    time stay whole, and a program that is killed leaves whole lines.

    Parameters
    ----------
    path : Path
        Made, with the header in it, if it is not there.
    header : bytes
        First line of the file, with its newline; may be empty.

    Raises
    ------
    UserError
        When the file begins with another line.
    """

    def __init__(self, path: Path, header: bytes = b""):
        write_new(path, header)
        self._file = path.open("ab+", buffering=0)
        self._file.seek(0)
        if self._file.read(len(header)) != header:
            self.close()
            raise UserError(f"{path} is there already, with other columns")
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - 1))
        if self._file.read(1) not in (b"\n", b""):
            self.add(b"\n")  # end the torn line that a full disk left

    def add(self, line: bytes) -> None:
        """Add a line, with its newline."""
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fingerprint_of(path: Path) -> str:
    """Tell a file, of any size, from others: 16 hexadecimal digits and its ending."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest = hashlib.sha256(str(size).encode())
        for start in (0, max(0, size - FINGERPRINT_BYTES)):
            file.seek(start)
            digest.update(file.read(FINGERPRINT_BYTES))
    return digest.hexdigest()[:16] + path.suffix.lower()


def to_csv(values: Iterable) -> bytes:
    """Write values as one line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def check_writable(path: Path) -> None:
    """Make sure, before the work, that its result can be written to `path`.

    Raises
    ------
    UserError
        When `path` is a folder, or its folder cannot be made or written to.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; remove it or name another file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def is_same_file(path: Path, other: Path) -> bool:
    """Tell whether two paths lead to one file or folder that is there."""
    return path.exists() and other.exists() and path.samefile(other)


def check_outside(output: Path, source: str) -> None:
    """Raise a UserError if an output lies in the folder that is read."""
    folder = Path(source or "missing")
    if folder.is_dir() and output.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"--output {output} is inside --input {source}, where the next run would "
            "find it; name another folder"
        )


def check_distinct(**paths: Path | None) -> None:
    """Raise a UserError if two flags, by name, name the same file."""
    seen = {}
    for flag, path in paths.items():
        if path and (other := seen.setdefault(path.resolve(), flag)) != flag:
            raise UserError(f"--{other} and --{flag} are the same file: {path}")
