"""What gather_examples.py, train.py and liveness_demo.py share."""

import os

# A small file may claim to be a huge picture. This is the largest that is read: what a
# phone of 200 megapixels makes, and no more than 800 MB.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))
# The libraries' own start-up chatter and decoding errors would bury our one line that
# says what is wrong. Set before they look; the user's setting wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
