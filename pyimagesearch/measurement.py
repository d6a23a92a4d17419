"""All that is known of a network's errors on a dataset, and what is not."""

from collections import Counter
from dataclasses import dataclass, field

from pyimagesearch.console import count_of, listing, warn
from pyimagesearch.dataset import Dataset, sources_of
from pyimagesearch.labels import THRESHOLD
from pyimagesearch.metrics import Evaluation, Presentation, Rate, evaluate
from pyimagesearch.names import BONA_FIDE, persons_of

import numpy as np

TRIALS_FOR_RATE = 20  # of fewer, one error is more than 5 %: a rate says too little
USABLE = 0.2  # of more errors, no threshold makes a network fit for anything
SIZES = 16, 48, 96, 192  # pixels: where the next of BANDS begins
BANDS = "below 16", "16-48", "48-96", "96-192", "192 and above"
LISTED = 5  # names in one line
NOT_USABLE = "not usable here; collect faces at this camera and train again"
# What a way of splitting says nothing of.
SPLITS = {
    "crops at random": "new videos: crops were held out at random",
    "blocks of frames": "new videos: the figures are of other parts of videos that "
    "were learnt, and optimistic",
}


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
    by_size: dict[str, dict[str, Rate]] = field(default_factory=dict)  # and class
    by_person: dict[str, dict[str, Rate]] = field(default_factory=dict)  # and class
    non_response: dict[str, NonResponse] = field(default_factory=dict)  # by class
    not_tested: list[str] = field(default_factory=list)
    scores: list[dict] = field(default_factory=list)  # of each crop


