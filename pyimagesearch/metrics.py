"""Error rates of presentation attack detection, in the words of ISO/IEC 30107-3.

The score of a crop is the network's probability of bona fide (a real face); from the
threshold on, the crop is classified as bona fide. Every class of attack (print, replay,
...) is an attack instrument species.

APCER: share of the attacks with an instrument that are classified as bona fide.
BPCER: share of the bona fide presentations that are classified as attacks.
ACER: mean of the BPCER and the worst APCER; it hides which of them is bad.
EER: both rates at the threshold where they are equal, of the kind where it is worst.

ACER, EER and AUC are conventions of research, not of the standard. A trial is a
presentation: all crops of one source, whose scores are averaged; or, in "frames", a
crop. Trials of one person are alike, so intervals are over persons if these are known.
"""

import math
from dataclasses import dataclass, field
from statistics import NormalDist

from pyimagesearch.labels import THRESHOLD
from pyimagesearch.names import BONA_FIDE

import numpy as np

Z = NormalDist().inv_cdf(0.975)  # of a 95 % interval
LIMITS = 10, 5, 1  # percent of attacks that may pass at an operating point


@dataclass
class Rate:
    """A share of errors among n trials; without trials, it has no rate or interval."""

    errors: int
    n: int
    persons: int | None = None  # whose trials they are; None if that is not known
    effective_n: float | None = None  # of as many trials is the interval; n if None
    rate: float | None = field(init=False)  # in [0, 1]
    interval: tuple[float, float] | None = field(init=False)  # Wilson's, of 95 %

    def __post_init__(self):
        if self.effective_n is None:
            self.effective_n = self.n
        self.rate = self.errors / self.n if self.n else None
        self.interval = wilson(self.rate, self.effective_n) if self.n else None


@dataclass(kw_only=True)
class Presentation(Rate):
    """A source, and the errors of its frames."""

    source: str
    label: str
    person: str  # "" if not known
    mean_score: float


@dataclass
class OperatingPoint:
    """What a threshold costs."""

    threshold: float
    instrument: str  # the worst
    apcer: Rate  # of that instrument
    bpcer: Rate
    by_instrument: dict[str, Rate]  # the APCER of each


@dataclass
class Figures:
    """All error rates of one kind of trials; None if the data do not allow a figure."""

    bpcer: Rate
    apcer: dict[str, Rate]  # by instrument, the worst first
    worst_instrument: str | None = None
    acer: float | None = None
    eer: float | None = None  # of the instrument where it is worst
    eer_threshold: float | None = None
    eer_instrument: str | None = None
    auc: float | None = None
    operating_points: dict[str, OperatingPoint] = field(default_factory=dict)

    @property
    def rates(self) -> dict[str, Rate]:
        """The rates of the classes that were tried, bona fide first."""
        return ({BONA_FIDE: self.bpcer} if self.bpcer.n else {}) | self.apcer


@dataclass
class Evaluation:
    """The figures at a threshold, with presentations and with crops as trials."""

    threshold: float
    presentations: Figures
    frames: Figures
    sources: list[Presentation]

    @property
    def counts_crops(self) -> bool:
        """Say if no class has a second presentation, so that crops must do."""
        return max(rate.n for rate in self.presentations.rates.values()) == 1

    @property
    def figures(self) -> Figures:
        """The figures to read: of presentations, or of crops if these must do."""
        return self.frames if self.counts_crops else self.presentations


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, in [0, 1], of n trials."""
    shrink = Z * Z / n
    center = (share + shrink / 2) / (1 + shrink)
    spread = share * (1 - share) * shrink + shrink * shrink / 4
    half = math.sqrt(spread) / (1 + shrink)
    return center - half if share > 0 else 0.0, center + half if share < 1 else 1.0


def rate_of(wrong: np.ndarray, persons: np.ndarray | None = None) -> Rate:
    """Count the errors, (n,) bool, of trials of persons, (n,) of str, "" if not known.

    If trials outnumber persons, their effective number is that of independent ones with
    the variance of errors / trials as a ratio of sums over persons, at most n (Rao and
    Scott, "A simple method for the analysis of clustered binary data", Biometrics 48,
    1992). If nobody or one person alone has errors, or correct decisions, it is the
    number of persons.
    """
    n, errors = len(wrong), int(wrong.sum())
    if persons is None or not n or "" in persons:
        return Rate(errors, n)
    _, index = np.unique(persons, return_inverse=True)
    trials_of, errors_of = np.bincount(index), np.bincount(index, weights=wrong)
    count, share = len(trials_of), errors / n
    if count == n or min((errors_of > 0).sum(), (errors_of < trials_of).sum()) < 2:
        return Rate(errors, n, count, count)
    squares = ((errors_of - share * trials_of) ** 2).sum()
    variance = count / (count - 1) * squares / n**2
    effective = min(n, share * (1 - share) / max(variance, 1e-12))
    return Rate(errors, n, count, float(effective))


def equal_error(attacks: np.ndarray, bona_fides: np.ndarray) -> tuple[float, float]:
    """Find the threshold at which both error rates are as nearly equal as possible.

    Scores are (n,) and (m,), in [0, 1], at least one of each. Returns the mean of both
    rates and the threshold, with few decimals: of equally good ones that with the
    smallest rate, then the nearest to THRESHOLD.
    """
    scores = np.unique(np.concatenate([attacks, bona_fides]))
    edges = np.concatenate([[0.0], scores, [1.0]])
    thresholds = np.concatenate([(edges[1:] + edges[:-1]) / 2, scores, [THRESHOLD]])
    passing = _share_from(attacks, thresholds)
    rejected = 1 - _share_from(bona_fides, thresholds)
    difference = np.round(abs(passing - rejected), 12)
    distance = abs(thresholds - THRESHOLD)
    best = np.lexsort((distance, passing + rejected, difference))[0]
    rate = float(passing[best] + rejected[best]) / 2
    return rate, shorten_threshold(float(thresholds[best]), scores)


def threshold_at_apcer(
    attacks: dict[str, np.ndarray], bona_fides: np.ndarray, limit: float
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
    above = min(bona_fides[bona_fides > barrier], default=1.0)
    below = max(attack_scores[attack_scores < above])
    middle = max((below + above) / 2, np.nextafter(below, 1.0))  # never `below`
    return shorten_threshold(float(middle), np.concatenate([attack_scores, bona_fides]))


def shorten_threshold(threshold: float, scores: np.ndarray) -> float:
    """Round to the fewest decimals, from 3 on, that change no score's decision."""
    below = max(scores[scores < threshold], default=-1.0)
    above = min(scores[scores >= threshold], default=1.0)
    shorter = (round(threshold, decimals) for decimals in range(3, 17))
    return next((short for short in shorter if below < short <= above), threshold)


