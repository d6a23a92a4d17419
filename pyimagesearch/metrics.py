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
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

from pyimagesearch.console import percent, warn
from pyimagesearch.dataset import Dataset, sources_of
from pyimagesearch.labels import THRESHOLD
from pyimagesearch.names import BONA_FIDE

import numpy as np

Z = NormalDist().inv_cdf(0.975)  # of a 95 % interval
LIMITS = 10, 5, 1  # percent of attacks that may pass at an operating point
TRIALS_FOR_RATE = 20  # of fewer, one error is more than 5 %: a rate says too little
SIZES = 16, 48, 96, 192  # pixels: where the next of BANDS begins
BANDS = "below 16", "16-48", "48-96", "96-192", "192 and above"


@dataclass
class Rate:
    """A share of errors among n trials; without trials, it has no rate or interval."""

    errors: int
    n: int
    rate: float | None = field(init=False)  # in [0, 1]
    interval: tuple[float, float] | None = field(init=False)  # Wilson's, of 95 %

    def __post_init__(self):
        """Store what follows from errors and trials."""
        self.rate = self.errors / self.n if self.n else None
        self.interval = wilson(self.rate, self.n) if self.n else None

    def __str__(self):
        """Format it as a rate, or as a count and its limit if trials are few."""
        if self.n >= TRIALS_FOR_RATE:
            return f"{percent(self.rate)} of {self.n}"
        limit = f" (up to {percent(self.interval[1])})" if self.n else ""
        return f"{self.errors} of {self.n}{limit}"


@dataclass
class Presentation(Rate):
    """A source, and the errors of its frames."""

    source: str
    label: str
    mean_score: float


@dataclass
class OperatingPoint:
    """What a threshold costs."""

    threshold: float
    instrument: str  # the worst
    apcer: Rate  # of that instrument
    bpcer: Rate


@dataclass
class Figures:
    """All error rates of one kind of trials; None if the data do not allow a figure."""

    bpcer: Rate
    apcer: dict[str, Rate]  # by instrument
    worst_instrument: str | None = None
    acer: float | None = None
    eer: float | None = None  # of the instrument where it is worst
    eer_threshold: float | None = None
    eer_instrument: str | None = None
    auc: float | None = None
    operating_points: dict[str, OperatingPoint] = field(default_factory=dict)


@dataclass
class Evaluation:
    """The figures at a threshold, with presentations and with crops as trials."""

    threshold: float
    presentations: Figures
    frames: Figures
    sources: list[Presentation]


@dataclass
class NonResponse:
    """Where the detector found no face, of one class."""

    presentations: Rate
    frames: Rate
    not_known: int  # presentations


@dataclass
class Measurement:
    """All that is known of a network's errors on a dataset."""

    notes: list[str] = field(default_factory=list)  # what to know first
    classification_report: dict | None = None  # scikit-learn's
    evaluation: Evaluation | None = None
    shift: float = 0.0  # of the saved network's log odds, see calibration.py
    by_size: dict[str, dict[str, Rate]] = field(default_factory=dict)  # and class
    by_person: dict[str, dict[str, Rate]] = field(default_factory=dict)  # and class
    non_response: dict[str, NonResponse] = field(default_factory=dict)  # by class
    not_tested: list[str] = field(default_factory=list)


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, in [0, 1], of n trials."""
    shrink = Z * Z / n
    center = (share + shrink / 2) / (1 + shrink)
    spread = share * (1 - share) * shrink + shrink * shrink / 4
    half = math.sqrt(spread) / (1 + shrink)
    return center - half if share > 0 else 0.0, center + half if share < 1 else 1.0


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
    difference = np.round(abs(passing - rejected), 12)
    distance = abs(thresholds - THRESHOLD)
    best = np.lexsort((distance, passing + rejected, difference))[0]
    rate = float(passing[best] + rejected[best]) / 2
    return rate, shorten_threshold(float(thresholds[best]), scores)


def threshold_at_apcer(
    attacks: Mapping[str, np.ndarray], bona_fide_scores: np.ndarray, limit: float
) -> float | None:
    """Find the threshold of the smallest BPCER at which few attacks of each kind pass.

    `attacks` has the scores of each kind, of which at most the share `limit` may pass.
    None if a kind has fewer than 1 / limit attacks, or if more pass at any threshold.
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
    return shorten_threshold(float(middle), scores)


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
) -> Evaluation:
    """Compute all error rates of n scored crops.

    Scores are probabilities of bona fide, in [0, 1]; labels are BONA_FIDE or an attack
    instrument. The threshold must be chosen without these data.
    """
    keys = np.array([f"{a}\0{b}" for a, b in zip(labels, sources, strict=True)])
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    counts = np.bincount(index)
    means = np.bincount(index, weights=scores) / counts
    wrong = (scores >= threshold) != (labels == BONA_FIDE)
    errors = np.bincount(index, weights=wrong)
    names = sources[first].tolist(), labels[first].tolist()
    rows = zip(errors.tolist(), counts.tolist(), *names, means.tolist(), strict=True)
    presentations = [Presentation(int(error), *row) for error, *row in rows]
    by_presentation = compute_figures(means, labels[first], threshold)
    by_frame = compute_figures(scores, labels, threshold)
    return Evaluation(threshold, by_presentation, by_frame, presentations)


