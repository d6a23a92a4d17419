import subprocess
import sys

from benchmarks.methods import __main__ as methods
from benchmarks.methods import focus, frequency, gestures, plane, samples, texture
from benchmarks.methods.learners import logistic, scaled_svm, svm
from benchmarks.methods.samples import Clip, Samples
from pyimagesearch.console import UserError

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

OPENCV_4 = pytest.mark.skipif(
    cv2.__version__ >= "5", reason="finds other planes; the benchmark is for OpenCV 4"
)


@pytest.fixture(scope="module")
def crops(dataset) -> Samples:
    """Every third crop of the sample: twenty of each class."""
    return keep(samples.load_crops(dataset), slice(None, None, 3))


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Samples:
    """Sixteen clips of 0.4 seconds each of real, replay and photo."""
    folder = tmp_path_factory.mktemp("clips")
    samples.write_sample(folder, 192)
    return samples.load_clips(folder, 0.4)


def keep(known: Samples, chosen) -> Samples:
    places = np.arange(len(known.items))[chosen]
    items = [known.items[place] for place in places]
    return Samples(items, *(names[places] for names in known[1:]))


def against(clips: Samples, attack: str) -> Samples:
    return keep(clips, np.isin(clips.labels, ["real", attack]))


@pytest.mark.parametrize(
    ("module", "learner", "attack"),
    [
        (texture, svm, "fake"),
        (frequency, scaled_svm, "fake"),
        (focus, logistic, "replay"),
        (focus, logistic, "photo"),
        # In a replay, heads, eyes and mouths move as they did in life.
        (plane, logistic, "photo"),
        (gestures, logistic, "photo"),
    ],
)
def test_a_cue_tells_real_from_fake_but_not_shuffled_labels(
    module, learner, attack, request
):
    known = request.getfixturevalue("crops" if attack == "fake" else "clips")
    known, cue = against(known, attack), (module.describe, learner)
    scores = methods.score_unseen(cue, known, None, seed=42)
    assert np.all((scores >= 0) & (scores <= 1))
    auc = roc_auc_score(known.labels == "real", scores)
    assert auc > 0.9
    shuffled = np.random.default_rng(42).permutation(known.labels)
    known = known._replace(labels=shuffled, sources=np.full(len(shuffled), "one"))
    scores = methods.score_unseen(cue, known, None, seed=42)
    assert roc_auc_score(shuffled == "real", scores) < auc - 0.1


def test_no_sample_is_scored_by_a_learner_that_has_seen_it():
    class Memory:
        def __init__(self, seed):
            pass

        def fit(self, features, is_real):
            self.known = set(features.tolist())
            return self

        def predict_proba(self, features):
            seen = [float(number in self.known) for number in features.tolist()]
            return np.stack([seen, seen], axis=1)

    labels = np.repeat(["real", "fake"], 20)
    for sources in (np.repeat(list("abcdefgh"), 5), np.repeat(list("ab"), 20)):
        known = Samples(list(range(40)), labels, sources, sources)
        scores = methods.score_unseen((float, Memory), known, None, seed=42)
        assert scores.tolist() == [0] * 40


def test_livenessnet_learns_crops(crops):
    cue = methods.CROP_CUES["LivenessNet"]
    learnt, others = keep(crops, slice(0, None, 2)), keep(crops, slice(1, None, 2))
    scores = methods.score_unseen(cue, learnt, others, seed=42)
    assert roc_auc_score(others.labels == "real", scores) > 0.9


@pytest.mark.parametrize("describe", [texture.describe, frequency.describe])
def test_any_crop_can_be_described(describe):
    for crop in (
        np.zeros((1, 1, 3), np.uint8),
        np.full((16, 12, 3), 255, np.uint8),
        np.random.default_rng(0).integers(0, 256, (3000, 200, 3), np.uint8),
    ):
        assert np.isfinite(describe(crop)).all()


@pytest.mark.parametrize("cue", [focus, plane, gestures])
def test_any_clip_can_be_described(cue, clips):
    clip = clips.items[0]
    for strange in (
        Clip(clip.frames[:1], clip.faces[:1], clip.points[:1], clip.fps),
        clip._replace(frames=np.zeros_like(clip.frames)),
        clip._replace(faces=clip.faces * 0 + [-10, -10, 999, 999]),
        clip._replace(faces=clip.faces * 0, points=clip.points * 0),
        clip._replace(fps=1.0),
    ):
        assert np.isfinite(cue.describe(strange)).all()


