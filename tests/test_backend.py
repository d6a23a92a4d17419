import json
import subprocess
import sys

from conftest import ROOT

SCRIPT = """
from pyimagesearch.livenessnet import LivenessNet
import numpy as np

model = LivenessNet.build(width=48, height=24, depth=3, classes=2)
print(model.input_shape, model(np.zeros((5, 24, 48, 3), np.float32)).shape)
print([layer.axis for layer in model.layers if hasattr(layer, "axis")])
"""


def test_the_network_stays_channels_last_whatever_keras_json_says(
    tmp_path, monkeypatch
):
    settings = {"backend": "tensorflow", "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def run(script):
        options = {"cwd": ROOT, "capture_output": True, "text": True, "check": True}
        return subprocess.run([sys.executable, "-c", script], **options).stdout

    # Keras does read the file.
    assert run("import keras; print(keras.config.image_data_format())") == (
        "channels_first\n"
    )
    assert run(SCRIPT) == "(None, 24, 48, 3) (5, 2)\n[-1, -1, -1, -1, -1]\n"
