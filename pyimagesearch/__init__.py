"""What gather_examples.py, train.py and liveness_demo.py share."""

import os

# A small file may claim to be a huge picture. This is the largest that is read: what a
# phone of 200 megapixels makes, and no more than 800 MB. OpenCV looks when it is
# imported, so this package comes before it; the user's setting wins.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))
