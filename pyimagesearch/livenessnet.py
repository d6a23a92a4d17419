"""LivenessNet: a network small and shallow enough to judge faces in real time."""

from pyimagesearch.backend import keras

layers = keras.layers


class LivenessNet:
    """The tutorial's network."""

    @staticmethod
    def build(width: int, height: int, depth: int, classes: int) -> keras.Sequential:
        """Build the network, with fresh weights and not compiled.

        Parameters
        ----------
        width, height : int
            Input size in pixels, from 4 on (two 2x2 poolings halve it twice).
        depth : int
            Channels of the input: 3 for BGR.
        classes : int
            How many probabilities come out, from 2 on.

        Returns
        -------
        keras.Sequential
            Takes (n, height, width, depth) float32 in [0, 1], or (n, depth, height,
            width) where Keras is set to `channels_first`; gives (n, classes) float32,
            each row summing to 1. 148 562 parameters for 32x32x3 and two classes.
        """
        shape, channels = (height, width, depth), -1
        if keras.config.image_data_format() == "channels_first":
            shape, channels = (depth, height, width), 1
        return keras.Sequential(
            [
                layers.Input(shape),
                # first CONV => RELU => CONV => RELU => POOL
                layers.Conv2D(16, (3, 3), padding="same"),
                layers.Activation("relu"),
                layers.BatchNormalization(axis=channels),
                layers.Conv2D(16, (3, 3), padding="same"),
                layers.Activation("relu"),
                layers.BatchNormalization(axis=channels),
                layers.MaxPooling2D((2, 2)),  # 32x32 -> 16x16
                layers.Dropout(0.25),
                # second CONV => RELU => CONV => RELU => POOL
                layers.Conv2D(32, (3, 3), padding="same"),
                layers.Activation("relu"),
                layers.BatchNormalization(axis=channels),
                layers.Conv2D(32, (3, 3), padding="same"),
                layers.Activation("relu"),
                layers.BatchNormalization(axis=channels),
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
