"""Five ways to hide something in a device, each found by looking for room in its voxels.

A place is a box of free voxels, so nothing has to be marked by hand in a device's file; a placement
that overlaps any solid by more than 0.5 % of its volume is refused all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bagscan.simulate.anomalies import ALL_SIZES, LIQUIDS, POWDERS, Make, Sizes, build_anomaly, wanted_size
from bagscan.simulate.assembly import AIR, OUTSIDE, Assembly, Builder, filled, join
from bagscan.simulate.occupancy import BoxFinder, Grid, Occupancy, free_voxels, occupy

MOST_OVERLAP = 0.005
TRIES = 14
LAYER_MM = (0.7, 5.0)
CONTENTS = ("contents", "water")  # components that a hollow may be emptied of


@dataclass(frozen=True)
class Place:
    """A box for the anomaly.

    Attributes:
        centre_mm, size_mm: (3,) in the device's frame. host: solid that it lies in, or ``OUTSIDE``.
    """

    centre_mm: np.ndarray
    size_mm: np.ndarray
    host: int


@dataclass(frozen=True)
class Concealed:
    """A device and what is hidden in it, in the device's frame.

    Attributes:
        device: less what was taken out. anomaly: of one component. host: solid of the device that it
            lies in, or ``OUTSIDE``. removed: what was taken out for it; None for nothing.
    """

    device: Assembly
    anomaly: Assembly
    host: int
    kind: str
    way: str
    removed: Assembly | None = None


def conceal(
    device: Assembly, way: str, kind: str, rng: np.random.Generator, around: Assembly | None = None, make: Make = build_anomaly, sizes: Sizes = ALL_SIZES
) -> Concealed | None:
    """Hide one anomaly in a device; None where no place is found.

    Args:
        way: one of ``WAYS``. kind: one of :data:`bagscan.simulate.anomalies.KINDS`.
        around: what stands around the device, in its frame: nothing taped outside may reach into it.
        make: builds the anomaly, from kind, size and random numbers; a user's own mesh needs its own.
        sizes: range of volumes, see :data:`bagscan.simulate.anomalies.VOLUMES_MM3`.
    """
    for _ in range(3):
        found = WAYS[way](device, kind, rng, around, make, sizes)
        if found is not None:
            return found
    return None


def _grid_pitch(device: Assembly) -> np.ndarray:
    extent = np.ptp(np.array(device.bounds), axis=0)
    return np.clip(extent / 150, 0.5, 2.0)


def _placed(device: Assembly, place: Place, way: str, kind: str, make: Make, rng: np.random.Generator, removed: Assembly | None = None) -> Concealed | None:
    """An anomaly built for a place, unless it does not fit."""
    anomaly = make(kind, place.size_mm, rng)
    return None if anomaly is None else _checked(Concealed(device, anomaly.moved(None, place.centre_mm), place.host, kind, way, removed))


def _checked(found: Concealed) -> Concealed | None:
    """What was found, unless it overlaps."""
    whole, n = join([found.device, found.anomaly], [OUTSIDE, found.host]), len(found.anomaly)
    low, high = found.anomaly.bounds
    painted = occupy(whole, Grid.around(low, high, np.clip((high - low) / 40, 0.1, 1.0)))
    overlaps = painted.overlap[-n:].sum() > MOST_OVERLAP * max(1, painted.filled[-n:].sum())
    return None if overlaps else found


def _grow(occupancy: Occupancy, finder: BoxFinder, starts: np.ndarray, wanted_mm: np.ndarray, rng: np.random.Generator, least: float = 0.3, turned: bool = True) -> Place | None:
    """The first box that reaches ``least`` of the wanted volume, from some of the starts (n, 3).

    Args:
        wanted_mm: (3,) along x, y and z; along any axes where ``turned``.
    """
    grid = occupancy.grid
    for start in starts[rng.permutation(len(starts))[:TRIES]]:
        wanted = rng.permutation(wanted_mm) if turned else wanted_mm
        low, end = finder.grow(start, np.ceil(wanted / grid.pitch_mm).astype(int) + 1, rng)
        # Half a voxel off all round: surfaces lie between centres.
        size = np.minimum((end - low - 1) * grid.pitch_mm, wanted)
        if (size > 0.25).all() and np.prod(size) >= least * np.prod(wanted_mm):
            return Place((grid.centre(low) + grid.centre(end - 1)) / 2, size, int(occupancy.owner[tuple(start)]))
    return None


def cavity_insert(device: Assembly, kind: str, rng: np.random.Generator, around: Assembly | None, make: Make, sizes: Sizes) -> Concealed | None:
    """In the empty room that a case has left."""
    occupancy = occupy(device, Grid.around(*device.bounds, _grid_pitch(device)))
    free = free_voxels(occupancy, device)
    starts = np.argwhere(free)
    if not len(starts):
        return None
    place = _grow(occupancy, BoxFinder(free), starts, wanted_size(kind, rng, sizes), rng)
    return _placed(device, place, "cavity_insert", kind, make, rng) if place else None


def replaced_component(device: Assembly, kind: str, rng: np.random.Generator, around: Assembly | None, make: Make, sizes: Sizes) -> Concealed | None:
    """In the place of a cell, a disk, a motor that was taken out."""
    there = [k for k, c in enumerate(device.components) if c.replaceable and (device.component == k).any()]
    if not there:
        return None
    gone = there[int(rng.integers(len(there)))]
    left = device.without(gone)
    taken = np.flatnonzero(device.component == gone)
    bounds = device.solid_bounds()[taken]
    low, high = bounds[:, 0].min(0), bounds[:, 1].max(0)
    pitch = np.clip((high - low) / 40, 0.25, 2.0)
    occupancy = occupy(left, Grid.around(low, high, pitch))
    free = free_voxels(occupancy, left)
    starts = np.argwhere(free)
    if not len(starts):
        return None
    middle = (np.array(free.shape) - 1) / 2
    near = starts[np.argsort(np.square((starts - middle) / np.maximum(middle, 1)).sum(1))[:40]]
    wanted = np.minimum(np.sort(high - low)[::-1] * rng.uniform(0.45, 1.0, 3), 400)
    place = _grow(occupancy, BoxFinder(free), near, wanted, rng, 0.15)
    return _placed(left, place, "replaced_component", kind, make, rng, removed=device.alone(device.part_of(gone))) if place else None


def between_layers(device: Assembly, kind: str, rng: np.random.Generator, around: Assembly | None, make: Make, sizes: Sizes) -> Concealed | None:
    """In a thin gap: under a lid, over a board, behind a screen."""
    pitch = _grid_pitch(device)
    pitch[2] = np.clip(pitch[2], 0.25, 0.5)
    occupancy = occupy(device, Grid.around(*device.bounds, pitch))
    free = free_voxels(occupancy, device)
    run = _run_along_z(free) * pitch[2]
    starts = np.argwhere((run >= LAYER_MM[0]) & (run <= LAYER_MM[1]))
    if not len(starts):
        return None
    wanted = wanted_size(kind, rng, sizes)
    # A gap is wide and thin: what is wanted is pressed flat.
    thin = min(rng.uniform(*LAYER_MM), float(np.cbrt(np.prod(wanted))))
    flat = np.minimum(np.sqrt(np.prod(wanted) / thin) * np.exp([0.3, -0.3]), 200)
    place = _grow(occupancy, BoxFinder(free & (run <= LAYER_MM[1])), starts, np.append(rng.permutation(flat), thin), rng, 0.1, turned=False)
    return _placed(device, place, "between_layers", kind, make, rng) if place else None


def _run_along_z(free: np.ndarray) -> np.ndarray:
    """(X, Y, Z) length in voxels of the free run along z that each voxel lies in."""
    index = np.arange(free.shape[2])
    before = np.maximum.accumulate(np.where(free, -1, index), axis=2)
    after = np.minimum.accumulate(np.where(free, free.shape[2], index)[..., ::-1], axis=2)[..., ::-1]
    return np.where(free, after - before - 1, 0)


def partial_fill(device: Assembly, kind: str, rng: np.random.Generator, around: Assembly | None, make: Make, sizes: Sizes) -> Concealed | None:
    """Poured into a hollow up to some level, or lying on its floor."""
    if not device.hollows:
        return None
    cavity = device.hollows[int(rng.integers(len(device.hollows)))]
    if kind in ("powder", "liquid") and make is build_anomaly:
        poured = _pour(device, cavity, kind, rng, sizes)
        if poured is not None:
            return poured
    bounds = device.solid_bounds()[cavity]
    pitch = np.clip((bounds[1] - bounds[0]) / 110, 0.4, 2.0)
    occupancy = occupy(device, Grid.around(bounds[0], bounds[1], pitch))
    free = occupancy.owner == cavity
    floor = free & (np.cumsum(free, axis=2) <= 2)
    starts = np.argwhere(floor)
    if not len(starts):
        return None
    place = _grow(occupancy, BoxFinder(free), starts, wanted_size(kind, rng, sizes), rng, 0.2)
    return _placed(device, place, "partial_fill", kind, make, rng) if place else None


def _pour(device: Assembly, cavity: int, kind: str, rng: np.random.Generator, sizes: Sizes) -> Concealed | None:
    """The lowest part of a hollow, whatever held it before emptied out."""
    held = [int(c) for c in np.unique(device.component[device.inside == cavity]) if device.components[c].name in CONTENTS]
    removed = None
    if held:
        gone = device.part_of(held[0])
        removed, cavity, device = device.alone(gone), cavity - int(gone[:cavity].sum()), device.without(held[0])
    b = Builder(rng)
    level = float(np.exp(rng.uniform(*(np.log(0.01) * (1 - s) + np.log(0.8) * s for s in np.clip(sizes, 0, 1)))))
    choices = [m for m in (POWDERS if kind == "powder" else LIQUIDS) if removed is None or m not in removed.material]
    density = float(rng.uniform(0.85, 1.15)) if kind == "powder" else 1.0
    with b.part("anomaly"):
        b.add(filled(device.mesh(cavity), level), str(rng.choice(choices)), density=density)
    return _checked(Concealed(device, b.build(), cavity, kind, "partial_fill", removed))


def taped_outside(device: Assembly, kind: str, rng: np.random.Generator, around: Assembly | None, make: Make, sizes: Sizes) -> Concealed | None:
    """On the outside, touching it, clear of what is packed around."""
    low, high = device.bounds
    extent = high - low
    seen = device if around is None else join([around, device])
    occupancy = occupy(seen, Grid.around(low, high, np.clip(extent / 110, 0.8, 3.0), 24.0))
    own = occupancy.owner >= len(seen) - len(device)
    # Free is what lies outside of everything, and the air of the bag that the device is in.
    air = np.array([name == AIR for name in seen.material] + [True])
    free = air[occupancy.owner] & ~own
    starts = np.argwhere(free & ndimage.binary_dilation(own))
    if not len(starts):
        return None
    place = _grow(occupancy, BoxFinder(free), starts, wanted_size(kind, rng, sizes), rng)
    if place is None:
        return None
    return _placed(device, Place(place.centre_mm, place.size_mm, OUTSIDE), "taped_outside", kind, make, rng)


WAYS: dict[str, Callable[[Assembly, str, np.random.Generator, Assembly | None, Make, Sizes], Concealed | None]] = {
    "cavity_insert": cavity_insert,
    "replaced_component": replaced_component,
    "partial_fill": partial_fill,
    "between_layers": between_layers,
    "taped_outside": taped_outside,
}
