"""What is drawn onto the frames that are shown."""

from pyimagesearch.classifier import Prediction
from pyimagesearch.collect import Collector
from pyimagesearch.labels import BONA_FIDE
from pyimagesearch.manifest import UNSURE
from pyimagesearch.outputs import window_zoom

import cv2
import numpy as np

GREEN, AMBER, RED = (0, 200, 0), (0, 165, 255), (0, 0, 255)  # BGR
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
COLORS = {BONA_FIDE: GREEN, UNSURE: AMBER}  # every other label is an attack


def draw(image: np.ndarray, prediction: Prediction, name: str | None = None) -> None:
    """Draw a face's box and label onto its picture, the label inside it."""
    height, width = image.shape[:2]
    zoom = window_zoom(image)
    font, size, weight = cv2.FONT_HERSHEY_SIMPLEX, 0.5 * zoom, round(zoom)
    left, top, right, bottom, _ = prediction.box
    color = COLORS.get(prediction.label, RED)
    text = f"{prediction.label}: {prediction.probability:.4f}"
    if prediction.label != UNSURE and prediction.probability < 0.5:
        # The threshold decided, or there are many kinds of attack.
        text = f"{prediction.label} (real: {prediction.score:.4f})"
    if name:
        text += f" {name}"
    (w, h), below = cv2.getTextSize(text, font, size, weight)
    x = max(0, min(left, width - w))
    y = top - below if top - below - h > 0 else min(top + h + below, height - below)
    cv2.rectangle(image, (left, top), (right, bottom), color, round(2 * zoom))
    cv2.rectangle(image, (x, y - h - below), (x + w, y + below), color, cv2.FILLED)
    cv2.putText(image, text, (x, y), font, size, WHITE, weight)


def draw_collecting(image: np.ndarray, collector: Collector) -> None:
    """Mark the faces that the keys would save, and say what was saved."""
    zoom = window_zoom(image)
    keys_of = {}
    for key in collector.keys:
        if target := collector.target(key):
            keys_of.setdefault(target.box, []).append(key)
    texts = {(6, image.shape[0] - round(8 * zoom)): f"saved: {collector}"}
    for box, keys in keys_of.items():
        below = min(box.bottom + round(16 * zoom), image.shape[0] - round(24 * zoom))
        texts[box.left, below] = f"save: {' '.join(keys)}"
    for place, text in texts.items():
        for color, weight in ((BLACK, 3), (WHITE, 1)):  # legible on any ground
            cv2.putText(
                image,
                text,
                place,
                cv2.FONT_HERSHEY_SIMPLEX,
                0.5 * zoom,
                color,
                round(weight * zoom),
            )
