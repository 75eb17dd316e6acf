"""A power adapter: case, transformer, capacitors on a board, heat sinks, cord."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import Builder
from bagscan.simulate.cords import cord_and_plug
from bagscan.simulate.parts import board, capacitor, transformer

LAYOUTS = ("brick", "wall_plug", "long")
DIMENSIONS = {
    "width_mm": (44.0, 62.0),
    "length_mm": (80.0, 125.0),
    "height_mm": (25.0, 34.0),
    "wall_mm": (2.0, 2.8),
    "shell": ("pc_abs", "polycarbonate", "abs"),
    "core_share": (0.34, 0.5),
    "core": ("ferrite", "ferrite", "iron"),
    "capacitor_radius_mm": (5.5, 8.5),
    "capacitor_mm": (18.0, 27.0),
    "sink_mm": (1.5, 2.6),
    "board_grain_mm": (7.0, 11.0),
    "cord_turns": (2.0, 4.5),
    "cord_radius_mm": (1.6, 2.6),
    "side": (-1, 1),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a power adapter that lies flat, with its cord towards +x."""
    width = d.width_mm * (0.75 if layout == "long" else 1.0)
    length = d.length_mm * {"brick": 1.0, "wall_plug": 0.62, "long": 1.25}[layout]
    h = d.height_mm
    with b.frame((0, 0, h / 2)):
        with b.part("case"):
            interior = b.case(d.shell, (length, width, h), d.wall_mm, 5)
        iw, il, ih = width - 2 * d.wall_mm - 1, length - 2 * d.wall_mm - 1, h - 2 * d.wall_mm - 0.5
        with b.within(interior):
            _inside(b, d, iw, il, ih)
        if layout == "wall_plug":
            with b.part("pins"):
                for y in (-9.5, 9.5):
                    b.cylinder("brass", 2.2, 19, (-length / 2 - 9.6, y, 0), 10, axis="x")
    cord_and_plug(b, (length / 2 + 0.4, 0, h / 2), (1, 0), d.cord_turns, d.cord_radius_mm, 2, "usb")


def _inside(b: Builder, d: SimpleNamespace, w: float, length: float, h: float) -> None:
    """Add three sections along x: mains side, transformer, output side."""
    floor = -h / 2 + 2.5
    core = min(length * d.core_share * 0.75, w * 0.7)
    with b.part("board"), b.frame((0, 0, floor)):
        board(b, length, w, 1.4, 2.2, 1.0, d.board_grain_mm, 0.7)
    above = floor + 0.7 + 2.3
    headroom = h / 2 - above
    x0 = d.side * length * 0.04
    with b.frame((x0, 0, above + headroom * 0.46)):
        transformer(b, (core, w * 0.62, headroom * 0.86), d.core)
    with b.part("capacitor", replaceable=True):
        r = min(
            d.capacitor_radius_mm, headroom / 2 - 0.6, (length / 2 - core / 2 - abs(x0)) / 2 - 1
        )
        capacitor(
            b,
            r,
            min(d.capacitor_mm, w * 0.7),
            (-(length / 2 - r - 1.5), 0, above + r + 0.3),
            axis="y",
        )
    with b.part("capacitor_out", replaceable=True):
        r = min(4.5, (length / 2 - core / 2 - abs(x0)) / 3)
        for side in (-1, 1):
            capacitor(
                b,
                r,
                headroom * 0.8,
                (length / 2 - r - 1.5, side * w * 0.18, above + headroom * 0.42),
            )
    with b.part("heat_sink"):
        for side in (-1, 1):
            b.box(
                "aluminium",
                (length * 0.7, d.sink_mm, headroom * 0.85),
                (0, side * (w / 2 - d.sink_mm / 2 - 0.6), above + headroom * 0.44),
            )
