"""Long runs and large inputs take no more memory than short and small ones."""

import os
from itertools import count

from pyimagesearch.inputs import open_frames

import cv2
import numpy as np
import pytest
from conftest import write_video
from damage import FULL, LINUX, PRINT_PEAK, start_program, tries

# A stub finds the face, as the real detector would take an hour.
LONG_DEMO = """
import os, re, sys, threading
import liveness_demo
from pyimagesearch import faces
from pyimagesearch.classifier import FaceClassifier
from pyimagesearch.faces import Face

face = Face(60, 30, 110, 100, 0.99)
faces.detect_faces = lambda detector, image, confidence: ([face], 0)
classify, every = FaceClassifier.classify, int(sys.argv[1])
classified = 0

def classify_and_note(self, image, found, seconds):
    global classified
    classified += 1
    if classified % every == 0:
        with open("/proc/self/status") as status:
            resident = re.search(r"VmRSS:\\s+(\\d+)", status.read())[1]
        descriptors = len(os.listdir("/proc/self/fd"))
        print("NOTE", resident, descriptors, threading.active_count(), flush=True)
    return classify(self, image, found, seconds)

FaceClassifier.classify = classify_and_note
raise SystemExit(liveness_demo.main(sys.argv[2:]))
"""


@LINUX
@pytest.mark.timeout(900)
def test_the_demo_over_many_frames_leaks_nothing(
    trained, carphone, detector_folder, tmp_path
):
    """Many videos of 120 frames one after another, then one long video."""
    frames = len(tries(6000, 100_080))
    one_after_the_other, long = tmp_path / "short", tmp_path / "long.avi"
    one_after_the_other.mkdir()
    for number in range(frames // 240):
        (one_after_the_other / f"{number}.mp4").symlink_to(carphone)
    images = [frame.image for frame in open_frames(str(carphone))]
    write_video(long, [images[number % 120] for number in range(frames // 2)])
    arguments = ["-m", trained / "liveness.onnx", "-l", trained / "le.pickle"]
    arguments += ["-d", detector_folder, "--no-display"]
    for source in (one_after_the_other, long):
        log = tmp_path / f"{source.stem}.csv"
        process = start_program(
            LONG_DEMO, frames // 20, *arguments, "-i", source, "--log", log
        )
        out, _ = process.communicate()
        assert process.returncode == 0
        notes = [line.split()[1:] for line in out.splitlines() if "NOTE" in line]
        memory, descriptors, threads = np.array(notes, int).T
        assert len(memory) == 10
        assert np.ptp(memory[2:]) < 5000  # kilobytes
        assert np.ptp(descriptors) <= 2
        # Pools start a thread when they first need it; at the end, some have ended.
        assert np.ptp(threads[2:-1]) <= 1
        with log.open() as lines:
            assert sum(1 for _ in lines) == frames // 2 + 1


@LINUX
def test_gathering_from_many_files_takes_little_memory(
    carphone, detector_folder, tmp_path
):
    files = len(tries(60, 1000))
    folder = tmp_path / "in"
    folder.mkdir()
    images = [frame.image for frame in open_frames(str(carphone), skip=2)]
    for number in range(files):
        assert cv2.imwrite(str(folder / f"{number}.jpg"), images[number % len(images)])
    arguments = ["-i", folder, "-o", tmp_path / "out", "-d", detector_folder]
    program = "import sys, gather_examples as g\nassert not g.main(sys.argv[1:])\n"
    process = start_program(program + PRINT_PEAK, *arguments)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == files
    assert int(out.splitlines()[-1]) < 300_000


@LINUX
@pytest.mark.skipif(not FULL, reason="takes minutes")
@pytest.mark.timeout(900)
def test_training_on_100_000_crops_within_a_gigabyte_and_a_half(dataset, tmp_path):
    folder, number = tmp_path / "data", count()
    for label in ("fake", "real"):
        (folder / label).mkdir(parents=True)
        for crop in (dataset / label).glob("*.png"):
            path = tmp_path / crop.name
            assert cv2.imwrite(str(path), cv2.resize(cv2.imread(str(crop)), (32, 32)))
            for _ in range(834):  # of each of 60 crops
                n = next(number)
                os.link(path, folder / label / f"{label}{n % 20}_{n:06d}.png")
    arguments = ["-d", folder, "-m", tmp_path / "m", "-l", tmp_path / "l"]
    arguments += ["-p", tmp_path / "p.png", "--epochs", 1, "--folds", 2]
    program = "import sys, train\nassert not train.main(sys.argv[1:])\n"
    process = start_program(program + PRINT_PEAK, *arguments)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "[INFO] 50040 images of real, 20 sources" in out
    assert int(out.splitlines()[-1]) < 1_500_000
