import base64
import itertools
import json
import re

import gather_examples
import train
from pyimagesearch.crops import FRAMES_NAME, Search
from pyimagesearch.dataset import load_dataset
from pyimagesearch.evaluation import measure
from pyimagesearch.files import sha256_of, to_csv
from pyimagesearch.labels import Labels, load_labels, save_labels
from pyimagesearch.metrics import Rate
from pyimagesearch.report import format_report

import cv2
import numpy as np
import pytest
from datasets import make_dataset, make_labels

CLASSES = ["print", "real", "replay"]
SEARCH = Search("", "f00d.mp4", 16, "YuNet", 320, 0.7, 40, 0)
# Class, source, crops, side of their faces in pixels, scores.
FOOTAGE = [
    ("real", "anna-real", 20, 100, [0.9] * 18 + [0.2] * 2),
    ("real", "ben-real", 24, 40, [0.4] * 24),
    ("print", "anna-print", 22, 100, [0.1] * 21 + [0.8]),
    ("print", "ben-print", 2, 100, [0.3, 0.2]),
    ("replay", "anna-replay", 21, 200, [0.7] * 20 + [0.0]),
]
SEARCHES = {
    "real": [SEARCH._replace(source="anna-real", faceless=4)],
    "print": [
        SEARCH._replace(source="anna-print", searched=22),
        SEARCH._replace(source="carl-print", searched=10, faceless=10),
    ],
    "mask": [SEARCH._replace(source="carl-mask", faceless=40)],
}


@pytest.fixture
def footage(tmp_path):
    """Write crops of FOOTAGE and what SEARCHES says; returns folder, probabilities."""
    folder, scores = tmp_path / "footage", {}
    for label, source, crops, side, own in FOOTAGE:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(1, crops + 1):
            path = folder / label / f"{source}_{number:06d}.png"
            assert cv2.imwrite(
                str(path), np.full((side + 9, side, 3), number, np.uint8)
            )
            scores[path] = own[number - 1]
    for label, searches in SEARCHES.items():
        (folder / label).mkdir(exist_ok=True)
        lines = map(to_csv, [Search._fields, *searches])
        (folder / label / FRAMES_NAME).write_bytes(b"".join(lines))
    dataset = load_dataset(folder)
    real = np.array([scores[path] for path in dataset.paths])
    return dataset, np.stack([0.9 * (1 - real), real, 0.1 * (1 - real)], axis=1)


