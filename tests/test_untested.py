import re

from pyimagesearch.metrics import measure
from pyimagesearch.untested import list_untested

import numpy as np
import pytest
from datasets import CLASSES, make_dataset, make_footage, make_labels


def test_what_footage_made_by_hand_says_nothing_of(tmp_path):
    dataset, probabilities = make_footage(tmp_path)
    figures, _ = measure(probabilities, CLASSES, dataset)
    assert list_untested(figures, dataset, "") == [
        "more than one presentation of replay",
        "presentations in which no face was found: 1 of mask, 1 of print",
        "face sizes with fewer than 20 crops, pixels: 16-48 (0 of print, 0 of replay), "
        "48-96 (none), 96-192 (0 of replay), 192 and above (0 of real, 0 of print)",
    ]


@pytest.mark.parametrize(
    ("how", "labels", "expected"),
    [
        ("crops at random", ["real", "fake"], "figures measure memory"),
        ("blocks of frames", ["real", "fake"], "parts of videos that were learnt"),
        ("", ["real"], "more than one presentation of real"),
        ("", ["real", "print"], "more than one person, as far as the names"),
    ],
)
def test_gaps_of_a_dataset_are_named(how, labels, expected):
    data = make_dataset(*make_labels(**{label: {label: 30} for label in labels}))
    classes = sorted({*labels, "real", "fake"})
    probabilities = (data.labels[:, None] == classes).astype(float)
    figures, _ = measure(probabilities, classes, data)
    assert re.search(
        expected, "\n".join(list_untested(figures, data, how)), re.MULTILINE
    )


def test_persons_in_one_class_only_are_named():
    sources = {"real": {"anna": 30, "ben": 30}, "print": {"anna": 30, "carl": 30}}
    sources["replay"] = {"carl": 30}
    data = make_dataset(*make_labels(**sources))
    classes = ["print", "real", "replay"]
    probabilities = (data.labels[:, None] == classes).astype(float)
    figures, _ = measure(probabilities, classes, data)
    assert "persons both as real and as attack: ben, carl" in list_untested(
        figures, data, ""
    )


def test_one_file_under_several_names_is_named():
    sources = {"real": {"a": 30, "b": 30, "c": 1}, "fake": {"a": 30, "d": 1}}
    data = make_dataset(*make_labels(**sources))
    files = ["1.mp4"] * 60 + [""] + ["1.mp4"] * 30 + [""]
    data = data._replace(fingerprints=np.array(files))
    probabilities = (data.labels[:, None] == ["fake", "real"]).astype(float)
    figures, _ = measure(probabilities, ["fake", "real"], data)
    (line,) = [gap for gap in list_untested(figures, data, "") if "names" in gap]
    assert line.endswith(": real/a = real/b = fake/a")
