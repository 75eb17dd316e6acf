"""Clutter: everyday items, and look-alikes of anomalies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bagscan.simulate.anomalies import OPERATIONAL, Sizes, build_anomaly, draw_place_size
from bagscan.simulate.assembly import AIR, Assembly, Builder, Component
from bagscan.simulate.mesh import ribbon, rotation_xyz
from bagscan.simulate.parts import helix

# Kind of anomaly that each look-alike is built as.
LOOK_ALIKES = {
    "loose_screws": "screws",
    "loose_plate": "metal_plate",
    "blade": "sharp",
    "food_block": "organic_block",
    "powder_bag": "powder",
    "sachet": "liquid",
    "pipe": "metal_tube",
    "cell_and_leads": "wires_and_battery",
}


def build_item(name: str, rng: np.random.Generator, sizes: Sizes = OPERATIONAL) -> Assembly:
    """Build an item near the origin, as a single component of the same name.

    Args:
        name: key of ``ITEMS`` or ``LOOK_ALIKES``.
        rng: random generator of dimensions and materials.
        sizes: range of sizes of look-alikes, the same as for anomalies.
    """
    if name in LOOK_ALIKES:
        return _build_look_alike(LOOK_ALIKES[name], name, rng, sizes)
    b = Builder(rng)
    with b.part(name):
        ITEMS[name](b)
    return b.build()


def _build_look_alike(kind: str, name: str, rng: np.random.Generator, sizes: Sizes) -> Assembly:
    while True:
        anomaly = build_anomaly(kind, draw_place_size(kind, rng, sizes), rng)
        if anomaly is not None:
            return replace(anomaly, components=(Component(name),))


def book(b: Builder) -> None:
    w, length, h = b.rng.uniform(100, 180), b.rng.uniform(150, 240), b.rng.uniform(8, 38)
    b.box("paper", (w - 4, length - 4, h - 4), (2, 0, 0))
    for z in (-1, 1):
        b.box("cardboard", (w, length, 1.8), (0, 0, z * (h / 2 - 0.95)))
    b.box("cardboard", (1.8, length, h - 4), (-w / 2 + 0.9, 0, 0))


def magazine(b: Builder) -> None:
    size = b.rng.uniform(190, 220), b.rng.uniform(260, 300), b.rng.uniform(2, 6)
    b.box("paper", size, density=1.2)


def drink_can(b: Builder) -> None:
    r, long = b.rng.uniform(26, 33.2), b.rng.uniform(100, 166)
    can = b.cylinder("aluminium", r, long, axis="x", segments=28)
    cavity = b.cylinder(AIR, r - 0.25, long - 0.8, axis="x", segments=28, inside=can)
    if b.rng.random() < 0.85:
        b.pour(cavity, "water", 0.93)


def toiletry_bottle(b: Builder) -> None:
    w, h, long = b.rng.uniform(45, 75), b.rng.uniform(28, 45), b.rng.uniform(110, 190)
    with b.frame(axis="x"):
        body = b.slab("polyethylene", (h, w, long), min(h, w) * 0.35)
        cavity = b.slab(AIR, (h - 2.4, w - 2.4, long - 2.4), min(h, w) * 0.33, inside=body)
        b.cylinder("polypropylene", 11, 20, (0, 0, long / 2 + 10.1), 18)
    b.pour(cavity, str(b.rng.choice(["water", "oil", "soap"])), b.rng.uniform(0.3, 0.95))


def tube_of_paste(b: Builder) -> None:
    r, long = b.rng.uniform(14, 20), b.rng.uniform(110, 170)
    outer = [(0, 0), (r, 0), (r * 0.95, long * 0.3), (2, long), (0, long)]
    inner = [(0, 0.6), (r - 0.8, 0.6), (r * 0.95 - 0.8, long * 0.3), (1.3, long - 2), (0, long - 2)]
    skin = b.lathe("polyethylene", outer, axis="x")
    b.lathe("soap", inner, axis="x", inside=skin, density=1.2)
    b.cylinder("polypropylene", r * 0.6, 18, (-9.1, 0, 0), 16, axis="x")


def jar(b: Builder) -> None:
    r, h = b.rng.uniform(22, 36), b.rng.uniform(28, 60)
    glass = b.rng.random() < 0.5
    wall = b.rng.uniform(2.5, 5) if glass else 1.6
    body = b.cylinder("soda_lime_glass" if glass else "polypropylene", r, h, segments=28)
    cavity = b.cylinder(AIR, r - wall, h - 2 * wall, segments=28, inside=body)
    b.pour(cavity, str(b.rng.choice(["oil", "soap", "food"])), b.rng.uniform(0.4, 0.95))
    lid = b.cylinder("aluminium" if glass else "polypropylene", r, 11, (0, 0, h / 2 + 5.6), 28)
    b.cylinder(AIR, r - 1, 9, (0, 0, h / 2 + 5.6), 24, inside=lid)


def keys(b: Builder) -> None:
    angle = np.linspace(0, 1.9 * np.pi, 24)
    ring = np.column_stack([13 * np.cos(angle), 13 * np.sin(angle), np.zeros(24)])
    b.wire("stainless_steel", ring, 1.0)
    for k in range(int(b.rng.integers(2, 7))):
        metal = str(b.rng.choice(["brass", "zamak", "nickel"]))
        long, z = b.rng.uniform(24, 36), 2.6 * (k + 1)
        with b.frame((0, 0, z), rotation_xyz(0, 0, b.rng.uniform(-0.7, 0.7))):
            b.tube(metal, 11, 3, 2.1, (14, 0, 0), 16)
            b.box(metal, (long, b.rng.uniform(6, 8), 2.1), (25.3 + long / 2, 0, 0))


def coins(b: Builder) -> None:
    for x in (-1, 0, 1):
        z = 0.0
        for _ in range(int(b.rng.integers(1, 5))):
            thick = b.rng.uniform(1.5, 2.4)
            metal, radius = str(b.rng.choice(["brass", "nickel", "copper"])), b.rng.uniform(8, 13)
            at = (x * 27 + b.rng.uniform(-0.4, 0.4), 0, z + thick / 2)
            b.cylinder(metal, radius, thick, at, 20)
            z += thick + 0.05


def shoe(b: Builder) -> None:
    long, wide = b.rng.uniform(240, 300), b.rng.uniform(82, 105)
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    outline = np.column_stack(
        [long / 2 * np.cos(t), wide / 2 * np.sin(t) * (1 - 0.18 * np.cos(t + 0.6))]
    )
    material = str(b.rng.choice(["rubber", "pu_foam", "polyethylene"]))
    sole = b.prism(material, outline, 16, (0, 0, 8), density=b.rng.uniform(0.3, 0.7))
    for x in (-0.3, -0.1, 0.1, 0.3):  # tread
        b.box(AIR, (long * 0.08, wide * 0.5, 9), (long * x, 0, 4.5), inside=sole)
    material = str(b.rng.choice(["leather", "polyester", "cotton"]))
    upper = b.prism(material, outline * 0.97, 58, (0, 0, 45.2), density=1.2)
    b.prism(AIR, outline * [0.95, 0.9], 58, (0, 0, 45.2), inside=upper)
    for k in range(5):  # eyelets
        for side in (-1, 1):
            b.tube("brass", 2.6, 1.5, 1.2, (long * 0.08 + 11 * k, side * 12, 75.0), 10)


def belt(b: Builder) -> None:
    angle = np.linspace(0, 2 * np.pi * b.rng.uniform(2.2, 3.4), 80)
    r = 38 - 5.2 * angle / (2 * np.pi)
    coil = np.column_stack([r * np.cos(angle), r * np.sin(angle)])
    b.add(ribbon(coil, 3.4, 34), "leather")
    b.box("zamak", (5, 40, 38), (44, 0, 0))


def wallet(b: Builder) -> None:
    w, length = b.rng.uniform(85, 105), b.rng.uniform(105, 130)
    skin = b.slab("leather", (w, length, 14), 5)
    for k in range(int(b.rng.integers(2, 6))):
        b.box("pvc", (54, 85, 0.8), (0, b.rng.uniform(-4, 4), -4 + 1.6 * k), inside=skin)


def umbrella(b: Builder) -> None:
    long = b.rng.uniform(210, 290)
    b.tube("stainless_steel", 4, 3.4, long, axis="x", segments=10)
    for k in range(8):
        a = 2 * np.pi * k / 8
        b.cylinder("aluminium", 0.8, long * 0.9, (0, 9 * np.cos(a), 9 * np.sin(a)), 6, axis="x")
    b.tube("polyester", 22, 10.5, long * 0.92, density=1.3, axis="x")
    b.cylinder("pc_abs", 15, 40, (long / 2 + 20.2, 0, 0), 18, axis="x")


def headphones(b: Builder) -> None:
    for side in (-1, 1):
        with b.frame((side * 74, 0, 18)):
            shell = b.cylinder("pc_abs", 34, 30, segments=24)
            cavity = b.cylinder(AIR, 31, 26, segments=24, inside=shell)
            b.cylinder("ndfeb", 9, 6, (0, 0, -2), 16, inside=cavity)
            b.tube("copper", 11.5, 9.6, 4, (0, 0, -2), inside=cavity, density=0.5)
            b.box("fr4", (30, 14, 1), (0, 0, -9), inside=cavity)
    t = np.linspace(0.16, np.pi - 0.16, 24)
    arc = np.column_stack([74 * np.cos(t), 31.2 + 62 * np.sin(t), np.full(24, 18)])
    sheath = b.wire("abs", arc, 6, segments=8)
    b.wire("stainless_steel", arc[1:-1], 1.3, inside=sheath)


def spectacles(b: Builder) -> None:
    body = b.slab("pc_abs", (160, 58, 34), 12)
    cavity = b.slab(AIR, (155, 53, 29), 10, inside=body)
    with b.within(cavity):
        for side in (-1, 1):
            lens = "polycarbonate" if b.rng.random() < 0.7 else "soda_lime_glass"
            b.ball(lens, (25, 20, 1.4), (side * 33, 0, 0))
            b.cylinder("titanium", 0.8, 120, (side * 6, 23, 5), 8, axis="x")


def snack(b: Builder) -> None:
    w, length, h = b.rng.uniform(60, 110), b.rng.uniform(90, 150), b.rng.uniform(30, 60)
    tub = b.slab("polypropylene", (w, length, h), 10)
    cavity = b.slab(AIR, (w - 2.4, length - 2.4, h - 2.4), 9, inside=tub)
    b.pour(cavity, "food", b.rng.uniform(0.4, 0.9))


def fruit(b: Builder) -> None:
    for k in range(int(b.rng.integers(1, 4))):
        r = b.rng.uniform(28, 40)
        b.ball("food", (r, r, r * 0.92), (k * 82, 0, 0), density=0.85)


def cable(b: Builder) -> None:
    turns, r = b.rng.uniform(3, 7), b.rng.uniform(28, 50)
    coil = helix(turns, r, turns * 5.2, 22)
    sheath = b.wire("cable_pvc", coil, 2.0)
    b.wire("copper", coil[1:-1], 0.7, inside=sheath)


def torch(b: Builder) -> None:
    long = 120
    b.tube("aluminium", 13, 11.2, long, axis="x")
    for k in (-1, 1):
        with b.frame((k * 27, 0, 0), axis="x"):
            can = b.cylinder("stainless_steel", 7.2, 49, segments=16)
            b.cylinder("alkaline_core", 6.9, 46, segments=16, inside=can)
    b.cylinder("polycarbonate", 13, 3, (long / 2 + 1.6, 0, 0), 20, axis="x")


def cosmetics_box(b: Builder) -> None:
    w, length = b.rng.uniform(55, 90), b.rng.uniform(55, 110)
    body = b.slab("abs", (w, length, 15), 6)
    b.box("soda_lime_glass", (w * 0.8, length * 0.8, 1.6), (0, 0, 4.5), inside=body)
    b.slab("mica", (w * 0.7, length * 0.7, 4), 4, (0, 0, -1.5), inside=body, density=0.45)


ITEMS: dict[str, Callable[[Builder], None]] = {
    f.__name__: f
    for f in (
        book, magazine, drink_can, toiletry_bottle, tube_of_paste, jar, keys, coins, shoe, belt,
        wallet, umbrella, headphones, spectacles, snack, fruit, cable, torch, cosmetics_box,
    )
}  # fmt: skip
# Relative frequency of items, 1 if absent.
COMMON = {
    "magazine": 0.6,
    "headphones": 0.35,
    "umbrella": 0.5,
    "torch": 0.3,
    "belt": 0.6,
    "coins": 0.6,
    "toiletry_bottle": 1.6,
    "book": 1.4,
    "snack": 1.2,
}