def test_every_number_of_a_dataset_that_was_made_by_hand(footage):
    dataset, probabilities = footage
    figures, scores = measure(probabilities, CLASSES, dataset, 0.75)
    json.dumps(figures, allow_nan=False)
    assert len(scores) == 89
    presentations = figures["evaluation"]["presentations"]
    frames = figures["evaluation"]["frames"]

    def rates(level):
        rates = {"real": level["bpcer"], **level["apcer"]}
        for rate in rates.values():
            assert rate["interval"] == list(Rate(rate["errors"], rate["n"]).interval)
            assert rate["rate"] == rate["errors"] / rate["n"]
        return {label: (rate["errors"], rate["n"]) for label, rate in rates.items()}

    # Means: anna-real 0.83, ben-real 0.4, prints 0.13 and 0.25, anna-replay 0.667.
    assert rates(presentations) == {"real": (1, 2), "print": (0, 2), "replay": (1, 1)}
    assert rates(frames) == {"real": (26, 44), "print": (1, 24), "replay": (20, 21)}
    for level in (presentations, frames):
        assert level["worst_instrument"] == level["eer_instrument"] == "replay"
    assert presentations["acer"] == 0.75
    assert frames["acer"] == pytest.approx((26 / 44 + 20 / 21) / 2)
    # Of two real presentations one is above, one below the replay.
    assert presentations["eer"] in (0.25, 0.75)
    # Of 2 times 3 pairs, only ben-real and anna-replay are the wrong way round.
    assert presentations["auc"] == pytest.approx(5 / 6)
    frozen = figures["evaluation_at_development_threshold"]
    assert frozen["threshold"] == 0.75
    assert rates(frozen["presentations"])["replay"] == (0, 1)
    assert rates(frozen["frames"])["print"] == (1, 24)

    def counts(table):
        return {
            name: {label: (rate["errors"], rate["n"]) for label, rate in own.items()}
            for name, own in table.items()
        }

    silent = figures["non_response"]
    assert counts(figures["by_size"]) == {
        "16-48": {"real": (24, 24)},
        "96-192": {"real": (2, 20), "print": (1, 24)},
        "192 and above": {"replay": (20, 21)},
    }
    assert counts(figures["by_person"]) == {
        "anna": {"real": (2, 20), "print": (1, 22), "replay": (20, 21)},
        "ben": {"real": (24, 24), "print": (0, 2)},
    }
    unknown = {label: own.pop("not_known") for label, own in silent.items()}
    assert unknown == {"real": 1, "print": 1, "replay": 1, "mask": 0}
    assert counts(silent) == {
        "real": {"presentations": (0, 1), "frames": (4, 40)},
        "print": {"presentations": (1, 2), "frames": (10, 32)},
        "replay": {"presentations": (0, 0), "frames": (0, 0)},
        "mask": {"presentations": (1, 1), "frames": (40, 40)},
    }
    sources = figures["evaluation"]["sources"]
    assert {s["source"]: (s["errors"], s["n"]) for s in sources} == {
        "anna-real": (2, 20),
        "ben-real": (24, 24),
        "anna-print": (1, 22),
        "ben-print": (0, 2),
        "anna-replay": (20, 21),
    }
    assert figures["not_tested"] == [
        "kinds of attack: mask, cut-out",
        "more than one presentation of replay",
        "presentations in which no face was found: 1 of mask, 1 of print",
        "face sizes with fewer than 20 crops, pixels: 16-48 (0 of print, 0 of replay), "
        "48-96 (none), 96-192 (0 of replay), 192 and above (0 of real, 0 of print)",
    ]
    report = figures["classification_report"]
    assert report["real"]["support"] == 44
    # By the largest probability, and so not from 0.5 on.
    assert report["real"]["recall"] == pytest.approx(18 / 44)


def test_what_is_printed_of_it(footage):
    dataset, probabilities = footage
    figures, _ = measure(probabilities, CLASSES, dataset)
    text = format_report(figures)
    words = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "BPCER real 1 of 2 (up to 90.5%) 0 of 1 (up to 79.3%); frames: 10.0% of 40; "
        "1 not known 2 (anna, ben)",
        "APCER replay (worst) 1 of 1 (up to 100.0%) not known 1 (anna)",
        "APCER print 0 of 2 (up to 65.8%) 1 of 2 (up to 90.5%); frames: 31.2% of 32; "
        "1 not known 2 (anna, ben)",
        "mask no face in any 1 of 1 (up to 100.0%); frames: 100.0% of 40",
        "--threshold 0.5 chosen beforehand 1 of 1 (up to 100.0%) replay 1 of 2 "
        "(up to 90.5%)",
        "APCER at most 10 %: needs 10 presentations of each kind of attack, 8 more of "
        "print, 9 more of replay",
        "BPCER real 59.1% of 44 44.4% to 72.3%",
        "16-48 100.0% of 24 - -",
        "96-192 10.0% of 20 4.2% of 24 -",
        "ben-real real 0.400 100.0% of 24 WRONG",
        "anna-replay replay 0.667 95.2% of 21 WRONG",
        "kinds of attack: mask, cut-out",
    ):
        assert line in words
    assert "ACER" not in text.replace("APCER", "")  # one presentation of replay


@pytest.mark.parametrize(
    ("how", "labels", "expected"),
    [
        ("crops at random", ["real", "fake"], "figures measure memory"),
        ("blocks of frames", ["real", "fake"], "parts of videos that were learnt"),
        ("whole sources", ["real", "fake"], r"replay, print \(unless they are in fake"),
        ("", ["real", "Photo-A4", "phone"], "kinds of attack: mask, cut-out$"),
        ("", ["real", "paper_masks"], "kinds of attack: cut-out, replay, print$"),
        ("", ["real", "prints", "monitors"], "kinds of attack: mask, cut-out$"),
        ("", ["real"], "more than one presentation of real"),
        ("", ["real", "print"], "more than one person, as far as the names"),
    ],
)
def test_gaps_of_a_dataset_are_named(how, labels, expected):
    data = make_dataset(*make_labels(**{label: {label: 30} for label in labels}))
    classes = sorted({*labels, "real", "fake"})
    probabilities = (data.labels[:, None] == classes).astype(float)
    figures, _ = measure(probabilities, classes, data, how=how)
    assert re.search(expected, "\n".join(figures["not_tested"]), re.MULTILINE)


