from pyimagesearch.console import UserError
from pyimagesearch.folds import split_dataset, split_random, split_videos

import numpy as np
import pytest
from datasets import make_dataset, make_labels, persons_of, random_dataset


def split(labels, sources, frames, count, seed=0):
    """Split by video, and check the folds."""
    persons = persons_of(labels, sources, frames)
    folds, how = split_videos(labels, sources, persons, count, seed)
    check_folds(labels, persons, folds, how)
    return folds, how


def check_folds(labels, persons, folds, how):
    """What must hold of every split: see `split_videos`."""
    measured = np.concatenate([fold.test for fold in folds])
    assert sorted(measured) == list(range(len(labels)))
    for train, test in folds:
        assert len(test)
        assert np.all(np.diff(train) > 0)
        assert np.all(np.diff(test) > 0)
        assert not set(train) & set(test)
        assert set(labels[train]) == set(labels)
        if how == "whole sources":
            assert not set(persons[train]) & set(persons[test])
            assert len(train) + len(test) == len(labels)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.filterwarnings("error")
def test_persons_stay_together_and_each_crop_is_measured_once(seed):
    rng = np.random.default_rng(seed)
    labels, sources, frames = random_dataset(rng)
    count = int(rng.integers(2, 6))
    folds, _ = split(labels, sources, frames, count, seed)
    assert 2 <= len(folds) <= count


def test_whole_sources_make_folds_of_like_sizes():
    labels, sources, frames = make_labels(
        real={f"r-{i}x": 20 + i for i in range(8)},
        fake={f"f-{i}y": 40 - i for i in range(8)},
    )
    folds, how = split(labels, sources, frames, 4)
    assert (len(folds), how) == (4, "whole sources")
    for fold in folds:
        assert set(labels[fold.test]) == {"real", "fake"}
        assert 0.15 < len(fold.test) / len(labels) < 0.4


def test_which_sources_make_a_fold_follows_the_seed():
    labels, sources, frames = make_labels(
        real={f"r-{i}x": 10 for i in range(8)}, fake={f"f-{i}y": 10 for i in range(8)}
    )

    def tests(seed):
        folds, _ = split(labels, sources, frames, 4, seed)
        return [tuple(fold.test) for fold in folds]

    assert tests(1) == tests(1)
    assert tests(1) != tests(2)


@pytest.mark.parametrize("suffixes", [("", ""), ("-real", "-fake"), ("", " FAKE")])
def test_a_person_in_both_classes_stays_on_one_side(suffixes):
    """Somebody's real video and the replay of it, both named after them."""
    real, fake = ({f"person-{i}x{end}": 10 for i in range(8)} for end in suffixes)
    labels, sources, frames = make_labels(real=real, fake=fake)
    folds, how = split(labels, sources, frames, 4)
    assert (len(folds), how) == (4, "whole sources")


def test_two_sources_in_each_class_are_enough():
    labels, sources, frames = make_labels(
        real={"a": 30, "b": 9}, fake={"c": 10, "d": 20}
    )
    _, how = split(labels, sources, frames, 4)
    assert how == "whole sources"


def test_two_persons_give_two_folds():
    people = {"anna": 30, "bob": 20}
    labels, sources, frames = make_labels(real=people, fake=people)
    folds, how = split(labels, sources, frames, 4)
    assert (len(folds), how) == (2, "whole sources")


def test_a_fold_may_lack_a_class_in_its_test():
    labels, sources, frames = make_labels(
        real={"a": 30, "b": 30}, fake={f"f-{i}x": 10 for i in range(6)}
    )
    folds, how = split(labels, sources, frames, 4)
    assert (len(folds), how) == (4, "whole sources")
    assert sum("real" not in labels[fold.test] for fold in folds) == 2


def test_three_classes_are_all_learnt_in_every_fold():
    labels, sources, frames = make_labels(
        fake={f"f-{i}x": 5 for i in range(4)},
        print={f"p-{i}x": 9 for i in range(3)},
        real={f"r-{i}x": 20 for i in range(6)},
    )
    _, how = split(labels, sources, frames, 4)
    assert how == "whole sources"


