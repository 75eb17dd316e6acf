"""A power bank: pouch or round cells, a board with its ports."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import Builder
from bagscan.simulate.parts import board, pouch_cell, round_cell, usb_port

LAYOUTS = ("pouches", "round_cells", "stick", "stacked")
DIMENSIONS = {
    "width_mm": (62.0, 78.0),
    "length_mm": (118.0, 160.0),
    "height_mm": (14.0, 24.0),
    "wall_mm": (1.2, 2.2),
    "shell": ("aluminium", "pc_abs", "abs", "az91"),
    "cell_radius_mm": (9.0, 9.3),
    "cell_mm": (64.5, 65.5),
    "cells": (2, 3, 4),
    "pouch_mm": (4.0, 7.0),
    "board_mm": (18.0, 26.0),
    "board_grain_mm": (6.0, 9.0),
    "ports": (1, 2, 3),
    "corner_mm": (4.0, 12.0),
}
ROUND = {"round_cells": 1, "stick": 1, "two_rows": 2}  # layouts of round cells: rows end to end


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a power bank that lies flat, with its ports at +y.

    Beside ``LAYOUTS`` it knows ``two_rows``, round cells end to end in two rows.
    """
    rows, side_by_side = ROUND.get(layout, 0), 1 if layout == "stick" else d.cells
    size = (d.width_mm, d.length_mm, d.height_mm)
    if rows:
        size = (
            side_by_side * (2 * d.cell_radius_mm + 1) + 2 * d.wall_mm + 2,
            rows * (d.cell_mm + 2) - 2 + d.board_mm + 14,
            2 * d.cell_radius_mm + 2 * d.wall_mm + 2,
        )
    with b.frame((0, 0, size[2] / 2)):
        with b.part("case"):
            interior = b.case(d.shell, size, d.wall_mm, min(d.corner_mm, size[0] * 0.3))
        width, length, height = (side - 2 * d.wall_mm - 1 for side in size)
        with b.within(interior):
            if rows:
                _round_cells(b, d, rows, side_by_side, length)
            else:
                _pouches(b, d, 2 if layout == "stacked" else 1, (width, length, height))
            with b.frame((0, length / 2 - d.board_mm / 2 - 1, -height * 0.12)):
                _board(b, d, width, height)


def _round_cells(b: Builder, d: SimpleNamespace, rows: int, count: int, length: float) -> None:
    """Add rows of ``count`` cells along y; the first row starts at the end without ports."""
    for row in range(rows):
        y = -length / 2 + d.cell_mm / 2 + 3 + row * (d.cell_mm + 2)
        for k in range(count):
            x = (k - (count - 1) / 2) * (2 * d.cell_radius_mm + 1)
            with b.frame((x, y, 0), axis="y"):
                round_cell(b, d.cell_radius_mm, d.cell_mm)


def _pouches(b: Builder, d: SimpleNamespace, layers: int, room: tuple[float, float, float]) -> None:
    """Add pouch cells on top of each other, in a room of width, length and height in mm."""
    width, length, height = room
    thickness = min(d.pouch_mm if layers == 2 else 2 * d.pouch_mm, (height - 1) / layers - 0.6)
    for k in range(layers):
        z = (k - (layers - 1) / 2) * (thickness + 0.5)
        with b.frame((0, -d.board_mm / 2 - 2, z)):
            pouch_cell(b, width - 4, length - d.board_mm - 9, thickness)


def _board(b: Builder, d: SimpleNamespace, width: float, height: float) -> None:
    """Add the board and its ports, in a frame centred on it."""
    depth = min(14.0, d.board_mm - 6)
    y = d.board_mm / 2 - depth / 2
    with b.part("board"):
        board(
            b,
            width - 8,
            d.board_mm - 1,
            1.0,
            height * 0.5,
            grain=d.board_grain_mm,
            keep=(0, y, width, depth),
        )
    with b.part("ports"):
        count = max(1, min(d.ports, int((width - 10) / 15)))
        for k in range(count):
            at = ((k - (count - 1) / 2) * 16, y - 2.0, 0.6 + min(3.0, height * 0.22))
            usb_port(b, at, (min(13, width - 10), depth - 2, min(5.6, height * 0.42)))
