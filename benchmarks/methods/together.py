"""Two methods together: they err on different crops, so that one helps the other out.

Each is first measured on a half of the samples that it did not learn from. From these
scores is learnt what a score is worth as a probability, since the methods are sure of
themselves in different degrees (Platt, Probabilistic outputs for support vector
machines, 1999), or how much weight each deserves (stacking: Wolpert, Stacked
generalization, 1992).
"""

from collections.abc import Callable, Sequence

from benchmarks.methods.samples import REAL

import numpy as np
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

# The first half of each class and the second: neighbours are nearly the same.
HALVES = StratifiedKFold(2)
SUREST = 1e-6  # a probability nearer to 0 or 1 counts as this far from it


class Together:
    """The mean of methods' calibrated probabilities, or a logistic regression of them.

    Parameters
    ----------
    makers : sequence of callable
        Each makes a method.
    weighted : bool, default False
        Learn the methods' weights; otherwise they count the same.
    """

    def __init__(self, makers: Sequence[Callable], weighted: bool = False):
        self._makers = makers
        self._weighted = weighted

    def fit(self, samples: Sequence, labels: np.ndarray) -> "Together":
        """Learn from samples and labels, (n,) of str: REAL and any other."""
        held_out = np.empty((len(labels), len(self._makers)))
        for train, test in HALVES.split(labels, labels):
            some = [
                make().fit(take(samples, train), labels[train]) for make in self._makers
            ]
            held_out[test] = combine(some, take(samples, test))
        every = list(range(len(self._makers)))
        columns = [every] if self._weighted else [[one] for one in every]
        self._judges = [
            (column, LogisticRegression().fit(held_out[:, column], labels == REAL))
            for column in columns
        ]
        self._methods = [make().fit(samples, labels) for make in self._makers]
        return self

    def score(self, samples: Sequence) -> np.ndarray:
        """Give the probability of real of each sample: (n,) float in [0, 1]."""
        scores = combine(self._methods, samples)
        return np.mean(
            [
                judge.predict_proba(scores[:, column])[:, 1]
                for column, judge in self._judges
            ],
            axis=0,
        )


def take(samples: Sequence, places: np.ndarray) -> list:
    """Give some of the samples."""
    return [samples[place] for place in places]


def combine(methods: Sequence, samples: Sequence) -> np.ndarray:
    """Give the log odds of real by every method: (n, methods) float."""
    scores = np.stack([method.score(samples) for method in methods], axis=1)
    return logit(np.clip(scores, SUREST, 1 - SUREST))
