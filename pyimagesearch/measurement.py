"""All that is known of a network's errors on a dataset, and what is not."""

from dataclasses import dataclass, field

from pyimagesearch.console import count_of, listing, warn
from pyimagesearch.dataset import Dataset, sources_of
from pyimagesearch.labels import THRESHOLD
from pyimagesearch.metrics import Evaluation, Presentation, Rate, evaluate
from pyimagesearch.names import BONA_FIDE

import numpy as np

TRIALS_FOR_RATE = 20  # of fewer, one error is more than 5 %: a rate says too little
USABLE = 0.2  # of more errors, no threshold makes a network fit for anything
SIZES = 16, 48, 96, 192  # pixels: where the next of BANDS begins
BANDS = "below 16", "16-48", "48-96", "96-192", "192 and above"
LISTED = 5  # names in one line


@dataclass
class NonResponse:
    """Where the detector found no face, of one class."""

    presentations: Rate
    frames: Rate
    not_known: int  # presentations


@dataclass
class Measurement:
    """All that is known of a network's errors on a dataset."""

    summary: str = "nothing was measured"
    warnings: list[str] = field(default_factory=list)  # what makes figures worthless
    notes: list[str] = field(default_factory=list)  # what else to know first
    classification_report: dict | None = None  # scikit-learn's
    evaluation: Evaluation | None = None
    shift: float = 0.0  # of the saved network's log odds, see calibration.py
    by_size: dict[str, dict[str, Rate]] = field(default_factory=dict)  # and class
    by_person: dict[str, dict[str, Rate]] = field(default_factory=dict)  # and class
    non_response: dict[str, NonResponse] = field(default_factory=dict)  # by class
    not_tested: list[str] = field(default_factory=list)
    scores: list[dict] = field(default_factory=list)  # of each crop


def measure(
    probabilities: np.ndarray, classes: list[str], dataset: Dataset, how="", learnt=None
) -> tuple[Measurement, np.ndarray | None]:
    """Compute all figures of n crops from their probabilities, (n, classes).

    `how`, a str, says how a training's dataset was split; `learnt` is how many sources
    of another one the network has learnt, None if not known. Returns the figures, and
    the probability of bona fide of each crop, (n,); None without a class for it.
    """
    from sklearn.metrics import classification_report

    truth, sources, persons = dataset.labels, dataset.sources, dataset.persons
    measurement = Measurement()
    if set(truth) <= set(classes):
        predicted = np.array(classes)[probabilities.argmax(axis=1)]
        measurement.classification_report = classification_report(
            truth, predicted, labels=classes, zero_division=0, output_dict=True
        )
    if BONA_FIDE not in classes:
        warn(f"the network has no class {BONA_FIDE}: there are no figures for attacks")
        return measurement, None
    scores = probabilities[:, classes.index(BONA_FIDE)].astype(float)
    measurement.evaluation = evaluate(scores, truth, sources, persons)
    wrong = (scores >= THRESHOLD) != (truth == BONA_FIDE)
    rates = count_errors(wrong, truth, np.searchsorted(SIZES, dataset.sizes, "right"))
    measurement.by_size = {BANDS[band]: own for band, own in rates.items()}
    measurement.by_person = count_errors(wrong, truth, persons)
    measurement.non_response = count_non_responses(dataset)
    measurement.not_tested = list_untested(measurement, how)
    keys = "file", "label", "source", "person", "probability"
    columns = [own.tolist() for own in (truth, sources, persons, scores)]
    rows = zip([path.as_posix() for path in dataset.paths], *columns, strict=True)
    measurement.scores = [dict(zip(keys, row, strict=True)) for row in rows]
    if how == "crops at random" and len(set(sources_of(dataset))) < len(truth):
        why = "frames of one video are on both sides; the figures measure memory"
        measurement.warnings = [why]
    elif learnt:
        why = f"the network was trained on {count_of(learnt, 'source')} of it; the "
        why += "figures say nothing about new people and new footage"
        measurement.warnings = [why]
    elif learnt == 0:
        measurement.notes = ["the network was trained on none of this footage"]
    measurement.summary = summarize(measurement, how)
    return measurement, scores


def needs_more(evaluation: Evaluation) -> bool:
    """Say if so many attacks or real faces are wrong that the network is of no use."""
    return max(rate.rate for rate in evaluation.figures.rates.values()) > USABLE


