"""What the work cannot do without, by itself: the limits that the scripts run against.

    python -m benchmarks.limits gather benchmarks/data/1080p.mp4
    python -m benchmarks.limits demo benchmarks/data/720p.mp4
    python -m benchmarks.limits train 8 233

print one line of JSON: the figures that a perfect program would have.
"""

import json
import os
import sys
import time
from pathlib import Path

SKIP = 16  # gather's default
TURNS = 100


def gather(source: str) -> dict[str, float]:
    """Load the detector; then grab all frames and detect in every 16th.

    For a folder: read all photographs and detect in each. Decoding and detection could
    overlap perfectly, so their CPU time is shared out over the cores. Nothing is saved.
    """
    start = time.perf_counter()
    from pyimagesearch.faces import detect_faces, load_detector

    import cv2

    detector = load_detector(Path("face_detector"))
    cv2.setNumThreads(1)  # threads that wait for each other are no work
    start_up, cpu = time.perf_counter() - start, time.process_time()
    if Path(source).is_dir():
        for path in Path(source).iterdir():
            detect_faces(detector, cv2.imread(str(path)))
    else:
        video = cv2.VideoCapture(source)
        number = 0
        while video.grab():
            number += 1
            if number % SKIP == 0:
                detect_faces(detector, video.retrieve()[1])
    cpu = time.process_time() - cpu
    return {"wall": start_up + cpu / len(os.sched_getaffinity(0)), "cpu": cpu}


def demo(source: str) -> dict[str, float]:
    """Run the detector's forward pass on one frame again and again."""
    from pyimagesearch.faces import detect_faces, load_detector

    import cv2

    detector = load_detector(Path("face_detector"))
    for _ in range(10):  # sets the detector's input, and warms up
        detect_faces(detector, cv2.VideoCapture(source).read()[1])
    start = time.perf_counter()
    for _ in range(TURNS):
        detector.forward()
    return {"rate": TURNS / (time.perf_counter() - start)}


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
    figures = {"gather": gather, "demo": demo, "train": train}[sys.argv[1]]
    print(json.dumps(figures(*sys.argv[2:])))
