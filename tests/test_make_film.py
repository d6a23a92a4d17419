from videos import make_film

import numpy as np
from PIL import Image


def test_the_film_shows_the_real_face_and_then_its_replay(
    trained, videos, tmp_path, monkeypatch
):
    network = ["--model", str(trained / "liveness.onnx")]
    network += ["--le", str(trained / "le.pickle")]
    monkeypatch.setattr(make_film, "NETWORK", network)
    monkeypatch.setattr(make_film, "FOLDER", videos)
    monkeypatch.setattr(make_film, "FILM", tmp_path / "demo.webp")
    monkeypatch.setattr(make_film, "FRAMES", 8)
    make_film.main()
    with Image.open(tmp_path / "demo.webp") as film:
        assert film.n_frames == 8
        pictures = []
        for number in (0, 3, 4, 7):
            film.seek(number)
            pictures.append(np.array(film.convert("RGB"), float))
    first, last, replay, _ = pictures
    assert np.abs(first - last).mean() < np.abs(last - replay).mean() / 2
