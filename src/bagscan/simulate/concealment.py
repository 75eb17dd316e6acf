"""Five ways to hide something in a device, each found by looking for room in its voxels.

A place is a box of free voxels, so nothing has to be marked by hand in a device's file; a placement
that overlaps any solid by more than 0.5 % of its volume is refused all the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from bagscan.simulate.anomalies import (
    LIQUIDS,
    OPERATIONAL,
    POWDERS,
    Make,
    Sizes,
    build_anomaly,
    large_enough,
    room_share,
    wanted_size,
)
from bagscan.simulate.assembly import OUTSIDE, Assembly, Builder, join
from bagscan.simulate.occupancy import BoxFinder, Grid, Occupancy, free_voxels, occupy
from bagscan.simulate.shapes import filled

MAX_OVERLAP = 0.005
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


@dataclass(frozen=True)
class Wanted:
    """What is to be hidden.

    Attributes:
        kind: one of :data:`bagscan.simulate.anomalies.KINDS`. sizes: how large it may be.
        make: builds it, from kind, size and random numbers; a user's own mesh needs its own.
        room: by how much it shrinks for a small device; see :func:`bagscan.simulate.anomalies.room_share`.
    """

    kind: str
    sizes: Sizes = field(default=OPERATIONAL)
    make: Make = build_anomaly
    room: float = 1.0

    def size_mm(self, rng: np.random.Generator) -> np.ndarray:
        """(3,) of the place to look for, longest first."""
        return wanted_size(self.kind, rng, self.sizes, self.room)

    def fits(self, anomaly: Assembly) -> bool:
        """Whether it measures what its kind must; a user's own mesh is as large as it is."""
        return self.make is not build_anomaly or large_enough(
            anomaly, self.kind, self.sizes, self.room
        )


@dataclass(frozen=True)
class Search:
    """Where to look: voxels, boxes of free ones, and (n, 3) voxels to start from."""

    occupancy: Occupancy
    finder: BoxFinder
    starts: np.ndarray


class Rooms:
    """A device and where there is room in it, each way looked for once, however often something is hidden."""

    def __init__(self, device: Assembly) -> None:
        self.device = device
        self.hollow = functools.cache(self._hollow)
        self.bay = functools.cache(self._bay)

    @functools.cached_property
    def inside(self) -> Search:
        """Air that a case has left."""
        occupancy = occupy(self.device, Grid.around(*self.device.bounds, _grid_pitch(self.device)))
        free = free_voxels(occupancy, self.device)
        return Search(occupancy, BoxFinder(free), np.argwhere(free))

    @functools.cached_property
    def layers(self) -> Search:
        """Thin gaps: under a lid, over a board, behind a screen."""
        pitch = _grid_pitch(self.device)
        pitch[2] = np.clip(pitch[2], 0.25, 0.5)
        occupancy = occupy(self.device, Grid.around(*self.device.bounds, pitch))
        free = free_voxels(occupancy, self.device)
        run = _run_along_z(free) * pitch[2]
        thin = run <= LAYER_MM[1]
        return Search(occupancy, BoxFinder(free & thin), np.argwhere((run >= LAYER_MM[0]) & thin))

    @functools.cached_property
    def outside(self) -> Search:
        """What lies around, touching the device."""
        low, high = self.device.bounds
        occupancy = occupy(
            self.device, Grid.around(low, high, np.clip((high - low) / 110, 0.8, 3.0), 24.0)
        )
        free = occupancy.owner == OUTSIDE
        return Search(
            occupancy, BoxFinder(free), np.argwhere(free & ndimage.binary_dilation(~free))
        )

    def _hollow(self, cavity: int) -> Search:
        """The floor of a hollow."""
        low, high = self.device.solid_bounds()[cavity]
        occupancy = occupy(
            self.device, Grid.around(low, high, np.clip((high - low) / 110, 0.4, 2.0))
        )
        free = occupancy.owner == cavity
        return Search(
            occupancy, BoxFinder(free), np.argwhere(free & (np.cumsum(free, axis=2) <= 2))
        )

    def _bay(self, component: int) -> tuple[Assembly, Search, np.ndarray]:
        """The device without a component, the room around the middle of its place, and (3,) mm of its size."""
        left = self.device.without(component)
        bounds = self.device.solid_bounds()[self.device.component == component]
        low, high = bounds[:, 0].min(0), bounds[:, 1].max(0)
        occupancy = occupy(left, Grid.around(low, high, np.clip((high - low) / 40, 0.25, 2.0)))
        free = free_voxels(occupancy, left)
        starts = np.argwhere(free)
        middle = (np.array(free.shape) - 1) / 2
        near = starts[np.argsort(np.square((starts - middle) / np.maximum(middle, 1)).sum(1))[:40]]
        return left, Search(occupancy, BoxFinder(free), near), high - low


