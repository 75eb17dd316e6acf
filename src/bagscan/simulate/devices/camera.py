"""A camera: body, lens barrel with lenses, sensor and boards, cell, optional prism."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.parts import board, boss, capacitor, pouch_cell

LAYOUTS = ("reflex", "mirrorless", "compact", "long_lens")
DIMENSIONS = {
    "width_mm": (108.0, 142.0),
    "height_mm": (68.0, 100.0),
    "depth_mm": (36.0, 52.0),
    "wall_mm": (1.4, 2.4),
    "shell": ("az91", "pc_abs", "aluminium"),
    "lens_radius_mm": (27.0, 37.0),
    "lens_mm": (48.0, 80.0),
    "barrel_mm": (2.0, 3.4),
    "glasses": (4, 5, 6, 7),
    "sensor_mm": (15.0, 25.0),
    "cell_mm": (13.0, 19.0),
    "screen_mm": (1.6, 2.6),
    "board_grain_mm": (5.5, 8.0),
    "flash_radius_mm": (4.5, 6.5),
    "side": (-1, 1),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a camera that lies on its back, with the lens along z."""
    k = 0.78 if layout == "compact" else 1.0
    w, h, depth = (
        d.width_mm * k,
        d.height_mm * k,
        d.depth_mm * (0.7 if layout == "compact" else 1.0),
    )
    lens = d.lens_mm * {"reflex": 1.0, "mirrorless": 0.9, "compact": 0.45, "long_lens": 2.1}[layout]
    r = min(d.lens_radius_mm, h / 2 - 4) * (0.8 if layout == "compact" else 1.0)
    x = d.side * w * 0.06
    with b.frame((0, 0, depth / 2)):
        with b.part("body"):
            interior = b.case(d.shell, (w, h, depth), d.wall_mm, 12)
        iw, ih, il = w - 2 * d.wall_mm - 1, h - 2 * d.wall_mm - 1, depth - 2 * d.wall_mm - 0.6
        with b.within(interior):
            _inside(b, d, iw, ih, il, x, layout)
        with b.frame((x, 0, depth / 2 + 0.1)):
            _lens(b, d, r, lens)
        if layout == "reflex":
            with b.part("prism"), b.frame((x, h / 2 + 0.2, 0), rotation_xyz(np.pi / 2, 0, np.pi)):
                shell = b.prism(
                    d.shell, [(-26, -16), (26, -16), (26, 16), (-26, 16)], 18, (0, 0, 9.1)
                )
                b.prism(
                    "soda_lime_glass",
                    [(-17, -12), (17, -12), (14, 4), (0, 12), (-14, 4)],
                    15,
                    (0, 0, 9.1),
                    inside=shell,
                )


def _inside(
    b: Builder, d: SimpleNamespace, w: float, h: float, depth: float, x: float, layout: str
) -> None:
    """Add the interior: from back (−z) to front screen, boards and sensor; cell in the grip."""
    z = -depth / 2
    with b.part("screen"):
        b.box(
            "soda_lime_glass", (w * 0.56, h * 0.66, d.screen_mm), (x, 0, z + d.screen_mm / 2 + 0.1)
        )
    grip = min(d.cell_mm, depth - 8) + 4
    with b.part("mainboard"), b.frame((d.side * grip / 2 + 0, 0, z + d.screen_mm + 3.4)):
        board(b, w - grip - 6, h - 4, 1.0, 2.4, 1.6, d.board_grain_mm)
    front = z + d.screen_mm + 3.4 + 0.5 + 2.6
    with b.part("sensor"):
        b.box("fr4", (d.sensor_mm * 1.7, d.sensor_mm * 1.3, 1.0), (x, 0, front + 0.6))
        b.box("silicon", (d.sensor_mm * 1.4, d.sensor_mm, 0.7), (x, 0, front + 1.5))
        b.box("soda_lime_glass", (d.sensor_mm * 1.45, d.sensor_mm * 1.05, 1.0), (x, 0, front + 2.5))
    if layout in ("reflex", "long_lens") and depth / 2 - front > 16:
        with (
            b.part("mirror"),
            b.frame((x, 0, front + 4 + (depth / 2 - front - 5) / 2), rotation_xyz(0.6, 0, 0)),
        ):
            b.box("soda_lime_glass", (d.sensor_mm * 1.2, d.sensor_mm * 0.75, 1.2))
    thickness, length = grip - 4, min(h * 0.66, 56)
    with b.frame((-d.side * (w / 2 - thickness / 2 - 1.5), -2, 0), rotation_xyz(0, np.pi / 2, 0)):
        pouch_cell(b, depth * 0.76, length, thickness, "battery_cell")
    with b.part("flash_capacitor", replaceable=True):
        rf = min(d.flash_radius_mm, (depth / 2 - front) / 2 - 1)
        capacitor(
            b, rf, min(30, h * 0.5), (d.side * (w / 2 - rf - 2), 0, depth / 2 - rf - 1), axis="y"
        )
    for side in (-1, 1):
        boss(
            b,
            (x + side * d.sensor_mm * 1.15, h / 2 - 5, (front + depth / 2) / 2),
            depth / 2 - front - 1,
        )


def _lens(b: Builder, d: SimpleNamespace, r: float, length: float) -> None:
    """Add the lens barrel upwards from z = 0."""
    with b.part("lens"):
        barrel = b.cylinder("aluminium", r, length, (0, 0, length / 2), 28)
        interior = b.cylinder(AIR, r - d.barrel_mm, length, (0, 0, length / 2), 28, inside=barrel)
        with b.within(interior):
            b.tube("brass", r - d.barrel_mm - 0.3, r - d.barrel_mm - 2.5, 3, (0, 0, 1.8))
            spacing = (length - 8) / d.glasses
            for k in range(d.glasses):
                radius = (r - d.barrel_mm - 2) * (0.62 + 0.3 * k / d.glasses)
                b.ball(
                    "soda_lime_glass",
                    (radius, radius, spacing * (0.25 + 0.15 * (k % 2))),
                    (0, 0, 6 + (k + 0.5) * spacing),
                )
                b.tube(
                    "aluminium",
                    r - d.barrel_mm - 0.3,
                    radius + 0.6,
                    1.6,
                    (0, 0, 6 + (k + 0.5) * spacing),
                )
    with b.part("lens_motor", replaceable=True), b.frame((0, 0, length / 2)):
        b.tube("copper", r + 2.6, r + 0.2, min(12, length * 0.2), density=0.4)
        b.tube("rubber", r + 1.8, r + 0.2, length * 0.25, (0, 0, length * 0.3))
