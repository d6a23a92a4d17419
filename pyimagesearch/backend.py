"""Keras and TensorFlow, imported quietly and with the settings that we need."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from pyimagesearch import console


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


# For networks and batches as small as ours, several threads per operation cost more
# than they gain. One also gives the same results on any number of cores.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
# The import makes a million objects that stay. Keeping the garbage collector away from
# them, now and at exit, saves two of four seconds.
gc.disable()
with _silence() if console.is_command else nullcontext():
    import keras
    import tensorflow as tf  # noqa: F401  # for those who import it from here
gc.freeze()
gc.enable()

keras.config.set_image_data_format("channels_last")  # whatever keras.json says
