"""Frequency: how power is spread over the spectrum, and peaks that stand out of it.

Li, Wang, Tan and Jain, Live face detection based on the analysis of Fourier spectra,
2004; the peaks are those of moire, where the camera's pixels meet a screen's or a
printer's: Patel, Han, Jain and Ott, Live face video vs. spoof face video: use of moire
patterns, 2015.
"""

from benchmarks.methods.learning import Described, svm

import cv2
import numpy as np

SIDE = 64  # pixels
RINGS = 16  # of equal width, from the middle of the spectrum to the middle of its edges
LOWEST = 3  # rings further in hold the shape of the face, not peaks
PEAK = 2  # the spectrum of real numbers mirrors itself: every peak is there twice


def new() -> Described:
    """Make the method."""
    return Described(describe, svm())


def describe(crop: np.ndarray) -> np.ndarray:
    """Describe the spectra of brightness and two colours: (84,) float."""
    small = cv2.cvtColor(cv2.resize(crop, (SIDE, SIDE)), cv2.COLOR_BGR2YCrCb)
    return np.concatenate([describe_plane(plane) for plane in cv2.split(small)])


def describe_plane(plane: np.ndarray) -> np.ndarray:
    """Give the rings' mean log power, without its level, and how far peaks rise."""
    spectrum, rings = log_spectrum(plane), number_rings(plane.shape)
    means = np.bincount(rings.ravel(), spectrum.ravel()) / np.bincount(rings.ravel())
    excess = spectrum - means[rings]
    peaks = [
        np.sort(excess[rings == ring])[-PEAK:].mean() for ring in range(LOWEST, RINGS)
    ]
    radial = means[1:RINGS]
    return np.concatenate([radial - radial.mean(), peaks])


def log_spectrum(plane: np.ndarray) -> np.ndarray:
    """Compute the logarithm of the power spectrum, its middle in the middle.

    Takes (h, w) uint8, gives (h, w) float from 0 on.
    """
    # A window: else the borders, which do not fit each other, draw a bright cross.
    window = np.outer(*map(np.hanning, plane.shape))
    power = np.abs(np.fft.fft2((plane - plane.mean()) * window)) ** 2
    return np.log1p(np.fft.fftshift(power))


def number_rings(shape: tuple[int, int]) -> np.ndarray:
    """Tell the ring of each place in a spectrum: (h, w) int, RINGS in the corners."""
    y, x = (np.linspace(-1, 1, n, endpoint=False) for n in shape)
    return np.minimum(np.hypot(y[:, None], x) * RINGS, RINGS).astype(int)
