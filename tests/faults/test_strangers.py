"""Labels and models from strangers: nothing in them is run, no other file is read."""

import io
import json
import pickle
import warnings
import zipfile
from pathlib import Path

from pyimagesearch.console import UserError
from pyimagesearch.faces import Res10, YuNet, load_detector
from pyimagesearch.labels import load_labels
from pyimagesearch.models import load_classifier, load_network

import cv2
import h5py
import keras
import numpy as np
import pytest
from damage import LINUX, PRINT_PEAK, Watch, mutate, start_program, tries

ENCODERS = sorted((Path(__file__).parents[1] / "label_encoders").iterdir())
ANYTHING = ("exec", "compile", "import", "open", "os.", "socket.", "subprocess.")


def test_damaged_labels_run_nothing_and_are_labels_or_refused(tmp_path):
    watch, path = Watch(*ANYTHING), tmp_path / "le.pickle"
    originals = [path.read_bytes() for path in ENCODERS]
    for seed in tries(1500, 12_000):
        path.write_bytes(mutate(originals[seed % len(originals)], seed))
        try:
            with watch:
                labels = load_labels(path)
        except UserError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert all(isinstance(label, str) for label in labels.classes)
    assert watch.seen == []


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'mkdir owned'\ntR.",
        b"\x80\x04cbuiltins\neval\n(\x8c\x14__import__('os').pid\x85R.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
        b"csklearn.preprocessing._label\nLabelEncoder.__init__.__globals__\n.",
        b"\x80\x02cnumpy\nndarray\n(I1000000000000\ntR.",
        b"\x80\x02]" + b"r\xff\xff\xff\x7f" + b".",
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".",
        b"(" * 100_000 + b".",
        b"\x80\x02" + b"]" * 50_000 + b"a" * 50_000 + b".",
        b"\x80\x02ccopyreg\n_reconstructor\n(cos\n_wrap_close\ncbuiltins\nobject\nNtR.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(csubprocess\nPopen\nK\x00tR.",
        b"Pnumber one\n.",
        b"\x80\x04\x82\x01.",
    ],
)
def test_hostile_labels_run_nothing(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    watch = Watch(*ANYTHING)
    (tmp_path / "le.pickle").write_bytes(content)
    with pytest.raises(UserError, match="not the labels"), watch:
        load_labels(tmp_path / "le.pickle")
    assert watch.seen == []
    assert not (tmp_path / "owned").exists()


def test_a_damaged_or_unknown_onnx_file_never_reaches_opencv(
    trained, tmp_path, monkeypatch
):
    """OpenCV's reader crashes on about one in a hundred of these."""
    content = (trained / "liveness.onnx").read_bytes()
    load_classifier(trained / "liveness.onnx", trained / "le.pickle")
    monkeypatch.delattr(cv2.dnn, "readNetFromONNX")
    path = tmp_path / "liveness.onnx"
    for seed in tries(100, 2000):
        damaged = mutate(content, seed)
        if damaged == content:
            continue
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"not the network|neither a \.keras"):
            load_classifier(path, trained / "le.pickle")
    # Labels that name no ONNX file: those of another training.
    path.write_bytes(content)
    with pytest.raises(UserError, match="exported with these labels"):
        load_classifier(path, ENCODERS[0])


def test_the_labels_of_a_training_are_a_small_pickle(trained):
    content = (trained / "le.pickle").read_bytes()
    assert len(content) < 3000
    assert pickle.loads(content).margin == 0


def rewrite(trained, path, change):
    """Write the trained .keras archive with changed members."""
    with zipfile.ZipFile(trained / "liveness.model") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def change_layer(place, **values):
    def change(members):
        config = json.loads(members["config.json"])
        config["config"]["layers"][place].update(values)
        members["config.json"] = json.dumps(config)

    return change


def put_code_in(members):
    members["config.json"] = put_code_into(members["config.json"])


