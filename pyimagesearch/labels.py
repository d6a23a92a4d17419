"""le.pickle: the names of the network's outputs, and how its crops were cut.

It is a pickled scikit-learn LabelEncoder, as in the tutorial, with more attributes.
Reading it runs nothing that is in it.
"""

import io
import pickle
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pyimagesearch.console import UserError, count_of, warn
from pyimagesearch.dataset import Dataset, count_learnt
from pyimagesearch.files import atomic_write, sha256_of
from pyimagesearch.names import as_label

# Probability of real from which a face is called real: the tutorial's argmax of two
# classes, chosen before any data were seen.
THRESHOLD = 0.5
SIZE_LIMIT = 1 << 20  # bytes; a LabelEncoder takes a few hundred


class Labels(NamedTuple):
    """What `le.pickle` says."""

    classes: list[str]  # the network's outputs, in order
    margin: float = 0.0  # what the boxes were extended by, as a share of their size
    learnt: list[str] | None = None  # `dataset.digest_learnt` of the training
    read_at: float | None = None  # when it read them, in seconds since the epoch
    model_sha256: str | None = None  # of the liveness.model of the same training
    onnx_sha256: str | None = None  # of its ONNX file


def save_labels(labels: Labels, path: Path) -> None:
    """Pickle the labels as a fitted LabelEncoder; what is None is left out."""
    import numpy as np
    from sklearn.preprocessing import LabelEncoder

    encoder = LabelEncoder()
    encoder.classes_ = np.array(labels.classes)
    for name, value in labels._asdict().items():
        if name != "classes" and value is not None:
            setattr(encoder, name, value)
    with atomic_write(path) as temporary:
        # The newest protocol that every Python since 3.4 reads.
        temporary.write_bytes(pickle.dumps(encoder, protocol=4))


def save_labels_of(model: Path, labels: Labels, path: Path) -> None:
    """Save the labels of a model, unless another training has replaced the model."""
    if sha256_of(model) == labels.model_sha256:
        save_labels(labels, path)
    else:
        warn(f"{model}: replaced by another training, whose labels stay")


def warn_of_loss(dataset: Dataset, model: Path, le: Path) -> None:
    """Warn if a network is to be replaced that has learnt none of these crops."""
    with suppress(UserError):
        learnt = load_labels(le).learnt or []
        crops = [mark for mark in learnt if "." not in mark]  # others are of files
        if crops and model.exists() and not count_learnt(dataset, learnt):
            what = f"{count_of(len(crops), 'crop')}, of which none is in this dataset"
            warn(f"{model} will be replaced: it was trained on {what}")


def load_labels(path: Path) -> Labels:
    """Read the labels from a LabelEncoder that any scikit-learn has pickled.

    A file that is missing, or no fitted LabelEncoder of strings, is a UserError.
    """
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        raise UserError(f"no labels {path}; run train.py first") from None
    try:
        return _parse_labels(content)
    except Exception as error:  # a damaged pickle can raise anything
        reason = (str(error) or repr(error)).splitlines()[0]
        why = f"{path}: not the labels that train.py writes: {reason}"
        raise UserError(why) from None


def _parse_labels(content: bytes) -> Labels:
    if content.startswith((b"PK", b"\x89HDF", b"\x08")):
        raise ValueError("it is a model; are --model and --le swapped?")
    if len(content) > SIZE_LIMIT:
        raise ValueError("too large")
    encoder = _RecordUnpickler(io.BytesIO(content), encoding="latin1").load().state
    encoder = {name: value for name, value in encoder.items() if value is not None}
    kinds = {"margin": float, "read_at": float, "model_sha256": str, "onnx_sha256": str}
    known = {name: kinds[name](encoder[name]) for name in kinds.keys() & encoder.keys()}
    if "learnt" in encoder:
        known["learnt"] = [str(digest) for digest in encoder["learnt"]]
    names = _read_strings(encoder["classes_"])
    classes = [as_label(name) for name in names]
    if len(set(classes)) < len(names):  # learnt when live and real were two classes
        classes = names
    labels = Labels(classes, **known)
    if not 0 <= labels.margin <= 1:
        raise ValueError(f"its margin is {labels.margin}, not from 0 to 1")
    return labels


class _Record:
    """Stands for an object in a pickle."""

    def __new__(cls, *arguments):
        record = super().__new__(cls)
        record.arguments, record.state = arguments, None
        return record

    def __setstate__(self, state):
        self.state = state


class _RecordUnpickler(pickle._Unpickler):
    """Unpickles a LabelEncoder into records; any other name is refused."""

    # Not in C, where the memo is made as long as a file claims; and a bytearray as
    # bytes, since it, too, is made that long before it is read.
    dispatch = pickle._Unpickler.dispatch | {
        pickle.BYTEARRAY8[0]: pickle._Unpickler.load_binbytes8
    }
    # All in such a pickle. Their modules differ from version to version.
    RECONSTRUCTORS = "_reconstruct", "_reconstructor", "_frombuffer"
    NAMES = "LabelEncoder", "ndarray", "dtype", "encode", "object", *RECONSTRUCTORS

    def find_class(self, module, name):
        if name not in self.NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return type(name, (_Record,), {})


def _read_strings(array: _Record) -> list[str]:  # of a one-dimensional NumPy array
    if array.state:
        _, shape, dtype, _, content = array.state
    else:  # protocol 5
        content, dtype, shape, _ = array.arguments
    if isinstance(content, _Record):  # protocols 0 to 2: bytes encoded as text
        content = content.arguments[0].encode("latin1")
    code = dtype.arguments[0].lstrip("<>=|")
    if code.startswith("U"):
        width = int(code[1:])
        encoding = "utf-32-be" if dtype.state[1] == ">" else "utf-32-le"
        # A folder's name need not be UTF-8.
        text = bytes(content).decode(encoding, "surrogatepass")
        starts = range(0, len(text), width)
        content = [text[start : start + width].rstrip("\0") for start in starts]
    labels = [label for label in content if isinstance(label, str)]
    if not labels or shape != (len(labels),) or len(labels) < len(content):
        raise ValueError("classes_ is not a list of strings, or not of its shape")
    return labels
