"""Batteries: loose round cells, a block, cells in a holder, and a pouch."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.parts import pouch_cell, round_cell

LAYOUTS = ("round_cells", "nine_volt", "holder", "pouch_pack")
MIN_RADIUS_MM = 5.2
DIMENSIONS = {
    "radius_mm": (MIN_RADIUS_MM, 13.0),
    "length_share": (2.6, 3.6),
    "cells": (2, 3, 4, 6),
    "gap_mm": (0.4, 3.0),
    "chemistry": ("alkaline_core", "nimh_core", "li_ion_stack"),
    "block_mm": (16.0, 18.5),
    "block_width_mm": (25.0, 27.5),
    "block_length_mm": (43.0, 49.0),
    "holder_wall_mm": (1.2, 2.2),
    "pouch_mm": (4.0, 9.0),
    "pouch_width_mm": (34.0, 60.0),
    "pouch_length_mm": (60.0, 110.0),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add batteries that lie along x, side by side along y."""
    if layout == "nine_volt":
        _block(b, d)
    elif layout == "pouch_pack":
        with b.frame((0, 0, d.pouch_mm / 2)):
            pouch_cell(b, d.pouch_width_mm, d.pouch_length_mm, d.pouch_mm)
    else:
        _row(b, d, layout == "holder")


def _row(b: Builder, d: SimpleNamespace, holder: bool) -> None:
    r = d.radius_mm * (0.6 if holder else 1.0)
    r = max(r, MIN_RADIUS_MM)
    long = r * d.length_share
    step = 2 * r + d.gap_mm
    wall = d.holder_wall_mm
    with b.frame((0, 0, r + wall)):
        if holder:
            size = (long + 8, step * d.cells + 2, 2 * r + 2)
            body = b.box(
                "polypropylene", (size[0] + 2 * wall, size[1] + 2 * wall, size[2] + 2 * wall)
            )
            cavity = b.box(AIR, size, inside=body)
        with b.within(cavity) if holder else nullcontext():
            for k in range(d.cells):
                with b.frame((0, (k - (d.cells - 1) / 2) * step, 0), axis="x"):
                    round_cell(b, r, long, d.chemistry)


def _block(b: Builder, d: SimpleNamespace) -> None:
    """Add a 9 V block: six flat cells in a steel can, two snaps."""
    w, h, long = d.block_width_mm, d.block_mm, d.block_length_mm
    with b.frame((0, 0, h / 2)):
        can = b.slab("iron", (long, w, h), 2)
        for k in range(6):
            x = (k - 2.5) * (long - 4) / 6
            b.box(d.chemistry, ((long - 4) / 6 - 0.8, w - 1, h - 1), (x, 0, 0), inside=can)
        for side in (-1, 1):
            b.cylinder("nickel", 3.0, 3, (long / 2 + 1.6, side * 6.4, 0), 12, axis="x")
