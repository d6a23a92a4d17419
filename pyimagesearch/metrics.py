"""Error rates of presentation attack detection, in the words of ISO/IEC 30107-3.

The score of a crop is the network's probability of bona fide (a real face); from the
threshold on, the crop is classified as bona fide. Every class of attack (print, replay,
...) is an attack instrument species.

APCER: share of the attacks with an instrument that are classified as bona fide.
BPCER: share of the bona fide presentations that are classified as attacks.
ACER: mean of the BPCER and the worst APCER; it hides which of them is bad.
EER: the error rate at the threshold where APCER and BPCER are equal, of the kind of
attack where it is worst.

A trial is a presentation: all crops of one source, whose scores are averaged. Crops as
trials ("frames") help to understand the figures, but resemble each other too much for
the intervals to hold. ACER, EER and AUC are conventions of research, not of the
standard.
"""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

from pyimagesearch.labels import THRESHOLD
from pyimagesearch.names import BONA_FIDE

import numpy as np
from sklearn.metrics import roc_auc_score

Z = NormalDist().inv_cdf(0.975)  # of a 95 % interval
LIMITS = 10, 5, 1  # percent of attacks that may pass at an operating point


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
        """Wilson's 95 % interval, (0, 1) without trials."""
        if not self.n:
            return 0.0, 1.0
        shrink = Z * Z / self.n
        center = (self.value + shrink / 2) / (1 + shrink)
        spread = self.value * (1 - self.value) * shrink + shrink * shrink / 4
        half = math.sqrt(spread) / (1 + shrink)
        low = center - half if self.errors else 0.0
        return low, center + half if self.errors < self.n else 1.0

    def as_dict(self) -> dict:
        """Return it ready for JSON."""
        return {
            "errors": self.errors,
            "n": self.n,
            "rate": self.value if self.n else None,
            "interval": list(self.interval),
        }


def apcer(attack_scores: np.ndarray, threshold: float) -> Rate:
    """Count the attack scores, (n,) in [0, 1], classified as bona fide."""
    return Rate(int((attack_scores >= threshold).sum()), len(attack_scores))


def bpcer(bona_fide_scores: np.ndarray, threshold: float) -> Rate:
    """Count the bona fide scores, (n,) in [0, 1], classified as attacks."""
    return Rate(int((bona_fide_scores < threshold).sum()), len(bona_fide_scores))


def equal_error(
    attack_scores: np.ndarray, bona_fide_scores: np.ndarray
) -> tuple[float, float]:
    """Find the threshold at which both error rates are as nearly equal as possible.

    Scores are (n,) and (m,), in [0, 1], at least one of each. Returns the mean of both
    error rates and the threshold, with few decimals. Of equally good thresholds it is
    the one with the smallest rate, then the nearest to THRESHOLD.
    """
    scores = np.unique(np.concatenate([attack_scores, bona_fide_scores]))
    edges = np.concatenate([[0.0], scores, [1.0]])
    thresholds = np.concatenate([(edges[1:] + edges[:-1]) / 2, scores, [THRESHOLD]])
    passing = _share_from(attack_scores, thresholds)
    rejected = 1 - _share_from(bona_fide_scores, thresholds)
    best = np.lexsort(
        (
            abs(thresholds - THRESHOLD),
            passing + rejected,
            np.round(abs(passing - rejected), 12),
        )
    )[0]
    rate = float(passing[best] + rejected[best]) / 2
    return rate, shorten_threshold(float(thresholds[best]), scores)


def bpcer_at_apcer(
    attacks: Mapping[str, np.ndarray], bona_fide_scores: np.ndarray, limit: float
) -> tuple[Rate, float] | None:
    """Find the smallest BPCER at which at most `limit` of each kind of attack pass.

    `attacks` has the scores of each kind. Returns the BPCER and its threshold, with few
    decimals. None if a kind has too few attacks to tell, fewer than 1 / limit, or if
    more of them pass at any threshold.
    """
    if min(map(len, attacks.values())) < 1 / limit - 1e-9:
        return None
    # The threshold is above the highest scoring attack of each kind that may not pass.
    barrier = max(
        np.sort(scores)[::-1][math.floor(limit * len(scores) + 1e-9)]
        for scores in attacks.values()
    )
    if barrier >= 1:
        return None
    # Up to the next bona fide score the BPCER is the same, and fewer attacks pass.
    attack_scores = np.concatenate([*attacks.values()])
    above = min(bona_fide_scores[bona_fide_scores > barrier], default=1.0)
    below = max(attack_scores[attack_scores < above])
    scores = np.concatenate([attack_scores, bona_fide_scores])
    middle = max((below + above) / 2, np.nextafter(below, 1.0))  # never `below`
    threshold = shorten_threshold(float(middle), scores)
    return bpcer(bona_fide_scores, threshold), threshold


