"""Five ways to hide an anomaly in a device. Each searches for free space in voxels.

A place is a box of free voxels, so a device file needs no marked hiding places. A placement is
rejected if more than 0.5 % of the anomaly's volume overlaps other solids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bagscan.simulate.anomalies import (
    LIQUIDS,
    OPERATIONAL,
    POWDERS,
    AnomalyBuilder,
    Sizes,
    build_anomaly,
    draw_place_size,
    is_large_enough,
    size_factor,
)
from bagscan.simulate.assembly import OUTSIDE, Assembly, Builder, join
from bagscan.simulate.free_space import LAYER_MM, FreeSpaces, Search
from bagscan.simulate.occupancy import Grid, occupy
from bagscan.simulate.shapes import fill_cavity

MAX_OVERLAP = 0.005  # share of the anomaly's volume
TRIES = 14  # boxes grown in a search
CONTENTS = ("contents", "water")  # components that can be poured out of a cavity


@dataclass(frozen=True)
class Place:
    """A box for an anomaly, in the frame of the device.

    Attributes:
        centre_mm: (3,).
        size_mm: (3,).
        host: solid that the box lies in, or ``OUTSIDE``.
    """

    centre_mm: np.ndarray
    size_mm: np.ndarray
    host: int


@dataclass(frozen=True)
class Concealed:
    """A device and the anomaly hidden in it, in the frame of the device.

    Attributes:
        device: without the solids that were removed.
        anomaly: a single component.
        host: solid of the device that the anomaly lies in, or ``OUTSIDE``.
        kind: one of :data:`bagscan.simulate.anomalies.KINDS`.
        way: one of ``WAYS``.
        removed: solids that the anomaly replaces, or None.
    """

    device: Assembly
    anomaly: Assembly
    host: int
    kind: str
    way: str
    removed: Assembly | None = None


@dataclass(frozen=True)
class Wanted:
    """The anomaly to hide.

    Attributes:
        kind: one of :data:`bagscan.simulate.anomalies.KINDS`.
        sizes: range of its size.
        make: builds it; replaced by a function of its own for a user's mesh.
        scale: scale factor for a small device, see :func:`bagscan.simulate.anomalies.size_factor`.
    """

    kind: str
    sizes: Sizes = field(default=OPERATIONAL)
    make: AnomalyBuilder = build_anomaly
    scale: float = 1.0

    def size_mm(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the (3,) size of the place to search for, longest side first."""
        return draw_place_size(self.kind, rng, self.sizes, self.scale)

    def fits(self, anomaly: Assembly) -> bool:
        """Return whether an anomaly is large enough for its kind. A user's mesh always is."""
        if self.make is not build_anomaly:
            return True
        return is_large_enough(anomaly, self.kind, self.sizes, self.scale)


def conceal(
    device: Assembly | FreeSpaces,
    way: str,
    kind: str,
    rng: np.random.Generator,
    sizes: Sizes = OPERATIONAL,
    make: AnomalyBuilder = build_anomaly,
) -> Concealed | None:
    """Hide an anomaly in a device that stands alone. Return None if three attempts fail.

    Args:
        device: a device, or its :class:`FreeSpaces` to reuse the searches of earlier calls.
        way: one of ``WAYS``.
        kind: see :class:`Wanted`.
        sizes: see :class:`Wanted`.
        make: see :class:`Wanted`.
    """
    spaces = device if isinstance(device, FreeSpaces) else FreeSpaces(device)
    wanted = Wanted(kind, sizes, make, size_factor(spaces.device))
    for _ in range(3):
        found = WAYS[way](spaces, wanted, rng)
        if found is not None:
            return found
    return None


def _build_at(
    place: Place | None,
    device: Assembly,
    way: str,
    wanted: Wanted,
    rng: np.random.Generator,
    removed: Assembly | None = None,
) -> Concealed | None:
    """Build an anomaly for a place.

    Returns:
        None if there is no place, if a liquid would replace a liquid, or if the anomaly does not
        fit, is too small or overlaps.
    """
    if place is None or (wanted.kind == "liquid" and _has_contents(device, place.host)):
        return None
    anomaly = wanted.make(wanted.kind, place.size_mm, rng)
    if anomaly is None or not wanted.fits(anomaly):
        return None
    anomaly = anomaly.moved(None, place.centre_mm)
    return _reject_overlap(Concealed(device, anomaly, place.host, wanted.kind, way, removed))


def _has_contents(device: Assembly, cavity: int) -> bool:
    """Return whether a cavity holds contents; another liquid in their place is not an anomaly."""
    return cavity >= 0 and any(
        device.components[c].name in CONTENTS
        for c in np.unique(device.component[device.inside == cavity])
        if c >= 0
    )


def _reject_overlap(found: Concealed) -> Concealed | None:
    whole, n = join([found.device, found.anomaly], [OUTSIDE, found.host]), len(found.anomaly)
    low, high = found.anomaly.bounds
    occupancy = occupy(whole, Grid.around(low, high, np.clip((high - low) / 40, 0.1, 1.0)))
    overlap, volume = occupancy.overlap[-n:].sum(), max(1, occupancy.filled[-n:].sum())
    return None if overlap > MAX_OVERLAP * volume else found


