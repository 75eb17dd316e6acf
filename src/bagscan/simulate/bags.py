"""What things travel in: a soft bag, a hard case, a tray. Centred in x and y, standing on z = 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bagscan.simulate.assembly import AIR, OUTSIDE, Assembly, Builder
from bagscan.simulate.mesh import Mesh, prism, rotation_xyz, rounded_rectangle

KINDS = ("soft_bag", "hard_case", "tray")
Size = tuple[float, float, float]


@dataclass(frozen=True)
class Bag:
    """A bag and the room in it.

    Attributes:
        room_mm: (width, length, height) free inside; its floor lies at ``floor_mm``, rounded by ``corner_mm``.
        host: solid of the assembly that things lie in, or ``OUTSIDE`` for a tray.
    """

    kind: str
    assembly: Assembly
    room_mm: Size
    floor_mm: float
    corner_mm: float
    host: int


def build_bag(kind: str, room_mm: Size, rng: np.random.Generator) -> Bag:
    """A bag around a room."""
    b = Builder(rng)
    with b.part(kind):
        return {"soft_bag": _soft, "hard_case": _hard, "tray": _tray}[kind](b, room_mm)


def _shell(
    b: Builder,
    room: Size,
    wall: float,
    corner: float,
    material: str,
    density: float,
    lift: float = 0.0,
) -> int:
    w, length, h = room
    middle = (0, 0, lift + wall + h / 2)
    outer = b.add(
        _box(w + 2 * wall, length + 2 * wall, h + 2 * wall, corner + wall),
        material,
        middle,
        density=density,
    )
    return b.add(_box(w, length, h, corner), AIR, middle, inside=outer)


def _box(w: float, length: float, h: float, corner: float) -> Mesh:
    return prism(rounded_rectangle(w, length, corner, 7), h)


def _soft(b: Builder, room: Size) -> Bag:
    w, length, h = room
    material = str(b.rng.choice(["polyester", "leather", "cotton", "nylon"]))
    wall, corner = float(b.rng.uniform(1.2, 2.6)), float(b.rng.uniform(25, 55))
    density = {"polyester": 3.0, "cotton": 2.4, "leather": 1.0, "nylon": 0.6}[material]
    cavity = _shell(b, room, wall, corner, material, density)
    outside_w, outside_l = w + 2 * wall, length + 2 * wall
    ring = rounded_rectangle(outside_w + 3.4, outside_l + 3.4, corner + wall + 1.7, 7)
    path = np.column_stack(
        [np.vstack([ring, ring[:1]]), np.full(len(ring) + 1, wall + h * b.rng.uniform(0.6, 0.9))]
    )
    b.wire(
        str(b.rng.choice(["brass", "nylon", "zamak"])),
        path[: int(len(path) * b.rng.uniform(0.5, 0.98))],
        float(b.rng.uniform(0.8, 1.4)),
        density=0.7,
    )
    for side in (-1, 1):  # rings and a buckle of the strap
        b.tube(
            "zamak",
            11,
            8.6,
            2.6,
            (side * (outside_w / 2 + 12), length * b.rng.uniform(-0.2, 0.2), wall + h * 0.5),
        )
    if b.rng.random() < 0.6:
        b.box(
            "nylon", (outside_w * 0.5, 28, 2), (0, outside_l / 2 + 18, wall + h * 0.5), density=0.8
        )
    _hardware(b, outside_w + 2.4, outside_l + 2.4, wall + 0.1 * h, 0.35 * h)
    return Bag("soft_bag", b.build(), room, wall, corner, cavity)


def _hardware(b: Builder, w: float, length: float, z_mm: float, span_mm: float) -> None:
    """Zip pulls, rivets and eyelets along the outside, clear of the zip above them."""
    for _ in range(int(b.rng.integers(4, 16))):
        side, along = int(b.rng.integers(4)), b.rng.uniform(-0.36, 0.36)
        x, y = (
            (along * w, (side - 0.5) * (length + 5))
            if side < 2
            else ((side - 2.5) * (w + 5), along * length)
        )
        with b.frame(
            (x, y, z_mm + b.rng.uniform(0, 1) * span_mm),
            rotation_xyz(0, 0, np.pi / 2 * (side >= 2)),
        ):
            metal = str(b.rng.choice(["zamak", "brass", "stainless_steel", "aluminium"]))
            if b.rng.random() < 0.5:
                b.slab(metal, (b.rng.uniform(4, 12), 1.8, b.rng.uniform(3, 22)), 0.8)
            else:
                b.tube(metal, b.rng.uniform(3.2, 7.5), 2.2, 1.6, axis="y")


def _hard(b: Builder, room: Size) -> Bag:
    w, length, h = room
    material, wall, corner = (
        str(b.rng.choice(["polycarbonate", "abs", "polypropylene"])),
        float(b.rng.uniform(1.8, 3.2)),
        float(b.rng.uniform(25, 45)),
    )
    lift = 14.0
    cavity = _shell(b, room, wall, corner, material, 1.0, lift)
    rods = float(b.rng.uniform(0.25, 0.4)) * w
    for side in (-1, 1):  # the trolley's rods run under the shell
        rod = b.box("aluminium", (15, length * 0.92, 9), (side * rods / 2, 0, lift - 7))
        b.box(AIR, (12.4, length * 0.92 - 2, 6.4), (side * rods / 2, 0, lift - 7), inside=rod)
        wheel = b.cylinder(
            "nylon", 17, 14, (side * w * 0.42, -length / 2 - wall - 18, lift + 4), 18, axis="x"
        )
        b.cylinder(
            "stainless_steel",
            3.5,
            14,
            (side * w * 0.42, -length / 2 - wall - 18, lift + 4),
            10,
            axis="x",
            inside=wheel,
        )
    grip = b.cylinder(
        "aluminium", 7.5, rods + 20, (0, length / 2 + wall + 10, lift - 4), 14, axis="x"
    )
    b.cylinder(AIR, 6, rods + 16, (0, length / 2 + wall + 10, lift - 4), 12, axis="x", inside=grip)
    ring = rounded_rectangle(w + 2 * wall + 3, length + 2 * wall + 3, corner + wall + 1.5, 7)
    for z in (-4.0, 4.0):
        b.wire(
            "brass",
            np.column_stack(
                [np.vstack([ring, ring[:1]]), np.full(len(ring) + 1, lift + wall + h / 2 + z)]
            ),
            0.8,
            density=0.8,
        )
    return Bag("hard_case", b.build(), room, lift + wall, corner, cavity)


def _tray(b: Builder, room: Size) -> Bag:
    w, length, _ = room
    wall, corner, rim = 3.0, 30.0, float(b.rng.uniform(55, 90))
    material = str(b.rng.choice(["polypropylene", "polyethylene", "abs"]))
    middle = wall + rim / 2
    b.add(_box(w + 2 * wall, length + 2 * wall, wall, corner + wall), material, (0, 0, wall / 2))
    rim_solid = b.add(
        _box(w + 2 * wall, length + 2 * wall, rim - 0.2, corner + wall), material, (0, 0, middle)
    )
    b.add(_box(w, length, rim - 0.2, corner), AIR, (0, 0, middle), inside=rim_solid)
    return Bag("tray", b.build(), room, wall + 0.1, corner, OUTSIDE)
