"""Benign things that resemble prohibited items: cutlery, hair tongs, tools for nails and wine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bagscan.simulate.assembly import AIR, Assembly, Builder
from bagscan.simulate.luggage import LUGGAGE
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.parts import helix
from bagscan.simulate.prohibited.blades import add_blade


def build_resembling(name: str, rng: np.random.Generator) -> Assembly:
    """Build an item near the origin, as a component of the same name.

    Args:
        name: key of ``RESEMBLING`` or of :data:`bagscan.simulate.luggage.LUGGAGE`.
        rng: random generator of dimensions and materials.
    """
    b = Builder(rng)
    with b.part(name):
        (RESEMBLING | LUGGAGE)[name](b)
    return b.build()


def cutlery(b: Builder) -> None:
    """Add a fork, a spoon and a blunt table knife."""
    thick = b.rng.uniform(1.6, 2.6)
    for k in range(int(b.rng.integers(1, 4))):
        y, long = 30.0 * (k - 1), b.rng.uniform(150, 200)
        handle = long * 0.6
        width = b.rng.uniform(7, 14)
        b.slab("stainless_steel", (handle, width, thick), 3, (-handle / 2, y, thick / 2))
        kind = int(b.rng.integers(3))
        end = long - handle
        if kind == 0:
            b.box("stainless_steel", (12, 19, thick), (6.1, y, thick / 2))
            for tine in (-7.5, -2.5, 2.5, 7.5):
                b.box("stainless_steel", (45, 2.6, thick), (34.7, y + tine, thick / 2))
        elif kind == 1:
            bowl = (end / 2, b.rng.uniform(15, 21), 4.0)
            b.ball("stainless_steel", bowl, (end / 2 + 0.2, y, 4), density=0.35)
        else:
            with b.frame((0.1, y + width / 2, thick / 2)):
                add_blade(b, "stainless_steel", end, width, thick * 0.8, 0.15)


def hair_tongs(b: Builder) -> None:
    """Add two hinged arms with ceramic plates, and a cord."""
    long, wide = b.rng.uniform(230, 280), b.rng.uniform(26, 36)
    angle = b.rng.uniform(0, 0.12)
    for side in (-1, 1):
        with b.frame((0, 0, 22 + side * 9), rotation_xyz(0, -side * angle, 0)):
            arm = b.slab("nylon_gf30", (long, wide, 16), 8, (long / 2, 0, 0))
            inner = b.slab(AIR, (long - 6, wide - 6, 11), 6, (long / 2, 0, 0), inside=arm)
            b.box("aluminium", (95, wide - 9, 3), (long - 58, 0, -side * 3.5), inside=inner)
            b.box("alumina", (80, wide - 14, 1.5), (long - 58, 0, side * 1), inside=inner)
    b.cylinder("iron", 3, wide, (-4, 0, 22), 12, axis="y")
    path = helix(3, 55, 10)
    b.wire("copper", path + np.array([-75.0, 0.0, 8.0]), 1.2)


def tripod(b: Builder) -> None:
    """Add three telescopic legs, folded, with a head."""
    long = b.rng.uniform(200, 320)
    radius = b.rng.uniform(6, 10)
    for k in range(3):
        angle = 2 * np.pi * k / 3
        y, z = 1.3 * radius * np.cos(angle), 1.3 * radius * np.sin(angle) + 3 * radius
        for step in range(3):
            r = radius * (1 - 0.18 * step)
            b.tube("aluminium", r, r - 1.1, long / 3 - 1, ((step - 1) * long / 3, y, z), axis="x")
    b.box("zamak", (26, 30, 24), (-long / 2 - 15, 0, 3 * radius))
    b.cylinder("brass", 3.2, 12, (-long / 2 - 35, 0, 3 * radius), 12, axis="x")


def corkscrew(b: Builder) -> None:
    """Add a worm, a handle and two levers."""
    b.wire("stainless_steel", helix(5, 4.0, 55) + np.array([0.0, 0.0, -30.0]), 1.6, axis="x")
    b.cylinder("wood", 9, b.rng.uniform(70, 95), (30, 0, 0), 18, axis="y")
    for side in (-1, 1):
        b.box("zamak", (60, 8, 5), (-12, side * b.rng.uniform(16, 24), 0))


def nail_clipper(b: Builder) -> None:
    """Add two levers of steel with a pin."""
    long = b.rng.uniform(52, 82)
    for z in (0.0, 3.2):
        b.box("stainless_steel", (long, 12, 1.8), (0, 0, z + 1))
    b.box("stainless_steel", (long * 0.9, 10, 1.8), (-2, 0, 8), turn=rotation_xyz(0, 0.06, 0))
    b.cylinder("stainless_steel", 2.0, 3.5, (long * 0.4, 0, 12), 12)


def stapler(b: Builder) -> None:
    """Add a base, an arm with a row of staples, and a spring."""
    long = b.rng.uniform(95, 140)
    b.box("iron", (long, 26, 2.5), (0, 0, 1.3))
    arm = b.slab("abs", (long * 0.95, 24, 18), 6, (0, 0, 16))
    cavity = b.box(AIR, (long * 0.85, 14, 12), (0, 0, 15), inside=arm)
    b.box("iron", (long * 0.6, 12, 6), (long * 0.1, 0, 14), inside=cavity, density=0.8)
    b.cylinder("iron", 2.5, long * 0.2, (-long * 0.31, 0, 14), 10, axis="x", inside=cavity)


RESEMBLING: dict[str, Callable[[Builder], None]] = {
    "cutlery": cutlery,
    "hair_tongs": hair_tongs,
    "tripod": tripod,
    "corkscrew": corkscrew,
    "nail_clipper": nail_clipper,
    "stapler": stapler,
}
