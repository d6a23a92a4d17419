import json
import os
import subprocess
import sys

import gather_examples
import liveness_demo
import train
from pyimagesearch.classifier import FaceClassifier
from pyimagesearch.dataset import load_dataset
from pyimagesearch.faces import DetectorPool, preprocess, scale
from pyimagesearch.inputs import open_frames
from pyimagesearch.models import load_classifier
from pyimagesearch.video import read_image

import cv2
import numpy as np
import pytest


def run(command, *arguments):
    assert command.main([str(argument) for argument in arguments]) == 0


@pytest.mark.parametrize("margin", [0, 0.5])
def test_training_and_demo_see_the_same_pixels_of_a_face(
    margin, videos, detector_folder, tmp_path, monkeypatch, capsys
):
    """Gather, train and demo, as commands; the demo is not told the margin."""
    monkeypatch.chdir(tmp_path)
    for label in ("real", "fake"):
        options = ["-d", detector_folder, "--margin", margin, "-s", "8"]
        video, folder = videos / f"{label}.mp4", f"dataset/{label}"
        run(gather_examples, "-i", video, "-o", folder, *options)
    run(train, "--epochs", 1, "--folds", 1)
    options = ["-d", detector_folder, "--no-display"]
    run(liveness_demo, "-i", videos / "real.mp4", "-o", "out.mp4", *options)
    assert "120 frames" in capsys.readouterr().out

    network, labels = load_classifier(
        tmp_path / "liveness.model", tmp_path / "le.pickle"
    )
    assert labels.margin == margin
    seen = []
    spying = network._replace(predict=lambda x: seen.append(x) or network.predict(x))
    dataset = load_dataset(tmp_path / "dataset")
    trained_on = dict(zip(dataset.paths, dataset.crops, strict=True))
    classifier = FaceClassifier(spying, labels, DetectorPool(detector_folder))
    for frame in open_frames(str(videos / "real.mp4"), skip=8):
        classifier(frame.image, frame.time)
        path = tmp_path / "dataset" / "real" / f"real_{frame.number:06d}.png"
        most_confident = seen.pop()[0]
        np.testing.assert_array_equal(most_confident, scale(trained_on[path]))
        np.testing.assert_array_equal(most_confident, preprocess([read_image(path)])[0])


def test_the_margin_doubles_the_box_but_stays_in_the_frame(
    group_photo, detector_folder, tmp_path
):
    sizes = {}
    for margin in (0, 0.5):
        folder = tmp_path / str(margin)
        options = ["-d", detector_folder, "--margin", margin, "--all-faces"]
        run(gather_examples, "-i", group_photo, "-o", folder, *options)
        sizes[margin] = {
            crop.name: cv2.imread(str(crop)).shape[:2] for crop in folder.glob("*.png")
        }
    assert len(sizes[0]) == len(sizes[0.5]) == 5
    for name, (height, width) in sizes[0].items():
        grown_height, grown_width = sizes[0.5][name]
        assert grown_width == pytest.approx(2 * width, abs=2)
        # The faces are near the upper edge of this photograph.
        assert 1.4 * height < grown_height <= 2 * height + 2


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
@pytest.mark.parametrize("utf8", ["0", "1"])
def test_names_of_any_bytes_go_through_gathering_and_training(
    utf8, videos, detector_folder, tmp_path
):
    """In no language: what is not UTF-8, or not even ASCII, is bytes."""
    names = [b"caf\xe9", "Иван".encode()]
    for label in ("real", "fake"):
        folder = tmp_path / label
        folder.mkdir()
        for name in names:
            copy = os.fsdecode(name + b"-" + label.encode() + b".mp4")
            video = (videos / f"{label}.mp4").read_bytes()
            # An empty box makes it another file, so another person.
            (folder / copy).write_bytes(video + b"\0\0\0\x0cfree" + name[:4])
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": utf8}

    def run_alone(script, *arguments):
        command = [sys.executable, script.__file__, *map(str, arguments)]
        subprocess.run(command, env=environment, cwd=tmp_path, check=True)

    for label in ("real", "fake", "real", "fake"):
        options = ["-i", label, "-o", f"dataset/{label}", "-d", detector_folder]
        run_alone(gather_examples, *options, "--margin", 0.25, "-s", 40)
    run_alone(train, "--epochs", 1, "--report", "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["margin"], report["split"]["how"]) == (0.25, "whole sources")
    for label in ("real", "fake"):
        lines = (tmp_path / "dataset" / label / "sources.csv").read_bytes().splitlines()
        assert len(lines) == 5
        assert {line.split(b"-")[0] for line in lines[1:]} == set(names)
    data = load_dataset(tmp_path / "dataset")
    assert set(map(os.fsencode, data.persons)) == {names[0], "иван".encode()}
