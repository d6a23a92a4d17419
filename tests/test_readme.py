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


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_flag_of_help_is_in_readme_with_its_default(name, capsys):
    with pytest.raises(SystemExit):
        SCRIPTS[name].parse_args(["--help"])
    text = capsys.readouterr().out
    section = re.search(rf"### {name}\n(.*?)(\n##|\Z)", README, re.DOTALL)[1]
    flags = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text)) - {"-h", "--help"}
    assert flags
    for flag in flags:
        assert f"`{flag}`" in section
    for default in re.findall(r"\(default: ([^)]+)\)", " ".join(text.split())):
        assert re.search(rf"\| `?{re.escape(default)}`? \|", section)
    for flag in re.findall(r"`(--?[a-z][a-z-]*)`", section):
        assert flag in flags


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