def measure(
    probabilities: np.ndarray,
    classes: list[str],
    dataset: Dataset,
    how: str = "",
    learnt: int | None = None,
) -> tuple[Measurement, np.ndarray | None]:
    """Compute all figures of n crops from their probabilities, (n, classes).

    `how` says how a training's dataset was split; it is empty if it was not. Then
    `learnt` is the number of its sources that the network has learnt, if that is known.
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
    persons = persons_of(truth, dataset.sources, dataset.frames)
    measurement.evaluation = evaluate(
        scores, truth, dataset.sources, THRESHOLD, persons
    )
    wrong = (scores >= THRESHOLD) != (truth == BONA_FIDE)
    bands = np.searchsorted(SIZES, dataset.sizes, side="right")
    rates = count_errors(wrong, truth, bands)
    measurement.by_size = {BANDS[band]: own for band, own in rates.items()}
    measurement.by_person = count_errors(wrong, truth, persons)
    measurement.non_response = count_non_responses(dataset)
    measurement.not_tested = list_untested(measurement, dataset, how)
    names = [path.as_posix() for path in dataset.paths]
    rows = names, truth, dataset.sources, persons
    keys = "file", "label", "source", "person", "probability"
    measurement.scores = [
        dict(zip(keys, [*map(str, row), float(score)], strict=True))
        for *row, score in zip(*rows, scores, strict=True)
    ]
    if how == "crops at random" and len(set(sources_of(dataset))) < len(truth):
        measurement.warnings.append(
            "frames of one video were learnt and measured; the figures measure memory"
        )
    elif learnt:
        measurement.warnings.append(
            f"the network was trained on {count_of(learnt, 'source')} of it; the "
            "figures say nothing about new people and new footage"
        )
    elif not how:
        measurement.notes.append(
            "whether the network has learnt any of this footage is not known"
            if learnt is None
            else "the network has learnt nothing of this footage"
        )
    measurement.summary = summarize(measurement, how)
    return measurement, scores


def needs_more(evaluation: Evaluation) -> bool:
    """Say if so many attacks or real faces are wrong that the network is of no use."""
    figures = evaluation.figures
    rates = [rate.rate for rate in (figures.bpcer, *figures.apcer.values()) if rate.n]
    return max(rates) > USABLE


def summarize(measurement: Measurement, how: str) -> str:
    """Say in a sentence what was tried, what was wrong, and what that is worth."""
    evaluation, figures = measurement.evaluation, measurement.evaluation.figures
    real, kinds = figures.bpcer, figures.apcer
    errors, n = sum(k.errors for k in kinds.values()), sum(k.n for k in kinds.values())
    worthless = [text.partition(";")[0] for text in measurement.warnings]
    if evaluation.counts_crops:
        places = len({own.source for own in evaluation.sources})
        where = "one session" if places == 1 else f"{places} sources"
        counts = [f"{real.errors} of {real.n} real views"] if real.n else []
        counts += [f"{errors} of {n} fakes"] if n else []
        text = f"{real.n + n} crops of {where}: {' and '.join(counts)} wrong"
        if worthless:
            return f"{text}; worth nothing, as {worthless[0]}."
        return f"{text}; says nothing about other people or places."
    counts, limits = [], {}
    if n:
        worst = kinds[figures.worst_instrument]
        own = f" ({figures.worst_instrument} {worst.errors} of {worst.n})"
        counts.append(
            f"{errors} of {count_of(n, 'attack')}{own if len(kinds) > 1 else ''} passed"
        )
        limits = {rate.interval[1]: f" of {kind}" for kind, rate in kinds.items()}
    if real.n:
        was = "was" if real.errors == 1 else "were"
        faces = count_of(real.n, "real face")
        counts.append(f"{real.errors} of {faces} {was} refused")
    limit = max(limits, default=real.interval and real.interval[1])
    persons = {own.person for own in evaluation.sources}
    who = "persons not known" if "" in persons else count_of(len(persons), "person")
    text = f"{', '.join(counts)} ({who}"
    if worthless:
        return f"{text}): worth nothing, as {worthless[0]}."
    if needs_more(evaluation):
        return f"{text}): {NOT_USABLE}."
    kind = limits[limit] if len(kinds) > 1 else ""
    may = "may pass" if n else "may be refused"
    text += f": up to {100 * limit:.0f} %{kind} {may}, by 95 %)"
    if how == "blocks of frames":
        text += "; other parts of these videos were learnt"
    return f"{text}."


def rank_hardest(evaluation: Evaluation) -> list[Presentation]:
    """Sort presentations, those furthest on the wrong side first.

    Before anybody comes again, one presentation of each person comes.
    """

    def wrongness(own: Presentation) -> float:
        distance = own.mean_score - evaluation.threshold
        return -distance if own.label == BONA_FIDE else distance

    firsts, others, seen = [], [], set()
    for own in sorted(evaluation.sources, key=wrongness, reverse=True):
        person = own.person or (own.label, own.source)
        (others if person in seen else firsts).append(own)
        seen.add(person)
    return firsts + others


def count_errors(wrong: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict:
    """Count the errors, (n,) bool, of crops by group and class, (n,) each."""
    keys = list(zip(groups.tolist(), labels.tolist(), strict=True))
    trials, errors = Counter(keys), Counter()
    for key, is_wrong in zip(keys, wrong.tolist(), strict=True):
        errors[key] += is_wrong
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


def list_untested(measurement: Measurement, dataset: Dataset, how: str) -> list[str]:
    """List what a dataset gives no evidence of, from its figures."""
    presentations = measurement.evaluation.presentations
    counts = {BONA_FIDE: presentations.bpcer.n}
    counts |= {name: rate.n for name, rate in presentations.apcer.items()}
    silent = {
        name: own.presentations.errors for name, own in measurement.non_response.items()
    }
    alone = [
        name or "no name"
        for name, own in measurement.by_person.items()
        if BONA_FIDE not in own or len(own) == 1
    ]
    sizes = []
    for size in BANDS[1:]:
        own = measurement.by_size.get(size, {})
        few = {name: own[name].n if name in own else 0 for name in counts}
        few = [f"{n} of {name}" for name, n in few.items() if n < TRIALS_FOR_RATE]
        if few:
            sizes.append(f"{size} ({listing(few, LISTED) if own else 'none'})")
    names = {}  # of each file
    for key, file in zip(sources_of(dataset), dataset.fingerprints, strict=True):
        if file:
            names.setdefault(file, {})["/".join(key)] = None
    texts = {
        "more than one presentation of": [k for k, n in counts.items() if n == 1],
        "presentations in which no face was found:": [
            f"{n} of {name}" for name, n in silent.items() if n
        ],
        "persons both as real and as attack:": alone if len(counts) > 1 else [],
        f"face sizes with fewer than {TRIALS_FOR_RATE} crops, pixels:": sizes,
        "as many presentations as there are names:": [
            " = ".join(own) for own in names.values() if len(own) > 1
        ],
    }
    gaps = [SPLITS[how]] if how in SPLITS else []
    if len(measurement.by_person) == 1:
        gaps.append("more than one person, as far as the names of files say")
    return gaps + [f"{gap} {listing(own, LISTED)}" for gap, own in texts.items() if own]
