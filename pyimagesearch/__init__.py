"""What gather_examples.py, train.py and liveness_demo.py share."""

import os

# A small file may claim to be a huge image. This is the largest that is read: enough
# for a phone of 200 megapixels, and 800 MB at most. OpenCV reads the variable at its
# import, so this package comes first; the user's setting wins.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))
