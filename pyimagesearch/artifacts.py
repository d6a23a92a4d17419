"""The files that the scripts hand on.

They are written whole or not at all, and read back without running what is in them.
`liveness.model` is Keras' own `.keras` archive under the tutorial's name; the HDF5
files that the original tutorial wrote are read too. `le.pickle` is a pickled
scikit-learn LabelEncoder.
"""

import csv
import errno
import hashlib
import io
import json
import os
import pickle
import pickletools
import secrets
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError
from pyimagesearch.preprocessing import HEIGHT, WIDTH, scale

import cv2
import numpy as np

ZIP_SIGNATURE = b"PK"  # .keras, Keras 3
HDF5_SIGNATURE = b"\x89HDF"  # .h5, Keras 2
ONNX_SIGNATURE = b"\x08"  # the field that comes first, the format's version
ONNX_TOLERANCE = 1e-4  # in probability, between Keras and OpenCV; 3e-7 was measured
KERAS_WEIGHTS = "model.weights.h5"  # their name in a .keras archive
MODEL_LIMIT = 1 << 28  # bytes; a LivenessNet takes 1.8 million
SHAPE_LIMIT = 512  # pixels, or classes
LABELS_LIMIT = 1 << 20  # bytes; a LabelEncoder takes a few hundred


class Network(NamedTuple):
    """A trained network, ready to be called."""

    predict: Callable[[np.ndarray], np.ndarray]
    """(n, height, width, 3) float32 BGR in [0, 1] to (n, classes) float32, each row
    summing to 1; n from 1 on."""
    height: int
    width: int
    classes: int


class Labels(NamedTuple):
    """What `le.pickle` says: the name of each of the network's outputs, in order."""

    classes: list[str]
    margin: float = 0.0
    """What the faces' boxes were grown by, as a share of their size."""
    threshold: float | None = None
    """Probability of real with equal errors on the held-out crops of the training."""
    onnx_sha256: str | None = None
    """Of the ONNX file that was exported in the same training."""


