"""Keras and TensorFlow, imported quietly and with the settings that we need."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyimagesearch.console import UserError

ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    # No folder can be here: a wrong keras.json would end the import.
    "KERAS_HOME": str(Path(os.devnull, "keras")),
}


@contextmanager
def _importing() -> Iterator[None]:
    """Set ENVIRONMENT, and discard stderr: no setting stops all messages."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.environ.update(ENVIRONMENT)
    os.dup2(nowhere, 2)
    # Its import fails if the user's settings are wrong. Keras works without it.
    hidden = sys.modules.setdefault("matplotlib") is None
    # The import makes a million objects that stay. Keeping the garbage collector away
    # from them, now and at exit, saves two of four seconds.
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        if hidden:
            del sys.modules["matplotlib"]
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


# For networks and batches as small as ours, several threads per operation cost more
# than they gain. One also gives the same results on any number of cores.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
with _importing():
    import keras

    if keras.config.backend() != "tensorflow":
        raise UserError(
            "this program has imported Keras with the backend "
            f"{keras.config.backend()}: set KERAS_BACKEND=tensorflow before that, or "
            "use an ONNX model"
        )
    import tensorflow as tf  # noqa: F401  # for those who import it from here
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")
