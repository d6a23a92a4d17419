"""What gather_examples.py, train.py and liveness_demo.py share."""

import os

# The libraries' own start-up chatter and decoding errors would bury our one line that
# says what is wrong. Set before they look; the user's setting wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
