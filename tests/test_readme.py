import ast
import itertools
import re
import shlex
from pathlib import Path

import gather_examples
import liveness_demo
import train
from pyimagesearch.camera import REOPEN_PAUSES
from pyimagesearch.collect import ENOUGH_TO_TRAIN
from pyimagesearch.faces import MIN_SIDE
from pyimagesearch.folds import BLOCKS, FOLDS
from pyimagesearch.labels import THRESHOLD

import cv2
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
NAMES = "README.md", *(f"docs/{name}.md" for name in ("data", "report", "testing"))
NAMES = *NAMES, "docs/library.md", "docs/port.md"
PAGES = {name: (ROOT / name).read_text() for name in NAMES}
README, PORT = PAGES["README.md"], PAGES["docs/port.md"]
JOINED = "\n".join(PAGES.values()).replace("\\\n", " ")
TEXT = " ".join(JOINED.split())
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
    for block in re.findall(r"```sh\n(.*?)```", JOINED, re.DOTALL)
    for line in block.splitlines()
]
INLINE = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", JOINED, flags=re.DOTALL))
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
OTHERS = re.compile(r"\b(pip|make|systemctl|rpicam-vid)\b")  # programs with flags


def read_help(name, capsys):
    """Return the flags of a script, each with its default as --help states it."""
    with pytest.raises(SystemExit):
        SCRIPTS[name].parse_args(["--help"])
    defaults = {}
    for text in re.split(r"\n  (?=-)", capsys.readouterr().out)[1:]:
        default = re.search(r"\(default: ([^)]+)\)", " ".join(text.split()))
        for flag in FLAG.findall(text.split("  ")[0]):  # --simulate, --no-simulate
            defaults[flag] = default and default[1]
    return defaults


def section(page, heading):
    """Return what stands below a heading."""
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.M | re.S)[1]


def test_readme_is_short():
    assert len(README.splitlines()) <= 170
    assert len(README.split()) <= 1300


@pytest.mark.parametrize("name", NAMES)
def test_pages_are_short_and_their_lines_readable(name):
    lines = PAGES[name].splitlines()
    assert name == "README.md" or len(lines) <= 130
    assert [line for line in lines if len(line) > 110 and line[0] != "|"] == []


def test_every_flag_is_one_of_a_script_and_so_is_its_default(capsys):
    """A default is written as: `--flag` (default: value)."""
    helps = [read_help(name, capsys) for name in SCRIPTS]
    known = set().union(*helps)
    texts = [text for text in [*COMMANDS, *INLINE] if OTHERS.search(text)]
    known |= set(FLAG.findall(" ".join(texts)))
    assert set(FLAG.findall(JOINED)) <= known
    for flag, value in re.findall(r"`(--[a-z-]+)` \(default:? `?([^)`]+)`?\)", TEXT):
        assert value in [defaults.get(flag) for defaults in helps]


@pytest.mark.parametrize(
    "options", sorted({text for text in INLINE if re.match("--.*\\s[^-]", text)})
)
def test_options_with_a_value_are_understood(options, capsys):
    words = shlex.split(options)
    owners = [
        n for n in SCRIPTS if set(FLAG.findall(options)) <= set(read_help(n, capsys))
    ]
    assert owners
    for name in owners:
        SCRIPTS[name].parse_args([*NEEDED.get(name, []), *words])


@pytest.mark.parametrize(
    "command", [c for c in [*COMMANDS, *INLINE] if re.search(r"python \w+\.py\s", c)]
)
def test_every_command_is_understood(command):
    words = shlex.split(command, comments=True)
    place = next(i for i, word in enumerate(words) if word in SCRIPTS)
    SCRIPTS[words[place]].parse_args(words[place + 1 :])


@pytest.mark.parametrize(
    "statement",
    [
        f"every {GATHER.skip}th frame",
        f"dealt into {FOLDS} folds",
        f"{WORDS[BLOCKS]} blocks",
        f"threshold of {THRESHOLD} ",
        f"opens camera {DEMO.input}, ",
        f"averaged over {WORDS[DEMO.smooth]} (`--smooth`)",
        f"reopened {WORDS[len(REOPEN_PAUSES)]} times",
        f"With {WORDS[ENOUGH_TO_TRAIN]} of each",
        f"faces under {MIN_SIDE} pixels",
    ],
)
def test_the_defaults_of_the_code_are_stated(statement):
    assert statement in TEXT.replace("`.", ".")


def test_windows_and_the_makefile_do_the_same_demo():
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1]
    steps = re.findall(r"python (\w+\.py .*)", recipe)
    wanted = [shlex.split(step.replace("--no-display", "")) for step in steps]
    assert len(wanted) == 4
    text = section(PAGES["docs/library.md"], "Windows without make")
    block = re.search(r"```sh\n(.*?)```", text.replace("\\\n", " "), re.DOTALL)[1]
    words = [shlex.split(line)[1:] for line in block.splitlines()]
    assert [own for own in words if own[0].endswith(".py")] == wanted


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"`make ([a-z0-9-]+)`", TEXT)))
)
def test_every_target_is_in_the_makefile(target):
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize(
    "name", [*NAMES, "CONTRIBUTING.md", "docs/methods.md", "benchmarks/README.md"]
)
def test_every_link_leads_somewhere(name):
    page = ROOT / name
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        file, _, anchor = link.partition("#")
        target = (page.parent / file) if file else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            plain = [re.sub(r"[^\w -]", "", text.lower()) for text in headings]
            assert anchor in [text.replace(" ", "-") for text in plain], link


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
    for file in re.findall(r"pyimagesearch/\w+\.py", README):
        assert (ROOT / file).exists()


def test_functions_that_the_comparison_with_the_tutorial_names_exist():
    defined = set()
    for path in [*ROOT.glob("*.py"), *ROOT.glob("pyimagesearch/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined.add(node.name)
    rows = re.findall(r"^\|([^|]*)\|([^|]*)\|", PORT, re.MULTILINE)
    named = {name for _, here in rows for name in re.findall(r"`([a-z_]{3,})`", here)}
    assert len(named) > 15
    assert named - defined <= {"categorical_crossentropy"}


def test_the_film_is_six_seconds_and_small():
    path = ROOT / "docs" / "demo.webp"
    assert path.stat().st_size <= 1.5e6
    with Image.open(path) as film:
        milliseconds = 0
        for number in range(film.n_frames):
            film.seek(number)
            film.load()
            milliseconds += film.info["duration"]
    assert 5500 < milliseconds < 6500


def test_the_library_example_runs(trained, videos, tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for path in (trained / "liveness.onnx", trained / "le.pickle"):
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
