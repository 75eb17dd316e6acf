"""Every command in README and guides is one that bagscan accepts, and every configuration reads."""

import itertools
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from bagscan.cli import app
from bagscan.cli.terminal import PRESETS
from bagscan.config import ConfigError
from bagscan.simulate.dataset import load_recipe
from bagscan.training.experiment import read_experiment

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def documented():
    """Yield the page and the words of each bagscan command in the console blocks."""
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("$ ") and "bagscan" in line:
                    words = shlex.split(line[2:], comments=True)
                    if "bagscan" in words:
                        yield page.name, words[words.index("bagscan") + 1 :]


def configurations():
    """Yield the page and the text of each configuration of a training."""
    for page in PAGES:
        for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
            if text.startswith("kind: "):
                yield page.name, text


COMMANDS = list(documented())
ROOT_COMMAND = get_command(app)


def options(words, name):
    return [after for before, after in itertools.pairwise(words) if before == name]


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=lambda x: x if isinstance(x, str) else "")
def test_a_documented_command_is_accepted(page, words):
    command = ROOT_COMMAND
    rest = list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    command.make_context(words[0], rest)  # raises if an option is unknown or misses its value


@pytest.mark.parametrize(
    "words",
    [words for _, words in COMMANDS if words[0] in ("train", "calibrate", "evaluate")],
    ids=lambda words: shlex.join(words)[:60],
)
def test_settings_of_a_documented_command_exist(words):
    (preset,) = options(words, "--preset") or [""]
    if not preset:  # the configuration is a block of the same page, tested below
        assert words[1].endswith(".yaml")
        return
    read_experiment(PRESETS / f"{preset}.yaml", options(words, "--set"))


@pytest.mark.parametrize(
    "words", [words for _, words in COMMANDS if words[0] == "simulate"], ids=shlex.join
)
def test_a_documented_recipe_exists(words):
    (preset,) = options(words, "--preset")
    assert load_recipe(preset, None, None, None).scenes


@pytest.mark.parametrize(("page", "text"), list(configurations()), ids=lambda x: x[:24])
def test_a_documented_configuration_reads(page, text, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    read_experiment(tmp_path / "config.yaml")


def test_commands_are_found_and_wrong_ones_are_not_accepted():
    assert len(COMMANDS) > 40
    with pytest.raises(Exception, match="No such option"):
        ROOT_COMMAND.commands["screen"].make_context("screen", ["x", "--no-such-option"])
    with pytest.raises(ConfigError):
        read_experiment(PRESETS / "xray_joint.yaml", ["training.no_such_setting=1"])