def compute_figures(
    scores: np.ndarray, labels: np.ndarray, threshold: float
) -> Figures:
    """Compute the error rates of n trials, as `evaluate` does."""
    import sklearn.metrics  # takes a second

    is_attack = labels != BONA_FIDE
    names = np.unique(labels[is_attack]).tolist()
    attacks = {name: scores[labels == name] for name in names}
    bona_fides = scores[~is_attack]
    passing = {name: apcer(own, threshold) for name, own in attacks.items()}
    figures = Figures(bpcer(bona_fides, threshold), passing)
    if attacks:
        figures.worst_instrument = _worst(passing)
    if not attacks or not len(bona_fides):
        return figures
    worst = passing[figures.worst_instrument]
    figures.acer = (worst.rate + figures.bpcer.rate) / 2
    equal = {name: equal_error(own, bona_fides) for name, own in attacks.items()}
    figures.eer_instrument = max(equal, key=lambda name: equal[name][0])
    figures.eer, figures.eer_threshold = equal[figures.eer_instrument]
    auc = float(sklearn.metrics.roc_auc_score(~is_attack, scores))
    figures.auc = min(1.0, auc)  # rounding may take it beyond 1
    points = {"chosen beforehand": threshold, "equal error": figures.eer_threshold}
    for limit in LIMITS:
        at = threshold_at_apcer(attacks, bona_fides, limit / 100)
        if at is not None:
            points[f"APCER at most {limit} %"] = at
    for point, at in points.items():
        passing = {name: apcer(own, at) for name, own in attacks.items()}
        worst = _worst(passing)
        costs = passing[worst], bpcer(bona_fides, at)
        figures.operating_points[point] = OperatingPoint(at, worst, *costs)
    return figures


def _worst(instruments: dict[str, Rate]) -> str:
    return max(instruments, key=lambda name: instruments[name].rate)


def measure(
    probabilities: np.ndarray, classes: list[str], dataset: Dataset
) -> tuple[Measurement, np.ndarray | None]:
    """Compute all figures of n crops from their probabilities, (n, classes).

    Returns the figures, and the probability of bona fide of each crop, (n,); None
    without a class for it.
    """
    from sklearn.metrics import classification_report

    truth, measurement = dataset.labels, Measurement()
    if set(truth) <= set(classes):
        predicted = np.array(classes)[probabilities.argmax(axis=1)]
        measurement.classification_report = classification_report(
            truth, predicted, labels=classes, zero_division=0, output_dict=True
        )
    if BONA_FIDE not in classes:
        warn(f"the network has no class {BONA_FIDE}: there are no figures for attacks")
        return measurement, None
    scores = probabilities[:, classes.index(BONA_FIDE)].astype(float)
    measurement.evaluation = evaluate(scores, truth, dataset.sources, THRESHOLD)
    wrong = (scores >= THRESHOLD) != (truth == BONA_FIDE)
    bands = np.searchsorted(SIZES, dataset.sizes, side="right")
    rates = count_errors(wrong, truth, bands)
    measurement.by_size = {BANDS[band]: own for band, own in rates.items()}
    persons = dataset.persons
    measurement.by_person = count_errors(wrong, truth, persons)
    measurement.non_response = count_non_responses(dataset)
    return measurement, scores


def count_errors(wrong: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict:
    """Count the errors, (n,) bool, of crops by group and class, (n,) each."""
    keys = list(zip(groups.tolist(), labels.tolist(), strict=True))
    trials = Counter(keys)
    errors = Counter(key for key, bad in zip(keys, wrong, strict=True) if bad)
    rates = {}
    for group, label in sorted(trials):
        rate = Rate(errors[group, label], trials[group, label])
        rates.setdefault(group, {})[label] = rate
    return rates


def count_non_responses(dataset: Dataset) -> dict[str, NonResponse]:
    """Count by class the presentations, and the frames, in which no face was found."""
    found = {}
    for key in sorted(set(sources_of(dataset)) | dataset.searches.keys()):
        found.setdefault(key[0], []).append(dataset.searches.get(key))
    counts = {}
    for label, searches in found.items():
        known = [search for search in searches if search]
        silent = sum(search.faceless == search.searched for search in known)
        faceless = sum(search.faceless for search in known)
        searched = sum(search.searched for search in known)
        rates = Rate(silent, len(known)), Rate(faceless, searched)
        counts[label] = NonResponse(*rates, len(searches) - len(known))
    return counts
