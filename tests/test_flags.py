import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pyimagesearch.faces import Res10, YuNet
from pyimagesearch.flags import (
    DETECTORS,
    add_detector_flags,
    fraction,
    path,
    positive_int,
    seconds,
    seed_int,
    side_int,
)

import pytest
from conftest import ROOT


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    add_detector_flags(parser)
    return parser


def test_the_help_states_the_numbers_of_the_detectors(parser):
    text = " ".join(parser.format_help().split())
    default = f"{YuNet.CONFIDENCE}, or {Res10.CONFIDENCE} with res10"
    assert re.findall(r"\(default: ([^)]*)\)", text)[1:] == [str(YuNet.SIZE), default]


def test_the_detectors_are_beside_the_scripts_wherever_one_is(
    parser, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert parser.parse_args([]).detector == DETECTORS == ROOT / "face_detector"
    assert parser.parse_args(["-d", "res10"]).detector == Path("res10")


@pytest.mark.parametrize("has_files", [False, True])
def test_where_others_installed_the_program_the_detectors_are_the_users(
    has_files, tmp_path
):
    package = tmp_path / "site" / "pyimagesearch"
    shutil.copytree(ROOT / "pyimagesearch", package)
    expected = tmp_path / "home" / "pyimagesearch" / "face_detector"
    if has_files:
        expected = tmp_path / "site" / "face_detector"
        expected.mkdir()
        (expected / "any.onnx").touch()
    program = (
        "import os\n"
        "os.access = lambda path, mode: False\n"  # as root, everything is writable
        "from pyimagesearch.flags import DETECTORS\n"
        "print(DETECTORS)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "site",
        env=os.environ | {"XDG_DATA_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{expected}\n", done.stderr


@pytest.mark.parametrize("text", ["-0.1", "1.1", "nan", "much"])
def test_a_number_outside_0_to_1_is_refused_as_a_fraction(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a number from 0 to 1"):
        fraction(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many"])
def test_a_number_that_is_not_positive_or_whole_is_refused(text):
    with pytest.raises(
        argparse.ArgumentTypeError, match="is not a positive whole number"
    ):
        positive_int(text)


def test_numbers_at_their_limits_are_taken():
    assert (fraction("0"), fraction("0.25"), fraction("1")) == (0, 0.25, 1)
    assert positive_int("16") == 16


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "86401", "soon"])
def test_a_time_that_is_negative_or_above_a_day_is_refused(text):
    with pytest.raises(
        argparse.ArgumentTypeError, match="a number of seconds from 0 to 86400"
    ):
        seconds(text)
    assert seconds("0.5") == 0.5


@pytest.mark.parametrize("text", ["-1", "4294967296", "0.5"])
def test_a_seed_outside_its_range_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="from 0 to 4294967295"):
        seed_int(text)
    assert seed_int("4294967295") == 4294967295


def test_an_empty_path_is_refused():
    with pytest.raises(argparse.ArgumentTypeError, match="the path is empty"):
        path("")
    assert path("out") == Path("out")


@pytest.mark.parametrize("text", ["31", "4097", "0", "wide"])
def test_a_side_outside_its_range_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="from 32 to 4096"):
        side_int(text)
    assert side_int("640") == 640
