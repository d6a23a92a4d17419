import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

from pyimagesearch import models
from pyimagesearch.backend import keras
from pyimagesearch.console import UserError
from pyimagesearch.faces import scale
from pyimagesearch.labels import Labels, save_labels
from pyimagesearch.livenessnet import LivenessNet
from pyimagesearch.models import (
    BATCH_SIZE,
    as_network,
    classify,
    export_onnx,
    load_classifier,
    load_network,
    save_model,
)

import keras_2
import numpy as np
import pytest

IMAGES = np.random.default_rng(0).random((5, 32, 32, 3), np.float32)


@pytest.fixture(scope="module")
def model():
    """A LivenessNet with batch statistics that are not the initial ones."""
    keras.utils.set_random_seed(0)
    model = LivenessNet.build(width=32, height=32, depth=3, classes=2)
    for variable in model.non_trainable_variables:
        if variable.path.endswith(("mean", "variance")):
            variable.assign(np.random.default_rng(1).random(variable.shape) + 0.1)
    return model


def test_a_model_comes_back_the_same_under_the_tutorials_name(model, tmp_path):
    path = tmp_path / "liveness.model"
    save_model(model, path)
    network = load_network(path)
    assert (network.height, network.width, network.classes) == (32, 32, 2)
    np.testing.assert_allclose(network.predict(IMAGES), model(IMAGES), atol=1e-6)
    assert [file.name for file in tmp_path.iterdir()] == ["liveness.model"]


@pytest.mark.parametrize("n", [1, 3, 5])
def test_any_number_of_faces_goes_into_one_call(n, model, tmp_path):
    save_model(model, tmp_path / "m")
    assert load_network(tmp_path / "m").predict(IMAGES[:n]).shape == (n, 2)


@pytest.mark.parametrize("version", ["2.2.2", "2.8.0", "2.13.1"])
def test_the_original_tutorials_hdf5_models_are_read(version, model, tmp_path):
    path = tmp_path / "liveness.model"
    keras_2.write_hdf5(model, path, version)
    network = load_network(path)
    np.testing.assert_allclose(network.predict(IMAGES), model(IMAGES), atol=1e-6)


def test_an_hdf5_model_that_keras_3_wrote_is_read(model, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / "m.h5")
    network = load_network(tmp_path / "m.h5")
    np.testing.assert_allclose(network.predict(IMAGES), model(IMAGES), atol=1e-6)


def build(*shape, layers):
    return keras.Sequential([keras.layers.Input(shape), *layers])


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (LivenessNet.build(8, 8, 1, 2), "takes images of 1 channels"),
        (LivenessNet.build(8, 8, 3, 1), "it has one output"),
        (LivenessNet.build(1024, 8, 3, 2), "1024 is not a valid size"),
        (build(8, 8, 3, layers=[keras.layers.Flatten()]), "not a LivenessNet"),
        (
            build(8, 8, 3, layers=[keras.layers.Flatten(), keras.layers.Dense(2)]),
            "it has other layers",
        ),
    ],
)
def test_models_that_do_not_fit_are_refused(model, reason, tmp_path):
    save_model(model, tmp_path / "liveness.model")
    with pytest.raises(UserError, match=f"liveness.model: .*{reason}") as error:
        load_network(tmp_path / "liveness.model")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "neither"),
        (b"GIF89a", "neither"),
        (b"PK\3\4 and nothing else", "not a LivenessNet"),
        (b"\x89HDF\r\n\x1a\n and nothing else", "not a LivenessNet"),
    ],
)
def test_what_is_no_model_is_refused_with_its_name(content, reason, tmp_path):
    path = tmp_path / "liveness.model"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"liveness.model: {reason}") as error:
        load_network(path)
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_model_and_a_saved_model_folder_are_named(tmp_path):
    with pytest.raises(UserError, match=r"run train\.py first"):
        load_network(tmp_path / "liveness.model")
    with pytest.raises(UserError, match="is a folder"):
        load_network(tmp_path)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_a_keras_network_gives_what_its_model_gives(n, model):
    images = np.random.default_rng(n).random((n, 32, 32, 3), np.float32)
    probabilities = as_network(model).predict(images)
    np.testing.assert_allclose(probabilities, model(images, training=False), atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1, BATCH_SIZE, BATCH_SIZE + 1, 2 * BATCH_SIZE + 9])
