"""Simulated recaptures: a real crop as a camera sees it on a screen or on paper.

A picture is sent and shown, the room adds its light, and a camera takes a picture of
that. Light is linear; 1 is the camera's white. Of (low, high), values are drawn evenly.
"""

import math
from collections.abc import Callable, Iterable

from pyimagesearch.console import count_of, info
from pyimagesearch.dataset import Dataset
from pyimagesearch.faces import shrink
from pyimagesearch.names import BONA_FIDE
from pyimagesearch.video import read_image

import cv2
import numpy as np

RECAPTURES = 6  # of each real crop
# Of as many persons and more, recaptures halve the error on strangers. Of fewer, the
# network refuses the real persons (benchmarks/README.md).
ENOUGH_PERSONS = 4
MOST_RECAPTURES = 30_000  # if there are many crops: 92 MB, and about a minute
# Of the draws of an attack that can be simulated, in the first half of the steps only:
# a network that learns recaptures to the end takes some true attacks for real.
SIMULATED = 0.5

SIDE = 128  # pixels, of a crop: a larger one looks the same once it is shrunk
SENT = 0.4, 1.0  # of this size: videos are smaller when they are sent
QUALITY = 40, 96  # of JPEG: from messengers to cameras
DEFOCUS = 0.3, 1.6  # pixels: what is flat and near is seldom in focus
NOISE = 0.5, 3.0  # grey levels: from daylight to a webcam at night
RASTER_SHARE = 0.5  # the others are out of focus, or too fine to be seen
BEND = 0.05  # of the pitch, either way, across the picture: surfaces are held askew

DISPLAY_GAMMA = 1.9, 2.6  # sRGB's is 2.2; many screens enhance the contrast
# Screens have 6500 to 9500 K, the room that the camera is balanced for has less.
DISPLAY_BLUE, DISPLAY_RED = (1.0, 1.5), (0.7, 1.05)
DISPLAY_MEAN = 0.12, 0.8  # as exposed: dim in daylight, burnt in the evening
REFLECTION = 0.0, 0.04  # of the room in the glass: blacks become grey
GLARE_SHARE, GLARE = 0.4, (0.2, 1.5)  # a lamp or a window in the glass
DISPLAY_PITCH = 0.4, 2.5  # the screen's pixels for each of the camera's
DISPLAY_RASTER = 0.03, 0.25  # its contrast, as far as lens and sensor leave it
STRIPES = [0, 2 * math.pi / 3, 4 * math.pi / 3]  # blue, green, red are side by side

INK = 0.005, 0.06  # reflectance of black, from photo paper to plain paper
INK_GAMMA = 1.7, 2.4
GAMUT = 0.6, 1.0  # of the colours: inks are less saturated than lights
TINT = 0.9, 1.1  # of blue and of red: paper, ink and lamp
PAPER_MEAN = 0.15, 0.6  # as exposed: paper is lit as all else is
TILT = 0.0, 0.35  # how much darker the far edge is: paper is bent, and held askew
FOLD_SHARE, FOLD = 0.3, (0.75, 0.95)  # light on the side that faces away
GLOSS_SHARE, GLOSS = 0.2, (0.05, 0.4)  # a lamp, in photo paper
HALFTONE_PITCH, HALFTONE = (0.2, 2.0), (0.03, 0.2)  # as those of the display
HALFTONE_ANGLES = [0, 75 / 180 * math.pi, 15 / 180 * math.pi]  # yellow, magenta, cyan

