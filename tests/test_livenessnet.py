from pyimagesearch.livenessnet import LivenessNet

import numpy as np
import pytest


def test_it_is_the_tutorials_network():
    model = LivenessNet.build(width=32, height=32, depth=3, classes=2)
    assert model.count_params() == 148_562
    kinds = [type(layer).__name__ for layer in model.layers]
    convolution = ["Conv2D", "Activation", "BatchNormalization"]
    block = [*convolution, *convolution, "MaxPooling2D", "Dropout"]
    head = ["Flatten", "Dense", "Activation", "BatchNormalization", "Dropout"]
    assert kinds == [*block, *block, *head, "Dense", "Activation"]
    rates = [layer.rate for layer in model.layers if hasattr(layer, "rate")]
    assert rates == [0.25, 0.25, 0.5]


@pytest.mark.parametrize(("width", "height", "classes"), [(32, 32, 2), (48, 24, 5)])
def test_shapes_and_probabilities(width, height, classes):
    model = LivenessNet.build(width=width, height=height, depth=3, classes=classes)
    images = np.random.default_rng(0).random((4, height, width, 3), np.float32)
    probabilities = model(images).numpy()
    assert probabilities.shape == (4, classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
