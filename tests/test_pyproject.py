import os
import re
import shutil
import subprocess
import sys

import cv2
import pytest
from conftest import ROOT

SOURCES = ["pyimagesearch", *(path.name for path in ROOT.glob("*.py"))]
SOURCES += [path.name for path in ROOT.glob("requirements*.txt")]
SOURCES += ["pyproject.toml", "README.md", "LICENSE"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that the wheel is installed into."""
    sources, site = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("site")
    for name in SOURCES:  # a build leaves files beside them
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, sources / name)
    pip = [sys.executable, "-m", "pip"]
    options = {"check": True, "capture_output": True, "cwd": sources}
    options["env"] = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", sources, "."]
    subprocess.run([*pip, *build], **options)
    (wheel,) = sources.glob("*.whl")
    install = ["install", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run([*pip, *install], **options)
    return site


@pytest.fixture
def run(installed, tmp_path):
    """Run a program in an empty folder, with what is installed; returns its stdout."""

    def run(*command):
        done = subprocess.run(
            [str(word) for word in command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_library_and_the_demo_run_from_the_wheel(
    run, installed, trained, videos, tmp_path
):
    python = sys.executable
    where = installed / "face_detector"
    out = run(python, "-m", "pyimagesearch.fetch")
    assert out == f"[INFO] the face detectors are in {where}\n"
    (example,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    video = videos / "real.mp4"
    for name in ("liveness.onnx", "le.pickle"):
        shutil.copy(trained / name, tmp_path)
    film = f"camera = cv2.VideoCapture({str(video)!r})"
    example = example.replace("camera = cv2.VideoCapture(0)", film)
    assert film in example
    lines = run(python, "-c", example).splitlines()
    assert lines
    assert all(re.fullmatch(r"1 [01]\.\d+ \(\d+, \d+, 3\)", line) for line in lines)
    options = ["-m", "liveness.onnx", "-i", video, "-o", "out.mp4", "--no-display"]
    run(installed / "bin" / "liveness-demo", *options)
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).read()[0]


@pytest.mark.parametrize("name", ["gather-examples", "train-liveness", "liveness-demo"])
def test_each_command_is_installed(name, run, installed):
    assert run(installed / "bin" / name, "--help").startswith(f"usage: {name} ")


def test_the_demo_needs_what_its_requirements_say_and_training_is_an_extra(installed):
    (metadata,) = installed.glob("*.dist-info/METADATA")
    needed = re.findall("^Requires-Dist: (.*)", metadata.read_text(), re.MULTILINE)
    extra = '; extra == "train"'
    for file, own in (
        ("requirements-demo.txt", [need for need in needed if extra not in need]),
        ("requirements.txt", [n.removesuffix(extra) for n in needed if extra in n]),
    ):
        lines = (ROOT / file).read_text().splitlines()
        wanted = [line.split("#")[0].strip() for line in lines]
        names = [re.match("[a-z0-9-]+", line)[0] for line in wanted if line]
        assert [re.match("[a-z0-9-]+", need)[0] for need in own] == names
        bounds = [sorted(re.findall(r"[<>=]+[\d.]+", text)) for text in wanted if text]
        assert [sorted(re.findall(r"[<>=]+[\d.]+", need)) for need in own] == bounds