def shorten_threshold(threshold: float, scores: np.ndarray) -> float:
    """Round to the fewest decimals, from 3 on, that change no score's decision."""
    below = max(scores[scores < threshold], default=-1.0)
    above = min(scores[scores >= threshold], default=1.0)
    for decimals in range(3, 17):
        short = round(threshold, decimals)
        if below < short <= above:
            return short
    return threshold


def _share_from(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return 1 - np.searchsorted(np.sort(scores), thresholds, side="left") / len(scores)


def evaluate(
    scores: np.ndarray, labels: np.ndarray, sources: np.ndarray, threshold: float
) -> dict:
    """Compute all error rates of n scored crops.

    Scores are probabilities of bona fide, in [0, 1]; labels are BONA_FIDE or an attack
    instrument. The threshold must be chosen without these data.

    The result is ready for JSON. `presentations` and `frames` hold the same figures,
    once with the mean score of every source and once with every crop as a trial; None
    stands for a figure that the data do not allow. `sources` lists every source.
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
            **Rate(int(error), int(count)).as_dict(),
        }
        for crop, mean, error, count in zip(first, means, errors, counts, strict=True)
    ]
    frames = _figures(scores, labels, threshold)
    frames["bpcer"]["over_sources"] = _over_sources(by_source, BONA_FIDE)
    for name, rate in frames["apcer"].items():
        rate["over_sources"] = _over_sources(by_source, name)
    return {
        "threshold": threshold,
        "presentations": _figures(means, labels[first], threshold),
        "frames": frames,
        "sources": by_source,
    }


def _figures(scores: np.ndarray, labels: np.ndarray, threshold: float) -> dict:
    is_attack = labels != BONA_FIDE
    names = np.unique(labels[is_attack]).tolist()
    attacks = {name: scores[labels == name] for name in names}
    bona_fides = scores[~is_attack]
    instruments = {name: apcer(own, threshold) for name, own in attacks.items()}
    rejected = bpcer(bona_fides, threshold)
    figures = {
        "bpcer": rejected.as_dict(),
        "apcer": {name: rate.as_dict() for name, rate in instruments.items()},
        "worst_instrument": None,
        "acer": None,
        "eer": None,
        "eer_threshold": None,
        "eer_instrument": None,
        "auc": None,
        **{f"bpcer_at_apcer_{percent}": None for percent in LIMITS},
        "operating_points": {},
    }
    if instruments:
        figures["worst_instrument"] = worst = _worst(instruments)
    if not instruments or not len(bona_fides):
        return figures
    figures["acer"] = (instruments[worst].value + rejected.value) / 2
    equal = {name: equal_error(own, bona_fides) for name, own in attacks.items()}
    kind = max(equal, key=lambda name: equal[name][0])
    figures["eer"], at_eer = equal[kind]
    figures["eer_threshold"], figures["eer_instrument"] = at_eer, kind
    # Rounding may take it beyond 1.
    figures["auc"] = min(1.0, float(roc_auc_score(~is_attack, scores)))
    points = {"chosen beforehand": threshold, "equal error": at_eer}
    for percent in LIMITS:
        if found := bpcer_at_apcer(attacks, bona_fides, percent / 100):
            rate, at = found
            key = f"bpcer_at_apcer_{percent}"
            figures[key] = rate.as_dict() | {"threshold": at}
            points[f"APCER at most {percent} %"] = at
    for point, at in points.items():
        passing = {name: apcer(own, at) for name, own in attacks.items()}
        worst = _worst(passing)
        figures["operating_points"][point] = {
            "threshold": at,
            "instrument": worst,
            "apcer": passing[worst].as_dict(),
            "bpcer": bpcer(bona_fides, at).as_dict(),
        }
    return figures


def _worst(instruments: dict[str, Rate]) -> str:
    return max(instruments, key=lambda name: instruments[name].value)


def _over_sources(by_source: list[dict], label: str) -> dict:
    own = [source for source in by_source if source["label"] == label]
    rates = [source["rate"] for source in own]
    return {
        "n": len(own),
        "mean": float(np.mean(rates)) if own else None,
        "worst": own[int(np.argmax(rates))]["source"] if own else None,
    }
