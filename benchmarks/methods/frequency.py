"""Frequency: the power spectrum of a crop, and peaks that stand out of it.

Li, Wang, Tan and Jain, Live face detection based on the analysis of Fourier spectra,
2004. Peaks come from moire, where the camera's pixels meet those of a screen or print:
Patel, Han, Jain and Ott, Live face video vs. spoof face video: use of moire patterns,
2015.
"""

import cv2
import numpy as np

SIDE = 64  # pixels
RINGS = 16  # of equal width, from the centre of the spectrum to its edges
LOWEST = 3  # rings further in hold the shape of the face, not peaks
PEAK = 2  # bins: the spectrum of real numbers holds every peak twice


def describe(crop: np.ndarray) -> np.ndarray:
    """Describe the spectra of Y, Cr and Cb: (h, w, 3) uint8 BGR -> (84,) float64."""
    small = cv2.cvtColor(cv2.resize(crop, (SIDE, SIDE)), cv2.COLOR_BGR2YCrCb)
    return np.concatenate([describe_channel(channel) for channel in cv2.split(small)])


def describe_channel(channel: np.ndarray) -> np.ndarray:
    """Return 15 rings' mean log power and 13 peaks: (SIDE, SIDE) uint8 -> (28,)."""
    # Without a window, the jump between opposite edges draws a bright cross.
    window = np.outer(np.hanning(SIDE), np.hanning(SIDE))
    power = np.abs(np.fft.fft2((channel - channel.mean()) * window)) ** 2
    spectrum, rings = np.log1p(np.fft.fftshift(power)), number_rings()
    means = np.bincount(rings.ravel(), spectrum.ravel()) / np.bincount(rings.ravel())
    excess = spectrum - means[rings]
    peaks = [
        np.sort(excess[rings == ring])[-PEAK:].mean() for ring in range(LOWEST, RINGS)
    ]
    radial = means[1:RINGS]
    return np.concatenate([radial - radial.mean(), peaks])


def number_rings() -> np.ndarray:
    """Return the ring of each bin of a centred spectrum, RINGS in its corners."""
    axis = np.linspace(-1, 1, SIDE, endpoint=False)
    return np.minimum(np.hypot(axis[:, None], axis) * RINGS, RINGS).astype(int)
