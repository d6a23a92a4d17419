from pyimagesearch import simulate
from pyimagesearch.dataset import load_dataset
from pyimagesearch.faces import shrink
from pyimagesearch.simulate import (
    SURFACES,
    add_recaptures,
    on_paper,
    on_screen,
    recapture,
    surfaces_of,
)
from pyimagesearch.video import read_image

import cv2
import numpy as np
import pytest

SIDES = [on_screen, on_paper]


@pytest.fixture
def face(face_image):
    return face_image[30:120, 50:130]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def many(surface, crop, count=20):
    return np.stack(recapture(crop, [surface], count, [7])).astype(float)


@pytest.mark.parametrize("surface", SIDES)
@pytest.mark.parametrize("size", [(16, 16), (1000, 700), (20, 300), (300, 17), (1, 1)])
def test_crops_of_any_size_are_recaptured_at_their_shape(surface, size, rng):
    crop = rng.integers(0, 256, (*size, 3), np.uint8)
    before = crop.copy()
    image = surface(crop, rng)
    assert image.dtype == np.uint8
    height, width = image.shape[:2]
    assert max(height, width) == simulate.SIDE
    assert abs(height * size[1] / size[0] - width) < max(2, size[1] / size[0])
    assert image.shape[2] == 3
    np.testing.assert_array_equal(crop, before)


@pytest.mark.parametrize("surface", SIDES)
@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_crops_are_recaptured_too(surface, value):
    for image in recapture(np.full((50, 40, 3), value, np.uint8), [surface], 10, [0]):
        assert image.shape == (128, 103, 3)