def conceal(
    device: Assembly | Rooms,
    way: str,
    kind: str,
    rng: np.random.Generator,
    sizes: Sizes = OPERATIONAL,
    make: Make = build_anomaly,
) -> Concealed | None:
    """Hide one anomaly in a device that stands alone; None where no place is found.

    Args:
        device: its :class:`Rooms` where several things are tried. way: one of ``WAYS``.
        kind, sizes, make: see :class:`Wanted`.
    """
    rooms = device if isinstance(device, Rooms) else Rooms(device)
    wanted = Wanted(kind, sizes, make, room_share(rooms.device))
    for _ in range(3):
        found = WAYS[way](rooms, wanted, rng)
        if found is not None:
            return found
    return None


def _grid_pitch(device: Assembly) -> np.ndarray:
    extent = np.ptp(np.array(device.bounds), axis=0)
    return np.asarray(np.clip(extent / 150, 0.5, 2.0))


def _placed(
    device: Assembly,
    place: Place,
    way: str,
    wanted: Wanted,
    rng: np.random.Generator,
    removed: Assembly | None = None,
) -> Concealed | None:
    """An anomaly built for a place, unless it does not fit, is too small, or is a liquid where a liquid belongs."""
    if wanted.kind == "liquid" and _usually_holds_liquid(device, place.host):
        return None
    anomaly = wanted.make(wanted.kind, place.size_mm, rng)
    if anomaly is None or not wanted.fits(anomaly):
        return None
    return _checked(
        Concealed(
            device, anomaly.moved(None, place.centre_mm), place.host, wanted.kind, way, removed
        )
    )


def _usually_holds_liquid(device: Assembly, cavity: int) -> bool:
    """Whether a hollow holds contents: another liquid in their place is no anomaly, whatever it is."""
    return cavity >= 0 and any(
        device.components[c].name in CONTENTS
        for c in np.unique(device.component[device.inside == cavity])
        if c >= 0
    )


def _checked(found: Concealed) -> Concealed | None:
    """What was found, unless it overlaps."""
    whole, n = join([found.device, found.anomaly], [OUTSIDE, found.host]), len(found.anomaly)
    low, high = found.anomaly.bounds
    painted = occupy(whole, Grid.around(low, high, np.clip((high - low) / 40, 0.1, 1.0)))
    overlaps = painted.overlap[-n:].sum() > MAX_OVERLAP * max(1, painted.filled[-n:].sum())
    return None if overlaps else found


def _grow(
    search: Search,
    wanted_mm: np.ndarray,
    rng: np.random.Generator,
    least: float = 0.3,
    turned: bool = True,
) -> Place | None:
    """The first box that reaches ``least`` of the wanted volume, from some of the starts.

    Args:
        wanted_mm: (3,) along x, y and z; along any axes where ``turned``.
    """
    grid, starts = search.occupancy.grid, search.starts
    for k in rng.integers(0, len(starts), TRIES) if len(starts) else ():
        wanted = rng.permutation(wanted_mm) if turned else wanted_mm
        low, end = search.finder.grow(
            starts[k], np.ceil(wanted / grid.pitch_mm).astype(int) + 1, rng
        )
        # Half a voxel off all round: surfaces lie between centres.
        size = np.minimum((end - low - 1) * grid.pitch_mm, wanted)
        if (size > 0.25).all() and np.prod(size) >= least * np.prod(wanted_mm):
            return Place(
                (grid.centre(low) + grid.centre(end - 1)) / 2,
                size,
                int(search.occupancy.owner[tuple(starts[k])]),
            )
    return None


def cavity_insert(rooms: Rooms, wanted: Wanted, rng: np.random.Generator) -> Concealed | None:
    """In the empty room that a case has left."""
    place = _grow(rooms.inside, wanted.size_mm(rng), rng)
    return _placed(rooms.device, place, "cavity_insert", wanted, rng) if place else None


