"""The tutorial's three loops on today's packages, as a baseline for the benchmarks.

    python -m benchmarks.tutorial gather -i videos/real.mp4 -o dataset/real
    python -m benchmarks.tutorial train -d dataset -m liveness.keras -l le.pickle
    python -m benchmarks.tutorial demo -m liveness.keras -l le.pickle -i video.mp4

Each step is done in sequence, as in the tutorial. No window is opened. The network and
the detections that count are those of our scripts.
"""

import argparse
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from imutils import paths, resize

BATCH_SIZE = 8
LEARNING_RATE = 1e-4


def load_detector(folder: Path) -> cv2.dnn.Net:
    """Load res10."""
    weights = folder / "res10_300x300_ssd_iter_140000.caffemodel"
    return cv2.dnn.readNetFromCaffe(str(folder / "deploy.prototxt"), str(weights))


def detect(detector: cv2.dnn.Net, image: np.ndarray) -> np.ndarray:
    """Return (n, 7): image, class, confidence, left, top, right, bottom in [0, 1]."""
    small = cv2.resize(image, (300, 300))
    detector.setInput(
        cv2.dnn.blobFromImage(small, 1.0, (300, 300), (104.0, 177.0, 123.0))
    )
    return detector.forward()[0, 0]


def find_box(image: np.ndarray, detection: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom in pixels inside the image."""
    height, width = image.shape[:2]
    box = np.clip(detection[3:], 0, 1) * [width, height, width, height]
    return tuple(box.astype(int).tolist())


def gather(args: argparse.Namespace) -> None:
    """Save the most confident face of every N-th frame, or of every photograph."""
    detector = load_detector(args.detector)
    args.output.mkdir(parents=True, exist_ok=True)
    saved = 0
    for image in read_images(args.input, args.skip):
        detections = detect(detector, image)
        best = detections[np.argmax(detections[:, 2])]
        if best[2] > args.confidence:
            left, top, right, bottom = find_box(image, best)
            path = args.output / f"{saved}.png"
            cv2.imwrite(str(path), image[top:bottom, left:right])
            saved += 1
            print(f"[INFO] saved {path} to disk")


def read_images(source: Path, skip: int) -> Iterator[np.ndarray]:
    """Read all photographs of a folder, or every N-th frame of a video."""
    if source.is_dir():
        yield from map(cv2.imread, sorted(paths.list_images(source)))
        return
    video = cv2.VideoCapture(str(source))
    read = 0
    while True:
        grabbed, frame = video.read()
        if not grabbed:
            break
        read += 1
        if read % skip == 0:
            yield frame
    video.release()


def train(args: argparse.Namespace) -> None:
    """Train on three quarters of the crops, report on the rest, plot."""
    import keras  # noqa: I001  # before our package, which changes its settings

    from pyimagesearch.livenessnet import LivenessNet

    os.environ.pop("TF_NUM_INTRAOP_THREADS", None)  # our package sets it

    from keras.src.legacy.preprocessing.image import ImageDataGenerator
    from matplotlib.figure import Figure
    from sklearn.metrics import classification_report
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import LabelEncoder

    crops, labels = [], []
    for path in sorted(paths.list_images(args.dataset)):
        crops.append(cv2.resize(cv2.imread(path), (32, 32)))
        labels.append(Path(path).parent.name)
    crops = np.array(crops, dtype=float) / 255
    encoder = LabelEncoder()
    targets = keras.utils.to_categorical(encoder.fit_transform(labels), 2)
    x, test_x, y, test_y = train_test_split(
        crops, targets, test_size=0.25, random_state=42
    )

    augmentation = ImageDataGenerator(
        rotation_range=20,
        zoom_range=0.15,
        width_shift_range=0.2,
        height_shift_range=0.2,
        shear_range=0.15,
        horizontal_flip=True,
        fill_mode="nearest",
    )
    model = LivenessNet.build(width=32, height=32, depth=3, classes=2)
    # Adam(lr=1e-4, decay=1e-4 / epochs) in the tutorial's version of Keras.
    rate = keras.optimizers.schedules.InverseTimeDecay(
        LEARNING_RATE, 1, LEARNING_RATE / args.epochs
    )
    model.compile(
        loss="binary_crossentropy",
        optimizer=keras.optimizers.Adam(rate),
        metrics=["accuracy"],
    )
    history = model.fit(
        augmentation.flow(x, y, batch_size=BATCH_SIZE),
        validation_data=(test_x, test_y),
        steps_per_epoch=len(x) // BATCH_SIZE,
        epochs=args.epochs,
        verbose=2,
    ).history

    predicted = model.predict(test_x, batch_size=BATCH_SIZE, verbose=0)
    truth, answers = test_y.argmax(axis=1), predicted.argmax(axis=1)
    print(classification_report(truth, answers, target_names=encoder.classes_))
    model.save(args.model)
    args.le.write_bytes(pickle.dumps(encoder))
    figure = Figure()
    axes = figure.subplots()
    for name, values in history.items():
        axes.plot(values, label=name)
    axes.legend()
    figure.savefig(args.plot)


def demo(args: argparse.Namespace) -> None:
    """Label the faces of a video, with one prediction for each face."""
    import keras

    detector = load_detector(args.detector)
    model = keras.models.load_model(args.model)
    encoder = pickle.loads(args.le.read_bytes())
    font, red = cv2.FONT_HERSHEY_SIMPLEX, (0, 0, 255)
    with args.log.open("w", buffering=1) as log:  # timed from outside
        print("frame,label", file=log)
        for number, frame in enumerate(read_images(args.input, skip=1), start=1):
            frame = resize(frame, width=600)
            for detection in detect(detector, frame):
                if detection[2] <= args.confidence:
                    continue
                left, top, right, bottom = find_box(frame, detection)
                face = cv2.resize(frame[top:bottom, left:right], (32, 32))
                face = keras.utils.img_to_array(face.astype(float) / 255)
                row = model.predict(np.expand_dims(face, axis=0), verbose=0)[0]
                best = np.argmax(row)
                label = f"{encoder.classes_[best]}: {row[best]:.4f}"
                cv2.putText(frame, label, (left, top - 10), font, 0.5, red, 2)
                cv2.rectangle(frame, (left, top), (right, bottom), red, 2)
                print(f"{number},{label}", file=log)


def main() -> None:
    """Run one of the loops, with the tutorial's flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("loop", choices=["gather", "train", "demo"])
    parser.add_argument("-i", "--input", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("-d", "--detector", "--dataset", type=Path)
    parser.add_argument("-c", "--confidence", type=float, default=0.5)
    parser.add_argument("-s", "--skip", type=int, default=16)
    parser.add_argument("-m", "--model", type=Path)
    parser.add_argument("-l", "--le", type=Path)
    parser.add_argument("-p", "--plot", type=Path, default=Path("plot.png"))
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--log", type=Path, help="a line for each labelled face")
    args = parser.parse_args()
    args.dataset = args.detector  # in the tutorial, -d has both meanings
    args.detector = args.detector or Path("face_detector")
    {"gather": gather, "train": train, "demo": demo}[args.loop](args)


if __name__ == "__main__":
    main()
