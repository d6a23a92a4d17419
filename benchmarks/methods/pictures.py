"""The pictures of docs/methods.md: what each method sees in the sample."""

import itertools
from pathlib import Path

from benchmarks.methods import flow, frequency, gestures, plane, sample, texture
from benchmarks.methods.samples import Clip, find, load_yunet, make_clip
from pyimagesearch.files import atomic_write
from pyimagesearch.frames import Frame

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FRAMES = 30  # one second
APART = 5  # frames between those that are compared: a movement that an eye can see
ARROWS = 12  # pixels between arrows


def draw(folder: Path) -> list[Path]:
    """Draw a picture for each method; give their paths."""
    crops, clips = film()
    del crops["photo"]  # its first frame is that of the replay
    drawn = {
        "texture": (draw_texture, crops, 2),
        "frequency": (draw_frequency, crops, 2),
        "focus": (draw_focus, clips, 1),
        "plane": (draw_plane, clips, 2),
        "gestures": (draw_gestures, clips, 2),
    }
    paths = []
    for name, (drawer, shown, rows) in drawn.items():
        figure = Figure((2.6 * len(shown), 2.75 * rows), layout="constrained")
        panels = figure.subplots(rows, len(shown), squeeze=False).T
        for own, (title, item) in zip(panels, shown.items(), strict=True):
            own[0].set_title(title)
            for axes in own:
                axes.set_axis_off()
            drawer(own, item)
        paths.append(folder / f"methods-{name}.png")
        with atomic_write(paths[-1]) as temporary:
            figure.savefig(temporary, format="png", dpi=64)
    return paths


def film() -> tuple[dict[str, np.ndarray], dict[str, Clip]]:
    """Give a crop and a clip of everything that the sample shows."""
    detector, crops, clips = load_yunet(), {}, {}
    for name, images in sample.show().items():
        found = []
        for number, image in enumerate(itertools.islice(images, FRAMES), start=1):
            frame = Frame(image, name, number, 0.0, FRAMES)
            found.append((frame, find(detector, frame)))
        left, top, right, bottom = found[0][1][:4].astype(int)
        crops[name] = found[0][0].image[top:bottom, left:right]
        clips[name] = make_clip(found, FRAMES)
    return crops, clips


def draw_texture(panels: list[Axes], crop: np.ndarray) -> None:
    """Draw a crop and the patterns of its brightness."""
    small = cv2.resize(crop, (texture.SIDE, texture.SIDE))
    panels[0].imshow(small[..., ::-1], interpolation="nearest")
    brightness = cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb)[..., 0]
    panels[1].imshow(
        texture.map_patterns(brightness), cmap="nipy_spectral", interpolation="nearest"
    )


def draw_frequency(panels: list[Axes], crop: np.ndarray) -> None:
    """Draw a crop and the spectrum of its redness, in which the moire is plainest."""
    small = cv2.resize(crop, (frequency.SIDE, frequency.SIDE))
    panels[0].imshow(small[..., ::-1], interpolation="nearest")
    redness = cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb)[..., 1]
    spectrum = frequency.log_spectrum(redness)
    panels[1].imshow(spectrum, "magma", vmin=0, vmax=14, interpolation="nearest")


def draw_focus(panels: list[Axes], clip: Clip) -> None:
    """Draw how sharp each place is, and the box of the face."""
    edges = abs(cv2.Laplacian(clip.frames[0], cv2.CV_32F))
    panels[0].imshow(edges, cmap="gray", vmin=0, vmax=60)
    left, top, right, bottom = clip.faces[0]
    panels[0].plot(
        [left, right, right, left, left], [top, top, bottom, bottom, top], "c"
    )


def draw_plane(panels: list[Axes], clip: Clip) -> None:
    """Draw the movement, and what is left of it without the plane of the face."""
    moves = flow.flow_between(clip.frames[0], clip.frames[APART])
    points, moved, inside = plane.sample_flow(moves, clip.faces[0], ARROWS)
    left_over = moved - (plane.move_by_plane(points, moved, inside) - points)
    for axes, vectors in zip(panels, (moved, left_over), strict=True):
        axes.imshow(clip.frames[0], cmap="gray", alpha=0.5)
        for part, color in ((inside, "red"), (~inside, "blue")):
            # Three times as long as the movement.
            arrows = {"angles": "xy", "scale_units": "xy", "scale": 1 / 3}
            axes.quiver(*points[part].T, *vectors[part].T, color=color, **arrows)


def draw_gestures(panels: list[Axes], clip: Clip) -> None:
    """Draw the aligned face with its regions, and what moves beyond the whole of it."""
    aligned = gestures.align(clip)
    beyond = [
        gestures.move_beyond(aligned[i], aligned[i + APART])
        for i in range(0, len(aligned) - APART, APART)
    ]
    panels[0].imshow(aligned[0], cmap="gray")
    panels[1].imshow(np.max(beyond, axis=0), cmap="magma", vmin=0, vmax=4)
    for axes in panels:
        for region in gestures.find_regions():
            axes.contour(region, [0.5], colors="cyan", linewidths=1)
