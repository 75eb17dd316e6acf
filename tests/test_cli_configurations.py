"""A configuration is a file or a bundled preset; bagscan never guesses between the two."""

from pathlib import Path

import pytest

from bagscan.cli.terminal import PRESETS, configuration
from bagscan.core.errors import ConfigError


def test_a_preset_is_found_wherever_bagscan_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert configuration(None, "detector") == PRESETS / "detector.yaml"
    assert configuration(None, "detector").is_file()


def test_a_file_is_taken_as_it_is(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("kind: detector")
    assert configuration(own, None) == own


@pytest.mark.parametrize(
    ("config", "preset"),
    [(None, None), (Path("own.yaml"), "detector"), (None, "detectr"), (Path("detector"), None)],
)
def test_none_both_or_an_unknown_one_is_refused(config, preset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        configuration(config, preset)


def test_a_mistyped_preset_is_told_its_neighbour():
    with pytest.raises(ConfigError, match="'detector'"):
        configuration(None, "detectr")
