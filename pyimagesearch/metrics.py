"""How well attacks are told from real faces, in the words of ISO/IEC 30107-3.

The score of a crop is the network's probability of bona fide (a real face); from the
threshold on, the crop is called bona fide. Every class of attack (print, replay, ...)
is an attack instrument species.

APCER: share of the attacks with an instrument that were called bona fide.
BPCER: share of the bona fides that were called attacks.
ACER: mean of the BPCER and the worst APCER; it hides which of them is bad.
EER: where the threshold makes the share of all attacks that pass and the BPCER equal.
"""

import math
from typing import NamedTuple

from pyimagesearch.labels import BONA_FIDE

import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score

FIXED_THRESHOLD = 0.5  # chosen before any data were seen: the tutorial's argmax


class Rate(NamedTuple):
    """A share of errors among n trials."""

    errors: int
    n: int

    @property
    def value(self) -> float:
        """The share, in [0, 1]; nan without trials."""
        return self.errors / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval, (0, 1) without trials.

        It takes trials for independent; frames of one video are not, so that the truth
        is wider.
        """
        if not self.n:
            return 0.0, 1.0
        test = stats.binomtest(self.errors, self.n)
        return tuple(map(float, test.proportion_ci(method="wilson")))


class EqualError(NamedTuple):
    """The equal error rate in [0, 1] and the threshold where it is."""

    rate: float
    threshold: float


def apcer(attack_scores: np.ndarray, threshold: float) -> Rate:
    """Count the attacks that pass for bona fide: scores (n,) in [0, 1]."""
    return Rate(int((attack_scores >= threshold).sum()), len(attack_scores))


def bpcer(bona_fide_scores: np.ndarray, threshold: float) -> Rate:
    """Count the bona fides that are taken for attacks: scores (n,) in [0, 1]."""
    return Rate(int((bona_fide_scores < threshold).sum()), len(bona_fide_scores))


def equal_error(attack_scores: np.ndarray, bona_fide_scores: np.ndarray) -> EqualError:
    """Find the threshold at which both kinds of error are as nearly equal as can be.

    Parameters
    ----------
    attack_scores : ndarray of shape (n,)
    bona_fide_scores : ndarray of shape (m,)
        In [0, 1]; at least one of each.

    Returns
    -------
    EqualError
        The rate is the mean of both. Of equally good thresholds, the one with the
        smallest mean and then the one nearest to FIXED_THRESHOLD.
    """
    scores = np.unique(np.concatenate([attack_scores, bona_fide_scores, [0.0]]))
    between = (scores[1:] + scores[:-1]) / 2
    beyond = np.nextafter(scores[-1:], np.inf)
    thresholds = np.concatenate([scores, between, beyond, [FIXED_THRESHOLD]])
    passing = _share_from(attack_scores, thresholds)
    refused = 1 - _share_from(bona_fide_scores, thresholds)
    best = np.lexsort(
        (
            abs(thresholds - FIXED_THRESHOLD),
            passing + refused,
            np.round(abs(passing - refused), 12),
        )
    )[0]
    return EqualError(float(passing[best] + refused[best]) / 2, float(thresholds[best]))


def bpcer_at_apcer(
    attack_scores: np.ndarray, bona_fide_scores: np.ndarray, limit: float
) -> tuple[Rate, float] | None:
    """Find the smallest BPCER at which at most `limit` of the attacks pass.

    Returns
    -------
    (Rate, float) or None
        The BPCER and its threshold; None where there are too few attacks to tell,
        fewer than 1 / limit.
    """
    if len(attack_scores) < 1 / limit - 1e-9:
        return None
    allowed = math.floor(limit * len(attack_scores) + 1e-9)
    # The highest scoring attack that may not pass sets the threshold, just above it.
    barrier = np.sort(attack_scores)[::-1][allowed]
    threshold = float(np.nextafter(barrier, np.inf))
    return bpcer(bona_fide_scores, threshold), threshold


def _share_from(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share of the scores from each threshold on."""
    return 1 - np.searchsorted(np.sort(scores), thresholds, side="left") / len(scores)


