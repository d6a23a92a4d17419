import re
import shlex
from pathlib import Path

import gather_examples
import liveness_demo
import train

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text().replace("\\\n", " ")
SCRIPTS = {
    "gather_examples.py": gather_examples,
    "train.py": train,
    "liveness_demo.py": liveness_demo,
}
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]


def flags_of(name, capsys):
    with pytest.raises(SystemExit):
        SCRIPTS[name].parse_args(["--help"])
    text = capsys.readouterr().out
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))


def test_every_flag_of_readme_is_in_a_command(capsys):
    flags = set.union(*(flags_of(name, capsys) for name in SCRIPTS))
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README))
    assert len(mentioned) > 10
    assert mentioned <= flags


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_flag_has_a_line_of_help(name, capsys):
    with pytest.raises(SystemExit):
        SCRIPTS[name].parse_args(["--help"])
    text = capsys.readouterr().out.partition("options:")[2]
    for entry in re.split(r"\n  (?=-)", text)[1:]:
        flags, _, help_text = " ".join(entry.split()).partition("  ")
        assert re.search(r"[a-z]{3}", (help_text or flags).rpartition("]")[2])
    assert {"-h", "--help"} < flags_of(name, capsys)


def test_what_readme_says_of_defaults_is_true():
    assert gather_examples.parse_args(["-i", "a", "-o", "b"]).skip == 16
    assert "every 16th frame" in README
    assert liveness_demo.parse_args([]).smooth == 0.5
    assert "averaged over half a second" in " ".join(README.split())
    assert liveness_demo.parse_args([]).threshold == [0.5]
    assert "The threshold of 0.5" in README
    assert train.FOLDS == 4
    assert "dealt into 4 folds" in README


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 250
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if re.search(r"python \w+\.py", c)]
)
def test_every_command_of_readme_is_understood(command):
    _, script, *arguments = shlex.split(command)
    SCRIPTS[script].parse_args(arguments)


def test_readme_and_the_makefile_do_the_same_demo():
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
    steps = re.findall(r"python (\w+\.py .*)", recipe)
    wanted = [shlex.split(step.replace("--no-display", "")) for step in steps]
    assert len(wanted) == 4
    block = [shlex.split(c)[1:] for c in COMMANDS if c.startswith(".venv/bin/python ")]
    assert [words for words in block if words[0].endswith(".py")] == wanted


@pytest.mark.parametrize("target", re.findall(r"`make ([a-z-]+)`", README))
def test_every_target_of_readme_is_in_the_makefile(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_link_leads_somewhere():
    for link in re.findall(r"\]\(([^)]+)\)", README):
        if link.startswith("#"):
            headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
            assert link[1:] in [h.lower().replace(" ", "-") for h in headings]
        else:
            assert (ROOT / link).exists()
