import os
import pickle
import warnings
from pathlib import Path

from pyimagesearch.console import UserError
from pyimagesearch.dataset import digest_learnt, load_dataset
from pyimagesearch.labels import Labels, load_labels, save_labels, warn_of_loss

import numpy as np
import pytest
from sklearn.preprocessing import LabelEncoder

EVERYTHING = Labels(
    ["fake", "mask", "real"],
    margin=0.5,
    learnt=["0123abcd", "89ab4567"],
    read_at=1796000000.25,
    model_sha256="ab" * 32,
    onnx_sha256="cd" * 32,
)


BYTES = Labels(["caf\udce9", "real"])  # of a folder whose name is not UTF-8


@pytest.mark.parametrize("labels", [Labels(["fake", "real"]), EVERYTHING, BYTES])
def test_labels_come_back_the_same(labels, tmp_path):
    save_labels(labels, tmp_path / "le.pickle")
    assert load_labels(tmp_path / "le.pickle") == labels
    assert [path.name for path in tmp_path.iterdir()] == ["le.pickle"]


def test_plain_pickle_reads_an_encoder_as_the_tutorial_does(tmp_path):
    save_labels(EVERYTHING, tmp_path / "le.pickle")
    encoder = pickle.loads((tmp_path / "le.pickle").read_bytes())
    assert list(encoder.inverse_transform([2, 0])) == ["real", "fake"]
    assert list(encoder.transform(["fake", "real"])) == [0, 2]
    assert encoder.margin == 0.5


def test_an_encoder_from_elsewhere_has_no_margin(tmp_path):
    encoder = LabelEncoder().fit(["real", "fake", "real"])
    (tmp_path / "le.pickle").write_bytes(pickle.dumps(encoder))
    assert load_labels(tmp_path / "le.pickle") == Labels(["fake", "real"])


def test_detector_and_threshold_that_older_versions_wrote_are_passed_over(tmp_path):
    encoder = LabelEncoder().fit(["real", "fake"])
    encoder.margin, encoder.detector, encoder.threshold = 0.5, "res10", 0.9
    (tmp_path / "le.pickle").write_bytes(pickle.dumps(encoder))
    assert load_labels(tmp_path / "le.pickle") == Labels(["fake", "real"], 0.5)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "wide"])
def test_a_margin_out_of_range_is_refused(value, tmp_path):
    encoder = LabelEncoder().fit(["real", "fake"])
    encoder.margin = value
    (tmp_path / "le.pickle").write_bytes(pickle.dumps(encoder))
    with pytest.raises(UserError, match=r"le\.pickle: not the labels"):
        load_labels(tmp_path / "le.pickle")


ENCODERS = sorted((Path(__file__).parent / "label_encoders").iterdir())


@pytest.mark.parametrize("path", ENCODERS, ids=lambda path: path.stem)
def test_encoders_of_every_scikit_learn_are_read_without_a_warning(path):
    """Written by scikit-learn 0.19 to 1.9 under NumPy 1 and 2, protocols 0 to 5."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_labels(path).classes == ["fake", "real"]


def test_the_byte_order_of_labels_is_honoured(tmp_path):
    encoder = LabelEncoder()
    encoder.classes_ = np.array(["fälscht", "real"], ">U7")
    (tmp_path / "le").write_bytes(pickle.dumps(encoder))
    assert load_labels(tmp_path / "le").classes == ["fälscht", "real"]


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("owned",)


class HostileEncoder(LabelEncoder):
    def __reduce__(self):
        return eval, ("__import__('os').mkdir('owned')",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [Hostile(), HostileEncoder(), ["fake", "real"], LabelEncoder(), b"", None],
    ids=["call", "eval", "list", "not fitted", "bytes", "none"],
)
def test_other_pickles_are_refused_and_not_run(value, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "le.pickle"
    path.write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(UserError, match=r"le\.pickle: not the labels") as error:
        load_labels(path)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04", b"." * (2 << 20)])
def test_garbage_is_refused(content, tmp_path):
    (tmp_path / "le.pickle").write_bytes(content)
    with pytest.raises(UserError, match=r"le\.pickle: not the labels"):
        load_labels(tmp_path / "le.pickle")


def test_missing_labels_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no labels .*run train\.py first"):
        load_labels(tmp_path / "le.pickle")


def test_real_is_the_bona_fide_class_however_it_is_written(tmp_path):
    (tmp_path / "le").write_bytes(pickle.dumps(LabelEncoder().fit(["Fake", "REAL"])))
    assert load_labels(tmp_path / "le").classes == ["Fake", "real"]


def test_a_model_in_place_of_the_labels_is_said(tmp_path):
    for content in (b"PK\3\4...", b"\x89HDF\r\n"):
        (tmp_path / "le").write_bytes(content)
        with pytest.raises(UserError, match="are --model and --le swapped"):
            load_labels(tmp_path / "le")


def test_live_and_real_stay_two_classes_of_a_network_that_learnt_them_as_two(tmp_path):
    for classes, expected in (
        (["fake", "live"], ["fake", "real"]),
        (["fake", "live", "real"], ["fake", "live", "real"]),
    ):
        (tmp_path / "le").write_bytes(pickle.dumps(LabelEncoder().fit(classes)))
        assert load_labels(tmp_path / "le").classes == expected


def test_a_network_that_has_learnt_other_crops_only_is_not_replaced_unawares(
    dataset, tmp_path, capsys
):
    model, le = tmp_path / "liveness.model", tmp_path / "le.pickle"
    dataset = load_dataset(dataset)
    own = digest_learnt(dataset, np.arange(1))
    others = ["0" * 12, "1" * 12, f"{'2' * 16}.mp4"]  # two crops and their file

    def warned(learnt):
        save_labels(Labels(["fake", "real"], learnt=learnt), le)
        warn_of_loss(dataset, model, le)
        return capsys.readouterr().err

    assert warned(others) == ""  # there is no model
    model.touch()
    assert warned(None) == ""
    assert warned(others + own) == ""
    crops = "it was trained on 2 crops, of which none is in this dataset"
    assert warned(others) == f"[WARN] {model} will be replaced: {crops}\n"
