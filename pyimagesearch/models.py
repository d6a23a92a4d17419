"""liveness.model and its ONNX twin: save, load and run them.

`liveness.model` is Keras' `.keras` archive under the tutorial's name; the tutorial's
HDF5 files are read too. Only shape and weights are read, into a network from
`LivenessNet.build`: malicious files have made Keras run code, in safe mode too.
"""

import hashlib
import io
import json
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError, info
from pyimagesearch.faces import HEIGHT, WIDTH, scale
from pyimagesearch.files import atomic_write, sha256_of
from pyimagesearch.labels import Labels, load_labels

import cv2
import numpy as np

ZIP_SIGNATURE = b"PK"  # .keras, Keras 3
HDF5_SIGNATURE = b"\x89HDF"  # .h5, Keras 2
ONNX_SIGNATURE = b"\x08"  # tag of the first field, the format's version
ONNX_TOLERANCE = 1e-4  # in probability, between Keras and OpenCV; 3e-7 was measured
SIZE_LIMIT = 1 << 28  # bytes; a LivenessNet takes 1.8 million
SHAPE_LIMIT = 512  # pixels, or classes
BATCH_SIZE = 256  # crops that are classified at once, here and in training


class Network(NamedTuple):
    """A trained network; `predict` is thread-safe."""

    # (n, height, width, 3) float32 BGR in [0, 1] to (n, classes) float32, each row
    # summing to 1; n is at least 1.
    predict: Callable[[np.ndarray], np.ndarray]
    height: int
    width: int
    classes: int


def save_model(model, path: Path) -> str:
    """Save a Keras model under any name; return the file's SHA-256."""
    with atomic_write(path, ".keras") as temporary:
        model.save(temporary)
        return sha256_of(temporary)


def export_onnx(model, path: Path, crops: np.ndarray) -> str:
    """Write a Keras model as ONNX, for OpenCV to run without TensorFlow.

    Returns the file's SHA-256. If OpenCV computes other probabilities from the first
    crops, (n, h, w, 3) uint8, nothing is written and that is a UserError.
    """
    info(f"exporting network to '{path}'...")
    inputs = scale(crops[:BATCH_SIZE])
    expected = as_network(model).predict(inputs)
    with atomic_write(path, ".onnx") as temporary:
        with warnings.catch_warnings():  # Keras asks NumPy for its `object`
            warnings.simplefilter("ignore", FutureWarning)
            model.export(temporary, format="onnx", verbose=False)
        sha256 = sha256_of(temporary)
        found = load_network(temporary, sha256).predict(inputs)
        difference = np.abs(found - expected).max()
        if not difference <= ONNX_TOLERANCE:
            what = f"not written, as OpenCV's results differ by {difference:.1g}"
            raise UserError(f"{path}: {what}")
    return sha256