def _share_from(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return 1 - np.searchsorted(np.sort(scores), thresholds, side="left") / len(scores)


def evaluate(
    scores: np.ndarray, labels: np.ndarray, sources: np.ndarray, persons=None
) -> Evaluation:
    """Compute all error rates of n scored crops at THRESHOLD.

    Scores are probabilities of bona fide, in [0, 1]; labels are BONA_FIDE or an attack
    instrument; persons, (n,) of str, are "" if not known, as all are by default.
    """
    persons = np.full(len(labels), "") if persons is None else persons
    keys = np.array([f"{a}\0{b}" for a, b in zip(labels, sources, strict=True)])
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    counts = np.bincount(index)
    means = np.bincount(index, weights=scores) / counts
    errors = np.bincount(index, weights=(scores >= THRESHOLD) != (labels == BONA_FIDE))
    names = "errors", "n", "source", "label", "person", "mean_score"
    columns = errors.astype(int), counts, sources[first], labels[first], persons[first]
    rows = zip(*(own.tolist() for own in (*columns, means)), strict=True)
    presentations = [Presentation(**dict(zip(names, row, strict=True))) for row in rows]
    by_presentation = compute_figures(means, labels[first], persons[first])
    by_frame = compute_figures(scores, labels, persons)
    return Evaluation(THRESHOLD, by_presentation, by_frame, presentations)


def compute_figures(
    scores: np.ndarray, labels: np.ndarray, persons: np.ndarray
) -> Figures:
    """Compute the error rates of n trials, as `evaluate` does."""
    from sklearn.metrics import roc_auc_score  # takes a second

    is_attack = labels != BONA_FIDE
    attacks = {k: scores[labels == k] for k in np.unique(labels[is_attack]).tolist()}
    bona_fides = scores[~is_attack]

    def costs_at(threshold: float) -> tuple[dict[str, Rate], Rate]:
        rates = [
            (name, rate_of(own >= threshold, persons[labels == name]))
            for name, own in attacks.items()
        ]
        # Of equal rates, that with the highest limit is the worst.
        rates.sort(key=lambda own: (-own[1].rate, -own[1].interval[1]))
        return dict(rates), rate_of(bona_fides < threshold, persons[~is_attack])

    passing, rejected = costs_at(THRESHOLD)
    figures = Figures(rejected, passing, next(iter(passing), None))
    if not attacks or not len(bona_fides):
        return figures
    figures.acer = (passing[figures.worst_instrument].rate + rejected.rate) / 2
    equal = {name: equal_error(own, bona_fides) for name, own in attacks.items()}
    figures.eer_instrument = max(equal, key=lambda name: equal[name][0])
    figures.eer, figures.eer_threshold = equal[figures.eer_instrument]
    figures.auc = min(1.0, float(roc_auc_score(~is_attack, scores)))  # may be 1 + 2e-16
    points = {"chosen beforehand": THRESHOLD, "equal error": figures.eer_threshold}
    for limit in LIMITS:
        at = threshold_at_apcer(attacks, bona_fides, limit / 100)
        if at is not None:
            points[f"APCER at most {limit} %"] = at
    for point, at in points.items():
        passing, rejected = costs_at(at)
        worst = next(iter(passing))
        costs = OperatingPoint(at, worst, passing[worst], rejected, passing)
        figures.operating_points[point] = costs
    return figures