Surface = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def on_screen(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Simulate a crop, (h, w, 3) uint8 BGR of any size, played on a screen."""
    white = [rng.uniform(*DISPLAY_BLUE), 1, rng.uniform(*DISPLAY_RED)]
    light = _show(_send(crop, rng), rng.uniform(*DISPLAY_GAMMA), 0, white)
    light = _expose(light, DISPLAY_MEAN, rng)
    if rng.random() < RASTER_SHARE:
        _add_raster(light, DISPLAY_PITCH, DISPLAY_RASTER, [0, 0, 0], STRIPES, rng)
    light += rng.uniform(*REFLECTION)
    if rng.random() < GLARE_SHARE:
        _add_glare(light, GLARE, rng)
    return _take(light, rng)


def on_paper(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Simulate a crop printed on paper."""
    picture = _send(crop, rng)
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[:, :, None].repeat(3, axis=2)
    gamut = rng.uniform(*GAMUT)
    picture = cv2.addWeighted(picture, gamut, grey, 1 - gamut, 0)
    white = [rng.uniform(*TINT), 1, rng.uniform(*TINT)]
    light = _show(picture, rng.uniform(*INK_GAMMA), rng.uniform(*INK), white)
    light = _expose(light, PAPER_MEAN, rng)
    if rng.random() < RASTER_SHARE:
        _add_raster(light, HALFTONE_PITCH, HALFTONE, HALFTONE_ANGLES, [0, 0, 0], rng)
    across = _ramp(light, rng.uniform(0, 2 * math.pi))
    light *= 1 - rng.uniform(*TILT) * (across + 0.5)[:, :, None]
    if rng.random() < FOLD_SHARE:
        beyond = _ramp(light, rng.uniform(0, 2 * math.pi)) > rng.uniform(-0.4, 0.4)
        light[beyond] *= rng.uniform(*FOLD)
    if rng.random() < GLOSS_SHARE:
        _add_glare(light, GLOSS, rng)
    return _take(light, rng)


# What each kind of attack shows a picture on; of others, such as masks, none is made.
SURFACES = dict.fromkeys(["fake", "spoof", "attack"], (on_screen, on_paper))
SURFACES |= dict.fromkeys(["replay", "video"], (on_screen,))
SURFACES |= dict.fromkeys(["print", "photo"], (on_paper,))


def surfaces_of(labels: Iterable[str]) -> list[Surface]:
    """Return the surfaces of these kinds of attack, always in the same order."""
    wanted = {side for label in labels for side in SURFACES.get(label.lower(), ())}
    return [surface for surface in (on_screen, on_paper) if surface in wanted]


def is_simulated(dataset: Dataset, asked: bool | None) -> bool:
    """Decide whether recaptures are learnt, if nothing is asked for, and say why."""
    is_real = dataset.labels == BONA_FIDE
    persons = len(set(dataset.persons[is_real].tolist()))
    simulates, why = asked, "as asked"
    if asked is None:
        simulates = bool(is_real.all()) or persons >= ENOUGH_PERSONS
        why = f"the real faces are of {count_of(persons, 'person')}"
        why += f"; {'--no-simulate' if simulates else '--simulate'} decides otherwise"
    info(f"{'' if simulates else 'no '}recaptures are simulated: {why}")
    return simulates


def add_recaptures(dataset: Dataset, seed: int) -> Dataset:
    """Add recaptures of a dataset's real crops, as they were gathered, to its pool."""
    surfaces = surfaces_of(dataset.classes)
    if not surfaces:
        return dataset
    real = np.flatnonzero(dataset.labels == BONA_FIDE)
    height, width = dataset.crops.shape[1:3]
    count = min(RECAPTURES, max(len(surfaces), MOST_RECAPTURES // len(real)))
    total = len(real) * count
    info(f"simulating {count_of(total, 'recapture')} of the real faces...")
    space = np.empty((total, height, width, 3), np.uint8)
    dataset = dataset._replace(pool=np.concatenate([dataset.crops, space]))
    for row, crop in enumerate(real):  # threads were no faster
        image = read_image(dataset.paths[crop])
        if image is None:  # deleted meanwhile
            image = dataset.crops[crop]
        views = recapture(image, surfaces, count, [seed, crop])
        views = [shrink(view, width, height) for view in views]
        dataset.recaptures[row * count : (row + 1) * count] = views
    return dataset


def draw_recaptures(rng, dataset: Dataset, train, shares, order, drawn) -> tuple:
    """Replace crops in batches by recaptures of the real crops in `train`, (m,) int.

    `order` are places in the dataset's pool, `drawn` their classes, (steps, size) int;
    `shares`, (m,), are those of `training.draw_order`. In the first half of the steps a
    share, SIMULATED, is replaced of each kind of attack that can be simulated. If there
    are no attacks, the share is of the real crops, in all steps. Returns both anew.
    """
    is_real = dataset.labels[train] == BONA_FIDE
    real = np.flatnonzero(dataset.labels == BONA_FIDE)
    rows = real.searchsorted(train[is_real])
    odds = shares[is_real] / shares[is_real].sum()
    surfaces, count = surfaces_of(dataset.classes), len(dataset.recaptures) // len(real)
    new_order, new_drawn, is_alone = order.copy(), drawn.copy(), is_real.all()
    for number, name in enumerate(dataset.classes):
        own = surfaces_of([name])
        views = [i for i in range(count) if surfaces[i % len(surfaces)] in own]
        if views:
            replaced = (drawn == number) | is_alone
            replaced &= rng.random(order.shape) < SIMULATED
            if not is_alone:
                replaced[len(order) // 2 :] = False
            n = replaced.sum()
            chosen = count * rng.choice(rows, n, p=odds) + rng.choice(views, n)
            new_order[replaced] = len(dataset.labels) + chosen
            new_drawn[replaced] = number
    return new_order, new_drawn


def recapture(crop: np.ndarray, surfaces, count: int, seed) -> list[np.ndarray]:
    """Simulate `count` recaptures of a crop, on each of the surfaces in turn."""
    rng = np.random.default_rng(seed)
    return [surfaces[number % len(surfaces)](crop, rng) for number in range(count)]


def _draw_log(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _send(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make the picture that is shown: small, compressed, and enlarged to SIDE."""
    size = np.array(crop.shape[1::-1])  # width, height
    scale = SIDE / size.max()
    small = cv2.resize(crop, np.ceil(scale * rng.uniform(*SENT) * size).astype(int))
    return cv2.resize(_compress(small, rng), np.ceil(scale * size).astype(int))


def _compress(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*QUALITY))]
    return cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)


def _show(picture: np.ndarray, gamma: float, black: float, white: list) -> np.ndarray:
    """Turn a picture into light, (h, w, 3) float32, from black to white, (3,) BGR."""
    curve = black + (1 - black) * np.linspace(0, 1, 256) ** gamma
    return cv2.LUT(picture, np.outer(curve, white).astype(np.float32)[:, None])


def _expose(light: np.ndarray, mean: tuple, rng: np.random.Generator) -> np.ndarray:
    # Defocus comes before the raster: that is given as the lens leaves it.
    light = cv2.GaussianBlur(light, (0, 0), rng.uniform(*DEFOCUS))
    return light * (_draw_log(rng, *mean) / max(light.mean(), 1e-3))


def _add_raster(light, pitch, contrast, angles, phases, rng) -> None:
    """Modulate light by a raster; one finer than two pixels is seen as moire."""
    size = max(light.shape[:2]) * _draw_log(rng, *pitch) * 2 * math.pi
    contrast, turn = rng.uniform(*contrast), rng.uniform(0, math.pi)
    bend = _ramp(light, rng.uniform(0, 2 * math.pi)) * rng.uniform(-BEND, BEND) + 1
    for channel, (angle, phase) in enumerate(zip(angles, phases, strict=True)):
        across = np.cos(_ramp(light, turn + angle) * bend * size + phase)
        down = np.cos(_ramp(light, turn + angle + math.pi / 2) * bend * size)
        light[:, :, channel] *= 1 + contrast * across * down


def _ramp(light: np.ndarray, angle: float) -> np.ndarray:
    """Return places along a direction, (h, w) float32; a side is 1 long."""
    height, width = light.shape[:2]
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)
    return y * math.sin(angle) + x * math.cos(angle)


def _add_glare(light: np.ndarray, strength: tuple, rng: np.random.Generator) -> None:
    center, spread = rng.uniform(-0.5, 0.5, 2), rng.uniform(0.03, 0.3, 2)
    down, across = (
        np.exp(-(((_ramp(light, angle) - center[axis]) / spread[axis]) ** 2) / 2)
        for axis, angle in enumerate((math.pi / 2, 0))
    )
    light += (rng.uniform(*strength) * down * across)[:, :, None]


def _take(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn light into the camera's picture, (h, w, 3) uint8 BGR."""
    noise = rng.standard_normal(light.shape[:2], np.float32) * rng.uniform(*NOISE)
    image = 255 * np.sqrt(light) + noise[:, :, None]  # a camera's gamma is about 2
    return _compress(np.clip(image, 0, 255).astype(np.uint8), rng)
