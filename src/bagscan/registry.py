"""Parts by name: the registry name is the module name, and nothing is imported before it is asked for.

Others add theirs by entry points: ``bagscan.regions``, ``bagscan.encoders``, ``bagscan.scorers`` and ``bagscan.datasets`` name
modules, ``bagscan.formats`` a :class:`bagscan.formats.scans.ScanFormat` by ending.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from bagscan.core.errors import ConfigError, nearest

KINDS = ("regions", "encoders", "scorers")  # of models
ALL = (*KINDS, "datasets")


def offered(kind: str) -> dict[str, EntryPoint]:
    """What other packages add to a kind, by name."""
    return {point.name: point for point in entry_points(group=f"bagscan.{kind}")}


def _own(kind: str) -> list[str]:
    """Modules of the part's folder that say they are a part: those with a ``tiny`` function."""
    package = importlib.import_module(f"bagscan.{kind}")
    return list(package.PARTS)


def names(kind: str) -> list[str]:
    """Every known part of a kind: ours, then third parties' from the entry point ``bagscan.<kind>``."""
    if kind not in ALL:
        raise ConfigError(f"unknown kind of part {kind!r}; kinds are {', '.join(ALL)}")
    return [*_own(kind), *offered(kind)]


def part(kind: str, name: str) -> ModuleType:
    """The module of one part, with ``Config``, and of a model's with ``build``, ``tiny`` and ``CARD`` too.

    Raises:
        ConfigError: an unknown name, with the nearest known one.
    """
    if name in _own(kind):
        return importlib.import_module(f"bagscan.{kind}.{name}")
    if name in (others := offered(kind)):
        module: ModuleType = others[name].load()
        return module
    raise ConfigError(
        f"no part {name!r} in {kind}{nearest(name, names(kind))} (bagscan doctor lists them all)"
    )


def modules_of(kind: str) -> list[str]:
    """File names in a part kind's folder, for the test that keeps ``PARTS`` complete."""
    package = importlib.import_module(f"bagscan.{kind}")
    return [m.name for m in pkgutil.iter_modules(package.__path__)]
