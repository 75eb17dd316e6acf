"""A shaver, trimmer or toothbrush: slender case, cell, small motor, board, head."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.parts import board, motor, round_cell

LAYOUTS = ("rotary", "foil", "trimmer", "toothbrush")
DIMENSIONS = {
    "width_mm": (34.0, 58.0),
    "length_mm": (115.0, 158.0),
    "height_mm": (28.0, 40.0),
    "wall_mm": (1.6, 2.4),
    "shell": ("pc_abs", "abs", "polypropylene"),
    "cell_radius_mm": (6.9, 7.3),
    "cell_mm": (48.0, 50.5),
    "chemistry": ("nimh_core", "li_ion_stack", "alkaline_core"),
    "motor_radius_mm": (8.0, 12.0),
    "motor_mm": (20.0, 30.0),
    "head_mm": (16.0, 30.0),
    "blade_mm": (0.3, 0.8),
    "board_grain_mm": (5.0, 8.0),
    "corner_mm": (8.0, 14.0),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a shaver or toothbrush that lies along y, with its head at +y."""
    is_slim = layout in ("toothbrush", "trimmer")
    w = d.width_mm * (0.68 if is_slim else 1.0)
    h = d.height_mm * (0.85 if is_slim else 1.0)
    length = d.length_mm * (1.2 if layout == "toothbrush" else 1.0)
    with b.frame((0, 0, h / 2)):
        with b.part("case"):
            interior = b.case(d.shell, (w, length, h), d.wall_mm, min(d.corner_mm, w * 0.3))
        iw, il, ih = w - 2 * d.wall_mm - 1, length - 2 * d.wall_mm - 1, h - 2 * d.wall_mm - 1
        with b.within(interior):
            rm = min(d.motor_radius_mm, iw / 2 - 0.5, ih / 2 - 0.5)
            with b.frame((0, il / 2 - d.motor_mm / 2 - 7, 0), axis="y"):
                motor(b, rm, d.motor_mm, 4, "ndfeb")
            below = il - d.motor_mm - 12
            cell = min(d.cell_mm, below - 6)
            rc = min(d.cell_radius_mm, ih / 2 - 3.5)
            with b.frame((0, -il / 2 + 4 + cell / 2, -ih / 2 + rc + 0.4), axis="y"):
                round_cell(b, rc, cell, d.chemistry)
            with b.part("board"), b.frame((0, -il / 2 + below / 2, ih / 2 - 3.2)):
                board(
                    b, iw * 0.6, below - 8, 0.9, 1.9, max(0.0, ih - 2 * rc - 5.2), d.board_grain_mm
                )
        with b.frame((0, length / 2 + 0.2, 0), axis="y"):
            _head(b, d, layout, w, h)


def _head(b: Builder, d: SimpleNamespace, layout: str, w: float, h: float) -> None:
    """Add the head; z points away from the case, y to −z of the case."""
    height = d.head_mm
    with b.part("head", replaceable=True):
        if layout == "toothbrush":
            b.cylinder("stainless_steel", 2.2, 12, (0, 0, 6), 10)
            neck = b.lathe("polypropylene", [(0, 12.2), (6, 12.2), (4, 70), (0, 70)], segments=14)
            b.cylinder("stainless_steel", 1.2, 40, (0, 0, 36), 8, inside=neck)
            b.cylinder("nylon", 6, 9, (0, 0, 75), 12, density=0.5)
        elif layout == "rotary":
            n, r = 3, min(w, h) * 0.24
            b.slab(d.shell, (w * 0.8, h * 0.8, height * 0.5), 6, (0, 0, height * 0.25 + 0.1))
            for k in range(n):
                a = 2 * np.pi * k / n + 0.5
                x, y = w * 0.24 * np.cos(a), h * 0.24 * np.sin(a)
                b.tube("stainless_steel", r * 0.8, r * 0.5, 2.5, (x, y, height * 0.5 + 1.5), 16)
        else:
            body = b.box(d.shell, (w * 0.86, h * 0.6, height * 0.6), (0, 0, height * 0.3 + 0.1))
            b.box(
                AIR, (w * 0.7, h * 0.42, height * 0.6 - 3), (0, 0, height * 0.3 + 0.1), inside=body
            )
            n = 2 if layout == "foil" else 1
            for k in range(n):
                b.box(
                    "stainless_steel",
                    (w * 0.8, h * 0.2, d.blade_mm),
                    (0, (k - (n - 1) / 2) * h * 0.28, height * 0.6 + 0.2 + d.blade_mm / 2),
                )
            for k in range(14):
                b.box(
                    "stainless_steel",
                    (w * 0.025, h * 0.18, 3),
                    (
                        (k - 6.5) * w * 0.055,
                        0 if n == 1 else -h * 0.14,
                        height * 0.6 + 2 + d.blade_mm,
                    ),
                )