def evaluate(
    scores: np.ndarray, labels: np.ndarray, sources: np.ndarray, threshold: float
) -> dict:
    """Measure everything there is to say about scored crops.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Probability of bona fide, in [0, 1].
    labels : ndarray of shape (n,), of str
        BONA_FIDE, or the name of the attack instrument.
    sources : ndarray of shape (n,), of str
        The video or image that a crop was cut from.
    threshold : float
        Chosen without these data.

    Returns
    -------
    dict
        Ready for JSON. `frames` and `videos` hold the same figures, once with every
        crop and once with the mean score of every source as a trial; None stands
        where the data do not allow a figure. `sources` lists every source.
    """
    keys = np.array([f"{a}\0{b}" for a, b in zip(labels, sources, strict=True)])
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    counts = np.bincount(index)
    means = np.bincount(index, weights=scores) / counts
    wrong = (scores >= threshold) != (labels == BONA_FIDE)
    errors = np.bincount(index, weights=wrong).astype(int)
    by_source = [
        {
            "source": str(sources[crop]),
            "label": str(labels[crop]),
            "mean_score": float(mean),
            **_as_dict(Rate(int(error), int(count))),
        }
        for crop, mean, error, count in zip(first, means, errors, counts, strict=True)
    ]
    return {
        "threshold": threshold,
        "frames": _figures(scores, labels, threshold, by_source),
        "videos": _figures(means, labels[first], threshold),
        "sources": by_source,
    }


def _figures(scores, labels, threshold, by_source=None) -> dict:
    is_attack = labels != BONA_FIDE
    attacks, bona_fides = scores[is_attack], scores[~is_attack]
    instruments = {
        str(name): apcer(scores[labels == name], threshold)
        for name in np.unique(labels[is_attack])
    }
    refused = bpcer(bona_fides, threshold)
    figures = {
        "bpcer": _as_dict(refused),
        "apcer": {name: _as_dict(rate) for name, rate in instruments.items()},
    }
    if by_source:
        figures["bpcer"]["over_sources"] = _over_sources(by_source, BONA_FIDE)
        for name in instruments:
            over_sources = _over_sources(by_source, name)
            figures["apcer"][name]["over_sources"] = over_sources
    figures |= dict.fromkeys(
        ("worst_instrument", "acer", "eer", "eer_threshold", "auc")
    ) | {"bpcer_at_apcer_5": None, "bpcer_at_apcer_1": None}
    if instruments:
        worst = max(instruments, key=lambda name: instruments[name].value)
        figures["worst_instrument"] = worst
    if instruments and len(bona_fides):
        figures["acer"] = (instruments[worst].value + refused.value) / 2
        eer = equal_error(attacks, bona_fides)
        figures |= {"eer": eer.rate, "eer_threshold": eer.threshold}
        figures["auc"] = float(roc_auc_score(~is_attack, scores))
        for percent in (5, 1):
            found = bpcer_at_apcer(attacks, bona_fides, percent / 100)
            if found:
                rate, at = found
                figures[f"bpcer_at_apcer_{percent}"] = _as_dict(rate) | {
                    "threshold": at
                }
    return figures


def _as_dict(rate: Rate) -> dict:
    value = rate.value if rate.n else None
    return {
        "errors": rate.errors,
        "n": rate.n,
        "rate": value,
        "interval": list(rate.interval),
    }


def _over_sources(by_source: list[dict], label: str) -> dict:
    """Mean of the sources' rates, its 95 % interval (Student's t), and the worst."""
    own = [source for source in by_source if source["label"] == label]
    if not own:
        return {"n": 0, "mean": None, "interval": None, "worst": None}
    rates = np.array([source["rate"] for source in own])
    interval = None
    if len(rates) > 1:
        half = stats.t.ppf(0.975, len(rates) - 1) * stats.sem(rates)
        interval = [max(0.0, rates.mean() - half), min(1.0, rates.mean() + half)]
    return {
        "n": len(rates),
        "mean": float(rates.mean()),
        "interval": interval,
        "worst": own[int(rates.argmax())]["source"],
    }
