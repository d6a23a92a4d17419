"""LivenessNet: the tutorial's network, small enough to run in real time."""

from pyimagesearch.backend import keras

layers = keras.layers


class LivenessNet:
    """Namespace of `build`, as in the tutorial."""

    @staticmethod
    def build(width: int, height: int, depth: int, classes: int) -> keras.Sequential:
        """Build the network, with fresh weights and not compiled.

        It takes (n, height, width, depth) float32 in [0, 1], height and width at least
        4 pixels, and gives (n, classes) float32, each row summing to 1. For 32x32x3 and
        two classes it has 148 562 parameters.
        """
        return keras.Sequential(
            [
                layers.Input((height, width, depth)),
                # first CONV => RELU => CONV => RELU => POOL
                layers.Conv2D(16, (3, 3), padding="same"),
                layers.Activation("relu"),
                layers.BatchNormalization(),
                layers.Conv2D(16, (3, 3), padding="same"),
                layers.Activation("relu"),
                layers.BatchNormalization(),
                layers.MaxPooling2D((2, 2)),  # 32x32 -> 16x16
                layers.Dropout(0.25),
                # second CONV => RELU => CONV => RELU => POOL
                layers.Conv2D(32, (3, 3), padding="same"),
                layers.Activation("relu"),
                layers.BatchNormalization(),
                layers.Conv2D(32, (3, 3), padding="same"),
                layers.Activation("relu"),
                layers.BatchNormalization(),
                layers.MaxPooling2D((2, 2)),  # 16x16 -> 8x8
                layers.Dropout(0.25),
                # FC => RELU
                layers.Flatten(),  # 2048
                layers.Dense(64),
                layers.Activation("relu"),
                layers.BatchNormalization(),
                layers.Dropout(0.5),
                # softmax
                layers.Dense(classes),
                layers.Activation("softmax"),
            ]
        )
