"""Containers: bags, hard case and tray, centred in x and y, standing on z = 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bagscan.simulate.assembly import AIR, OUTSIDE, Assembly, Builder
from bagscan.simulate.cloth import build_sheet, draw_folds, draw_pockets, draw_smooth_noise
from bagscan.simulate.hardware import add_hardware
from bagscan.simulate.mesh import Mesh, prism, rotation_xyz, rounded_rectangle

SHEET_MM, SHEET_CELL_MM = 6.0, 2.0  # space for a crumpled sheet, and distance of its nodes
FLAP_MM = 14.0  # farthest that the sheet reaches beyond the bag
WIDEST_BAG_MM = 620.0  # with what hangs beside it, so that it passes a tunnel of 640 mm
WIDEST_REACH_MM = 110.0  # farthest that hardware hangs beside a bag
Size = tuple[float, float, float]


@dataclass(frozen=True)
class Bag:
    """A container and the free space in it.

    Attributes:
        kind: one of ``KINDS``.
        assembly: solids of the container.
        room_mm: (width, length, height) of the free space.
        floor_mm: z of the floor of the free space.
        corner_mm: radius of the free space's vertical edges.
        host: solid of the assembly that the content lies in, or ``OUTSIDE`` for a tray.
    """

    kind: str
    assembly: Assembly
    room_mm: Size
    floor_mm: float
    corner_mm: float
    host: int


def build_bag(kind: str, room_mm: Size, rng: np.random.Generator) -> Bag:
    """Build a container.

    Args:
        kind: one of ``KINDS``.
        room_mm: (width, length, height) of the free space.
        rng: random generator of material, thickness and fittings.
    """
    b = Builder(rng)
    with b.part(kind):
        return BUILDERS[kind](b, room_mm)


def _add_shell(
    b: Builder,
    size: Size,
    wall: float,
    corner: float,
    material: str,
    density: float,
    lift: float = 0.0,
) -> int:
    """Add a closed shell around the free space and return the index of its cavity."""
    w, length, h = size
    middle = (0, 0, lift + wall + h / 2)
    outside = _box(w + 2 * wall, length + 2 * wall, h + 2 * wall, corner + wall)
    outer = b.add(outside, material, middle, density=density)
    return b.add(_box(w, length, h, corner), AIR, middle, inside=outer)


def _box(w: float, length: float, h: float, corner: float) -> Mesh:
    return prism(rounded_rectangle(w, length, corner, 7), h)


def _closed_path(outline: np.ndarray, z_mm: float) -> np.ndarray:
    """Return a closed path along an outline, at one height: (n + 1, 3)."""
    closed = np.vstack([outline, outline[:1]])
    return np.column_stack([closed, np.full(len(closed), z_mm)])


def _build_soft_bag(b: Builder, size: Size) -> Bag:
    w, length, h = size
    material = str(b.rng.choice(["polyester", "leather", "cotton", "nylon"]))
    wall, corner = float(b.rng.uniform(1.2, 2.6)), float(b.rng.uniform(25, 55))
    density = {"polyester": 3.0, "cotton": 2.4, "leather": 1.0, "nylon": 0.6}[material]
    cavity = _add_shell(b, size, wall, corner, material, density)
    outside_w, outside_l = w + 2 * wall, length + 2 * wall
    ring = rounded_rectangle(outside_w + 3.4, outside_l + 3.4, corner + wall + 1.7, 7)
    path = _closed_path(ring, wall + h * b.rng.uniform(0.6, 0.9))
    zip_material = str(b.rng.choice(["brass", "nylon", "zamak"]))
    zip_path = path[: int(len(path) * b.rng.uniform(0.5, 0.98))]
    b.wire(zip_material, zip_path, float(b.rng.uniform(0.8, 1.4)), density=0.7)
    # Rings and a buckle of the shoulder strap.
    middle_z = wall + h * 0.5
    for side in (-1, 1):
        at = (side * (outside_w / 2 + 12), length * b.rng.uniform(-0.2, 0.2), middle_z)
        b.tube("zamak", 11, 8.6, 2.6, at)
    if b.rng.random() < 0.6:
        at = (0, outside_l / 2 + 18, middle_z)
        b.box("nylon", (outside_w * 0.5, 28, 2), at, density=0.8)
    _add_fittings(b, outside_w + 2.4, outside_l + 2.4, wall + 0.1 * h, 0.35 * h)
    return Bag("soft_bag", b.build(), size, wall, corner, cavity)


def _add_fittings(b: Builder, w: float, length: float, z_mm: float, span_mm: float) -> None:
    """Add zip pulls, rivets and eyelets to the outside, below the zip."""
    for _ in range(int(b.rng.integers(4, 16))):
        side, along = int(b.rng.integers(4)), b.rng.uniform(-0.36, 0.36)
        if side < 2:
            x, y = along * w, (side - 0.5) * (length + 5)
        else:
            x, y = (side - 2.5) * (w + 5), along * length
        z = z_mm + b.rng.uniform(0, 1) * span_mm
        with b.frame((x, y, z), rotation_xyz(0, 0, np.pi / 2 * (side >= 2))):
            metal = str(b.rng.choice(["zamak", "brass", "stainless_steel", "aluminium"]))
            if b.rng.random() < 0.5:
                b.slab(metal, (b.rng.uniform(4, 12), 1.8, b.rng.uniform(3, 22)), 0.8)
            else:
                b.tube(metal, b.rng.uniform(3.2, 7.5), 2.2, 1.6, axis="y")


def _build_hard_case(b: Builder, size: Size) -> Bag:
    w, length, h = size
    material = str(b.rng.choice(["polycarbonate", "abs", "polypropylene"]))
    wall, corner = float(b.rng.uniform(1.8, 3.2)), float(b.rng.uniform(25, 45))
    lift = 14.0  # the rods and wheels of the trolley lie below the shell
    cavity = _add_shell(b, size, wall, corner, material, 1.0, lift)
    rods = float(b.rng.uniform(0.25, 0.4)) * w
    _add_trolley(b, (w, length), wall, rods, lift - 7)
    grip_at = (0, length / 2 + wall + 10, lift - 4)
    grip = b.cylinder("aluminium", 7.5, rods + 20, grip_at, 14, axis="x")
    b.cylinder(AIR, 6, rods + 16, grip_at, 12, axis="x", inside=grip)
    ring = rounded_rectangle(w + 2 * wall + 3, length + 2 * wall + 3, corner + wall + 1.5, 7)
    for z in (-4.0, 4.0):
        b.wire("brass", _closed_path(ring, lift + wall + h / 2 + z), 0.8, density=0.8)
    return Bag("hard_case", b.build(), size, lift + wall, corner, cavity)


def _build_tray(b: Builder, size: Size) -> Bag:
    w, length, _ = size
    wall, corner, rim = 3.0, 30.0, float(b.rng.uniform(55, 90))
    material = str(b.rng.choice(["polypropylene", "polyethylene", "abs"]))
    middle = wall + rim / 2
    b.add(_box(w + 2 * wall, length + 2 * wall, wall, corner + wall), material, (0, 0, wall / 2))
    outside = _box(w + 2 * wall, length + 2 * wall, rim - 0.2, corner + wall)
    rim_solid = b.add(outside, material, (0, 0, middle))
    b.add(_box(w, length, rim - 0.2, corner), AIR, (0, 0, middle), inside=rim_solid)
    return Bag("tray", b.build(), size, wall + 0.1, corner, OUTSIDE)


def _build_crumpled_bag(b: Builder, size: Size) -> Bag:
    """Build a bag of thin cloth or film, with folds, pockets, zips, handles and hardware outside.

    One in three is a trolley.
    """
    w, length, h = size
    material = str(b.rng.choice(["nylon", "polyester", "polyethylene", "cotton"]))
    wall, corner = float(b.rng.uniform(0.4, 1.0)), float(b.rng.uniform(25, 60))
    rods_mm = 16.0 if b.rng.random() < 0.35 else 0.0
    lift = SHEET_MM + rods_mm
    cavity = _add_shell(b, size, wall, corner, material, 1.0, lift)
    top = lift + 2 * wall + h
    _add_sheet(b, material, (w, length), 0.0)
    _add_sheet(b, material, (w, length), top)
    if rods_mm:
        spacing = float(b.rng.uniform(0.25, 0.45)) * w
        _add_trolley(b, (w, length), wall, spacing, SHEET_MM + rods_mm / 2)
    _add_zips(b, (w, length, h), corner, lift + wall)
    _add_handles(b, w, length, lift + h / 2)
    _add_fittings(b, w + 26, length + 26, lift + 0.1 * h, 0.5 * h)
    if b.rng.random() < 0.9:
        reach = min(WIDEST_REACH_MM, (WIDEST_BAG_MM - w) / 2)
        add_hardware(
            b, (w, length), lift + h * b.rng.uniform(0.2, 0.8), reach, b.rng.uniform(0.3, 1)
        )
    return Bag("crumpled_bag", b.build(), size, lift + wall, corner, cavity)


def _add_trolley(
    b: Builder, sides: tuple[float, float], wall: float, spacing: float, z_mm: float
) -> None:
    """Add two hollow rods below a bag, ``spacing`` mm apart, and two wheels at its end."""
    w, length = sides
    for side in (-1, 1):
        rod_at = (side * spacing / 2, 0, z_mm)
        rod = b.box("aluminium", (15, length * 0.92, 9), rod_at)
        b.box(AIR, (12.4, length * 0.92 - 2, 6.4), rod_at, inside=rod)
        wheel_at = (side * w * 0.42, -length / 2 - wall - 18, z_mm + 11)
        wheel = b.cylinder("nylon", 17, 14, wheel_at, 18, axis="x")
        b.cylinder("stainless_steel", 3.5, 14, wheel_at, 10, axis="x", inside=wheel)


def _add_zips(b: Builder, size: Size, corner: float, floor_mm: float) -> None:
    """Add one to four zips or seams around the bag, each over a part of its outline."""
    w, length, h = size
    for _ in range(int(b.rng.integers(1, 5))):
        reach = b.rng.uniform(2.4, 12)
        ring = rounded_rectangle(w + 2 * reach, length + 2 * reach, corner + reach, 7)
        path = _closed_path(ring, floor_mm + h * b.rng.uniform(0.1, 0.9))
        first = int(b.rng.integers(len(path) // 2))
        section = path[first : first + max(3, int(len(path) * b.rng.uniform(0.2, 1)))]
        b.wire(str(b.rng.choice(["nylon", "brass", "polyester"])), section, b.rng.uniform(0.7, 1.6))


def _add_sheet(b: Builder, material: str, sides: tuple[float, float], z_mm: float) -> None:
    """Add a crumpled sheet with an irregular outline, between ``z_mm`` and SHEET_MM above it."""
    x, y = (np.arange(-side / 2 - FLAP_MM, side / 2 + FLAP_MM, SHEET_CELL_MM) for side in sides)
    shape = (len(x), len(y))
    beyond_mm = np.maximum(np.abs(x)[:, None] - sides[0] / 2, np.abs(y)[None] - sides[1] / 2)
    sigma = 20 / SHEET_CELL_MM
    outline = FLAP_MM * (0.4 + 0.25 * draw_smooth_noise(shape, (sigma, sigma), 0.0, b.rng))
    layers = 1 + draw_folds(shape, SHEET_CELL_MM, b.rng)
    layers += draw_pockets(x, y, int(b.rng.integers(0, 4)), b.rng)
    thick = np.clip(b.rng.uniform(0.4, 1.8) * layers, 0.2, SHEET_MM - 2.5)
    wave = 1 + 0.4 * draw_smooth_noise(shape, (sigma, sigma), 0.0, b.rng).clip(-2, 2)
    lower = z_mm + 0.1 + wave
    b.add(build_sheet(x, y, lower, lower + thick, beyond_mm < outline), material)


def _add_handles(b: Builder, w: float, length: float, z_mm: float) -> None:
    """Add handles and straps as pairs of winding stitched edges, beyond both ends of the bag."""
    for end in (-1, 1):
        for _ in range(int(b.rng.integers(0, 3))):
            span, reach = b.rng.uniform(0.08, 0.2) * w, b.rng.uniform(25, 60)
            turn = np.linspace(0, np.pi, 24)
            wander = np.cumsum(b.rng.normal(0, 1.2, 24))
            z = z_mm + b.rng.uniform(-0.3, 0.3) * z_mm
            middle = b.rng.uniform(-0.25, 0.25) * w
            for inset in (0.0, b.rng.uniform(14, 22)):
                x = middle + max(span - inset, 6) * np.cos(turn) + wander
                x = x.clip(-w / 2, w / 2)
                y = end * (length / 2 + 14 + (reach - inset / 2) * np.sin(turn))
                path = np.column_stack([x, y, np.full(24, z)])
                b.wire("nylon", path, b.rng.uniform(0.8, 2.2), density=0.8)


BUILDERS: dict[str, Callable[[Builder, Size], Bag]] = {
    "soft_bag": _build_soft_bag,
    "hard_case": _build_hard_case,
    "tray": _build_tray,
    "crumpled_bag": _build_crumpled_bag,
}
KINDS = tuple(BUILDERS)
