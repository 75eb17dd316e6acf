"""A network router or hub: flat case, one board with shields, sockets, aerials."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.parts import board, boss, transformer

LAYOUTS = ("flat", "aerials", "tower", "travel")
DIMENSIONS = {
    "width_mm": (130.0, 225.0),
    "depth_mm": (95.0, 155.0),
    "height_mm": (24.0, 38.0),
    "wall_mm": (1.8, 2.6),
    "shell": ("abs", "pc_abs", "polystyrene", "aluminium"),
    "board_share": (0.7, 0.92),
    "board_grain_mm": (8.0, 12.0),
    "sockets": (2, 4, 5),
    "shields": (1, 2, 3),
    "shield_mm": (0.2, 0.35),
    "sink_fins": (0, 8, 14),
    "aerials": (1, 2, 3, 4),
    "aerial_mm": (80.0, 130.0),
    "ballast": (False, False, True),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a router that lies flat, with its sockets at +y."""
    k = 0.5 if layout == "travel" else 1.0
    w, depth, h = d.width_mm * k, d.depth_mm * (0.8 if layout == "travel" else 1.0), d.height_mm
    with b.frame((0, 0, h / 2)):
        with b.part("case"):
            interior = b.case(d.shell, (w, depth, h), d.wall_mm, 7)
        iw, il, ih = w - 2 * d.wall_mm - 1, depth - 2 * d.wall_mm - 1, h - 2 * d.wall_mm - 1
        with b.within(interior):
            _inside(b, d, layout, iw, il, ih)
        if layout == "aerials":
            _aerials(b, d, w, depth)


def _inside(b: Builder, d: SimpleNamespace, layout: str, w: float, length: float, h: float) -> None:
    bw, bl = w * d.board_share, (length - 6) * d.board_share
    y = length / 2 - bl / 2 - 3
    deep = 17.0
    floor = -h / 2 + (5.4 if d.ballast else 3.6)
    with b.frame((0, y, floor)):
        core = (0.0, -bl * 0.12, bw * 0.34, bl * 0.4)
        with b.part("mainboard"):
            board(b, bw, bl - deep - 2, 1.4, h * 0.4, 1.4, d.board_grain_mm, keep=core)
        with b.part("processor"), b.frame((core[0], core[1], 0.7)):
            side = min(core[2], core[3]) * 0.7
            b.box("moulding_compound", (side, side, 1.4), (0, 0, 0.8))
            for i in range(d.sink_fins):
                b.box(
                    "aluminium",
                    (side * 0.03, side, h * 0.3),
                    ((i - (d.sink_fins - 1) / 2) * side / d.sink_fins, 0, 1.7 + h * 0.15),
                )
            b.box("aluminosilicate_glass", (side * 0.6, side * 0.1, 0.5), (0, side * 0.7, 0.4))
        with b.part("shield"):
            for i in range(d.shields):
                x = -bw / 2 + (i + 0.5) * bw / d.shields
                b.box(
                    "stainless_steel",
                    (bw / d.shields * 0.7, bl * 0.22, d.shield_mm),
                    (x, -bl * 0.25, 0.7 + h * 0.4 + 1.2),
                )
        with b.part("sockets"):
            n = min(d.sockets, int(bw / 18))
            height = min(13.0, h - (floor + h / 2) - 1.2)
            for i in range(n):
                at = ((i - (n - 1) / 2) * 17, bl / 2 - deep / 2, height / 2 + 0.2)
                body = b.box("stainless_steel", (15.5, deep - 1, height), at)
                hole = b.box(AIR, (14.5, deep - 2, height - 1), at, inside=body)
                b.box("brass", (10, deep * 0.5, 0.6), at, inside=hole, density=0.5)
    if d.ballast:
        with b.part("ballast", replaceable=True):
            b.box(
                "stainless_steel", (w * 0.5, length * 0.4, 2.2), (0, -length * 0.05, -h / 2 + 1.3)
            )
    for side in (-1, 1):
        boss(b, (side * (w / 2 - 4.5), -length / 2 + 5, 0), h - 0.4)
    if layout == "tower":
        with b.frame((0, -length / 2 + 11, h * 0.05)):
            transformer(b, (w * 0.25, 14, h * 0.6), "ferrite")


def _aerials(b: Builder, d: SimpleNamespace, w: float, depth: float) -> None:
    for k in range(d.aerials):
        x = (k + 0.5) * w / d.aerials - w / 2
        with (
            b.part("aerial"),
            b.frame((x, depth / 2 + 8.3, 0), rotation_xyz(0, 0, b.rng.uniform(-0.1, 0.1))),
        ):
            b.cylinder("brass", 3.5, 7.5, (0, -4.2, 0), 10, axis="y")
            rod = b.cylinder("polypropylene", 5, d.aerial_mm, (0, d.aerial_mm / 2, 0), 12, axis="y")
            b.cylinder(
                "copper",
                1.2,
                d.aerial_mm * 0.7,
                (0, d.aerial_mm * 0.45, 0),
                8,
                axis="y",
                inside=rod,
            )
