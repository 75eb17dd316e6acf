"""YAML without its surprises."""

import pytest

from bagscan import plain_yaml
from bagscan.config import read_yaml
from bagscan.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0100", 100),
        ("1:30", "1:30"),
        ("0x10", 16),
        ("1e-4", 1e-4),
        (".5", 0.5),
        ("-3", -3),
        ("no", "no"),
        ("true", True),
        ("2026-02-30", "2026-02-30"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("null", None),
        ("'7'", "7"),
    ],
)
def test_values_are_what_they_look_like(text, value):
    found = plain_yaml.load(text, "here")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: 2\na: 3",
        "a: &x [1]\nb: *x",
        "a: &x\n  b: *x",
        "a: [",
        "!!python/object:os.system x",
        "a: b: c",
    ],
)
def test_what_is_ambiguous_or_unsafe_is_refused(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        read_yaml(tmp_path / "c.yaml")


def test_nested_aliases_cannot_fill_the_memory():
    bomb = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    with pytest.raises(ConfigError):
        plain_yaml.load(bomb, "bomb")


def test_the_line_of_a_repeated_key_is_named():
    with pytest.raises(ConfigError, match="here:3"):
        plain_yaml.load("host: a\nport: 1\nhost: b", "here")