@pytest.mark.parametrize("cue", [pytest.param(plane, marks=OPENCV_4), gestures])
def test_a_still_picture_is_told_from_a_man_by_movement(cue, clips):
    known = against(clips, "photo")
    features = [cue.describe(clip) for clip in known.items]
    learner = logistic(42).fit(features, known.labels == "real")
    alive = known.items[-1]
    still = Clip(
        *(np.repeat(part[:1], len(part), axis=0) for part in alive[:3]), alive.fps
    )
    scores = learner.predict_proba([cue.describe(still), cue.describe(alive)])[:, 1]
    assert scores[0] < 0.5 < scores[1]


def blurred_noise(shape: tuple[int, int]) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX)


def test_a_shift_is_a_plane_and_two_shifts_are_not():
    before = blurred_noise((120, 120))
    shifted = np.roll(before, 2, axis=1)
    face = np.array([40, 40, 80, 80])
    in_depth = before.copy()
    in_depth[40:80, 40:80] = shifted[40:80, 40:80]
    held = plane.measure_residual(before, shifted, face)
    alive = plane.measure_residual(before, in_depth, face)
    assert held[1] < 0.5  # the surroundings moved with the face
    assert alive[1] > 1  # they did not, by two pixels


def test_flow_tells_right_from_down():
    before = blurred_noise((80, 80))
    moved = plane.flow_between(before, np.roll(before, (1, 2), axis=(0, 1)))
    np.testing.assert_allclose(np.median(moved, axis=(0, 1)), [2, 1], atol=0.2)


@pytest.mark.parametrize(
    ("count", "apart", "pairs"),
    [
        (1, 3, []),
        (2, 3, [(0, 1)]),
        (7, 3, [(0, 3), (3, 6)]),
        (3, 0.1, [(0, 1), (1, 2)]),
    ],
)
def test_frames_are_paired_as_far_apart_as_there_are_frames(count, apart, pairs):
    assert plane.pair_frames(count, apart) == pairs


def test_stripes_stand_out_of_the_spectrum():
    stripes = np.tile((np.arange(64) % 4 < 2) * 40, (64, 1)).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 40, (64, 64)).astype(np.uint8)
    peaks = slice(frequency.RINGS - 1, None)
    striped = frequency.describe_channel(stripes + noise)[peaks].max()
    plain = frequency.describe_channel(noise)[peaks].max()
    assert striped > plain + 2  # in powers of e


def test_a_photograph_is_a_clip_of_one_frame(tmp_path, face_image):
    for label in ("real", "fake"):
        (tmp_path / label).mkdir()
        cv2.imwrite(str(tmp_path / label / "one.png"), face_image)
    loaded = samples.load_clips(tmp_path, 1.0)
    assert [len(clip.frames) for clip in loaded.items] == [1, 1]
    assert all(clip.points.shape == (1, 5, 2) for clip in loaded.items)


def test_a_video_without_a_face_is_named(tmp_path):
    (tmp_path / "real").mkdir()
    cv2.imwrite(str(tmp_path / "real" / "wall.png"), np.full((90, 90, 3), 99, "u1"))
    with pytest.raises(UserError, match="no face in wall"):
        samples.load_clips(tmp_path, 1.0)


def test_the_comparison_prints_a_table_and_draws_where_it_is_told(
    dataset, tmp_path, monkeypatch, capsys
):
    for label in ("real", "fake"):
        (tmp_path / "few" / label).mkdir(parents=True)
        for path in sorted((dataset / label).glob("*.png"))[::6]:
            (tmp_path / "few" / label / path.name).symlink_to(path)
    folder, target = str(tmp_path / "few"), tmp_path / "curves.png"
    cues = {name: methods.CROP_CUES[name] for name in ("texture", "frequency")}
    monkeypatch.setattr(methods, "CROP_CUES", cues)
    monkeypatch.chdir(tmp_path)
    for extra in ([], ["--on", folder, "--seeds", "2", "--plot", str(target)]):
        assert methods.main(["--dataset", folder, *extra]) == 0
        lines = capsys.readouterr().out.splitlines()
        rows = [line for line in lines if line.startswith("|")]
        assert len(rows) == 4
        assert len({row.count("|") for row in rows}) == 1
        assert target.exists() == ("--plot" in extra)
    assert cv2.imread(str(target)).shape[2] == 3
    assert {path.name for path in tmp_path.iterdir()} == {"few", "curves.png"}


def test_the_comparison_says_what_it_needs(tmp_path, clips, capsys):
    assert methods.main([]) == 1
    assert "--dataset or --videos" in capsys.readouterr().err
    with pytest.raises(UserError, match="expected a folder named real"):
        attacks = keep(clips, clips.labels != "real")
        methods.compare("attacks", methods.CLIP_CUES, attacks, None, 1)


def test_python_m_starts_the_comparison():
    command = [sys.executable, "-m", "benchmarks.methods", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--videos FOLDER" in done.stdout
