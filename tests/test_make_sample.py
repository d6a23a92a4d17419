from pyimagesearch.faces import detect_faces
from pyimagesearch.inputs import open_frames
from videos import make_sample

import numpy as np


def test_the_sample_has_a_face_in_every_frame_and_looks_different(videos, detector):
    width, height = make_sample.SIZE
    images = {}
    for name in ("real", "fake"):
        source = open_frames(str(videos / f"{name}.mp4"))
        frames = list(source)
        assert len(frames) == 120
        for frame in frames[::10]:
            assert frame.image.shape == (height, width, 3)
            assert detect_faces(detector, frame.image)[0]
        images[name] = np.stack([frame.image for frame in frames[::30]])
    assert np.abs(images["real"].astype(int) - images["fake"]).mean() > 10


def test_side_by_side_shows_both_at_once(detector):
    source = np.random.default_rng(0).integers(0, 256, (2, 144, 176, 3), np.uint8)
    (left, _), (right, _), (both, _) = (
        list(make(iter(source))) for make in make_sample.VIDEOS.values()
    )
    np.testing.assert_array_equal(both, np.hstack([left, right]))


def test_the_pixel_grid_of_the_screen_keeps_its_brightness():
    grid = make_sample.pixel_grid(30, 21)
    assert grid.shape == (21, 30, 3)
    assert abs(grid.mean() - 1) < 1e-5


def test_existing_videos_are_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_sample, "FOLDER", tmp_path)
    for name in make_sample.VIDEOS:
        (tmp_path / name).write_text("mine")
    assert make_sample.main() == 0
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}
