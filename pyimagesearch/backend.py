"""Keras and TensorFlow, imported quietly and with the settings that we need."""

import gc
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyimagesearch import console

SETTINGS = {  # Keras' own defaults
    "backend": "tensorflow",
    "floatx": "float32",
    "epsilon": 1e-07,
    "image_data_format": "channels_last",
}


@contextmanager
def _silence() -> Iterator[None]:
    """Discard stderr: no setting stops all messages of TensorFlow's import."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def _read_settings() -> dict:
    """Return Keras' settings as the program or the user has made them."""
    if "keras" in sys.modules:
        config = sys.modules["keras"].config
        return {name: getattr(config, name)() for name in SETTINGS}
    file = Path(os.environ.get("KERAS_HOME", "~/.keras"), "keras.json")
    try:
        settings = dict(json.loads(file.expanduser().read_text()))
    except (OSError, ValueError, TypeError, RuntimeError):  # none that can be read
        settings = {}
    if backend := os.environ.get("KERAS_BACKEND"):
        settings["backend"] = backend
    return settings


settings = SETTINGS | _read_settings()
if "keras" in sys.modules and settings["backend"] != SETTINGS["backend"]:
    raise console.UserError(
        f"this program has imported Keras with the backend {settings['backend']}: set "
        "KERAS_BACKEND=tensorflow before that, or use an ONNX model"
    )
overridden = [f"{n} {settings[n]}" for n in SETTINGS if settings[n] != SETTINGS[n]]
if overridden:
    console.warn(f"Keras' defaults are used instead of {', '.join(overridden)}")
os.environ["KERAS_BACKEND"] = SETTINGS["backend"]
os.environ["KERAS_HOME"] = os.devnull  # no keras.json: a wrong one ends the import

# For networks and batches as small as ours, several threads per operation cost more
# than they gain. One also gives the same results on any number of cores.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
# The import makes a million objects that stay. Keeping the garbage collector away from
# them, now and at exit, saves two of four seconds.
gc.disable()
with _silence():
    import keras
    import tensorflow as tf  # noqa: F401  # for those who import it from here
gc.freeze()
gc.enable()

keras.config.set_floatx(SETTINGS["floatx"])
keras.config.set_epsilon(SETTINGS["epsilon"])
keras.config.set_image_data_format(SETTINGS["image_data_format"])