def replaced_component(rooms: Rooms, wanted: Wanted, rng: np.random.Generator) -> Concealed | None:
    """In the place of a cell, a disk, a motor that was taken out."""
    device = rooms.device
    there = [
        k
        for k, c in enumerate(device.components)
        if c.replaceable and (device.component == k).any()
    ]
    if not there:
        return None
    gone = there[int(rng.integers(len(there)))]
    left, search, bay_mm = rooms.bay(gone)
    size = np.minimum(np.sort(bay_mm)[::-1] * rng.uniform(0.45, 1.0, 3), 400)
    place = _grow(search, size, rng, 0.15)
    return (
        _placed(
            left,
            place,
            "replaced_component",
            wanted,
            rng,
            removed=device.alone(device.part_of(gone)),
        )
        if place
        else None
    )


def between_layers(rooms: Rooms, wanted: Wanted, rng: np.random.Generator) -> Concealed | None:
    """In a thin gap."""
    size = wanted.size_mm(rng)
    # A gap is wide and thin: what is wanted is pressed flat.
    thin = min(rng.uniform(*LAYER_MM), float(np.cbrt(np.prod(size))))
    flat = np.minimum(np.sqrt(np.prod(size) / thin) * np.exp([0.3, -0.3]), 200)
    place = _grow(rooms.layers, np.append(rng.permutation(flat), thin), rng, 0.1, turned=False)
    return _placed(rooms.device, place, "between_layers", wanted, rng) if place else None


def _run_along_z(free: np.ndarray) -> np.ndarray:
    """(X, Y, Z) length in voxels of the free run along z that each voxel lies in."""
    index = np.arange(free.shape[2])
    before = np.maximum.accumulate(np.where(free, -1, index), axis=2)
    after = np.minimum.accumulate(np.where(free, free.shape[2], index)[..., ::-1], axis=2)[
        ..., ::-1
    ]
    return np.where(free, after - before - 1, 0)


def partial_fill(rooms: Rooms, wanted: Wanted, rng: np.random.Generator) -> Concealed | None:
    """Poured into a hollow up to some level, or lying on its floor."""
    device = rooms.device
    if not device.hollows:
        return None
    cavity = device.hollows[int(rng.integers(len(device.hollows)))]
    if wanted.kind == "liquid" and _usually_holds_liquid(device, cavity):
        return None
    if wanted.kind in ("powder", "liquid") and wanted.make is build_anomaly:
        poured = _pour(device, cavity, wanted, rng)
        if poured is not None:
            return poured
    place = _grow(rooms.hollow(cavity), wanted.size_mm(rng), rng, 0.2)
    return _placed(device, place, "partial_fill", wanted, rng) if place else None


def _pour(
    device: Assembly, cavity: int, wanted: Wanted, rng: np.random.Generator
) -> Concealed | None:
    """The lowest part of a hollow, whatever held it before emptied out."""
    held = [
        int(c)
        for c in np.unique(device.component[device.inside == cavity])
        if device.components[c].name in CONTENTS
    ]
    removed = None
    if held:
        gone = device.part_of(held[0])
        removed, cavity, device = (
            device.alone(gone),
            cavity - int(gone[:cavity].sum()),
            device.without(held[0]),
        )
    b = Builder(rng)
    level = float(np.exp(rng.uniform(*np.log(wanted.sizes.fill))))
    density = float(rng.uniform(0.85, 1.15)) if wanted.kind == "powder" else 1.0
    with b.part("anomaly"):
        b.add(
            filled(device.mesh(cavity), level),
            str(rng.choice(POWDERS if wanted.kind == "powder" else LIQUIDS)),
            density=density,
        )
    anomaly = b.build()
    return (
        _checked(Concealed(device, anomaly, cavity, wanted.kind, "partial_fill", removed))
        if wanted.fits(anomaly)
        else None
    )


def taped_outside(rooms: Rooms, wanted: Wanted, rng: np.random.Generator) -> Concealed | None:
    """On the outside, touching it. What is packed around later is packed around both."""
    place = _grow(rooms.outside, wanted.size_mm(rng), rng)
    return _placed(rooms.device, place, "taped_outside", wanted, rng) if place else None


WAYS: dict[str, Callable[[Rooms, Wanted, np.random.Generator], Concealed | None]] = {
    "cavity_insert": cavity_insert,
    "replaced_component": replaced_component,
    "partial_fill": partial_fill,
    "between_layers": between_layers,
    "taped_outside": taped_outside,
}
