"""Keras and TensorFlow, imported quietly and with the settings that we need."""

import gc
import os
import sys
from pathlib import Path

from pyimagesearch.console import UserError

# For networks and batches as small as ours, several threads per operation cost more
# than they gain. One also gives the same results on any number of cores.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
# No folder can be here: a wrong keras.json would end the import.
_needed = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": str(Path(os.devnull, "keras"))}
_before = {name: os.environ[name] for name in _needed if name in os.environ}
os.environ.update(_needed)
# No setting stops all messages.
_stderr, _nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)
# Its import fails if the user's settings are wrong. Keras works without it.
_is_hidden = sys.modules.setdefault("matplotlib") is None
# The import makes a million objects that stay. Keeping the garbage collector away from
# them, now and at exit, saves two of four seconds.
gc.disable()
try:
    import keras

    if (backend := keras.config.backend()) != "tensorflow":
        what = f"this program has imported Keras with the backend {backend}"
        how = "set KERAS_BACKEND=tensorflow before that, or use an ONNX model"
        raise UserError(f"{what}: {how}")
    import tensorflow as tf  # noqa: F401  # for those who import it from here
finally:
    gc.freeze()
    gc.enable()
    if _is_hidden:
        del sys.modules["matplotlib"]
    os.dup2(_stderr, 2)
    os.close(_stderr)
    os.close(_nowhere)
    for name in _needed:
        os.environ.pop(name, None)
    os.environ.update(_before)
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")
