"""A power adapter: case, transformer, capacitors on a board, heat sinks, cord."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import Builder
from bagscan.simulate.parts import board, capacitor, cord_and_plug, transformer

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
    """Lying flat, cord towards +x."""
    wide = d.width_mm * (0.75 if layout == "long" else 1.0)
    long = d.length_mm * {"brick": 1.0, "wall_plug": 0.62, "long": 1.25}[layout]
    h = d.height_mm
    with b.frame((0, 0, h / 2)):
        with b.part("case"):
            room = b.case(d.shell, (long, wide, h), d.wall_mm, 5)
        iw, il, ih = wide - 2 * d.wall_mm - 1, long - 2 * d.wall_mm - 1, h - 2 * d.wall_mm - 0.5
        with b.within(room):
            _inside(b, d, iw, il, ih)
        if layout == "wall_plug":
            with b.part("pins"):
                for y in (-9.5, 9.5):
                    b.cylinder("brass", 2.2, 19, (-long / 2 - 9.6, y, 0), 10, axis="x")
    cord_and_plug(b, (long / 2 + 0.4, 0, h / 2), (1, 0), d.cord_turns, d.cord_radius_mm, 2, "usb")


def _inside(b: Builder, d: SimpleNamespace, w: float, long: float, h: float) -> None:
    """Three bays along x: mains side, transformer, output side."""
    floor = -h / 2 + 2.5
    core = min(long * d.core_share * 0.75, w * 0.7)
    with b.part("board"), b.frame((0, 0, floor)):
        board(b, long, w, 1.4, 2.2, 1.0, d.board_grain_mm, 0.7)
    above = floor + 0.7 + 2.3
    room = h / 2 - above
    x0 = d.side * long * 0.04
    with b.frame((x0, 0, above + room * 0.46)):
        transformer(b, (core, w * 0.62, room * 0.86), d.core)
    with b.part("capacitor", replaceable=True):
        r = min(d.capacitor_radius_mm, room / 2 - 0.6, (long / 2 - core / 2 - abs(x0)) / 2 - 1)
        capacitor(
            b,
            r,
            min(d.capacitor_mm, w * 0.7),
            (-(long / 2 - r - 1.5), 0, above + r + 0.3),
            axis="y",
        )
    with b.part("capacitor_out", replaceable=True):
        r = min(4.5, (long / 2 - core / 2 - abs(x0)) / 3)
        for side in (-1, 1):
            capacitor(b, r, room * 0.8, (long / 2 - r - 1.5, side * w * 0.18, above + room * 0.42))
    with b.part("heat_sink"):
        for side in (-1, 1):
            b.box(
                "aluminium",
                (long * 0.7, d.sink_mm, room * 0.85),
                (0, side * (w / 2 - d.sink_mm / 2 - 0.6), above + room * 0.44),
            )
