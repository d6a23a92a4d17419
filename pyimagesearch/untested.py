"""What a dataset gives no evidence of."""

from pyimagesearch.console import listing
from pyimagesearch.dataset import Dataset, sources_of
from pyimagesearch.metrics import BANDS, TRIALS_FOR_RATE, Measurement
from pyimagesearch.names import BONA_FIDE

LISTED = 5  # names in one line
# What a way of splitting says nothing of.
SPLITS = {
    "crops at random": "new videos: crops were held out at random, so frames of one "
    "video were learnt and measured, and the figures measure memory",
    "blocks of frames": "new videos: the figures are of other parts of videos that "
    "were learnt, and optimistic",
}


def list_untested(measurement: Measurement, dataset: Dataset, how: str) -> list[str]:
    """List what a dataset gives no evidence of, from its figures.

    `how` says how a training's dataset was split; it is empty if it was not.
    """
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
