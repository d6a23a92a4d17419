import json
import os
import pickle
import warnings
from pathlib import Path

from pyimagesearch.artifacts import (
    load_labels,
    load_network,
    make_room,
    replacing,
    save_labels,
    save_model,
)
from pyimagesearch.backend import keras
from pyimagesearch.console import UserError
from pyimagesearch.livenessnet import LivenessNet

import h5py
import numpy as np
import pytest
from sklearn.preprocessing import LabelEncoder

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


def write_keras_2_hdf5(model, path, version="2.8.0"):
    """Write the HDF5 file that `model.save` of Keras 2 wrote."""
    layers, groups = [], []
    for layer in model.layers:
        config = {"name": layer.name, "trainable": True, "dtype": "float32"}
        if not layers:
            config["batch_input_shape"] = [None, *model.input_shape[1:]]
        if isinstance(layer, keras.layers.Dense):
            config["units"] = layer.units
        layers.append({"class_name": type(layer).__name__, "config": config})
        groups.append((layer.name, layer.weights))
    config = {"name": "sequential", "layers": layers}
    if version < "2.2.3":
        config = layers
    with h5py.File(path, "w", driver="core") as file:
        file.attrs["keras_version"] = version.encode()
        file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": config}
        ).encode()
        weights = file.create_group("model_weights")
        weights.attrs["keras_version"] = version.encode()
        weights.attrs["backend"] = b"tensorflow"
        weights.attrs["layer_names"] = [name.encode() for name, _ in groups]
        for name, variables in groups:
            group = weights.create_group(name)
            names = [f"{name}/{variable.name}:0" for variable in variables]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for variable_name, variable in zip(names, variables, strict=True):
                group[variable_name] = variable.numpy()


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
    write_keras_2_hdf5(model, path, version)
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
        (LivenessNet.build(8, 8, 3, 1), "gives 1 value"),
        (LivenessNet.build(1024, 8, 3, 2), "1024 is no size"),
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


def test_labels_come_back_and_plain_pickle_reads_them(tmp_path):
    encoder = LabelEncoder().fit(["real", "fake", "mask", "real"])
    save_labels(encoder, tmp_path / "le.pickle")
    assert load_labels(tmp_path / "le.pickle").classes == ["fake", "mask", "real"]
    plain = pickle.loads((tmp_path / "le.pickle").read_bytes())
    assert list(plain.inverse_transform([2, 0])) == ["real", "fake"]


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


def test_a_failure_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_room_is_made_before_the_work(tmp_path):
    make_room(tmp_path / "a" / "b" / "file")
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(UserError, match="is a folder"):
        make_room(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_room(tmp_path / "file" / "below")
