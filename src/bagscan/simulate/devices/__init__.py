"""Parametric models of devices, a module for each device.

A module defines ``LAYOUTS`` (three or more), ``DIMENSIONS`` (ten or more, with units in their
names) and ``build(b, d, layout)``. This function adds solids to a
:class:`bagscan.simulate.assembly.Builder`; x and y lie in the plane of the resting device, z points
up. To add a device, write its module and append its name to ``NAMES``. Other packages register
theirs with entry points of the group ``bagscan.devices``.

A *family* is a product: a layout and a number. It determines the nominal dimensions. Its pieces
differ slightly in dimensions, and in the details of boards and cords. Training, validation and test
use different families. The last layout of every device is reserved for test.
"""

from __future__ import annotations

import dataclasses
import importlib
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from bagscan import registry
from bagscan.core.errors import ConfigError, nearest
from bagscan.simulate import prohibited
from bagscan.simulate.assembly import Assembly, Builder

# Append new devices at the end: seeds of collections contain the position of a device.
PAPER_A = ("bottle", "hairdryer", "iron", "toaster", "phone", "laptop")
NAMES = (
    *PAPER_A,
    "charger",
    "power_bank",
    "camera",
    "drill",
    "shaver",
    "radio",
    "router",
    "game_controller",
    "external_disk",
    "kettle",
)
MAX_BUILT_IN = 10_000
FAMILIES_PER_LAYOUT = 10
VALIDATION_FAMILIES, TEST_FAMILIES = (7,), (8, 9)
PIECE_TOLERANCE = 0.015
ITEM_TOLERANCE = 0.15  # of prohibited items, so that a few families show many shapes


@dataclass(frozen=True)
class Family:
    """A product, or a piece of it.

    Attributes:
        device: class, one of :func:`names` or :data:`bagscan.simulate.prohibited.NAMES`.
        layout: one of the ``LAYOUTS`` of the device.
        number: number of the family within the layout.
        piece: number of the piece in a laboratory's collection; None for a new piece.
    """

    device: str
    layout: str
    number: int
    piece: int | None = None

    @property
    def name(self) -> str:
        """Device, layout and number, for example ``laptop/drive_bay/03``."""
        return f"{self.device}/{self.layout}/{self.number:02d}"

    @property
    def part(self) -> str:
        """Split of a dataset to which the family belongs: ``train``, ``val`` or ``test``."""
        if self.layout == device_module(self.device).LAYOUTS[-1] or self.number in TEST_FAMILIES:
            return "test"
        return "val" if self.number in VALIDATION_FAMILIES else "train"


def names() -> tuple[str, ...]:
    """Return the names of all devices: first the built-in ones, then those of entry points."""
    return (*NAMES, *(name for name in registry.find_entry_points("devices") if name not in NAMES))


def seed_of(name: str) -> int:
    """Return the number of a device in seeds of collections.

    It is the position of a built-in device, and a hash of the name of any other, so that it does
    not depend on which packages are installed or on later built-in devices.
    """
    return NAMES.index(name) if name in NAMES else MAX_BUILT_IN + zlib.crc32(name.encode())


def device_module(name: str) -> ModuleType:
    """Import the module of a device or of a prohibited item.

    Raises:
        ConfigError: the name is unknown, or the module of another package cannot be imported.
    """
    if name in prohibited.NAMES:
        return importlib.import_module(f"bagscan.simulate.prohibited.{name}")
    if name in NAMES:
        return importlib.import_module(f"bagscan.simulate.devices.{name}")
    if name in (points := registry.find_entry_points("devices")):
        return registry.load(points[name])
    available = (*names(), *prohibited.NAMES)
    raise ConfigError(
        f"unknown device {name!r}{nearest(name, available)}; available: {', '.join(available)}"
    )


def families(device: str, part: str | None = None) -> list[Family]:
    """Return all families of a device, or those of a split."""
    all_families = [
        Family(device, layout, k)
        for layout in device_module(device).LAYOUTS
        for k in range(FAMILIES_PER_LAYOUT)
    ]
    return [family for family in all_families if part in (None, family.part)]


def draw_family(device: str, part: str | None, rng: np.random.Generator) -> Family:
    """Draw a family of a split; in the test split, half have the layout reserved for test."""
    candidates = families(device, part)
    if part == "test":
        reserved_layout = device_module(device).LAYOUTS[-1]
        is_reserved = rng.random() < 0.5
        candidates = [
            family for family in candidates if (family.layout == reserved_layout) == is_reserved
        ]
    return candidates[int(rng.integers(len(candidates)))]


def owned_piece(device: str, collection: int, pieces: int, piece: int) -> Family:
    """Return the family of a piece of a laboratory's collection.

    Args:
        device: class of the device.
        collection: seed of the collection, which determines its families.
        pieces: number of pieces of the device in the collection.
        piece: number of the piece.
    """
    owned = families(device, "train")
    first = int(
        np.random.default_rng(
            np.random.SeedSequence([collection, zlib.crc32(device.encode())])
        ).integers(len(owned))
    )
    # Space the pieces evenly over the list, so that they cover all layouts.
    return dataclasses.replace(
        owned[(first + piece * len(owned) // pieces) % len(owned)], piece=piece
    )


def dimensions(family: Family, rng: np.random.Generator | None = None) -> dict[str, Any]:
    """Return the nominal dimensions of a family, or those of a piece.

    Args:
        family: the family.
        rng: source of the deviations of a piece, up to ``PIECE_TOLERANCE``, of prohibited items
            up to ``ITEM_TOLERANCE`` within their ranges; None for the nominal dimensions.
    """
    nominal = np.random.default_rng(np.random.SeedSequence([zlib.crc32(family.name.encode()), 20]))
    is_item = family.device in prohibited.NAMES
    tolerance = ITEM_TOLERANCE if is_item else PIECE_TOLERANCE
    values: dict[str, Any] = {}
    for name, choice in device_module(family.device).DIMENSIONS.items():
        values[name] = draw_dimension(name, choice, nominal)
        if rng is not None and _is_range(choice):
            values[name] *= 1 + rng.uniform(-tolerance, tolerance)
            if is_item:
                values[name] = float(np.clip(values[name], *choice))
    return values


def draw_dimension(name: str, choice: Sequence[Any], rng: np.random.Generator) -> Any:
    """Draw a dimension from its entry in ``DIMENSIONS``.

    Args:
        name: name of the dimension, with its unit.
        choice: two floats, a range; or any other sequence, a list of choices.
        rng: random generator.

    Raises:
        ConfigError: the choice is a pair of integers for a length, which is probably a range.
    """
    if _is_range(choice):
        return float(rng.uniform(*choice))
    if name.endswith("_mm") and isinstance(choice, tuple) and len(choice) == 2:
        raise ConfigError(
            f"{name}: {choice} is a choice of two lengths; write a range with two floats, "
            "or choices as a list"
        )
    return choice[int(rng.integers(len(choice)))]


def _is_range(choice: Sequence[Any]) -> bool:
    return (
        isinstance(choice, tuple) and len(choice) == 2 and all(isinstance(c, float) for c in choice)
    )


def build_device(family: Family, rng: np.random.Generator) -> tuple[Assembly, dict[str, Any]]:
    """Build a piece of a family and return it with its dimensions."""
    values = dimensions(family, rng)
    builder, dimensions_of_piece = Builder(rng), SimpleNamespace(**values)
    is_component = family.device in prohibited.NAMES  # a single component of that name
    with builder.part(family.device) if is_component else nullcontext():
        device_module(family.device).build(builder, dimensions_of_piece, family.layout)
    return builder.build(), values
