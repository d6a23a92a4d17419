"""What most methods share: numbers that describe a sample, and a learner of them."""

from collections.abc import Callable, Sequence

from benchmarks.methods.samples import REAL

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

# Blocks of consecutive samples are held back to learn probabilities from: samples next
# to each other are nearly the same, and would make the scores far too sure.
BLOCKS = StratifiedKFold(3)


class Described:
    """A method that turns a sample into numbers and learns from these."""

    def __init__(self, describe: Callable[..., np.ndarray], learner):
        self._describe = describe
        self._learner = learner

    def fit(self, samples: Sequence, labels: np.ndarray) -> "Described":
        """Learn from samples and labels, (n,) of str: REAL and any other."""
        numbers = [self._describe(sample) for sample in samples]
        self._learner.fit(numbers, labels == REAL)
        return self

    def score(self, samples: Sequence) -> np.ndarray:
        """Give the probability of real of each sample: (n,) float in [0, 1]."""
        numbers = [self._describe(sample) for sample in samples]
        return self._learner.predict_proba(numbers)[:, 1]


def svm(scaled: bool = True):
    """Make a support vector machine with an RBF kernel that gives probabilities.

    Where it is not `scaled`, the numbers keep the weight that their size gives them.
    """
    machine = SVC(C=1.0, class_weight="balanced")  # 1: scikit-learn's default
    calibrated = CalibratedClassifierCV(machine, cv=BLOCKS, ensemble=False)
    return make_pipeline(StandardScaler(), calibrated) if scaled else calibrated


def line():
    """Make a logistic regression, for a handful of numbers and few samples."""
    return make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
