"""Finding images (and videos) in folders, and reading images."""

import re
from collections.abc import Set
from pathlib import Path

import cv2
import numpy as np

# What opencv-python reads everywhere; what it reads here, `read_image` finds out.
IMAGE_SUFFIXES = {
    *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm"),
    *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
}
VIDEO_SUFFIXES = {
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
    *(".mts", ".ts", ".webm", ".wmv"),
}


def find_files(folder: Path, suffixes: Set[str] | None = None) -> list[Path]:
    """Find the files at any depth below a folder, in natural order.

    Parameters
    ----------
    folder : Path
    suffixes : set of str, optional
        Only files whose names end in one of these, in lower or upper case.

    Returns
    -------
    list of Path
        Without those that are hidden or in a hidden folder.
    """
    return sorted(
        (
            path
            for path in folder.rglob("*")
            if (suffixes is None or path.suffix.lower() in suffixes)
            and not any(p.startswith(".") for p in path.relative_to(folder).parts)
            and path.is_file()
        ),
        key=natural_key,
    )


def natural_key(path: Path) -> list:
    """Sort key that puts 2 before 10."""
    parts = re.split(r"([0-9]+)", str(path))
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def read_image(path: Path) -> np.ndarray | None:
    """Read an image as (M, N, 3) uint8 BGR, turned upright, or None if it is none."""
    if not cv2.haveImageReader(str(path)):
        return None
    try:
        return cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # more pixels than OpenCV's limit
        return None
