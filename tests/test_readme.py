import itertools
import re
import shlex
from pathlib import Path

import gather_examples
import liveness_demo
import train
from pyimagesearch.collect import ENOUGH_TO_TRAIN
from pyimagesearch.faces import MIN_SIDE
from pyimagesearch.folds import BLOCKS, FOLDS
from pyimagesearch.labels import THRESHOLD
from pyimagesearch.live import REOPEN_PAUSES

import cv2
import pytest

ROOT = Path(__file__).parent.parent
LINES = (ROOT / "README.md").read_text().splitlines()
README = "\n".join(LINES).replace("\\\n", " ")
TEXT = " ".join(README.split())
MAKEFILE = (ROOT / "Makefile").read_text().replace("\\\n", " ")
SCRIPTS = {
    "gather_examples.py": gather_examples,
    "train.py": train,
    "liveness_demo.py": liveness_demo,
}
NEEDED = {"gather_examples.py": ["-i", "a.mp4", "-o", "dataset/real"]}
GATHER = gather_examples.parse_args(NEEDED["gather_examples.py"])
DEMO = liveness_demo.parse_args([])
WORDS = {0.5: "half a second", 3: "three", 8: "eight"}
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
INLINE = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def read_help(name, capsys):
    """Return the flags of a script, each with its default as --help states it."""
    with pytest.raises(SystemExit):
        SCRIPTS[name].parse_args(["--help"])
    defaults = {}
    for text in re.split(r"\n  (?=-)", capsys.readouterr().out)[1:]:
        default = re.search(r"\(default: ([^)]+)\)", " ".join(text.split()))
        defaults[FLAG.search(text)[0]] = default and default[1]
    return defaults


def test_readme_is_short():
    assert len(LINES) <= 260
    assert [line for line in LINES if len(line) > 110] == []


def test_every_flag_of_readme_is_one_of_a_script_and_so_is_its_default(capsys):
    """A default is written as: `--flag` (default: value)."""
    helps = [read_help(name, capsys) for name in SCRIPTS]
    known = set().union(*helps)
    texts = [
        text for text in [*COMMANDS, *INLINE] if re.search(r"\b(pip|make)\b", text)
    ]
    known |= set(FLAG.findall(" ".join(texts)))
    assert set(FLAG.findall(README)) <= known
    for flag, value in re.findall(r"`(--[a-z-]+)` \(default:? `?([^)`]+)`?\)", TEXT):
        assert value in [defaults.get(flag) for defaults in helps]


@pytest.mark.parametrize(
    "options", sorted({text for text in INLINE if re.match("--.* [^-]", text)})
)
def test_options_that_readme_gives_a_value_are_understood(options, capsys):
    words = shlex.split(options)
    owners = [
        n for n in SCRIPTS if set(FLAG.findall(options)) <= set(read_help(n, capsys))
    ]
    assert owners
    for name in owners:
        SCRIPTS[name].parse_args([*NEEDED.get(name, []), *words])


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if re.search(r"python \w+\.py", c)]
)
def test_every_command_of_readme_is_understood(command):
    _, script, *arguments = shlex.split(command)
    SCRIPTS[script].parse_args(arguments)


@pytest.mark.parametrize(
    "statement",
    [
        f"every {GATHER.skip}th frame",
        f"dealt into {FOLDS} folds",
        f"{WORDS[BLOCKS]} blocks",
        f"threshold of {THRESHOLD} ",
        f"opens camera {DEMO.input} ",
        f"averaged over {WORDS[DEMO.smooth]} (`--smooth`)",
        f"reopened {WORDS[len(REOPEN_PAUSES)]} times",
        f"With {WORDS[ENOUGH_TO_TRAIN]} of each",
        f"faces under {MIN_SIDE} pixels",
    ],
)
def test_readme_states_the_defaults_of_the_code(statement):
    assert statement in TEXT


def test_readme_and_the_makefile_do_the_same_demo():
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1]
    steps = re.findall(r"python (\w+\.py .*)", recipe)
    wanted = [shlex.split(step.replace("--no-display", "")) for step in steps]
    assert len(wanted) == 4
    block = [shlex.split(c)[1:] for c in COMMANDS if c.startswith(".venv/bin/python ")]
    block = [words for words in block if words[0].endswith(".py")]
    assert block[1:] == wanted  # the first one is the way with a webcam


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)`", README))))
def test_every_target_of_readme_is_in_the_makefile(target):
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


def test_every_link_leads_somewhere():
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert link[1:] in anchors if link.startswith("#") else (ROOT / link).exists()


def test_every_name_is_in_the_module_that_readme_says():
    """Written as: `NAME`, `name` in pyimagesearch/module.py, or in module.py."""
    places = re.findall(r"((?:`\w+`(?:, )?)+) in ([\w/]+\.py)", README)
    assert len(places) > 5
    for names, file in places:
        path = ROOT / file if (ROOT / file).exists() else ROOT / "pyimagesearch" / file
        source = path.read_text()
        for name in re.findall(r"\w+", names):
            pattern = rf"^\s*(def|class) {name}\b|^([A-Z_]+, )*{name}\b.* = "
            assert re.search(pattern, source, re.MULTILINE), (name, file)


def test_the_library_example_runs(
    trained, videos, detector_folder, tmp_path, monkeypatch, capsys
):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for path in (trained / "liveness.onnx", trained / "le.pickle", detector_folder):
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    open_video, opened = cv2.VideoCapture, []

    def open_sample(camera):
        opened.append(camera)
        return open_video(str(videos / "real.mp4"))

    monkeypatch.setattr(cv2, "VideoCapture", open_sample)
    clock = itertools.count(0, 1 / 30)  # the sample's rate, however slow this machine
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    exec(compile(example, "README.md", "exec"), {})
    assert opened == [0]
    lines = capsys.readouterr().out.splitlines()
    assert lines
    for line in lines:
        assert re.fullmatch(r"1 [01]\.\d+ \(\d+, \d+, 3\)", line)
