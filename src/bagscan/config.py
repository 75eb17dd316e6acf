"""Configuration in frozen dataclasses, from defaults < YAML file < ``--set a.b=1``.

The error for an unknown key names file, line and the most similar key. Values are plain data,
never code or class paths.
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
    """Dataclass whose subclass is chosen by its settings."""

    @classmethod
    @abstractmethod
    def chosen(cls, data: Mapping[str, Any], where: str) -> type:
        """Return the subclass for the settings.

        Args:
            data: the settings.
            where: location of the settings, for error messages.

        Raises:
            ConfigError: the settings do not match a subclass.
        """


Lines = dict[tuple[str, ...], int]


def read_yaml(path: str | Path) -> tuple[dict[str, Any], Lines]:
    """Read a YAML mapping.

    Returns:
        The mapping, and the line number of each key path.

    Raises:
        ConfigError: the file is missing, or is not a YAML mapping.
    """
    path = Path(path)
    if not path.is_file():
        siblings = path.parent.glob("*.y*ml") if path.parent.is_dir() else ()
        names = [sibling.name for sibling in siblings]
        raise ConfigError(f"{path}: no such configuration file{nearest(path.name, names)}")
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


def with_derived(
    settings: Mapping[str, Any], given: Mapping[str, Any], config: type, where: str
) -> dict[str, Any]:
    """Return settings with those that follow from the rest of the model.

    Args:
        settings: settings of a regioner, encoder or scorer.
        given: values that follow from the rest of the model; unknown names are ignored.
        config: configuration class.
        where: location of the settings, for error messages.

    Raises:
        ConfigError: a setting differs from the value that follows from the rest of the model.
    """
    own = {field.name for field in dataclasses.fields(config)}
    filled = dict(settings)
    for name, value in given.items():
        if name in own and filled.setdefault(name, value) != value:
            raise ConfigError(
                f"{where}.{name} is {filled[name]}, "
                f"but must be {value} in this model; omit the setting"
            )
    return filled


def apply_settings(
    data: dict[str, Any], settings: Sequence[str], lines: Lines | None = None
) -> None:
    """Apply ``a.b=1`` settings in place. Values are YAML.

    Args:
        data: the configuration.
        settings: the ``--set`` settings.
        lines: line numbers of the file's keys. Keys that are set here are removed, so that their
            errors are not attributed to the file.

    Raises:
        ConfigError: a setting is not of the form key=value, or its key does not exist.
    """
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: expected key=value")
        *parents, last = key.strip().split(".")
        prefix = (*parents, last)
        for path in [path for path in lines or () if path[: len(prefix)] == prefix]:
            lines.pop(path)  # type: ignore[union-attr]
        node: Any = data
        for parent in parents:
            node = _member(node, parent, setting)
        if isinstance(node, list):
            _member(node, last, setting, any_kind=True)
            node[int(last)] = _value(value, f"--set {setting}")
        else:
            node[last] = _value(value, f"--set {setting}")


def _member(node: Any, name: str, setting: str, any_kind: bool = False) -> Any:
    """Return a group of settings inside a group, created if missing, or an item of a list."""
    if isinstance(node, list):
        if not name.isdigit() or int(name) >= len(node):
            raise ConfigError(
                f"--set {setting}: index {name} is out of range; expected 0 to {len(node) - 1}"
            )
        member = node[int(name)]
    else:
        member = node.setdefault(name, {})
    if not isinstance(member, dict | list) and not any_kind:
        raise ConfigError(f"--set {setting}: {name} is not a group of settings")
    return member


def parse_mapping(text: str, where: str) -> dict[str, Any]:
    """Parse a mapping from the command line, such as ``{name: grid, cell_px: 32}``.

    Raises:
        ConfigError: the text is not a YAML mapping.
    """
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
    """Build a dataclass from plain data, checking all keys and types, including nested ones.

    Args:
        cls: the dataclass.
        data: plain data.
        where: name of the file or option, for error messages.
        lines: line numbers of the file's keys, from :func:`read_yaml`.
        at: key path of ``data`` in the file.

    Raises:
        ConfigError: an unknown key, a wrong type, or a value that the class refuses.
    """
    if issubclass(cls, OneOf):
        cls = cls.chosen(data, f"{where}: {'.'.join(at)}")
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = _hints(cls)  # type: ignore[arg-type]
    values = {}
    for key, value in data.items():
        here = (*at, str(key))
        if lines is None:
            spot = where
        elif here in lines:
            spot = f"{where}:{lines[here]}"
        else:  # only keys of the command line have no line
            spot = f"--set, over {where}"
        if key not in known:
            raise ConfigError(f"{spot}: unknown key {'.'.join(here)!r}{nearest(str(key), known)}")
        values[key] = _convert(hints[key], value, spot, where, lines, here)
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {'.'.join(at) or cls.__name__}: {error}") from error


@lru_cache
def _hints(cls: type) -> dict[str, Any]:
    """Return the types of a class's fields, cached because it compiles every annotation."""
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
    if hint is float and isinstance(value, str):  # YAML reads 1e-4 as a string
        try:
            return float(value)
        except ValueError:
            pass
    if isinstance(hint, type) and (
        not isinstance(value, hint) or (hint is int and isinstance(value, bool))
    ):
        raise ConfigError(f"{spot}: {'.'.join(at)} must be {hint.__name__}, got {value!r}")
    return value
