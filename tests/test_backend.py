import json
import os
import subprocess
import sys

from pyimagesearch.models import load_network

import numpy as np
import pytest
from conftest import ROOT

WRONG = {
    "backend": "theano",
    "floatx": "float16",
    "epsilon": 0.01,
    "image_data_format": "channels_first",
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run Python with a keras.json of this text; returns its status, stdout, stderr."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)

    def run(settings, *arguments, **environment):
        (tmp_path / "keras.json").write_text(settings)
        options = {"cwd": ROOT, "capture_output": True, "text": True}
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, env=environment, **options)
        return done.returncode, done.stdout, done.stderr

    return run


def test_the_settings_of_other_projects_change_no_network(
    run, dataset, trained, tmp_path
):
    arguments = ["-d", dataset, "-m", tmp_path / "m", "-l", tmp_path / "l"]
    arguments += ["-p", tmp_path / "p.png", "--folds", 1, "--epochs", 3]
    status, _, error = run(
        json.dumps(WRONG), "train.py", *arguments, KERAS_BACKEND="torch"
    )
    assert status == 0, error
    images = np.random.default_rng(0).random((9, 32, 32, 3), np.float32)
    rows = [
        load_network(p).predict(images)
        for p in (tmp_path / "m", trained / "liveness.model")
    ]
    np.testing.assert_array_equal(*rows)


CONFIG = f"""
import os

before = dict(os.environ)
from pyimagesearch.backend import keras

print(*[getattr(keras.config, name)() for name in {[*WRONG]}])
for name in ("KERAS_HOME", "KERAS_BACKEND"):
    assert os.environ.get(name) == before.get(name)
from keras.src.backend.config import keras_home

# Keras downloads to a temporary folder if it cannot write into this one.
assert not os.access(keras_home(), os.W_OK)
"""


@pytest.mark.parametrize(
    "settings",
    [
        json.dumps(WRONG),
        '{"backend": "torch"}',
        '{"floatx": "half", "epsilon": 1}',
        '{"backend": "tensorflow", "epsilon": 1e-07}',
        "[1]",
        "damaged",
    ],
)
def test_no_keras_json_is_read_and_a_programs_environment_stays(settings, run):
    for environment in ({}, {"KERAS_BACKEND": "jax"}):
        done = run(settings, "-c", CONFIG, **environment)
        assert done == (0, "tensorflow float32 1e-07 channels_last\n", "")


def test_why_an_import_failed_is_said(run, tmp_path):
    (tmp_path / "keras.py").write_text("raise ImportError('none here')")
    program = "import pyimagesearch.backend"
    status, _, error = run("{}", "-c", program, PYTHONPATH=str(tmp_path))
    assert status == 1
    assert "none here" in error


MATPLOTLIB = """
import os, sys
from pyimagesearch.backend import keras

print(os.environ.pop("MPLBACKEND"))
del os.environ["MATPLOTLIBRC"]
import matplotlib.pyplot
"""


@pytest.mark.parametrize("name", ["module://not_there.backend", "Qt4Agg"])
def test_no_setting_of_matplotlib_ends_the_import(name, run, tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"backend: \xff")
    settings = {"MPLBACKEND": name, "MATPLOTLIBRC": str(tmp_path)}
    assert run("{}", "-c", MATPLOTLIB, **settings) == (0, f"{name}\n", "")


LIBRARY = """
import sys, keras
keras.config.backend = lambda: "jax"  # which is too large to be installed for this
import numpy as np
from pyimagesearch.console import UserError
from pyimagesearch.models import load_classifier
from pathlib import Path

folder = Path(sys.argv[1])
network, _ = load_classifier(folder / "liveness.onnx", folder / "le.pickle")
print(network.predict(np.zeros((1, 32, 32, 3), np.float32)).shape)
for _ in range(2):
    try:
        load_classifier(folder / "liveness.model", folder / "le.pickle")
    except UserError as error:
        print(error)
print(keras.config.backend())
"""


def test_in_a_program_with_another_backend_only_onnx_models_work(run, trained):
    status, out, error = run("{}", "-c", LIBRARY, trained)
    assert status == 0, error
    text = (
        "this program has imported Keras with the backend jax: set "
        "KERAS_BACKEND=tensorflow before that, or use an ONNX model"
    )
    assert out.splitlines() == ["(1, 2)", text, text, "jax"]