def put_code_into(config):
    """Add a layer that makes a folder when it is run."""
    code = keras.layers.Lambda(lambda x: __import__("os").mkdir("owned") or x)
    config = json.loads(config)
    layer = keras.saving.serialize_keras_object(code)
    config["config"]["layers"].insert(2, layer)
    return json.dumps(config)


def change_weights(name, replace):
    """Replace an array of the weights; `replace` gets its group and its name."""

    def change(members):
        content = io.BytesIO(members["model.weights.h5"])
        with h5py.File(content, "r+") as file:
            found = []
            file.visititems(lambda path, item: found.append(path))
            path = next(p for p in found if p.endswith(name))
            group, last = file[path].parent, path.rsplit("/", 1)[1]
            shape = group[last].shape
            del group[last]
            replace(group, last, shape)
        members["model.weights.h5"] = content.getvalue()

    return change


def link_outside(group, name, shape):
    group[name] = h5py.ExternalLink("/etc/passwd", "/anything")


def store_outside(group, name, shape):
    size = 4 * int(np.prod(shape))
    group.create_dataset(name, shape, "f4", external=[("/etc/passwd", 0, size)])


def map_outside(group, name, shape):
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource("/etc/passwd", "anything", shape)
    group.create_virtual_dataset(name, layout)


def claim_much(group, name, shape):
    shape = (1 << 20, 1 << 20)
    group.create_dataset(name, shape, "f4", chunks=(256, 256), compression="gzip")


def claim_a_gigabyte(group, name, shape):
    """Of zeros, in a few bytes; Keras refuses four."""
    group.create_dataset(name, (1 << 28,), "f4", chunks=(1 << 20,), compression="gzip")


def link_to_root(group, name, shape):
    group[name] = group.file["/"]


def fill_with_zeros(members):
    members["config.json"] = bytes(1 << 29)


def nest(members):
    members["config.json"] = "[" * 100_000 + "]" * 100_000


def leave_out(members):
    del members["model.weights.h5"]


SYSTEM = {"module": "os", "class_name": "system", "config": "touch owned"}
LOADER = {"module": "keras.config", "class_name": "enable_unsafe_deserialization"}
HOSTILE_MODELS = {
    "a function of Python": change_layer(1, **SYSTEM, registered_name="system"),
    "a switch of Keras": change_layer(1, **LOADER, config={}),
    "code": put_code_in,
    "huge": change_layer(0, config={"batch_shape": [None, 1 << 20, 1 << 20, 3]}),
    "no shape": change_layer(0, config={"batch_shape": [None, None, None, 3]}),
    "strange shape": change_layer(0, config={"batch_shape": "many"}),
    "another shape": change_layer(0, config={"batch_shape": [None, 64, 64, 3]}),
    "link outside": change_weights("conv2d/vars/0", link_outside),
    "stored outside": change_weights("conv2d/vars/0", store_outside),
    "mapped outside": change_weights("dense/vars/0", map_outside),
    "unpacks to 4 TB": change_weights("dense/vars/0", claim_much),
    "unpacks to 1 GB": change_weights("dense/vars/0", claim_a_gigabyte),
    "circular link": change_weights("dense/vars/0", link_to_root),
    "unpacks to 512 MB": fill_with_zeros,
    "deep": nest,
    "no weights": leave_out,
}


