"""What gather_examples.py, train.py and liveness_demo.py share."""

import os
import signal

# A small file may claim to be a huge image. This is the largest that is read: enough
# for a phone of 200 megapixels, and 800 MB at most. OpenCV reads the variable at its
# import, so this package comes first; the user's setting wins.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))


def leave_on_interrupt() -> None:
    """Let Ctrl-C exit with status 130 during the imports of a command."""
    signal.signal(signal.SIGINT, _leave)


def _leave(_signal, _stack):
    os._exit(130)
