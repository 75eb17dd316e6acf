"""The lock file: every version of every extra, and no address of a package index."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = (ROOT / "constraints.txt").read_text().splitlines()[1:]
PINS = {
    canonicalize_name(name): pinned
    for name, _, pinned in (line.partition(" ")[0].partition("==") for line in LINES)
}


def test_lines_are_versions_alone():
    assert len(PINS) == len(LINES)
    assert all(PINS.values())
    assert not [line for line in LINES if "://" in line]


@pytest.mark.parametrize("extra", ["", *PROJECT["optional-dependencies"]])
def test_every_requirement_of_an_extra_is_pinned_within_its_bounds(extra):
    wanted = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    for requirement in map(Requirement, wanted):
        if requirement.name == PROJECT["name"]:  # it includes other extras
            continue
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), (
            requirement
        )