def _find_box(
    search: Search,
    wanted_mm: np.ndarray,
    rng: np.random.Generator,
    min_share: float = 0.3,
    any_axes: bool = True,
) -> Place | None:
    """Return the first box with at least ``min_share`` of the wanted volume.

    Args:
        wanted_mm: (3,) largest size, along x, y and z.
        any_axes: whether the sides can be permuted.
    """
    grid, starts = search.occupancy.grid, search.starts
    if not len(starts):
        return None
    for k in rng.integers(0, len(starts), TRIES):
        wanted = rng.permutation(wanted_mm) if any_axes else wanted_mm
        max_voxels = np.ceil(wanted / grid.pitch_mm).astype(int) + 1
        low, end = search.finder.grow(starts[k], max_voxels, rng)
        # Surfaces lie between voxel centres: leave out half a voxel on every side.
        size = np.minimum((end - low - 1) * grid.pitch_mm, wanted)
        if (size > 0.25).all() and np.prod(size) >= min_share * np.prod(wanted_mm):
            centre = (grid.centre(low) + grid.centre(end - 1)) / 2
            return Place(centre, size, int(search.occupancy.owner[tuple(starts[k])]))
    return None


def cavity_insert(spaces: FreeSpaces, wanted: Wanted, rng: np.random.Generator) -> Concealed | None:
    """Hide an anomaly in the empty space of a case."""
    place = _find_box(spaces.inside, wanted.size_mm(rng), rng)
    return _build_at(place, spaces.device, "cavity_insert", wanted, rng)


def replaced_component(
    spaces: FreeSpaces, wanted: Wanted, rng: np.random.Generator
) -> Concealed | None:
    """Hide an anomaly in place of a component such as a cell, a disk or a motor."""
    device = spaces.device
    candidates = [
        k
        for k, component in enumerate(device.components)
        if component.replaceable and (device.component == k).any()
    ]
    if not candidates:
        return None
    component = candidates[int(rng.integers(len(candidates)))]
    left, search, bay_mm = spaces.bay(component)
    size = np.minimum(np.sort(bay_mm)[::-1] * rng.uniform(0.45, 1.0, 3), 400)
    place = _find_box(search, size, rng, 0.15)
    removed = device.alone(device.part_of(component))
    return _build_at(place, left, "replaced_component", wanted, rng, removed)


def between_layers(
    spaces: FreeSpaces, wanted: Wanted, rng: np.random.Generator
) -> Concealed | None:
    """Hide an anomaly in a thin gap, flattened to fit."""
    size = wanted.size_mm(rng)
    thickness = min(rng.uniform(*LAYER_MM), float(np.cbrt(np.prod(size))))
    sides = np.minimum(np.sqrt(np.prod(size) / thickness) * np.exp([0.3, -0.3]), 200)
    flat = np.append(rng.permutation(sides), thickness)
    place = _find_box(spaces.layers, flat, rng, 0.1, any_axes=False)
    return _build_at(place, spaces.device, "between_layers", wanted, rng)


def partial_fill(spaces: FreeSpaces, wanted: Wanted, rng: np.random.Generator) -> Concealed | None:
    """Pour a powder or liquid into a cavity, or lay an anomaly on its floor."""
    device = spaces.device
    if not device.hollows:
        return None
    cavity = device.hollows[int(rng.integers(len(device.hollows)))]
    if wanted.kind == "liquid" and _has_contents(device, cavity):
        return None
    if wanted.kind in ("powder", "liquid") and wanted.make is build_anomaly:
        found = _pour(device, cavity, wanted, rng)
        if found is not None:
            return found
    place = _find_box(spaces.hollow(cavity), wanted.size_mm(rng), rng, 0.2)
    return _build_at(place, device, "partial_fill", wanted, rng)


def _pour(
    device: Assembly, cavity: int, wanted: Wanted, rng: np.random.Generator
) -> Concealed | None:
    """Fill a cavity to a random level, after removing its contents."""
    contents = [
        int(c)
        for c in np.unique(device.component[device.inside == cavity])
        if device.components[c].name in CONTENTS
    ]
    removed = None
    if contents:
        members = device.part_of(contents[0])
        removed = device.alone(members)
        cavity -= int(members[:cavity].sum())
        device = device.without(contents[0])
    b = Builder(rng)
    level = float(np.exp(rng.uniform(*np.log(wanted.sizes.fill))))
    density = float(rng.uniform(0.85, 1.15)) if wanted.kind == "powder" else 1.0
    material = str(rng.choice(POWDERS if wanted.kind == "powder" else LIQUIDS))
    with b.part("anomaly"):
        b.add(fill_cavity(device.mesh(cavity), level), material, density=density)
    anomaly = b.build()
    if not wanted.fits(anomaly):
        return None
    found = Concealed(device, anomaly, cavity, wanted.kind, "partial_fill", removed)
    return _reject_overlap(found)


def taped_outside(spaces: FreeSpaces, wanted: Wanted, rng: np.random.Generator) -> Concealed | None:
    """Attach an anomaly to the outer surface of a device. A bag is packed around both."""
    place = _find_box(spaces.outside, wanted.size_mm(rng), rng)
    return _build_at(place, spaces.device, "taped_outside", wanted, rng)


WAYS: dict[str, Callable[[FreeSpaces, Wanted, np.random.Generator], Concealed | None]] = {
    "cavity_insert": cavity_insert,
    "replaced_component": replaced_component,
    "partial_fill": partial_fill,
    "between_layers": between_layers,
    "taped_outside": taped_outside,
}