def test_persons_in_one_class_only_are_named():
    sources = {"real": {"anna": 30, "ben": 30}, "print": {"anna": 30, "carl": 30}}
    sources["replay"] = {"carl": 30}
    data = make_dataset(*make_labels(**sources))
    classes = ["print", "real", "replay"]
    probabilities = (data.labels[:, None] == classes).astype(float)
    figures, _ = measure(probabilities, classes, data)
    assert "persons both as real and as attack: ben, carl" in figures["not_tested"]


def test_one_file_under_several_names_is_named():
    sources = {"real": {"a": 30, "b": 30, "c": 1}, "fake": {"a": 30, "d": 1}}
    data = make_dataset(*make_labels(**sources))
    files = ["1.mp4"] * 60 + [""] + ["1.mp4"] * 30 + [""]
    data = data._replace(fingerprints=np.array(files))
    probabilities = (data.labels[:, None] == ["fake", "real"]).astype(float)
    figures, _ = measure(probabilities, ["fake", "real"], data)
    (line,) = [gap for gap in figures["not_tested"] if "names" in gap]
    assert line.endswith(": real/a = real/b = fake/a")


class TestEvaluate:
    """`train.py --evaluate`: yesterday's network, or somebody else's crops."""

    def evaluate(self, trained, folder, *options):
        arguments = ["--evaluate", "-d", folder, "-m", trained / "liveness.model"]
        arguments += ["-l", trained / "le.pickle", *options]
        return train.main([str(argument) for argument in arguments])

    def test_all_crops_are_measured_and_nothing_is_trained(
        self, trained, dataset, tmp_path, capsys
    ):
        before = {p: p.read_bytes() for p in trained.iterdir()}
        options = ["-p", tmp_path / "plot.png", "--report", tmp_path / "r.json"]
        assert self.evaluate(trained, dataset, *options) == 0
        assert before == {p: p.read_bytes() for p in trained.iterdir()}
        out = capsys.readouterr().out
        assert "presentations, threshold 0.5" in out
        assert cv2.imread(str(tmp_path / "plot.png")).shape[1] == 1200
        report = json.loads((tmp_path / "r.json").read_text())
        assert [(file["source"], file["crops"]) for file in report["files"]] == [
            ("fake", 60),
            ("real", 60),
        ]
        frames = report["evaluation"]["frames"]
        assert frames["bpcer"]["n"] == 60

    def test_the_same_command_gives_the_same_report_but_for_the_date(
        self, trained, dataset, tmp_path
    ):
        reports = []
        for ending in ("json", "json", "html", "html"):
            options = ["-p", tmp_path / "p.png", "--report", tmp_path / f"r.{ending}"]
            assert self.evaluate(trained, dataset, *options) == 0
            text = (tmp_path / f"r.{ending}").read_text()
            reports.append(re.sub(r"\d{4}-\d\d-\d\dT[\d:+-]+", "now", text))
        assert reports[0] == reports[1]
        assert reports[2] == reports[3]
        report = json.loads(reports[0])
        (note,) = report["notes"]
        assert (
            "was trained on 2 sources of it; the figures say nothing about new" in note
        )
        assert reports[2].index(note) < reports[2].index("<table>")
        assert next(iter(report)) == "notes"
        assert report["command"].startswith("python train.py --evaluate -d ")
        assert report["model_sha256"] == sha256_of(trained / "liveness.model")
        for file in report["files"]:
            assert file["fingerprint"].endswith(".mp4")
            assert file["search"]["searched"] == 60
        picture = re.search('base64,([^"]+)', reports[2])[1]
        assert base64.b64decode(picture) == (tmp_path / "p.png").read_bytes()

    @pytest.mark.parametrize("name", ["r.txt", "report", "r.pdf", "html"])
    def test_a_report_is_a_page_or_json(self, name, capsys):
        with pytest.raises(SystemExit):
            train.main(["--report", name])
        assert "the name must end in .html or .json" in capsys.readouterr().err

    def test_the_threshold_of_the_training_is_frozen(
        self, trained, dataset, tmp_path, capsys
    ):
        labels = load_labels(trained / "le.pickle")._replace(threshold=0.9)
        save_labels(labels, tmp_path / "le.pickle")
        options = ["-l", tmp_path / "le.pickle", "-p", tmp_path / "p.png"]
        options += ["--report", tmp_path / "r.json"]
        assert self.evaluate(trained, dataset, *options) == 0
        out = capsys.readouterr().out
        assert re.search("^--threshold 0.9 +of the training", out, re.MULTILINE)
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["development_threshold"] == 0.9
        assert report["evaluation"]["threshold"] == 0.5
        assert report["evaluation_at_development_threshold"]["threshold"] == 0.9

    def test_other_instruments_and_a_single_class(
        self, trained, dataset, tmp_path, capsys
    ):
        for name in ("print", "replay"):
            folder = tmp_path / "more" / name
            folder.mkdir(parents=True)
            for crop in sorted((dataset / "fake").glob("*.png"))[:8]:
                (folder / crop.name).write_bytes(crop.read_bytes())
        assert self.evaluate(trained, tmp_path / "more", "-p", tmp_path / "p.png") == 0
        out = capsys.readouterr().out
        assert "too few crops of print and replay for" in out
        names = re.findall(r"^APCER  (\w+).* of 8 \(up to", out, re.MULTILINE)
        assert set(names) == {"print", "replay"}

    def test_a_network_without_real_has_no_figures_for_attacks(
        self, trained, dataset, tmp_path, capsys
    ):
        save_labels(Labels(["print", "replay"]), tmp_path / "le.pickle")
        options = ["-l", tmp_path / "le.pickle", "-p", tmp_path / "p.png"]
        assert self.evaluate(trained, dataset, *options) == 0
        out, error = capsys.readouterr()
        assert "the network has no class real: there are no figures" in error
        assert "APCER" not in out
        assert not (tmp_path / "p.png").exists()

    def test_crops_of_another_margin_are_refused(
        self, trained, videos, detector_folder, tmp_path, capsys
    ):
        arguments = ["-i", videos / "real.mp4", "-o", tmp_path / "data" / "real"]
        arguments += ["-d", detector_folder, "--margin", "0.5", "-s", "60"]
        assert gather_examples.main([str(argument) for argument in arguments]) == 0
        assert self.evaluate(trained, tmp_path / "data") == 1
        error = capsys.readouterr().err
        assert "was gathered with --margin 0.5, but" in error

    def test_footage_that_was_learnt_is_no_news(
        self, trained, dataset, videos, detector_folder, tmp_path, capsys
    ):
        def is_known(folder):
            capsys.readouterr()
            assert self.evaluate(trained, folder, "-p", tmp_path / "p.png") == 0
            error = capsys.readouterr().err
            return f"{folder}: the network was trained on 2 sources of it" in error

        assert is_known(dataset)
        for name, label in itertools.product(("again", "moved"), ("real", "fake")):
            (tmp_path / name / label).mkdir(parents=True)
            if name == "again":  # other frames than the training had
                options = ["-i", videos / f"{label}.mp4", "-d", detector_folder]
                options += ["-s", 59, "-o", tmp_path / name / label]
                assert gather_examples.main(list(map(str, options))) == 0
                continue
            for crop in sorted((dataset / label).glob("*.png"))[5:25]:  # and renamed
                content = crop.read_bytes()
                (tmp_path / name / label / f"new-{crop.name}").write_bytes(content)
        assert is_known(tmp_path / "again")
        assert is_known(tmp_path / "moved")
        for crop in tmp_path.glob("moved/*/*.png"):  # other pictures
            assert cv2.imwrite(str(crop), 255 - cv2.imread(str(crop)))
        assert not is_known(tmp_path / "moved")
