"""LivenessNet, the tutorial's network, in the shape of the other methods."""

import threading
from collections.abc import Sequence

from benchmarks.methods.samples import REAL
from pyimagesearch.folds import Fold
from pyimagesearch.preprocessing import shrink

import numpy as np
from tqdm import tqdm


class LivenessNet:
    """The network, trained as train.py does."""

    def __init__(self, seed: int = 42):
        self._seed = seed
        self._network = None

    def fit(self, crops: Sequence[np.ndarray], labels: np.ndarray) -> "LivenessNet":
        """Learn from crops and labels, (n,) of str: REAL and any other."""
        from pyimagesearch.backend import tf
        from pyimagesearch.models import as_network
        from pyimagesearch.training import TrainingData
        from train import RECIPES, train_network, with_enough_steps

        targets = np.eye(2, dtype=np.float32)[(labels == REAL).astype(int)]
        # Nothing is known of their sources: every class counts as one.
        data = TrainingData(tf.constant(shrink_all(crops)), targets, labels, labels)
        fold = Fold(np.arange(len(crops)), np.arange(0))
        bar, stop = tqdm(disable=True), threading.Event()
        recipe = with_enough_steps(RECIPES["steady"], fold)
        training = train_network(data, fold, recipe, self._seed, bar, stop)
        self._network = as_network(training.model)
        return self

    def score(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Give the probability of real of each crop: (n,) float in [0, 1]."""
        from pyimagesearch.evaluation import classify

        return classify(self._network, shrink_all(crops))[:, 1].astype(float)


def shrink_all(crops: Sequence[np.ndarray]) -> np.ndarray:
    """Shrink crops to what the network takes: (n, 32, 32, 3) uint8."""
    return np.stack([shrink(crop) for crop in crops])