def load_network(path: Path, onnx_sha256: str | None = None) -> Network:
    """Load a network that train.py or the original tutorial saved, of any name.

    An ONNX file needs no TensorFlow, but its SHA-256, as a damaged one can crash
    OpenCV's reader. A file that is missing or another network is a UserError.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder (a SavedModel?); train a new model")
    try:
        with path.open("rb") as file:
            signature = file.read(4)
    except FileNotFoundError:
        raise UserError(f"no model {path}; run train.py first") from None
    if signature.startswith(ZIP_SIGNATURE) or signature == HDF5_SIGNATURE:
        network = as_network(load_livenessnet(path))
    elif signature.startswith(ONNX_SIGNATURE):
        network = _load_onnx(path, onnx_sha256)
    elif signature.startswith(b"\x80"):
        raise UserError(f"{path}: a pickle; are --model and --le swapped?")
    else:
        raise UserError(f"{path}: neither a .keras archive nor an HDF5 or ONNX model")
    if network.classes < 2:
        raise UserError(f"{path}: it has one output, not one for each class")
    return network


def load_classifier(model: Path, le: Path) -> tuple[Network, Labels]:
    """Load a network and its labels; those of another training are a UserError."""
    labels = load_labels(le)
    network = load_network(model, labels.onnx_sha256)
    known = labels.model_sha256, labels.onnx_sha256
    if labels.model_sha256 and sha256_of(model) not in known:
        what = "are of different trainings; use two files of one"
        raise UserError(f"{model} and {le} {what}")
    if network.classes != len(labels.classes):
        what = f"{len(labels.classes)}; use two files of the same training"
        raise UserError(f"{model} has {network.classes} classes, but {le} names {what}")
    return network, labels


def as_network(model) -> Network:
    """Compile a Keras model; its own `predict` takes 30 times as long for one face."""
    from pyimagesearch.backend import tf

    _, height, width, _ = model.input_shape
    shape = tf.TensorSpec((None, height, width, 3), tf.float32)

    @tf.function(input_signature=[shape], autograph=False)
    def forward(batch):
        return model(batch, training=False)

    def predict(batch: np.ndarray) -> np.ndarray:
        return forward(batch).numpy()

    return Network(predict, height, width, model.output_shape[1])


def classify(predict: Callable, crops: np.ndarray, indices: np.ndarray | None = None):
    """Return (m, classes) float32 of uint8 crops, all or those of indices, (m,)."""
    if indices is None:
        indices = np.arange(len(crops))
    starts = range(0, len(indices), BATCH_SIZE)
    parts = [indices[start : start + BATCH_SIZE] for start in starts]
    rows = [predict(scale(crops[part])) for part in parts]
    return np.concatenate(rows) if rows else np.empty((0, 0), np.float32)


def _load_onnx(path: Path, sha256: str | None) -> Network:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        what = "not the network that was exported with these labels"
        raise UserError(f"{path}: {what}; use the two files of one train.py --export")
    try:
        net = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
        lock = threading.Lock()  # the net keeps its input between the two calls

        def predict(batch: np.ndarray) -> np.ndarray:
            with lock:
                net.setInput(batch)
                # OpenCV gives (n, 1, classes), and the net's own memory.
                return net.forward().reshape(len(batch), -1).copy()

        rows = predict(np.zeros((2, HEIGHT, WIDTH, 3), np.float32))
    except (cv2.error, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        what = f"not an ONNX model of {HEIGHT}x{WIDTH} images that OpenCV can read"
        raise UserError(f"{path}: {what}: {reason}") from None
    return Network(predict, HEIGHT, WIDTH, rows.shape[1])


def load_livenessnet(path: Path):
    """Load a Keras model as `load_network` does."""
    try:
        from pyimagesearch.livenessnet import LivenessNet
    except ModuleNotFoundError:
        what = "TensorFlow, which is not installed; take the ONNX file of --export"
        raise UserError(f"{path} needs {what}") from None
    try:
        config, weights, name = _read_keras_file(path)
        config = json.loads(config)["config"]
        layers = config["layers"] if isinstance(config, dict) else config
        model = LivenessNet.build(*_read_shape([layer["config"] for layer in layers]))
        theirs = [layer["class_name"].removesuffix("V1") for layer in layers]
        ours = [type(layer).__name__ for layer in model.layers]
        if [name for name in theirs if name != "InputLayer"] != ours:
            raise ValueError("it has other layers")
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, name)
            copy.write_bytes(weights)
            model.load_weights(copy)  # reads nothing from other files
        return model
    except Exception as error:  # a damaged file can raise anything
        why = (str(error) or repr(error)).strip().splitlines()[0]
        raise UserError(f"{path}: not a LivenessNet that can be read: {why}") from None


def _read_keras_file(path: Path) -> tuple[bytes, bytes, str]:
    """Return a model's description in JSON, its weights, and a name Keras accepts."""
    import h5py

    if path.stat().st_size > SIZE_LIMIT:
        raise ValueError("too large")
    config, content, name = b"", path.read_bytes(), "model.h5"
    if content.startswith(ZIP_SIGNATURE):
        name = "model.weights.h5"
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [archive.getinfo(member) for member in ("config.json", name)]
            if any(member.file_size > SIZE_LIMIT for member in members):
                raise ValueError("too large")
            config, content = (archive.read(member) for member in members)

    with h5py.File(io.BytesIO(content)) as file:
        return config or file.attrs["model_config"], content, name


def _read_shape(configs: list[dict]) -> tuple[int, int, int, int]:
    shapes = [c.get("batch_input_shape") or c.get("batch_shape") for c in configs]
    _, height, width, depth = next(shape for shape in shapes if shape)
    classes = [c["units"] for c in configs if "units" in c][-1]
    for value in (width, height, depth, classes):
        if not isinstance(value, int) or not 1 <= value <= SHAPE_LIMIT:
            raise ValueError(f"{value!r} is not a valid size")
    if depth != 3:
        raise ValueError(f"it takes images of {depth} channels, not 3")
    return width, height, depth, classes
