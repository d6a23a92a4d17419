"""TensorFlow and Keras, imported without the notes that they print at their start."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from pyimagesearch import console


@contextmanager
def _silence() -> Iterator[None]:
    """Send stderr nowhere: no setting stops the notes of TensorFlow's import."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


# Networks and batches as small as ours lose more than they gain when one operation is
# shared out to several threads. It also makes results the same on any number of cores.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
# A million objects come with these two and stay: not to look for garbage among them,
# neither now nor at the end, saves two of four seconds.
gc.disable()
with _silence() if console.is_command else nullcontext():
    import keras
    import tensorflow as tf
gc.freeze()
gc.enable()

__all__ = ["keras", "tf"]
