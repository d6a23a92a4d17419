"""The classifiers that learn from features: scikit-learn's, and LivenessNet."""

import threading

from pyimagesearch.dataset import Dataset
from pyimagesearch.folds import Fold
from pyimagesearch.names import BONA_FIDE

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm import tqdm


def logistic(seed: int):
    """Return a logistic regression, for a few features and few samples."""
    regression = LogisticRegression(class_weight="balanced", random_state=seed)
    return make_pipeline(StandardScaler(), regression)


def svm(seed: int):
    """Return an SVM with an RBF kernel and calibrated probabilities."""
    machine = SVC(C=1.0, class_weight="balanced", random_state=seed)
    # Calibrated on blocks of consecutive samples that were held out: neighbouring
    # frames are nearly equal, and would make the probabilities overconfident.
    return CalibratedClassifierCV(machine, cv=StratifiedKFold(3), ensemble=False)


def scaled_svm(seed: int):
    """Return an SVM for features of different ranges."""
    return make_pipeline(StandardScaler(), svm(seed))


class LivenessNet:
    """The network, trained as train.py does, as a scikit-learn classifier."""

    def __init__(self, seed: int):
        self._seed = seed

    def fit(self, crops: np.ndarray, is_real: np.ndarray) -> "LivenessNet":
        """Train on crops, (n, 32, 32, 3) uint8, and truth, (n,) bool."""
        import train
        from pyimagesearch import models

        labels = np.where(is_real, BONA_FIDE, "fake")
        every = np.arange(len(crops))
        # A source, a person and a session for each class.
        names = {"sources": labels, "persons": labels, "sessions": labels}
        known = {"paths": [], "sizes": every, "fingerprints": labels, "searches": {}}
        dataset = Dataset(
            crops, labels, frames=every, margin=0.0, detector="", **names, **known
        )
        fold = Fold(every, np.arange(0))
        recipe = train.RECIPES["steady"]
        job = dataset, fold, recipe, self._seed
        trained = train.train_network(*job, tqdm(disable=True), threading.Event())
        self._network = models.as_network(trained.model)
        return self

    def predict_proba(self, crops: np.ndarray) -> np.ndarray:
        """Return (n, 2) float32: the probabilities of fake and real."""
        from pyimagesearch.models import classify

        return classify(self._network.predict, crops)
