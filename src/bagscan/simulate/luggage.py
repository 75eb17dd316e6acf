"""Things of real luggage, with the metal parts of bags and clothes.

Some resemble prohibited items: rods and tins resemble pressure cans, buckles handcuffs, and ribs
of umbrellas blades.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.hardware import add_frame
from bagscan.simulate.mesh import ribbon, rotation_xyz


def fittings(b: Builder) -> None:
    """Add loose metal parts of bags and clothes: rings, zip pulls, rivets, buckles, a chain."""
    pitch = 42.0  # each piece has a square of its own, so that none overlap
    places = [(pitch * (i - 2), pitch * (j - 1.5)) for i in range(5) for j in range(4)]
    for k in b.rng.permutation(len(places))[: int(b.rng.integers(5, 15))]:
        metal = str(b.rng.choice(["brass", "zamak", "nickel", "iron"]))
        with b.frame((*places[k], 0.0), rotation_xyz(0, 0, b.rng.uniform(0, 2 * np.pi))):
            FITTINGS[int(b.rng.integers(len(FITTINGS)))](b, metal)


def _ring(b: Builder, metal: str) -> None:
    radius = b.rng.uniform(4, 14)
    b.tube(metal, radius, radius - b.rng.uniform(1.2, 2.6), 2.4, (0, 0, 1.2))


def _zip_pull(b: Builder, metal: str) -> None:
    long = b.rng.uniform(14, 24)
    b.slab(metal, (long, 7, 1.6), 3, (long / 2, 0, 0.8))
    b.box(metal, (8, 9, 4.5), (-4.6, 0, 2.3))


def _rivet(b: Builder, metal: str) -> None:
    b.cylinder(metal, b.rng.uniform(2.5, 6), b.rng.uniform(2, 5), (0, 0, 1.5), 16)


def _buckle(b: Builder, metal: str) -> None:
    long, wide, bar = b.rng.uniform(18, 32), b.rng.uniform(14, 26), b.rng.uniform(2.2, 3.6)
    with b.frame((0, 0, bar / 2)):
        add_frame(b, metal, (long, wide), bar, (4, 3), True)


def _chain(b: Builder, metal: str) -> None:
    radius = b.rng.uniform(2.0, 3.0)
    for k in range(int(b.rng.integers(4, 8))):
        b.tube(metal, radius, radius - 0.9, 1.1, ((2 * radius + 0.2) * (k - 3), 0, 0.6))


FITTINGS = (_ring, _zip_pull, _rivet, _buckle, _chain)


def rods(b: Builder) -> None:
    """Add telescopic rods of a trolley, in pairs, with a joint of plastic at an end."""
    long, apart = b.rng.uniform(180, 400), b.rng.uniform(90, 190)
    metal = str(b.rng.choice(["aluminium", "aluminium", "iron"]))
    wide, high, wall = b.rng.uniform(9, 18), b.rng.uniform(7, 13), b.rng.uniform(0.7, 1.4)
    for side in (-1, 1):
        at = (0, side * apart / 2, high / 2)
        if b.rng.random() < 0.4:
            with b.frame(at, axis="x"):
                b.tube(metal, wide / 2, wide / 2 - wall, long, segments=18)
            continue
        rod = b.slab(metal, (long, wide, high), 2, at)
        hollow = b.slab(AIR, (long - 1, wide - 2 * wall, high - 2 * wall), 1.5, at, inside=rod)
        if b.rng.random() < 0.6:  # a narrower rod in it
            b.box(metal, (long * 0.8, wide - 4 * wall, high - 4 * wall), at, inside=hollow)
    if b.rng.random() < 0.5:
        grip_mm = b.rng.uniform(18, 34)
        b.slab("abs", (grip_mm, apart + wide, high), 4, (long / 2 + grip_mm / 2 + 1, 0, high / 2))


def tin(b: Builder) -> None:
    """Add a round or flat tin of steel or aluminium, with powder, food or cream in it."""
    metal = str(b.rng.choice(["iron", "aluminium"]))
    wall = b.rng.uniform(0.2, 0.45) if metal == "aluminium" else b.rng.uniform(0.15, 0.3)
    contents = str(b.rng.choice(["food", "soap", "water", "sugar"]))
    if b.rng.random() < 0.6:
        radius, high = b.rng.uniform(18, 50), b.rng.uniform(15, 130)
        body = b.cylinder(metal, radius, high, (0, 0, high / 2), 36)
        cavity = b.cylinder(AIR, radius - wall, high - 2 * wall, (0, 0, high / 2), 36, inside=body)
        b.tube(metal, radius + 0.9, radius + 0.1, 2.4, (0, 0, high - 1.3), 36)  # seam of the lid
    else:
        size = np.array([b.rng.uniform(50, 110), b.rng.uniform(35, 80), b.rng.uniform(12, 35)])
        body = b.slab(metal, tuple(size), 9, (0, 0, size[2] / 2))
        cavity = b.slab(AIR, tuple(size - 2 * wall), 8.5, (0, 0, size[2] / 2), inside=body)
    if b.rng.random() < 0.8:
        b.pour(cavity, contents, b.rng.uniform(0.2, 0.95))


def strap(b: Builder) -> None:
    """Add webbing in waves, with a sliding adjuster and a plastic or metal buckle."""
    long, wide = b.rng.uniform(180, 380), b.rng.uniform(18, 40)
    x = np.linspace(-long / 2, long / 2, 60)
    y = b.rng.uniform(8, 30) * np.sin(2 * np.pi * (b.rng.uniform(0.7, 2.5) * x / long))
    b.add(ribbon(np.column_stack([x, y]), b.rng.uniform(1.0, 2.2), wide), "nylon", (0, 0, wide / 2))
    at = (long / 2 + 18, float(y[-1]), wide / 2)
    with b.frame(at, rotation_xyz(np.pi / 2, 0, b.rng.uniform(-0.4, 0.4))):
        if b.rng.random() < 0.5:
            _buckle(b, str(b.rng.choice(["zamak", "iron", "brass"])))
        else:
            b.slab("nylon", (30, wide + 4, 8), 3)
    with b.frame((-long / 2 - 14, float(y[0]), wide / 2), rotation_xyz(np.pi / 2, 0, 0)):
        _buckle(b, str(b.rng.choice(["zamak", "iron", "nylon"])))


def zip_fastener(b: Builder) -> None:
    """Add a row of teeth along a winding path, with a slider."""
    long = b.rng.uniform(140, 420)
    t = np.linspace(0, 1, 90)
    bend = b.rng.uniform(-1.6, 1.6) * t + b.rng.uniform(0, 0.8) * np.sin(2 * np.pi * t * 1.5)
    step = long / len(t)
    path = np.column_stack(
        [np.cumsum(np.cos(bend)) * step, np.cumsum(np.sin(bend)) * step, np.full(len(t), 3.0)]
    )
    metal = str(b.rng.choice(["brass", "nylon", "zamak", "aluminium"]))
    b.wire(metal, path - path.mean(0) * [1, 1, 0], b.rng.uniform(0.9, 1.8), b.rng.uniform(0.5, 0.9))
    tip = path[-1] - path.mean(0) * [1, 1, 0]
    with b.frame((float(tip[0]) + 9, float(tip[1]), 0)):
        _zip_pull(b, "zamak")


def folds(b: Builder) -> None:
    """Add a crumpled shell: thin cloth or film that stands in winding folds."""
    material, thickness = {
        0: ("nylon", b.rng.uniform(0.5, 1.4)),
        1: ("polyester", b.rng.uniform(0.8, 2.0)),
        2: ("polyethylene", b.rng.uniform(0.2, 0.6)),
        3: ("aluminium", b.rng.uniform(0.02, 0.08)),
    }[int(b.rng.integers(4))]
    high = b.rng.uniform(30, 110)
    for k in range(int(b.rng.integers(2, 7))):
        long, waves = b.rng.uniform(90, 260), b.rng.uniform(1, 6)
        x = np.linspace(-long / 2, long / 2, 70)
        phase = 2 * np.pi * waves * x / long
        y = 5.0 * np.sin(phase) + 3.0 * np.sin(2.3 * phase + b.rng.uniform(0, 6))
        at = (b.rng.uniform(-20, 20), 24.0 * k, high / 2)
        b.add(ribbon(np.column_stack([x, y]), thickness, high), material, at)


def pens(b: Builder) -> None:
    """Add pens and brushes of plastic or metal, side by side."""
    for k in range(int(b.rng.integers(2, 7))):
        long, radius = b.rng.uniform(110, 165), b.rng.uniform(3.2, 6.5)
        material = str(b.rng.choice(["abs", "aluminium", "brass", "wood"]))
        with b.frame((b.rng.uniform(-12, 12), 15.0 * k, radius), axis="x"):
            b.tube(material, radius, radius - b.rng.uniform(0.6, 1.2), long, segments=14)
            b.cylinder("brass", min(1.4, radius / 3), long * 0.7, segments=8)


def watch(b: Builder) -> None:
    """Add a wrist watch whose bracelet of metal links or leather is closed to a ring."""
    radius = b.rng.uniform(25, 33)
    metal = str(b.rng.choice(["stainless_steel", "titanium"]))
    turn = np.linspace(0.35, 2 * np.pi - 0.35, 60)
    ring = radius * np.column_stack([np.cos(turn), np.sin(turn)])
    if b.rng.random() < 0.5:
        b.add(ribbon(ring, 2.2, 18), "leather", (0, 0, 10))
    else:
        b.add(ribbon(ring, 3.0, 18), metal, (0, 0, 10), density=0.75)
    with b.frame((radius + 4.5, 0, 10), axis="x"):
        case = b.cylinder(metal, b.rng.uniform(14, 21), 8, segments=28)
        b.cylinder("brass", 11, 4, (0, 0, -0.5), 24, inside=case, density=0.7)


def underwires(b: Builder) -> None:
    """Add the two bent wires of a bra."""
    for side in (-1, 1):
        turn = np.linspace(0.1, np.pi - 0.1, 30)
        arc = 52.0 * np.column_stack([np.cos(turn), np.sin(turn), np.zeros(30)])
        at = np.array([side * 58, 0, 2.0])
        b.wire("stainless_steel", arc + at, b.rng.uniform(0.7, 1.2))


def folded_umbrella(b: Builder) -> None:
    """Add a folded umbrella: a shaft in a bundle of steel ribs, in cloth, with a handle."""
    long, metal = b.rng.uniform(200, 300), str(b.rng.choice(["stainless_steel", "aluminium"]))
    b.tube("stainless_steel", 4.5, 3.8, long, axis="x", segments=12)
    ribs, spread = int(b.rng.integers(6, 11)), b.rng.uniform(1.0, 1.25)
    for member in range(int(b.rng.integers(2, 4))):
        radius, half = 7.0 + 3.2 * member, np.array([long * b.rng.uniform(0.34, 0.46), 0, 0])
        for k in range(ribs):
            turn = 2 * np.pi * (k + 0.4 * member) / ribs
            way = radius * np.array([0.0, np.cos(turn), np.sin(turn)])
            ends = np.array([way - half, spread * way + half])
            b.wire(metal, ends, b.rng.uniform(0.8, 1.2))
    b.tube("polyester", b.rng.uniform(20, 26), 18.5, long * 0.94, axis="x", density=0.7)
    b.cylinder("pc_abs", b.rng.uniform(11, 16), 45, (long / 2 + 23, 0, 0), 18, axis="x")


def chain_strap(b: Builder) -> None:
    """Add the chain of a handbag, in waves: every other link stands on its edge."""
    radius, metal = b.rng.uniform(3.0, 6.0), str(b.rng.choice(["brass", "zamak", "iron"]))
    pitch, wave = 2 * radius + 0.3, b.rng.uniform(30, 80)
    at, heading = np.zeros(2), 0.0
    for k in range(int(b.rng.uniform(250, 600) / pitch)):
        heading += b.rng.uniform(0.3, 1.0) * pitch / wave * np.sign(np.sin(k * pitch / wave))
        at = at + pitch * np.array([np.cos(heading), np.sin(heading)])
        with b.frame((*at, radius), rotation_xyz(0, 0, heading)):
            axis = "y" if k % 2 else "z"
            b.tube(metal, radius, radius * 0.62, radius * 0.38, segments=10, axis=axis)


def coin_heap(b: Builder) -> None:
    """Add loose coins in up to four layers."""
    for layer in range(int(b.rng.integers(1, 5))):
        shift = b.rng.uniform(-14, 14, 2)
        for x, y in ((i * 27.0, j * 27.0) for i in range(3) for j in range(2)):
            if b.rng.random() < 0.75:
                metal = str(b.rng.choice(["brass", "nickel", "copper"]))
                centre = (x + shift[0], y + shift[1], 2.6 * layer)
                b.cylinder(metal, b.rng.uniform(8, 13), b.rng.uniform(1.5, 2.4), centre, 20)


LUGGAGE: dict[str, Callable[[Builder], None]] = {
    "fittings": fittings,
    "rods": rods,
    "tin": tin,
    "strap": strap,
    "zip_fastener": zip_fastener,
    "folds": folds,
    "pens": pens,
    "watch": watch,
    "underwires": underwires,
    "folded_umbrella": folded_umbrella,
    "chain_strap": chain_strap,
    "coin_heap": coin_heap,
}