@pytest.mark.parametrize("kind", HOSTILE_MODELS)
def test_hostile_models_are_refused_and_run_nothing(
    kind, trained, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "liveness.model"
    rewrite(trained, path, lambda members: None)
    load_network(path)  # imports what it needs
    rewrite(trained, path, HOSTILE_MODELS[kind])
    watch = Watch("os.system", "os.exec", "os.posix_spawn", "subprocess.", "socket.")
    with pytest.raises(UserError, match="not a LivenessNet") as error, watch:
        load_network(path)
    assert len(str(error.value).splitlines()) == 1
    assert watch.seen == []
    assert list(tmp_path.iterdir()) == [path]


def test_archive_members_with_outside_paths_are_not_unpacked(trained, tmp_path):
    path = tmp_path / "below" / "liveness.model"
    path.parent.mkdir()
    names = ("../escaped", "/tmp/escaped-from-liveness.model", "assets/../../escaped")
    rewrite(trained, path, lambda members: members.update(dict.fromkeys(names, b"!")))
    load_network(path)
    assert sorted(tmp_path.rglob("*")) == [path.parent, path]
    assert not Path("/tmp/escaped-from-liveness.model").exists()


@pytest.fixture(scope="module")
def hdf5(trained, tmp_path_factory):
    """The network in the format of the original tutorial."""
    path = tmp_path_factory.mktemp("hdf5") / "liveness.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras.models.load_model(renamed(trained, path.parent)).save(path)
    return path


def renamed(trained, folder):
    path = folder / "liveness.keras"
    path.write_bytes((trained / "liveness.model").read_bytes())
    return path


@pytest.mark.parametrize("replace", [link_outside, store_outside, map_outside])
def test_hdf5_that_reads_other_files_is_refused(replace, hdf5, tmp_path):
    path, members = tmp_path / "liveness.model", {"model.weights.h5": hdf5.read_bytes()}
    change_weights("conv2d/kernel", replace)(members)
    path.write_bytes(members["model.weights.h5"])
    with pytest.raises(UserError, match="Not allowed"):
        load_network(path)


def test_code_in_hdf5_is_refused_and_not_run(hdf5, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "liveness.model"
    path.write_bytes(hdf5.read_bytes())
    load_network(path)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = put_code_into(file.attrs["model_config"])
    with pytest.raises(UserError, match="it has other layers"):
        load_network(path)
    assert list(tmp_path.iterdir()) == [path]


# In a process of its own, as a library that crashes would end all tests.
READ_DAMAGED_MODELS = """
import sys, time
from pathlib import Path
from pyimagesearch.models import load_network
from pyimagesearch.console import UserError
from damage import mutate

whole, path = Path(sys.argv[1]), Path(sys.argv[2])
content, slowest = whole.read_bytes(), 0
load_network(whole)  # imports what it needs
for seed in range(int(sys.argv[3]), int(sys.argv[4])):
    path.write_bytes(mutate(content, seed))
    start = time.perf_counter()
    try:
        load_network(path)
    except UserError as error:
        assert len(str(error).splitlines()) == 1, error
    slowest = max(slowest, time.perf_counter() - start)
print(slowest)
"""


@LINUX
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_damaged_models_are_read_or_refused(kind, trained, hdf5, tmp_path):
    whole = hdf5 if kind == "h5" else renamed(trained, tmp_path)
    each = len(tries(20, 1000))
    halves = [
        start_program(
            READ_DAMAGED_MODELS + PRINT_PEAK,
            *(whole, tmp_path / f"{half}.model", half * each, half * each + each),
        )
        for half in range(2)
    ]
    for process in halves:
        out, _ = process.communicate()
        assert process.returncode == 0
        slowest, peak = map(float, out.split())
        assert slowest < 20
        assert peak < 1_500_000


@pytest.mark.parametrize("name", [*YuNet.FILES, *Res10.FILES])
def test_a_damaged_detector_never_reaches_opencv(
    name, detector_folder, tmp_path, monkeypatch
):
    for path in detector_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    load_detector(tmp_path)
    monkeypatch.setattr(cv2.dnn, "readNetFromCaffe", None, raising=False)
    monkeypatch.setattr(cv2, "FaceDetectorYN", None)
    content = (tmp_path / name).read_bytes()
    for seed in tries(20, 2000):
        damaged = mutate(content, seed)
        if damaged == content:
            continue
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(UserError, match=f"{name} is damaged or another file"):
            load_detector(tmp_path / name)
