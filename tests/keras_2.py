"""Stands for the Keras of the original tutorial."""

import json

from pyimagesearch.backend import keras

import h5py


def write_hdf5(model, path, version="2.8.0"):
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
