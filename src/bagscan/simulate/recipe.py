"""What the scenes of a data set are made of: the fields of a preset, and the random streams and pieces that follow from them."""

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
from bagscan.simulate.devices import NAMES, Family, build_device, draw_family, owned_piece

# Streams of one scan; a new one is added at the end, so that the others stay as they are.
STREAMS = ("plan", "device", "bag", "items", "anomaly", "noise_seed", "belt", "pair", "machine")
# How the scenes of a data set are staged: a piece of the collection in one of its fixed stagings, such a
# piece with something hidden anew, or another family with something hidden anew.
GROUPS = ("known_stagings", "new_stagings", "other_families")


@dataclass(frozen=True)
class Recipe:
    """What scenes of a data set are made of; the fields of a preset's YAML file.

    Attributes:
        count: scans; a scene makes two, without and with its anomaly. seed: root of all streams but the collection's.
        collection: seed of the pieces that a laboratory owns and of their stagings: the same in sets of any seed.
        pieces: owned of each device. stagings: of each piece.
        groups: relative frequency of each of ``GROUPS``.
        profile: scanner, by name or file. profile_sha256: hash that the profile must have, or null.
        devices: classes under test, taken in turn. parts: relative sizes.
        bags: relative frequency by kind. items: fewest and most other things in a bag.
        look_alikes: chance of each of up to three look-alikes. more_devices: chance of each of two more devices.
        kinds, ways: of anomalies. sizes: one of :data:`bagscan.simulate.anomalies.SIZES`.
        vary_machine: whether noise, blur, scatter and faults differ from scan to scan within the ranges of
            real machines, in place of the profile's own.
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
    kinds: tuple[str, ...] = KINDS
    ways: tuple[str, ...] = tuple(WAYS)
    sizes: str = "operational"
    vary_machine: bool = False

    def __post_init__(self) -> None:
        known = {
            "devices": NAMES,
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
            for one in given:
                if one not in allowed:
                    raise ValueError(
                        f"{name}: unknown {one!r}{nearest(str(one), allowed)}; there are {', '.join(allowed)}"
                    )
        for name in ("parts", "bags", "groups"):
            shares = list(getattr(self, name).values())
            if min(shares) < 0 or sum(shares) <= 0:
                raise ValueError(
                    f"{name}: sizes must be 0 or more and not all 0, got {dict(getattr(self, name))}"
                )
        for name in ("look_alikes", "more_devices"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0 to 1, got {getattr(self, name)}")
        if len(set(self.devices)) < len(self.devices):
            raise ValueError(f"devices repeat: {self.devices}")
        if len(self.items) != 2 or not 0 <= self.items[0] <= self.items[1]:
            raise ValueError(f"items must be the fewest and the most, got {list(self.items)}")
        if self.sizes not in SIZES:
            raise ValueError(
                f"sizes: unknown {self.sizes!r}{nearest(self.sizes, SIZES)}; there are {', '.join(SIZES)}"
            )
        for name, least in (
            ("count", 1),
            ("seed", 0),
            ("collection", 0),
            ("pieces", 1),
            ("stagings", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")

    @property
    def scenes(self) -> int:
        """Scenes that make ``count`` scans; of an odd number, the last scene is scanned twice all the same."""
        return -(-self.count // 2)

    def stream(self, index: int, name: str) -> np.random.Generator:
        """Random numbers of one purpose of one scene."""
        return np.random.default_rng(
            np.random.SeedSequence(self.seed, spawn_key=(index, STREAMS.index(name)))
        )

    def family(self, device: str, part: str, group: str, rng: np.random.Generator) -> Family:
        """A piece of the collection, or a family that belongs to a part."""
        if group == "other_families":
            return draw_family(device, part, rng)
        return owned_piece(device, self.collection, self.pieces, int(rng.integers(self.pieces)))

    def build(self, family: Family, rng: np.random.Generator) -> tuple[Assembly, dict[str, Any]]:
        """A device; a piece of the collection is the same in every scan, whatever ``rng``."""
        if family.piece is None:
            return build_device(family, rng)
        return owned_device(self.collection, family)


def collection_stream(collection: int, *key: int) -> np.random.Generator:
    """Random numbers of one thing of a laboratory's collection."""
    return np.random.default_rng(np.random.SeedSequence(collection, spawn_key=key))


@functools.lru_cache(maxsize=128)
def owned_device(collection: int, family: Family) -> tuple[Assembly, dict[str, Any]]:
    """A piece of a laboratory's collection, the same in every scan."""
    assert family.piece is not None
    return build_device(
        family, collection_stream(collection, 0, NAMES.index(family.device), family.piece)
    )
