"""What gather_examples.py, train.py and liveness_demo.py share."""

import os
import signal

# A small file may claim to be a huge picture. This is the largest that is read: what a
# phone of 200 megapixels makes, and no more than 800 MB. OpenCV looks when it is
# imported, so this package comes before it; the user's setting wins.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))


def leave_on_interrupt() -> None:
    """Let Ctrl-C end a command with status 130 while its imports take their time."""
    signal.signal(signal.SIGINT, _leave)


def _leave(_signal, _stack):
    os._exit(130)
