"""Benign things that resemble prohibited items: cutlery, tools, flasks, locks, cords, boards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bagscan.simulate.assembly import AIR, Assembly, Builder
from bagscan.simulate.cords import winding_path
from bagscan.simulate.luggage import LUGGAGE
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.parts import board, helix
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


def drinking_flask(b: Builder) -> None:
    """Add a bottle of aluminium or of two walls of steel, often with a drink in it."""
    radius, tall = b.rng.uniform(28, 44), b.rng.uniform(150, 270)
    level = max(0.0, b.rng.uniform(-0.6, 0.95))
    if b.rng.random() < 0.5:
        wall = b.rng.uniform(0.6, 1.2)
        outer = b.cylinder("aluminium", radius, tall, segments=28)
    else:
        wall, gap = b.rng.uniform(0.4, 0.7), b.rng.uniform(3, 6)
        shell = b.cylinder("stainless_steel", radius, tall, segments=28)
        vacuum = b.cylinder(AIR, radius - wall, tall - 2 * wall, segments=28, inside=shell)
        radius, tall = radius - gap, tall - 2 * gap
        outer = b.cylinder("stainless_steel", radius, tall, segments=28, inside=vacuum)
    cavity = b.cylinder(AIR, radius - wall, tall - 2 * wall, segments=28, inside=outer)
    if level:
        b.pour(cavity, "water", level)
    top, lid = tall / 2 + 8, b.rng.uniform(18, 40)
    metal = str(b.rng.choice(["polypropylene", "stainless_steel", "aluminium"]))
    cap = b.cylinder(metal, radius * b.rng.uniform(0.45, 0.9), lid, (0, 0, top + lid / 2), 24)
    b.cylinder(AIR, radius * 0.4, lid - 4, (0, 0, top + lid / 2), 20, inside=cap)


def padlock(b: Builder) -> None:
    """Add a block of brass or steel with pins in it, and a shackle."""
    wide, thick = b.rng.uniform(22, 48), b.rng.uniform(9, 16)
    long, bow = wide * b.rng.uniform(0.7, 1.3), wide * b.rng.uniform(0.28, 0.4)
    body = b.slab(str(b.rng.choice(["brass", "zamak", "iron"])), (long, wide, thick), 3)
    keyway = b.box(AIR, (long * 0.6, wide * 0.3, thick * 0.5), (-long * 0.1, 0, 0), inside=body)
    for k in range(4):
        b.cylinder("brass", 1.4, thick * 0.4, (long * (0.05 - 0.09 * k), 0, 0), 8, inside=keyway)
    turn = np.linspace(-np.pi / 2, np.pi / 2, 14)
    straight = long / 2 + 0.2 + wide * b.rng.uniform(0.1, 0.9)
    arc = np.column_stack([straight + bow * np.cos(turn), bow * np.sin(turn), 0 * turn])
    ends = [[long / 2 + 0.1, y, 0.0] for y in (-bow, bow)]
    b.wire("iron", np.vstack([ends[:1], arc, ends[1:]]), b.rng.uniform(2.2, 4.2), segments=10)


def earphones(b: Builder) -> None:
    """Add two ear buds on cords that lie as they fell, and their plug."""
    long = b.rng.uniform(350, 600)
    for side in (-1, 1):
        with b.frame((side * 25, 0, 0), rotation_xyz(0, 0, b.rng.uniform(0, 2 * np.pi))):
            path = winding_path(b.rng, long, b.rng.uniform(25, 60))
            b.wire("copper", path, 0.35)
            x, y, z = path[-1] + (path[-1] - path[-2]) * 2
            b.ball("abs", (7, 7, 6), (x, y, z + 7), density=0.6)
            b.cylinder("ndfeb", 4.2, 2.5, (x, y, z + 15), 14)
    b.cylinder("brass", 1.75, 15, (60, 0, -4), 12, axis="x")
    b.cylinder("cable_pvc", 4, 16, (44, 0, -4), 12, axis="x")


def loose_cord(b: Builder) -> None:
    """Add a charging cord that lies as it fell, with a metal plug at each end."""
    path = winding_path(b.rng, b.rng.uniform(600, 1800), b.rng.uniform(35, 90))
    radius = b.rng.uniform(1.4, 2.8)
    sheath = b.wire("cable_pvc", path, radius)
    b.wire("copper", path[1:-1], radius * b.rng.uniform(0.3, 0.5), inside=sheath)
    for end, step in ((path[0], path[0] - path[1]), (path[-1], path[-1] - path[-2])):
        turn = rotation_xyz(0, 0, float(np.arctan2(step[1], step[0])))
        with b.frame((end[0], end[1], end[2]), turn):
            b.slab("cable_pvc", (22, 11, 6), 2, (12, 0, 0))
            shell = b.box("stainless_steel", (14, 11, 4.5), (31, 0, 0))
            b.box("nylon_gf30", (13, 9.5, 2), (31, 0, 0), inside=shell)


def circuit_board(b: Builder) -> None:
    """Add a bare board with its components, as of an opened or very thin device."""
    board(b, b.rng.uniform(35, 80), b.rng.uniform(55, 150), b.rng.uniform(0.8, 1.6), 5.0)
    if b.rng.random() < 0.5:
        size = (b.rng.uniform(35, 70), b.rng.uniform(50, 90), b.rng.uniform(3, 6))
        b.slab("li_ion_stack", size, 2, (0, 0, -8))


RESEMBLING: dict[str, Callable[[Builder], None]] = {
    "cutlery": cutlery,
    "hair_tongs": hair_tongs,
    "tripod": tripod,
    "corkscrew": corkscrew,
    "nail_clipper": nail_clipper,
    "stapler": stapler,
    "drinking_flask": drinking_flask,
    "padlock": padlock,
    "earphones": earphones,
    "loose_cord": loose_cord,
    "circuit_board": circuit_board,
}
