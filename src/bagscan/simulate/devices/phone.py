"""A phone or tablet: frame, glass, cell, shielded boards, cameras, coil."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.parts import board, helix, pouch_cell, speaker

LAYOUTS = ("cell_below", "cell_beside", "tablet", "two_boards")
DIMENSIONS = {
    "width_mm": (66.0, 80.0),
    "length_mm": (138.0, 168.0),
    "thick_mm": (7.4, 9.6),
    "tablet_width_mm": (125.0, 185.0),
    "tablet_length_mm": (185.0, 260.0),
    "wall_mm": (1.4, 2.4),
    "frame": ("aluminium", "stainless_steel", "titanium", "pc_abs"),
    "back": ("aluminosilicate_glass", "pc_abs"),
    "back_mm": (0.5, 0.9),
    "glass_mm": (0.5, 0.8),
    "cell_thick_mm": (3.2, 4.4),
    "cell_length_share": (0.46, 0.56),
    "cameras": (1, 2, 3),
    "camera_radius_mm": (4.2, 6.0),
    "coil_radius_mm": (17.0, 23.0),
    "board_grain_mm": (5.5, 8.0),
    "shield_mm": (0.15, 0.25),
    "side": (-1, 1),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a phone or tablet with its screen up."""
    is_tablet = layout == "tablet"
    w, length = (d.tablet_width_mm, d.tablet_length_mm) if is_tablet else (d.width_mm, d.length_mm)
    with b.part("frame"):
        frame = b.slab(d.frame, (w, length, d.thick_mm), 9)
        cavity = b.slab(
            AIR, (w - 2 * d.wall_mm, length - 2 * d.wall_mm, d.thick_mm), 7, inside=frame
        )
    iw, il, h = (
        w - 2 * d.wall_mm - 1,
        length - 2 * d.wall_mm - 1,
        d.thick_mm - d.glass_mm - d.back_mm - 1.2,
    )
    with b.within(cavity):
        with b.part("screen"):
            b.slab(
                "aluminosilicate_glass",
                (iw, il, d.glass_mm),
                7,
                (0, 0, (d.thick_mm - d.glass_mm) / 2 - 0.02),
            )
            b.slab(
                "soda_lime_glass",
                (iw - 2, il - 2, 0.4),
                6,
                (0, 0, d.thick_mm / 2 - d.glass_mm - 0.5),
            )
        with b.part("back"):
            b.slab(d.back, (iw, il, d.back_mm), 7, (0, 0, -(d.thick_mm - d.back_mm) / 2 + 0.02))
        with b.frame((0, 0, (d.back_mm - d.glass_mm - 0.8) / 2)):
            _inside(b, d, layout, iw, il, h)


def _inside(b: Builder, d: SimpleNamespace, layout: str, w: float, length: float, h: float) -> None:
    """Add the components; z = 0 is the middle of an interior of height ``h``."""
    cell = min(d.cell_thick_mm, h - 1.0)
    top, bottom = length * 0.27, length * 0.13
    middle = length - top - bottom
    if layout == "cell_beside":
        cells, strip = [(d.side * (-w * 0.2), w * 0.56)], [(d.side * w * 0.3, w * 0.36)]
    elif layout == "tablet":
        cells, strip = [(-w * 0.3, w * 0.35), (w * 0.3, w * 0.35)], [(0.0, w * 0.2)]
    else:
        cells, strip = [(0.0, w * 0.94 if layout == "cell_below" else w * 0.8)], []
    y = (bottom - top) / 2
    for x, width in cells:
        with b.frame((x, y - 1.5, -h / 2 + 0.7 + cell / 2)):
            pouch_cell(
                b, width, min(middle - 6, length * d.cell_length_share), cell, "battery_cell"
            )
    for x, width in strip:
        with b.part("mainboard"), b.frame((x, y, -0.4)):
            board(b, width, middle - 5, 0.8, h / 2 - 0.4, h / 2 - 1.7, d.board_grain_mm)
    _top(b, d, w, length, top, h)
    with b.part("lower_board"), b.frame((0, -length / 2 + bottom / 2, -0.6)):
        board(b, w * 0.34, bottom - 5, 0.7, h / 2, 0.6, d.board_grain_mm)
    with b.frame((w * 0.33, -length / 2 + bottom / 2, 0)):
        speaker(b, min(5.5, bottom / 2 - 2, w * 0.13), h - 1.2)
    with b.part("buzzer", replaceable=True):
        shell = b.box(
            "stainless_steel",
            (w * 0.2, bottom * 0.6, h - 1.2),
            (-w * 0.33, -length / 2 + bottom / 2, 0),
        )
        b.box(
            "tungsten",
            (w * 0.1, bottom * 0.4, (h - 1.2) * 0.7),
            (-w * 0.33, -length / 2 + bottom / 2, 0),
            inside=shell,
        )
    with b.part("coil"):
        radius = min(d.coil_radius_mm, w * 0.42)
        turns = helix(8, 1.0, 0.0, 20)
        scale = np.linspace(radius * 0.5, radius, len(turns))[:, None]
        b.wire(
            "copper",
            np.column_stack([turns[:, :2] * scale + [0, y], np.full(len(turns), -h / 2 + 0.35)]),
            0.22,
            segments=4,
        )


def _top(b: Builder, d: SimpleNamespace, w: float, length: float, top: float, h: float) -> None:
    """Add the mainboard with its shield, and the cameras beside it."""
    r = min(d.camera_radius_mm, w * 0.09)
    column = 2 * r + 7
    x, width = d.side * column / 2, w - column - 2
    y = length / 2 - top / 2
    with b.part("mainboard"), b.frame((x, y, -0.6)):
        board(b, width, top - 4, 0.8, h / 2 - 0.9, h / 2 - 0.9, d.board_grain_mm)
    with b.part("shield"):
        b.box("stainless_steel", (width * 0.8, (top - 4) * 0.8, d.shield_mm), (x, y, h / 2 - 0.55))
    with b.part("camera", replaceable=True):
        for k in range(d.cameras):
            with b.frame(
                (-d.side * (w / 2 - column / 2), length / 2 - r - 3 - k * (2 * r + 1.5), -0.3)
            ):
                barrel = b.cylinder("stainless_steel", r, h - 1.4)
                glass = b.cylinder("polycarbonate", r * 0.8, h - 2, inside=barrel)
                b.cylinder("soda_lime_glass", r * 0.5, (h - 2) * 0.4, inside=glass)