def test_the_same_seed_gives_the_same_recaptures_and_another_one_others(face):
    first, again, other = (
        np.stack(recapture(face, SIDES, 6, seed)) for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(first, again)
    assert not (first == other).all(axis=(1, 2, 3)).any()
    assert len(np.unique(first.reshape(6, -1), axis=0)) == 6


@pytest.mark.parametrize("surface", SIDES)
def test_a_recapture_shows_the_face_but_is_no_copy_of_it(surface, face):
    original = shrink(face).astype(float)
    for image in recapture(face, [surface], 20, [0]):
        image = shrink(image)
        assert np.abs(image - original).mean() > 4
    # Of all together, glares and rasters vanish, and the face remains.
    mean = shrink(many(surface, face).mean(axis=0).astype(np.uint8))
    assert np.corrcoef(mean.ravel(), original.ravel())[0, 1] > 0.9


def test_screens_are_colder_and_brighter_than_paper(face):
    screens, papers = many(on_screen, face), many(on_paper, face)
    original = shrink(face).mean(axis=(0, 1))
    cold, neutral = (x[..., 0].mean() / x[..., 2].mean() for x in (screens, papers))
    assert cold > 1.1 * original[0] / original[2]
    assert cold > neutral
    assert screens.mean() > papers.mean()


def test_paper_has_less_colour_and_no_black():
    red = np.full((50, 50, 3), (20, 20, 200), np.uint8)
    screen, paper = (np.median(many(surface, red), axis=(0, 1, 2)) for surface in SIDES)
    assert paper[1] / paper[2] > screen[1] / screen[2]
    black = np.zeros((50, 50, 3), np.uint8)
    assert np.median(many(on_paper, black)) > np.median(many(on_screen, black))


def strongest_wave(image):
    """Return the frequency of an image's strongest fine pattern, and its strength."""
    values = image[:, :, 1].astype(float)
    values = (values - cv2.GaussianBlur(values, (0, 0), 3)) / values.mean()
    side = len(values)
    power = np.abs(np.fft.rfft2(values * np.hanning(side) * np.hanning(side)[:, None]))
    row, column = np.unravel_index(power.argmax(), power.shape)
    return np.array([np.fft.fftfreq(side)[row], column / side]), power.max()


@pytest.mark.parametrize("pitch", [0.2, 0.9])
@pytest.mark.parametrize("surface", SIDES)
def test_a_raster_is_sampled_by_the_camera_which_sees_a_fine_one_as_moire(
    surface, pitch, monkeypatch
):
    constants = dict.fromkeys(("DISPLAY_PITCH", "HALFTONE_PITCH"), (pitch, pitch))
    constants |= dict.fromkeys(("DISPLAY_RASTER", "HALFTONE"), (0.2, 0.2))
    constants |= dict.fromkeys(("BEND", "FOLD_SHARE", "GLARE_SHARE", "GLOSS_SHARE"), 0)
    constants |= dict.fromkeys(("DISPLAY_MEAN", "PAPER_MEAN"), (0.2, 0.2))
    constants |= {"QUALITY": (95, 96), "NOISE": (0, 0), "RASTER_SHARE": 1}
    for name, value in constants.items():
        monkeypatch.setattr(simulate, name, value)
    # Two waves at right angles make one at 45 degrees to them, 1.41 times as fine.
    turns = np.linspace(0, np.pi, 1000)
    waves = 2**0.5 * pitch * np.stack([np.sin(turns), np.cos(turns)], -1)
    seen = abs((waves + 0.5) % 1 - 0.5)  # more than half a wave for each pixel
    grey = np.full((128, 128, 3), 150, np.uint8)
    found = [strongest_wave(image) for image in recapture(grey, [surface], 30, [0])]
    near = [min(np.linalg.norm(seen - abs(wave), axis=1)) for wave, _ in found]
    assert np.mean(np.array(near) < 0.02) > 0.9
    monkeypatch.setattr(simulate, "RASTER_SHARE", 0)
    without = [strongest_wave(i)[1] for i in recapture(grey, [surface], 30, [0])]
    assert np.median([strength for _, strength in found]) > 10 * np.median(without)


def test_every_kind_of_attack_gets_the_surfaces_that_it_names():
    assert surfaces_of(["fake"]) == SIDES
    assert surfaces_of(["fake", "real", "replay"]) == SIDES
    assert surfaces_of(["replay", "mask"]) == [on_screen]
    assert surfaces_of(["Print", "real"]) == [on_paper]
    assert surfaces_of(["print", "replay"]) == SIDES
    assert surfaces_of(["mask", "real", "silicone"]) == []
    assert "real" not in SURFACES


def test_recaptures_are_made_of_the_real_crops_as_gathered(dataset, capsys):
    data = load_dataset(dataset)
    everything = add_recaptures(data, 3)
    assert everything.recaptures.shape == (60 * simulate.RECAPTURES, 32, 32, 3)
    np.testing.assert_array_equal(everything.crops, data.crops)
    assert everything.crops.base is everything.recaptures.base  # one array
    assert "simulating 360 recaptures" in capsys.readouterr().out
    real = np.flatnonzero(data.labels == "real")
    for row, crop in ((0, real[0]), (41, real[41])):
        views = recapture(read_image(data.paths[crop]), SIDES, 6, [3, crop])
        np.testing.assert_array_equal(
            everything.recaptures[6 * row : 6 * row + 6], list(map(shrink, views))
        )
    assert not np.array_equal(everything.recaptures, add_recaptures(data, 4).recaptures)
    assert len(everything.subset(real).recaptures) == 0


def test_of_many_crops_fewer_recaptures_are_made(dataset, monkeypatch):
    data = load_dataset(dataset)
    for most, count in ((200, 3), (20, 2)):  # at least one on each surface
        monkeypatch.setattr(simulate, "MOST_RECAPTURES", most)
        assert len(add_recaptures(data, 0).recaptures) == 60 * count


def test_nothing_is_simulated_for_attacks_that_are_no_recaptures(dataset):
    data = load_dataset(dataset)
    masks = np.where(data.labels == "fake", "mask", data.labels)
    assert len(add_recaptures(data._replace(labels=masks), 0).recaptures) == 0


def test_a_crop_that_was_deleted_meanwhile_is_recaptured_all_the_same(dataset):
    data = load_dataset(dataset).subset(np.arange(58, 62))
    gone = data._replace(paths=[path / "gone" for path in data.paths])
    assert len(add_recaptures(gone, 0).recaptures) == 12


def test_surfaces_take_turns(face):
    shown = []
    surfaces = [lambda crop, rng, n=n: shown.append(n) for n in range(2)]
    recapture(face, surfaces, 5, [0])
    assert shown == [0, 1, 0, 1, 0]
