"""Batteries: loose round cells, a block, cells in a holder, and power banks."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.parts import pouch_cell, round_cell

LAYOUTS = ("round_cells", "nine_volt", "holder", "power_bank", "power_bank_cells", "pouch_pack")
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
    "case_wall_mm": (1.2, 2.2),
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
    elif layout.startswith("power_bank"):
        _power_bank(b, d, layout == "power_bank_cells")
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
            _lay_cells(b, d.cells, step, r, long, d.chemistry)


def _lay_cells(
    b: Builder, count: int, step: float, radius: float, length: float, chemistry: str
) -> None:
    """Add round cells along x, side by side along y at distances of ``step`` mm."""
    for k in range(count):
        with b.frame((0, (k - (count - 1) / 2) * step, 0), axis="x"):
            round_cell(b, radius, length, chemistry)


def _power_bank(b: Builder, d: SimpleNamespace, round_cells: bool) -> None:
    """Add a case with lithium cells, and a board with two sockets and a coil beside them."""
    if round_cells:
        cells = (66.0, 18.8 * d.cells, 19.0)
    else:
        cells = (d.pouch_width_mm, d.pouch_length_mm + 5, d.pouch_mm + 1)
    wall, board = d.case_wall_mm, 18.0
    room = (cells[0] + board + 4, cells[1] + 3, cells[2] + 2)
    with b.frame((0, 0, room[2] / 2 + wall)):
        body = b.slab("pc_abs", tuple(side + 2 * wall for side in room), 6)
        cavity = b.slab(AIR, room, 5, inside=body)
        with b.within(cavity):
            with b.frame((-board / 2, 0, 0)):
                if round_cells:
                    _lay_cells(b, d.cells, 18.8, 9.2, 65.0, "li_ion_stack")
                else:
                    pouch_cell(b, d.pouch_width_mm, d.pouch_length_mm, d.pouch_mm)
            x = room[0] / 2 - board / 2 - 1
            b.box("fr4", (board - 3, cells[1] * 0.8, 1.0), (x, 0, -1.5))
            for y in (-0.28, 0.0, 0.28):
                size = (8.0, min(9.0, cells[1] * 0.22), min(3.5, cells[2] * 0.4))
                metal = "stainless_steel" if y else "ferrite"
                b.box(metal, size, (x + 2, y * cells[1], size[2] / 2 - 0.8))


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
