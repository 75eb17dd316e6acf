"""Registry of regioners, encoders, scorers, datasets and devices by module name.

Modules are imported on first use. Other packages register theirs with entry points. The groups
``bagscan.regions``, ``bagscan.encoders``, ``bagscan.scorers``, ``bagscan.datasets`` and
``bagscan.devices`` (of the simulator) contain modules. The group ``bagscan.formats`` contains a
:class:`bagscan.formats.scans.ScanFormat` for each file ending.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from bagscan.core.errors import ConfigError, nearest

KINDS = ("regions", "encoders", "scorers")  # the three parts of a model
ALL = (*KINDS, "datasets")


def find_entry_points(kind: str) -> dict[str, EntryPoint]:
    """Return the entry points of other packages for a kind, by name."""
    return {point.name: point for point in entry_points(group=f"bagscan.{kind}")}


def builtin_names(kind: str) -> list[str]:
    """Return the names of a kind that bagscan itself provides."""
    package = importlib.import_module(f"bagscan.{kind}")
    return list(package.PARTS)


def names(kind: str) -> list[str]:
    """Return all names of a kind: first the built-in names, then those of entry points.

    Raises:
        ConfigError: the kind is unknown.
    """
    if kind not in ALL:
        raise ConfigError(f"unknown kind {kind!r}; expected one of {', '.join(ALL)}")
    builtin = builtin_names(kind)
    return [*builtin, *(name for name in find_entry_points(kind) if name not in builtin)]


def part(kind: str, name: str) -> ModuleType:
    """Import a module by kind and name.

    Returns:
        A module with ``Config``; for ``KINDS`` also with ``build``, ``tiny`` and ``CARD``.

    Raises:
        ConfigError: the name is unknown, or the module of another package cannot be imported.
    """
    if name in builtin_names(kind):
        return importlib.import_module(f"bagscan.{kind}.{name}")
    if name in (points := find_entry_points(kind)):
        return load(points[name])
    raise ConfigError(
        f"unknown name {name!r} in {kind}{nearest(name, names(kind))} "
        "(bagscan doctor lists all names)"
    )


def package_of(kind: str, name: str) -> str | None:
    """Return name and version of the package that provides a part; None for built-in parts."""
    point = find_entry_points(kind).get(name)
    if name in builtin_names(kind) or point is None or point.dist is None:
        return None
    return f"{point.dist.name} {point.dist.version}"


def load(point: EntryPoint) -> ModuleType:
    """Import the module of an entry point.

    Raises:
        ConfigError: it cannot be imported.
    """
    try:
        module: ModuleType = point.load()
    except Exception as error:
        package = point.dist.name if point.dist else "another package"
        raise ConfigError(
            f"entry point {point.name} of {package} ({point.value}) cannot be imported: {error}"
        ) from error
    return module


def modules_of(kind: str) -> list[str]:
    """Return the module names in the package of a kind, to test that ``PARTS`` is complete."""
    package = importlib.import_module(f"bagscan.{kind}")
    return [m.name for m in pkgutil.iter_modules(package.__path__)]