def test_a_thousand_sources_of_one_crop_are_split():
    singles = [{f"{label}-{i}x": 1 for i in range(500)} for label in "ab"]
    labels, sources, frames = make_labels(real=singles[0], fake=singles[1])
    folds, how = split(labels, sources, frames, 4)
    assert [len(fold.test) for fold in folds] == [250] * 4
    assert how == "whole sources"


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("crops", [1, 2])
@pytest.mark.filterwarnings("error")
def test_as_few_sources_as_there_can_be_are_split(most, crops):
    """Fewer crops in a class than folds: what remains of an afternoon's try."""
    own = [
        {f"{label}-{i}x": crops for i in range(max(most, 3 - crops))} for label in "ab"
    ]
    labels, sources, frames = make_labels(real=own[0], fake=own[1])
    split(labels, sources, frames, 4)


@pytest.mark.filterwarnings("error")
def test_a_class_of_fewer_crops_than_folds_is_split_without_a_word_of_scikit_learns():
    labels, sources, frames = make_labels(
        real={"anna": 50, "bob": 40, "carla": 9}, fake={"dan": 1, "eve": 1, "finn": 1}
    )
    split(labels, sources, frames, 4)


@pytest.mark.parametrize("count", [2, 4, 5])
def test_one_source_in_a_class_gives_blocks_with_a_gap(count):
    labels, sources, frames = make_labels(real={"a": 100}, fake={"b": 60, "c": 40})
    folds, how = split(labels, sources, frames, count)
    assert (len(folds), how) == (count, "blocks of frames")
    for train, test in folds:
        for source in "abc":
            own = np.flatnonzero(sources == source)
            block = np.intersect1d(own, test)
            assert len(block) == len(own) / count
            assert block[-1] - block[0] == len(block) - 1
            learnt = np.intersect1d(own, train)
            nearest = min(abs(learnt[:, None] - block[None]).ravel())
            assert nearest > len(own) * 0.05
            assert len(learnt) + len(block) >= len(own) * 0.9


@pytest.mark.parametrize(("count", "expected"), [(None, 3), (1, 4)])
def test_blocks_are_thirds_or_a_quarter_is_held_out(count, expected):
    labels, sources, frames = make_labels(real={"a": 60}, fake={"b": 60})
    folds, how = split(labels, sources, frames, count)
    assert (len(folds), how) == (expected, "blocks of frames")


def test_whole_sources_make_four_folds():
    persons = {f"p{i}x": 10 for i in range(9)}
    labels, sources, frames = make_labels(real=persons, fake=persons)
    folds, how = split(labels, sources, frames, None)
    assert (len(folds), how) == (4, "whole sources")


@pytest.mark.parametrize("crops", [2, 3, 4, 5, 9])
def test_few_crops_leave_some_on_both_sides(crops):
    labels, sources, frames = make_labels(real={"a": crops}, fake={"b": crops})
    folds, _ = split(labels, sources, frames, 4)
    assert set(labels[folds[0].test]) == {"real", "fake"}


def test_photographs_of_one_crop_each_go_with_a_video():
    labels, sources, frames = make_labels(
        real={"video": 40}, fake={f"photo-{i}x": 1 for i in range(20)}
    )
    folds, how = split(labels, sources, frames, 4)
    assert how == "blocks of frames"
    for fold in folds:
        assert set(labels[fold.test]) == {"real", "fake"}


@pytest.mark.parametrize(
    "make_split", [split_random, lambda a, seed: split_videos(a, a, a, 4, seed)]
)
def test_a_class_of_one_crop_is_named(make_split):
    labels = np.array(["real"] * 9 + ["fake"])
    with pytest.raises(UserError, match="1 crop of fake"):
        make_split(labels, 0)


def test_random_keeps_the_shares_of_the_classes():
    labels = np.array(["real"] * 100 + ["fake"] * 20)
    train, test = split_random(labels, 42)
    assert (labels[test] == "fake").sum() == 5
    assert len(test) == 30
    assert not set(train) & set(test)
    assert len(split_random(np.array(list("aabbcc")), 0).test) == 3


