"""Settings of a simulated dataset, with its random streams and its collection of devices."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bagscan.core.errors import nearest
from bagscan.simulate.anomalies import KINDS, SIZES
from bagscan.simulate.assembly import Assembly
from bagscan.simulate.bags import KINDS as BAGS
from bagscan.simulate.concealment import WAYS
from bagscan.simulate.devices import (
    Family,
    build_device,
    draw_family,
    names,
    owned_piece,
    seed_of,
)
from bagscan.simulate.prohibited import NAMES as PROHIBITED

# Random streams of a scene. Append new streams, so that the existing streams do not change.
STREAMS = (
    "plan",
    "device",
    "bag",
    "items",
    "anomaly",
    "noise_seed",
    "belt",
    "pair",
    "machine",
    "prohibited",
    "neighbours",
)
# Groups of scenes: a piece of the collection in a fixed staging, a piece of the collection in a new
# staging, or a device of another family in a new staging.
GROUPS = ("known_stagings", "new_stagings", "other_families")


@dataclass(frozen=True)
class Recipe:
    """Settings of a simulated dataset; the keys of a preset's YAML file.

    Attributes:
        devices: classes of the device under test, in equal numbers.
        count: number of scans. A scene yields two scans, without and with its anomaly.
        seed: seed of all random streams except those of the collection.
        collection: seed of the devices that a simulated laboratory owns and of their stagings;
            they are the same in datasets of any ``seed``.
        pieces: number of pieces of each device in the collection.
        stagings: number of fixed stagings of each piece.
        groups: relative frequency of each of ``GROUPS``.
        profile: scanner profile, by name or YAML file.
        profile_sha256: expected hash of the profile, or null to accept any.
        parts: relative sizes of the splits ``train``, ``val`` and ``test``.
        bags: relative frequency of each kind of bag.
        items: minimum and maximum number of other things in a bag.
        look_alikes: probability of each of up to three look-alikes.
        more_devices: probability of each of up to two more devices.
        prohibited: minimum and maximum number of prohibited items in a bag. They lie in both scans
            of a scene. As many benign things that resemble them are added.
        prohibited_classes: classes of prohibited items.
        neighbours: probability of each of two more bags, in front of the bag and behind it. The
            image shows a part of each. They hold no devices.
        kinds: kinds of anomalies.
        ways: ways of concealment.
        sizes: range of anomaly sizes, one of :data:`bagscan.simulate.anomalies.SIZES`.
        vary_machine: if true, tube, filter, noise, blur, scatter and faults vary from scan to scan
            within the ranges of real scanners and replace those of the profile.
        crumpled: if true, there are more garments, with fine folds, and with prohibited items more
            things of real luggage.
    """

    devices: tuple[str, ...]
    count: int = 100
    seed: int = 0
    collection: int = 2019
    pieces: int = 6
    stagings: int = 3
    groups: Mapping[str, float] = field(
        default_factory=lambda: {"new_stagings": 1, "other_families": 1}
    )
    profile: str = "g640"
    profile_sha256: str | None = None
    parts: Mapping[str, int] = field(default_factory=lambda: {"train": 6, "val": 1, "test": 3})
    bags: Mapping[str, float] = field(
        default_factory=lambda: {"tray": 0.4, "soft_bag": 0.35, "hard_case": 0.25}
    )
    items: tuple[int, int] = (0, 15)
    look_alikes: float = 0.35
    more_devices: float = 0.35
    prohibited: tuple[int, int] = (0, 0)
    prohibited_classes: tuple[str, ...] = PROHIBITED
    neighbours: float = 0.0
    kinds: tuple[str, ...] = KINDS
    ways: tuple[str, ...] = tuple(WAYS)
    sizes: str = "operational"
    vary_machine: bool = False
    crumpled: bool = False

    def __post_init__(self) -> None:
        known = {
            "devices": names(),
            "prohibited_classes": PROHIBITED,
            "kinds": KINDS,
            "ways": tuple(WAYS),
            "bags": BAGS,
            "parts": ("train", "val", "test"),
            "groups": GROUPS,
        }
        for name, allowed in known.items():
            given = tuple(getattr(self, name))
            if not given:
                raise ValueError(f"{name} must not be empty")
            for value in given:
                if value not in allowed:
                    raise ValueError(
                        f"{name}: unknown {value!r}{nearest(str(value), allowed)}; "
                        f"available: {', '.join(allowed)}"
                    )
        for name in ("parts", "bags", "groups"):
            shares = list(getattr(self, name).values())
            if min(shares) < 0 or sum(shares) <= 0:
                raise ValueError(
                    f"{name}: values must be 0 or more and not all 0, "
                    f"got {dict(getattr(self, name))}"
                )
        for name in ("look_alikes", "more_devices", "neighbours"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if len(set(self.devices)) < len(self.devices):
            raise ValueError(f"devices must not repeat, got {', '.join(self.devices)}")
        for name in ("items", "prohibited"):
            limits = getattr(self, name)
            if len(limits) != 2 or not 0 <= limits[0] <= limits[1]:
                raise ValueError(
                    f"{name} must be the minimum and the maximum, both 0 or more, "
                    f"got {list(limits)}"
                )
        if self.sizes not in SIZES:
            raise ValueError(
                f"sizes: unknown {self.sizes!r}{nearest(self.sizes, SIZES)}; "
                f"available: {', '.join(SIZES)}"
            )
        for name, minimum in (
            ("count", 1),
            ("seed", 0),
            ("collection", 0),
            ("pieces", 1),
            ("stagings", 1),
        ):
            if getattr(self, name) < minimum:
                raise ValueError(f"{name} must be {minimum} or more, got {getattr(self, name)}")

    @property
    def scenes(self) -> int:
        """Number of scenes. If ``count`` is odd, the last scene is still scanned twice."""
        return -(-self.count // 2)

    def stream(self, index: int, name: str) -> np.random.Generator:
        """Return the random generator of a scene for a purpose, one of ``STREAMS``."""
        return np.random.default_rng(
            np.random.SeedSequence(self.seed, spawn_key=(index, STREAMS.index(name)))
        )

    def family(self, device: str, part: str, group: str, rng: np.random.Generator) -> Family:
        """Draw a piece of the collection, or a family of the split ``part``."""
        if group == "other_families":
            return draw_family(device, part, rng)
        return owned_piece(device, self.collection, self.pieces, int(rng.integers(self.pieces)))

    def build(self, family: Family, rng: np.random.Generator) -> tuple[Assembly, dict[str, Any]]:
        """Build a device and return it with its dimensions.

        A piece of the collection is the same in every scan and does not use ``rng``.
        """
        if family.piece is None:
            return build_device(family, rng)
        return owned_device(self.collection, family)


def collection_stream(collection: int, *key: int) -> np.random.Generator:
    """Return the random generator of an element of a laboratory's collection."""
    return np.random.default_rng(np.random.SeedSequence(collection, spawn_key=key))


@functools.lru_cache(maxsize=128)
def owned_device(collection: int, family: Family) -> tuple[Assembly, dict[str, Any]]:
    """Build a piece of a laboratory's collection; it is the same in every scan."""
    assert family.piece is not None
    return build_device(
        family, collection_stream(collection, 0, seed_of(family.device), family.piece)
    )
