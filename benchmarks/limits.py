"""What the work cannot do without, by itself: the limits that the scripts run against.

    python -m benchmarks.limits decode benchmarks/data/1080p.mp4 16
    python -m benchmarks.limits train 8 233

print one line of JSON: the figures that a perfect program would have.
"""

import json
import os
import sys
import time
from pathlib import Path

START = 0.2  # seconds that Python and OpenCV take before any work
TURNS = 100


def decode(source: str, skip: str = "1") -> dict[str, float]:
    """Read all photographs of a folder, or a video, of which some are only grabbed.

    CPU time is shared out over the cores, as if decoding could be parted perfectly.
    """
    import cv2

    start, cpu, number = time.perf_counter(), time.process_time(), 0
    if Path(source).is_dir():
        cv2.setNumThreads(1)  # threads that wait for each other are no work
        for path in Path(source).iterdir():
            cv2.imread(str(path))
        cpu = time.process_time() - cpu
        return {"wall": START + cpu / len(os.sched_getaffinity(0)), "cpu": cpu}
    video = cv2.VideoCapture(source)
    while video.grab():
        number += 1
        if number % int(skip) == 0:
            video.retrieve()
    seconds = time.perf_counter() - start
    cpu = time.process_time() - cpu
    return {"wall": START + seconds, "cpu": cpu, "rate": number / seconds}


def train(batch_size: str, crops: str) -> dict[str, float]:
    """Run the network forward and backward, on one batch again and again."""
    from pyimagesearch.backend import keras, tf
    from pyimagesearch.livenessnet import LivenessNet

    model = LivenessNet.build(width=32, height=32, depth=3, classes=2)
    images = tf.random.uniform((int(batch_size), 32, 32, 3))
    targets = tf.one_hot(tf.range(int(batch_size)) % 2, 2)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            predicted = model(images, training=True)
            losses = keras.losses.categorical_crossentropy(targets, predicted)
            loss = tf.reduce_mean(losses)
        # Summed up, so that no gradient is left out.
        gradients = tape.gradient(loss, model.trainable_variables)
        return tf.add_n([tf.reduce_sum(gradient) for gradient in gradients])

    for _ in range(10):
        step()
    start = time.perf_counter()
    for _ in range(TURNS):
        step()
    seconds = (time.perf_counter() - start) / TURNS
    return {"epoch": seconds * -(-int(crops) // int(batch_size))}


if __name__ == "__main__":
    figures = {"decode": decode, "train": train}[sys.argv[1]]
    print(json.dumps(figures(*sys.argv[2:])))