@pytest.mark.parametrize(
    ("kind", "count", "folds", "how"),
    [
        ("video", 4, 4, "whole sources"),
        ("video", 2, 2, "whole sources"),
        ("video", 1, 1, "whole sources"),
        ("random", 4, 1, "crops at random"),
        ("random", 1, 1, "crops at random"),
    ],
)
def test_the_split_that_was_asked_for_is_made_and_said(kind, count, folds, how, capsys):
    labels, sources, frames = make_labels(
        real={f"r-{i}x": 10 for i in range(4)}, fake={f"f-{i}x": 10 for i in range(4)}
    )
    dataset = make_dataset(labels, sources, frames)
    made, said = split_dataset(dataset, kind, count, 0)
    assert (len(made), said) == (folds, how)
    out, error = capsys.readouterr()
    assert f"[INFO] split by {how}" in out
    assert ("optimistic" in error) == (kind == "random")
    if folds == 1:
        assert f"training on {len(made[0].train)} images, testing on" in out
        assert len(made[0].test) == 20
    else:
        assert f"into {folds} folds" in out
        check_folds(labels, persons_of(labels, sources, frames), made, how)


def test_blocks_of_the_only_video_of_a_class_are_warned_of(capsys):
    dataset = make_dataset(*make_labels(real={"a": 40}, fake={"a": 20, "b": 20}))
    folds, how = split_dataset(dataset, "video", 4, 0)
    assert (len(folds), how) == (4, "blocks of frames")
    out, error = capsys.readouterr()
    assert "one person in a class; blocks of frames held out: says nothing" in error
    assert "[INFO] 2 persons: a, b; person in sources.csv corrects it" in out
    assert "only real or only fake: b;" in error
    split_dataset(dataset, "random", 4, 0)
    assert "[WARN]" not in capsys.readouterr().err


def make_sessions(real, fake):
    """Make crops of one person, ten of each session; photographs are one session."""
    labels, sessions, _ = make_labels(
        real={f"s{n}": 10 for n in range(real)}, fake={f"s{n}": 10 for n in range(fake)}
    )
    dataset = make_dataset(labels, sessions, np.full(len(labels), 16))
    return dataset._replace(persons=np.full(len(labels), "anna"))


def test_of_one_person_whole_sessions_are_held_out(capsys):
    dataset = make_sessions(real=3, fake=4)
    folds, how = split_dataset(dataset, "video", None, 0)
    assert (len(folds), how) == (4, "whole sessions")
    check_folds(dataset.labels, dataset.sessions, folds, "whole sources")
    out, error = capsys.readouterr()
    assert error == (
        "[WARN] one person; whole sessions held out: says nothing about other people\n"
    )
    assert "[INFO] 1 person: anna; person in sources.csv corrects it" in out


def test_of_fewer_than_three_sessions_blocks_are_held_out(capsys):
    for real, fake in ((2, 5), (5, 2)):
        _, how = split_dataset(make_sessions(real, fake), "video", None, 0)
        assert how == "blocks of frames"
        assert "[WARN] one person; blocks of frames" in capsys.readouterr().err


def test_persons_are_counted_and_the_first_are_named(capsys):
    people = {f"p{number:02}x": 2 for number in range(15)}
    dataset = make_dataset(*make_labels(real=people, fake=people))
    split_dataset(dataset, "video", None, 0)
    listed = ", ".join(list(people)[:12])
    line = f"[INFO] 15 persons: {listed} and 3 more; person in sources.csv corrects it"
    assert line in capsys.readouterr().out


def test_which_quarter_one_fold_holds_out_follows_the_seed():
    labels, sources, frames = make_labels(real={"a": 100}, fake={"b": 100})
    dataset = make_dataset(labels, sources, frames)
    tests = [split_dataset(dataset, "video", 1, seed)[0][0].test for seed in range(4)]
    assert sorted(np.concatenate(tests)) == list(range(200))
