"""Hardware of bags that hangs outside: rings, buckles, adjusters, snap hooks and wheels.

On real scanners, it is what detectors take for prohibited items most often.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.mesh import rotation_xyz

METALS = ("zamak", "iron", "brass", "nickel", "stainless_steel")
LARGEST_MM = 29.0  # from the middle of a piece to its farthest point
SLOT_MM = 62.0  # of a bag's side per piece, so that none overlap
NEAREST_MM = 18.0  # from the bag to the nearest point of a piece


def add_hardware(
    b: Builder, sides: tuple[float, float], z_mm: float, reach_mm: float, share: float
) -> None:
    """Add pieces beside both long sides of a bag, lying flat.

    Args:
        b: builder, in the frame of the bag.
        sides: outer width and length of the bag.
        z_mm: height of the pieces.
        reach_mm: farthest distance of a point of a piece from the bag.
        share: share of the places that hold a piece.
    """
    width, length = sides
    free = reach_mm - NEAREST_MM - 2 * LARGEST_MM
    if free < 0:
        return
    slots = int(length // SLOT_MM)
    for side in (-1, 1):
        for slot in range(slots):
            if b.rng.random() >= share:
                continue
            x = side * (width / 2 + NEAREST_MM + LARGEST_MM + b.rng.uniform(0, free))
            y = (slot - (slots - 1) / 2) * length / slots
            with b.frame((x, y, z_mm), rotation_xyz(0, 0, b.rng.uniform(0, 2 * np.pi))):
                PIECES[int(b.rng.integers(len(PIECES)))](b)


def _metal(b: Builder) -> str:
    return str(b.rng.choice(METALS))


def _ring(b: Builder) -> None:
    radius = b.rng.uniform(8, 24)
    thick = b.rng.uniform(2, 4.5)
    b.tube(_metal(b), radius, radius - thick, thick)


def add_frame(
    b: Builder,
    material: str,
    sides: tuple[float, float],
    bar: float,
    corners: tuple[float, float],
    has_middle_bar: bool,
) -> None:
    """Add a flat frame of square bars with rounded corners, as of buckles and adjusters.

    Args:
        b: builder; the frame is centred on its origin.
        material: material of all bars.
        sides: outer length and width, in mm.
        bar: side of a bar in mm.
        corners: outer and inner radius of the corners, in mm.
        has_middle_bar: whether a bar crosses the frame.
    """
    long, wide = sides
    frame = b.slab(material, (long, wide, bar), corners[0])
    inner = b.slab(AIR, (long - 2 * bar, wide - 2 * bar, bar), corners[1], inside=frame)
    if has_middle_bar:
        b.box(material, (bar, wide - 2 * bar - 0.4, bar * 0.8), inside=inner)


def _adjuster(b: Builder) -> None:
    """Add a rectangular or D-shaped frame, with or without a bar in the middle."""
    long, wide = b.rng.uniform(20, 46), b.rng.uniform(16, 32)
    bar, material = b.rng.uniform(2.4, 5), str(b.rng.choice([*METALS, "nylon_gf30"]))
    corner = b.rng.uniform(2, wide / 2.2)
    inner_corner = max(corner - bar, 0.5)
    add_frame(b, material, (long, wide), bar, (corner, inner_corner), b.rng.random() < 0.5)


def _side_release_buckle(b: Builder) -> None:
    long, wide, high = b.rng.uniform(30, 46), b.rng.uniform(20, 32), b.rng.uniform(6, 10)
    body = b.slab("nylon_gf30", (long, wide, high), 4)
    for y in (-wide * 0.3, wide * 0.3):
        b.slab(AIR, (long * 0.5, wide * 0.18, high), 1.5, (0, y, 0), inside=body)
    b.slab(AIR, (long * 0.1, wide * 0.75, high), 1, (long * 0.38, 0, 0), inside=body)


def _snap_hook(b: Builder) -> None:
    """Add a swivel eye, a shaft and a hook that a bar closes."""
    metal, thick = _metal(b), b.rng.uniform(2.5, 4)
    radius = b.rng.uniform(7, 10)
    b.tube(metal, radius, radius - thick, thick, (-18, 0, 0))
    b.cylinder(metal, thick, 12, (-18 + radius + 6.2, 0, 0), axis="x")
    b.tube(metal, radius, radius - thick, thick, (-18 + 2 * radius + 12.5, 0, 0))


def _wheel(b: Builder) -> None:
    """Add a wheel of plastic in its fork, seen from the side or from the front."""
    radius, wide = b.rng.uniform(14, 22), b.rng.uniform(10, 20)
    with b.frame(axis=str(b.rng.choice(["x", "z"]))):
        tyre = b.cylinder(str(b.rng.choice(["nylon", "abs", "rubber"])), radius, wide, segments=22)
        b.tube(AIR, radius * 0.75, radius * 0.4, wide * 0.6, inside=tyre)
        b.cylinder("iron", b.rng.uniform(2.5, 4), wide, segments=10, inside=tyre)
        for side in (-1, 1):
            b.slab("iron", (radius * 1.2, radius * 0.8, 1.5), 2, (0, 0, side * (wide / 2 + 1)))


PIECES: tuple[Callable[[Builder], None], ...] = (
    _ring,
    _adjuster,
    _adjuster,
    _side_release_buckle,
    _snap_hook,
    _wheel,
)
