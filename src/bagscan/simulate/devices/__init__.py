"""Devices: one file each, a parametric family with its own dimensions and layouts.

A device file holds ``LAYOUTS`` (three or more), ``DIMENSIONS`` (ten or more, with units in their
names) and ``build(b, d, layout)``, which adds solids to a :class:`bagscan.simulate.assembly.Builder`
with x and y in the plane that it lies in and z up. To add a device, write the file and add its name
to ``NAMES``.

A *family* is one product: a layout and a number. It fixes the nominal dimensions; every piece of it
differs by a little, and by what its boards and cords look like. Training, validation and test use
different families, and the last layout of every device is kept for test alone.
"""

from __future__ import annotations

import dataclasses
import importlib
import zlib
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from bagscan.core.errors import ConfigError, nearest
from bagscan.simulate.assembly import Assembly, Builder

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
FAMILIES_PER_LAYOUT = 10
VALIDATION_FAMILIES, TEST_FAMILIES = (7,), (8, 9)
PIECE_TOLERANCE = 0.015


@dataclass(frozen=True)
class Family:
    """One product.

    Attributes:
        piece: number of one piece of it in a laboratory's collection; None for a new one.
    """

    device: str
    layout: str
    number: int
    piece: int | None = None

    @property
    def name(self) -> str:
        """For example ``laptop/drive_bay/03``."""
        return f"{self.device}/{self.layout}/{self.number:02d}"

    @property
    def part(self) -> str:
        """``train``, ``val`` or ``test``: which part of a data set it may appear in."""
        if self.layout == device_module(self.device).LAYOUTS[-1] or self.number in TEST_FAMILIES:
            return "test"
        return "val" if self.number in VALIDATION_FAMILIES else "train"


def device_module(name: str) -> ModuleType:
    """The file of a device.

    Raises:
        ConfigError: no such device.
    """
    if name not in NAMES:
        raise ConfigError(
            f"unknown device {name!r}{nearest(name, NAMES)}; there are {', '.join(NAMES)}"
        )
    return importlib.import_module(f"bagscan.simulate.devices.{name}")


def families(device: str, part: str | None = None) -> list[Family]:
    """All families of a device, or those of one part of a data set."""
    every = [
        Family(device, layout, k)
        for layout in device_module(device).LAYOUTS
        for k in range(FAMILIES_PER_LAYOUT)
    ]
    return [family for family in every if part in (None, family.part)]


def draw_family(device: str, part: str | None, rng: np.random.Generator) -> Family:
    """One family; in the test part half are of the layout that training never sees."""
    there = families(device, part)
    if part == "test":
        unseen = device_module(device).LAYOUTS[-1]
        wanted = rng.random() < 0.5
        there = [family for family in there if (family.layout == unseen) == wanted]
    return there[int(rng.integers(len(there)))]


def owned_piece(device: str, collection: int, pieces: int, piece: int) -> Family:
    """The family of one of the pieces that a laboratory's collection holds; a collection's seed says which it bought."""
    owned = families(device, "train")
    first = int(
        np.random.default_rng(
            np.random.SeedSequence([collection, zlib.crc32(device.encode())])
        ).integers(len(owned))
    )
    # Spread over layouts first: neighbours in the list differ by number alone.
    return dataclasses.replace(
        owned[(first + piece * len(owned) // pieces) % len(owned)], piece=piece
    )


def dimensions(family: Family, rng: np.random.Generator | None = None) -> dict[str, Any]:
    """What was drawn for a family; with ``rng``, of one piece of it, a little off."""
    nominal = np.random.default_rng(np.random.SeedSequence([zlib.crc32(family.name.encode()), 20]))
    drawn: dict[str, Any] = {}
    for name, choice in device_module(family.device).DIMENSIONS.items():
        if (
            isinstance(choice, tuple)
            and len(choice) == 2
            and all(isinstance(c, float) for c in choice)
        ):
            value = nominal.uniform(*choice)
            drawn[name] = float(
                value
                if rng is None
                else value * (1 + rng.uniform(-PIECE_TOLERANCE, PIECE_TOLERANCE))
            )
        else:
            drawn[name] = choice[int(nominal.integers(len(choice)))]
    return drawn


def build_device(family: Family, rng: np.random.Generator) -> tuple[Assembly, dict[str, Any]]:
    """One piece of a family, and its dimensions."""
    drawn = dimensions(family, rng)
    builder = Builder(rng)
    device_module(family.device).build(builder, SimpleNamespace(**drawn), family.layout)
    return builder.build(), drawn
