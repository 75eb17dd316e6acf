"""Configuration: frozen dataclasses filled from defaults < YAML file < ``--set a.b=1``.

An unknown key is an error that names file, line and the nearest key. No code, no class paths.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from bagscan import plain_yaml
from bagscan.core.errors import ConfigError, nearest

T = TypeVar("T")


class OneOf(ABC):
    """A dataclass whose settings say which of its subclasses is meant."""

    @classmethod
    @abstractmethod
    def chosen(cls, data: Mapping[str, Any], where: str) -> type:
        """The subclass that is to be filled.

        Raises:
            ConfigError: there is none such.
        """


Lines = dict[tuple[str, ...], int]


def read_yaml(path: str | Path) -> tuple[dict[str, Any], Lines]:
    """A YAML mapping and the line of every key in it.

    Raises:
        ConfigError: absent, or not a YAML mapping.
    """
    path = Path(path)
    if not path.is_file():
        beside = (
            (other.name for other in path.parent.glob("*.y*ml")) if path.parent.is_dir() else ()
        )
        raise ConfigError(f"{path}: no such configuration file{nearest(path.name, beside)}")
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    data, node = plain_yaml.load_with_nodes(text, str(path))
    lines: Lines = {}
    _collect_lines(node, (), lines)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of settings")
    return data, lines


def _collect_lines(node: yaml.Node | None, at: tuple[str, ...], lines: Lines) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, str(key.value))
            lines[here] = key.start_mark.line + 1
            _collect_lines(value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _collect_lines(value, (*at, str(i)), lines)


def with_given(
    settings: Mapping[str, Any], given: Mapping[str, Any], config: type, where: str
) -> dict[str, Any]:
    """A part's settings with those that follow from the rest of the model, where it has them.

    Args:
        given: what follows, by name. config: the part's configuration. where: the part's place, for errors.

    Raises:
        ConfigError: the settings say something else: it would not be what they say that counts.
    """
    own = {field.name for field in dataclasses.fields(config)}
    filled = dict(settings)
    for name, value in given.items():
        if name in own and filled.setdefault(name, value) != value:
            raise ConfigError(
                f"{where}.{name} follows from the rest of the model and is {value}, not {filled[name]}: leave it out"
            )
    return filled


def apply_settings(
    data: dict[str, Any], settings: Sequence[str], lines: Lines | None = None
) -> None:
    """Apply ``a.b=1`` settings in place; values are YAML.

    Args:
        lines: of the file's keys, of which those that are set here are left out: an error in them is not the file's.
    """
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: expected key=value")
        *parents, last = key.strip().split(".")
        for known in [
            place for place in lines or () if place[: len(parents) + 1] == (*parents, last)
        ]:
            lines.pop(known)  # type: ignore[union-attr]
        node: Any = data
        for parent in parents:
            node = _member(node, parent, setting)
        if isinstance(node, list):
            _member(node, last, setting, any_kind=True)
            node[int(last)] = _value(value, f"--set {setting}")
        else:
            node[last] = _value(value, f"--set {setting}")


def _member(node: Any, name: str, setting: str, any_kind: bool = False) -> Any:
    """A group of settings inside another, made where it is absent, or a member of a list."""
    if isinstance(node, list):
        if not name.isdigit() or int(name) >= len(node):
            raise ConfigError(
                f"--set {setting}: there is no member {name}; the list has 0 to {len(node) - 1}"
            )
        found = node[int(name)]
    else:
        found = node.setdefault(name, {})
    if not isinstance(found, dict | list) and not any_kind:
        raise ConfigError(f"--set {setting}: {name} is not a group of settings")
    return found


def parse_mapping(text: str, where: str) -> dict[str, Any]:
    """``{name: grid, cell_px: 32}`` as given on a command line."""
    value = _value(text, where)
    if not isinstance(value, dict):
        raise ConfigError(f"{where} {text}: expected settings like '{{name: grid, cell_px: 32}}'")
    return value


def _value(text: str, where: str) -> Any:
    return plain_yaml.load(text, where)


def fill(
    cls: type[T],
    data: Mapping[str, Any],
    where: str = "configuration",
    lines: Lines | None = None,
    at: tuple[str, ...] = (),
) -> T:
    """Build a dataclass from plain data, checking every key and type, nested ones too.

    Raises:
        ConfigError: an unknown key, a wrong type, or a value that the class itself refuses.
    """
    if issubclass(cls, OneOf):
        cls = cls.chosen(data, f"{where}: {'.'.join(at)}")
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = _hints(cls)  # type: ignore[arg-type]
    values = {}
    for key, value in data.items():
        here = (*at, str(key))
        # A key without a line in a file that was read can only come from the command line.
        spot = (
            where
            if lines is None
            else f"{where}:{lines[here]}"
            if here in lines
            else f"--set, over {where}"
        )
        if key not in known:
            raise ConfigError(f"{spot}: unknown key {'.'.join(here)!r}{nearest(str(key), known)}")
        values[key] = _convert(hints[key], value, spot, where, lines, here)
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {'.'.join(at) or cls.__name__}: {error}") from error


@lru_cache
def _hints(cls: type) -> dict[str, Any]:
    """Types of a class's fields; to work them out compiles every annotation, and parts are filled for every scan."""
    return typing.get_type_hints(cls)


def _convert(
    hint: Any, value: Any, spot: str, where: str, lines: Lines | None, at: tuple[str, ...]
) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, spot, where, lines, at)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{spot}: {'.'.join(at)} must be a group of settings, got {value!r}")
        return fill(hint, value, where, lines, at)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{spot}: {'.'.join(at)} must be a list, got {value!r}")
        inner = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(inner) != len(value):
            raise ConfigError(
                f"{spot}: {'.'.join(at)} must have {len(inner)} values, got {value!r}"
            )
        return tuple(
            _convert(h, v, spot, where, lines, (*at, str(i)))
            for i, (h, v) in enumerate(zip(inner, value, strict=True))
        )
    if origin in (dict, Mapping) or hint is Any or origin is not None:
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):  # YAML reads 1e-4 as text
        try:
            return float(value)
        except ValueError:
            pass
    if isinstance(hint, type) and (
        not isinstance(value, hint) or (hint is int and isinstance(value, bool))
    ):
        raise ConfigError(f"{spot}: {'.'.join(at)} must be {hint.__name__}, got {value!r}")
    return value