def summarize(measurement: Measurement, how: str) -> str:
    """Say in a sentence what was tried, what was wrong, and what that is worth."""
    evaluation, figures = measurement.evaluation, measurement.evaluation.figures
    real, kinds = figures.bpcer, figures.apcer
    errors, n = sum(k.errors for k in kinds.values()), sum(k.n for k in kinds.values())
    worth = ""
    if measurement.warnings:
        worth = f"worth nothing, as {measurement.warnings[0].partition(';')[0]}"
    if evaluation.counts_crops:
        places = len({own.source for own in evaluation.sources})
        where = "one session" if places == 1 else f"{places} sources"
        counts = [f"{real.errors} of {real.n} real views"] if real.n else []
        counts += [f"{errors} of {n} fakes"] if n else []
        worth = worth or "says nothing about other people or places"
        return f"{real.n + n} crops of {where}: {' and '.join(counts)} wrong; {worth}."
    counts = [f"{errors} of {count_of(n, 'attack')} passed"] if n else []
    if real.n:
        was = "was" if real.errors == 1 else "were"
        counts.append(f"{real.errors} of {count_of(real.n, 'real face')} {was} refused")
    persons = {own.person for own in evaluation.sources}
    who = "persons not known" if "" in persons else count_of(len(persons), "person")
    if not worth and needs_more(evaluation):
        worth = "not usable here; collect faces at this camera and train again"
    if worth:
        return f"{', '.join(counts)} ({who}): {worth}."
    rates = kinds or {"": real}
    worst = max(rates, key=lambda kind: rates[kind].interval[1])
    may = "may pass" if n else "may be refused"
    may = f"of {worst} {may}" if len(kinds) > 1 else may
    who += f": up to {100 * rates[worst].interval[1]:.0f} % {may}"
    is_partial = how == "blocks of frames"
    end = "; trained on other parts of these videos" if is_partial else ""
    return f"{', '.join(counts)} ({who}, by 95 %){end}."


def rank_hardest(evaluation: Evaluation) -> list[Presentation]:
    """Sort presentations, those furthest on the wrong side first.

    Before anybody comes again, one presentation of each person comes.
    """
    sign = {BONA_FIDE: -1}
    hardest = sorted(
        evaluation.sources,
        key=lambda own: sign.get(own.label, 1) * (own.mean_score - THRESHOLD),
    )
    firsts, others, seen = [], [], set()
    for own in hardest[::-1]:
        person = own.person or (own.label, own.source)
        (others if person in seen else firsts).append(own)
        seen.add(person)
    return firsts + others


def count_errors(wrong: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict:
    """Count the errors, (n,) bool, of crops by group and class, (n,) each."""
    trials, rates = {}, {}
    keys = zip(groups.tolist(), labels.tolist(), strict=True)
    for key, bad in zip(keys, wrong.tolist(), strict=True):
        trials.setdefault(key, []).append(bad)
    for (group, label), own in sorted(trials.items()):
        rates.setdefault(group, {})[label] = Rate(sum(own), len(own))
    return rates


def count_non_responses(dataset: Dataset) -> dict[str, NonResponse]:
    """Count by class the presentations, and the frames, in which no face was found."""
    found = {}
    for key in sorted(set(sources_of(dataset)) | dataset.searches.keys()):
        found.setdefault(key[0], []).append(dataset.searches.get(key))
    counts = {}
    for label, searches in found.items():
        known = [search for search in searches if search]
        silent = Rate(sum(s.faceless == s.searched for s in known), len(known))
        frames = Rate(sum(s.faceless for s in known), sum(s.searched for s in known))
        counts[label] = NonResponse(silent, frames, len(searches) - len(known))
    return counts


def list_untested(measurement: Measurement, how: str) -> list[str]:
    """List what a dataset gives no evidence of, from its figures."""
    figures, people = measurement.evaluation.presentations, measurement.by_person
    counts = {name: rate.n for name, rate in figures.rates.items()}
    alone = [
        name or "nobody in particular"
        for name, own in people.items()
        if BONA_FIDE not in own or len(own) == 1
    ]
    sizes = []
    for size in BANDS[1:]:
        own = measurement.by_size.get(size, {})
        if any(name not in own or own[name].n < TRIALS_FOR_RATE for name in counts):
            sizes.append(size)
    few = f"face sizes with fewer than {TRIALS_FOR_RATE} crops of a class, pixels:"
    texts = {
        "more than one presentation of": [k for k, n in counts.items() if n == 1],
        "persons both as real and as attack:": alone if len(counts) > 1 else [],
        few: sizes,
    }
    gaps = [f"{gap} {listing(own, LISTED)}" for gap, own in texts.items() if own]
    if len(people) == 1:
        gaps.insert(0, "more than one person, as far as the names of files say")
    if how == "blocks of frames":
        gaps.insert(0, "new videos: the network was trained on other parts of these")
    return gaps