def test_any_number_of_crops_is_classified_as_the_model_does(n, model):
    rng = np.random.default_rng(n)
    crops = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
    probabilities = classify(as_network(model).predict, crops)
    assert len(probabilities) == n
    assert probabilities.dtype == np.float32
    expected = model(scale(crops), training=False) if n else probabilities
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    some = rng.permutation(n)[: n // 2 + 1]
    rows = classify(as_network(model).predict, crops, some)
    np.testing.assert_allclose(rows, probabilities[some], atol=1e-6)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """A folder with the model as m.onnx, and its le.pickle."""
    folder = tmp_path_factory.mktemp("exported")
    sha256 = export_onnx(model, folder / "m.onnx", (IMAGES * 255).astype(np.uint8))
    labels = Labels(["fake", "real"], onnx_sha256=sha256)
    save_labels(labels, folder / "le.pickle")
    return folder


def test_an_exported_network_gives_the_models_own_probabilities(model, exported):
    network, labels = load_classifier(exported / "m.onnx", exported / "le.pickle")
    assert labels.classes == ["fake", "real"]
    assert (network.height, network.width, network.classes) == (32, 32, 2)
    np.testing.assert_allclose(network.predict(IMAGES), model(IMAGES), atol=1e-5)


@pytest.mark.parametrize("kind", ["keras", "onnx"])
def test_eight_threads_get_the_rows_that_one_gets(kind, model, exported):
    network = as_network(model)
    if kind == "onnx":
        network, _ = load_classifier(exported / "m.onnx", exported / "le.pickle")
    rng = np.random.default_rng(0)
    batches = [rng.random((1 + n % 5, 32, 32, 3), np.float32) for n in range(400)]
    expected = [network.predict(batch) for batch in batches]
    start = threading.Barrier(8)

    def predict(some):
        start.wait()
        return [network.predict(batch) for batch in some]

    with ThreadPoolExecutor(8) as threads:
        shares = [batches[first::8] for first in range(8)]
        for first, rows in enumerate(threads.map(predict, shares)):
            for own, row in zip(rows, expected[first::8], strict=True):
                np.testing.assert_array_equal(own, row)


def test_a_result_is_not_overwritten_by_the_next_one(exported):
    network, _ = load_classifier(exported / "m.onnx", exported / "le.pickle")
    first = network.predict(IMAGES)
    kept = first.copy()
    network.predict(1 - IMAGES)
    np.testing.assert_array_equal(first, kept)


def test_an_export_that_opencv_reads_otherwise_is_not_written(
    model, tmp_path, monkeypatch
):
    monkeypatch.setattr(models, "ONNX_TOLERANCE", -1.0)
    with pytest.raises(UserError, match=r"m\.onnx: not written, as OpenCV"):
        export_onnx(model, tmp_path / "m.onnx", np.zeros((1, 32, 32, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_file_of_another_training_is_refused(exported, tmp_path):
    for sha256 in (None, "00" * 32):
        save_labels(Labels(["fake", "real"], onnx_sha256=sha256), tmp_path / "le")
        with pytest.raises(UserError, match="not the network that was exported with"):
            load_classifier(exported / "m.onnx", tmp_path / "le")


@pytest.mark.parametrize("kind", ["liveness.model", "hdf5", "m.onnx"])
def test_a_network_and_labels_of_other_classes_are_refused(
    kind, model, exported, tmp_path
):
    path = exported / "m.onnx" if kind == "m.onnx" else tmp_path / kind
    if kind == "hdf5":
        keras_2.write_hdf5(model, path)
    elif kind == "liveness.model":
        save_model(model, path)
    _, labels = load_classifier(exported / "m.onnx", exported / "le.pickle")
    three = labels._replace(classes=["fake", "mask", "real"])
    save_labels(three, tmp_path / "three")
    with pytest.raises(UserError, match=r"has 2 classes, but .*three names 3"):
        load_classifier(path, tmp_path / "three")


def test_without_tensorflow_a_keras_model_is_one_line(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyimagesearch.livenessnet", None)
    path = trained / "liveness.model"
    with pytest.raises(UserError, match=f"{path} needs TensorFlow, which is not inst"):
        load_network(path)