@contextmanager
def replacing(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields the path of a temporary file beside `path` for the block to write; it takes
    the place of `path` if the block succeeds and is removed if not.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}{suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_new(path: Path, content: bytes) -> bool:
    """Write a file whole, or return False if there is one of this name already."""
    if path.exists():
        return False
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(content)
        try:
            os.link(temporary, path)  # unlike a renaming, fails if somebody was faster
        except FileExistsError:
            return False
        except OSError:  # a file system without links, such as that of a memory card
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


class Appender:
    """A file that grows by whole lines.

    Each line is added in one write, so that lines of programs that work at the same
    time stay whole, and a program that is killed leaves whole lines.

    Parameters
    ----------
    path : Path
        Made, with the header in it, if it is not there.
    header : bytes
        First line of the file, with its newline; may be empty.

    Raises
    ------
    UserError
        When the file begins with another line.
    """

    def __init__(self, path: Path, header: bytes = b""):
        write_new(path, header)
        self._file = path.open("ab+", buffering=0)
        self._file.seek(0)
        if self._file.read(len(header)) != header:
            self.close()
            raise UserError(f"{path} is there already, with other columns")
        size = self._file.seek(0, os.SEEK_END)
        if size and (self._file.seek(size - 1), self._file.read(1))[1] != b"\n":
            self.add(b"\n")  # end the torn line that a full disk left

    def add(self, line: bytes) -> None:
        """Add a line, with its newline."""
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def to_csv(values: Iterable) -> bytes:
    """Write values as one line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def make_room(path: Path) -> None:
    """Make sure, before the work, that its result can be written to `path`.

    Raises
    ------
    UserError
        When `path` is a folder.
    OSError
        When its folder cannot be made or written to.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; remove it or name another file")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def save_model(model, path: Path) -> None:
    """Save a Keras model under any name, as one `.keras` archive."""
    with replacing(path, ".keras") as temporary:
        model.save(temporary)


def export_onnx(model, path: Path, crops: np.ndarray) -> str:
    """Write a Keras model as ONNX, for OpenCV to run without TensorFlow.

    Parameters
    ----------
    model : keras.Model
    path : Path
        Written only if OpenCV gives the model's own probabilities.
    crops : ndarray of shape (n, h, w, 3), dtype uint8
        To check that on, at least one.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    UserError
        When it gives others.
    """
    with replacing(path, ".onnx") as temporary:
        with warnings.catch_warnings():  # Keras asks NumPy for its `object`
            warnings.simplefilter("ignore", FutureWarning)
            model.export(temporary, format="onnx", verbose=False)
        sha256 = hashlib.sha256(temporary.read_bytes()).hexdigest()
        exported, inputs = load_network(temporary, sha256), scale(crops)
        expected = model.predict(inputs, batch_size=256, verbose=0)
        difference = np.abs(exported.predict(inputs) - expected).max()
        if not difference <= ONNX_TOLERANCE:
            raise UserError(f"{path}: not written, as it is {difference:.1g} off")
    return sha256


def load_network(path: Path, onnx_sha256: str | None = None) -> Network:
    """Load a network that train.py or the original tutorial saved.

    Parameters
    ----------
    path : Path
        A LivenessNet as `.keras` archive or in HDF5, under any name, which needs
        TensorFlow; or an ONNX file that `export_onnx` wrote, which does not.
    onnx_sha256 : str, optional
        What an ONNX file must have: OpenCV's reader does not survive every damaged one.

    Raises
    ------
    UserError
        When the file is missing, is none of these, or does not take (height, width, 3)
        images and give probabilities.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder (a SavedModel?); train a model anew")
    try:
        with path.open("rb") as file:
            signature = file.read(4)
    except FileNotFoundError:
        raise UserError(f"no model {path}; run train.py first") from None
    if signature.startswith(ZIP_SIGNATURE) or signature == HDF5_SIGNATURE:
        return _check(path, as_network(_load_livenessnet(path)))
    if signature.startswith(ONNX_SIGNATURE):
        return _load_onnx(path, onnx_sha256)
    raise UserError(f"{path}: neither a .keras archive nor an HDF5 or ONNX model")


def _load_onnx(path: Path, sha256: str | None) -> Network:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(
            f"{path}: not the network that was exported with these labels; use the "
            "two files of one run of train.py --export"
        )
    try:
        net = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))

        def predict(batch: np.ndarray) -> np.ndarray:
            net.setInput(batch)
            return net.forward().reshape(len(batch), -1)  # OpenCV gives (n, 1, classes)

        probabilities = predict(np.zeros((2, HEIGHT, WIDTH, 3), np.float32))
    except (cv2.error, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(
            f"{path}: not an ONNX model of {HEIGHT}x{WIDTH} images that OpenCV can "
            f"read: {reason}"
        ) from None
    return _check(path, Network(predict, HEIGHT, WIDTH, probabilities.shape[1]))


def as_network(model) -> Network:
    """Make a Keras model a function, compiled once for any number of faces.

    `model.predict` takes 30 times as long for one face.
    """
    from pyimagesearch.backend import tf

    _, height, width, _ = model.input_shape

    shape = tf.TensorSpec((None, height, width, 3), tf.float32)

    @tf.function(input_signature=[shape], autograph=False)
    def forward(batch):
        return model(batch, training=False)

    def predict(batch: np.ndarray) -> np.ndarray:
        return forward(batch).numpy()

    return Network(predict, height, width, model.output_shape[1])


def _check(path: Path, network: Network) -> Network:
    if not network.classes or network.classes < 2:
        raise UserError(
            f"{path}: gives {network.classes} value, not a probability each"
        )
    return network


def _load_livenessnet(path: Path):
    """Read the weights of a LivenessNet; of all else in the file, only its shape.

    Keras can rebuild a network from what a file says of it, and has been talked into
    much by strangers' files, in its safe mode too.
    """
    from pyimagesearch.livenessnet import LivenessNet

    try:
        config, weights, name = _read_keras_file(path)
        _check_hdf5(weights)
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
            model.load_weights(copy)
        return model
    except Exception as error:  # a file can be damaged in every way there is
        reason = (str(error) or repr(error)).strip().splitlines()[0]
        raise UserError(
            f"{path}: not a LivenessNet that can be read: {reason}"
        ) from None


def _read_keras_file(path: Path) -> tuple[bytes, bytes, str]:
    """Read a model's description in JSON, its weights, and the name Keras knows."""
    import h5py

    if path.stat().st_size > MODEL_LIMIT:
        raise ValueError("too large")
    content = path.read_bytes()
    if content.startswith(HDF5_SIGNATURE):  # Keras 2 kept all in one
        with h5py.File(io.BytesIO(content)) as file:
            return file.attrs["model_config"], content, "model.h5"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [archive.getinfo(name) for name in ("config.json", KERAS_WEIGHTS)]
        if any(member.file_size > MODEL_LIMIT for member in members):
            raise ValueError("too large")
        return *(archive.read(member) for member in members), KERAS_WEIGHTS


def _check_hdf5(content: bytes) -> None:
    """Raise a ValueError unless a HDF5 file has its arrays in itself, and whole.

    HDF5 can take them out of other files, and unpack them to any size.
    """
    import h5py

    with h5py.File(io.BytesIO(content)) as file:
        groups = [file]
        for group in groups:
            if len(groups) > 1000:
                raise ValueError("too many groups")
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{name} is somewhere else")
                item = group[name]
                if isinstance(item, h5py.Group):
                    groups.append(item)
                elif item.external or item.is_virtual:
                    raise ValueError(f"{name} is in another file")
                elif item.nbytes > len(content):
                    raise ValueError(f"{name} says it is larger than the file")


def _read_shape(configs: list[dict]) -> tuple[int, int, int, int]:
    """Read (width, height, depth, classes) from what Keras says of each layer."""
    shapes = [c.get("batch_input_shape") or c.get("batch_shape") for c in configs]
    _, height, width, depth = next(shape for shape in shapes if shape)
    classes = [c["units"] for c in configs if "units" in c][-1]
    for value in (width, height, depth, classes):
        if not isinstance(value, int) or not 1 <= value <= SHAPE_LIMIT:
            raise ValueError(f"{value!r} is no size for it")
    if depth != 3:
        raise ValueError(f"it takes images of {depth} channels, not 3")
    return width, height, depth, classes


def save_labels(encoder, path: Path) -> None:
    """Pickle a fitted scikit-learn LabelEncoder, as the tutorial does."""
    with replacing(path) as temporary:
        # The newest protocol that every Python since 3.4 reads.
        temporary.write_bytes(pickle.dumps(encoder, protocol=4))


def load_labels(path: Path) -> Labels:
    """Read the class names out of a pickled LabelEncoder, from any scikit-learn.

    Nothing that the file names is imported or called (see `_LabelUnpickler`), and
    scikit-learn need not be installed.

    Raises
    ------
    UserError
        When the file is missing or holds anything else than a fitted LabelEncoder of
        text labels.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LABELS_LIMIT + 1)
    except FileNotFoundError:
        raise UserError(f"no labels {path}; run train.py first") from None
    try:
        if len(content) > LABELS_LIMIT:
            raise ValueError("too large")
        # A damaged pickle may number its memo in billions, which costs gigabytes.
        for opcode, argument, _ in pickletools.genops(content):
            if "PUT" in opcode.name and argument > len(content):
                raise ValueError("it is damaged")
        encoder = _LabelUnpickler(io.BytesIO(content), encoding="latin1").load()
        extras = {
            name: float(encoder.__dict__[name])
            for name in ("margin", "threshold")
            if encoder.__dict__.get(name) is not None
        }
        if not all(0 <= value <= 1 for value in extras.values()):
            raise ValueError(f"out of range: {extras}")
        classes = encoder.__dict__["classes_"].strings()
        sha256 = encoder.__dict__.get("onnx_sha256")
        labels = Labels(classes, **extras, onnx_sha256=sha256 and str(sha256))
    except Exception as error:  # a pickle can fail in every way there is
        reason = (str(error) or repr(error)).splitlines()[0]
        raise UserError(
            f"{path}: not the labels that train.py writes: {reason}"
        ) from None
    return labels


def load_classifier(model: Path, le: Path) -> tuple[Network, Labels]:
    """Load a network and its labels, which must fit each other.

    Raises
    ------
    UserError
        When they do not, or as `load_network` and `load_labels` do.
    """
    labels = load_labels(le)
    network = load_network(model, labels.onnx_sha256)
    if network.classes != len(labels.classes):
        raise UserError(
            f"{model} tells {network.classes} classes apart, but {le} names "
            f"{len(labels.classes)}; use the two files of one training"
        )
    return network, labels


class _LabelUnpickler(pickle.Unpickler):
    """Unpickles a LabelEncoder into stand-ins that keep what they are given.

    The names below are all that such a pickle may use, under NumPy 1 and 2 and
    scikit-learn from 0.19 on; any other name ends the reading.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)

        # Made anew for every file: a pickle may set attributes of what it names.
        class Encoder:
            pass

        class DType:
            def __init__(self, code, *_):
                self.code = code.lstrip("<>=|")
                self.byte_order = "<"

            def __setstate__(self, state):
                self.byte_order = state[1]

        class Array:
            def __setstate__(self, state):
                _, self.shape, self.dtype, _, self.content = state

            def strings(self) -> list[str]:
                content = self.content
                if self.dtype.code.startswith("U"):
                    length = int(self.dtype.code[1:])
                    byte_order = "be" if self.dtype.byte_order == ">" else "le"
                    text = content.decode(f"utf-32-{byte_order}")
                    content = [
                        text[start : start + length].rstrip("\0")
                        for start in range(0, len(text), length)
                    ]
                content = list(content)
                if self.shape != (len(content),):
                    raise ValueError("classes_ has another shape than it says")
                if not content or not all(isinstance(label, str) for label in content):
                    raise ValueError("classes_ is not a list of texts")
                return content

        def reconstruct(*_):
            return Array()

        def from_buffer(content, dtype, shape, _order):
            array = Array()
            array.__setstate__((1, shape, dtype, False, bytes(content)))
            return array

        def new_object(kind, *_):
            return kind()

        def encode(text, _encoding):
            return text.encode("latin1")

        multiarray = {"_reconstruct": reconstruct}
        encoder = {"LabelEncoder": Encoder}
        self._known = {
            "sklearn.preprocessing.label": encoder,
            "sklearn.preprocessing._label": encoder,
            "numpy": {"dtype": DType, "ndarray": Array},
            "numpy.core.multiarray": multiarray,
            "numpy._core.multiarray": multiarray,
            "numpy.core.numeric": {"_frombuffer": from_buffer},
            "numpy._core.numeric": {"_frombuffer": from_buffer},
            "_codecs": {"encode": encode},
            "copyreg": {"_reconstructor": new_object},
            "copy_reg": {"_reconstructor": new_object},
            "builtins": {"object": Encoder},
            "__builtin__": {"object": Encoder},
        }

    def find_class(self, module, name):
        try:
            return self._known[module][name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None
