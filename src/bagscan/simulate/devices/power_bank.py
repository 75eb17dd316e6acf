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


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a power bank that lies flat, with its ports at +y."""
    if layout in ("round_cells", "stick"):
        n = 1 if layout == "stick" else d.cells
        width, outer_length, h = (
            n * (2 * d.cell_radius_mm + 1) + 2 * d.wall_mm + 2,
            d.cell_mm + d.board_mm + 14,
            2 * d.cell_radius_mm + 2 * d.wall_mm + 2,
        )
    else:
        n, width, outer_length, h = 1, d.width_mm, d.length_mm, d.height_mm
    with b.frame((0, 0, h / 2)):
        with b.part("case"):
            interior = b.case(
                d.shell, (width, outer_length, h), d.wall_mm, min(d.corner_mm, width * 0.3)
            )
        w, length, ih = (
            width - 2 * d.wall_mm - 1,
            outer_length - 2 * d.wall_mm - 1,
            h - 2 * d.wall_mm - 1,
        )
        with b.within(interior):
            if layout in ("round_cells", "stick"):
                for k in range(n):
                    with b.frame(
                        (
                            (k - (n - 1) / 2) * (2 * d.cell_radius_mm + 1),
                            -length / 2 + d.cell_mm / 2 + 3,
                            0,
                        ),
                        axis="y",
                    ):
                        round_cell(b, d.cell_radius_mm, d.cell_mm)
            else:
                layers = 2 if layout == "stacked" else 1
                thickness = min(
                    d.pouch_mm if layers == 2 else 2 * d.pouch_mm, (ih - 1) / layers - 0.6
                )
                for k in range(layers):
                    with b.frame(
                        (0, -d.board_mm / 2 - 2, (k - (layers - 1) / 2) * (thickness + 0.5))
                    ):
                        pouch_cell(b, w - 4, length - d.board_mm - 9, thickness)
            with b.frame((0, length / 2 - d.board_mm / 2 - 1, -ih * 0.12)):
                depth = min(14.0, d.board_mm - 6)
                with b.part("board"):
                    board(
                        b,
                        w - 8,
                        d.board_mm - 1,
                        1.0,
                        ih * 0.5,
                        grain=d.board_grain_mm,
                        keep=(0, d.board_mm / 2 - depth / 2, w, depth),
                    )
                with b.part("ports"):
                    n_ports = min(d.ports, int((w - 10) / 15))
                    for k in range(max(1, n_ports)):
                        usb_port(
                            b,
                            (
                                (k - (n_ports - 1) / 2) * 16,
                                d.board_mm / 2 - depth / 2 - 2.0,
                                0.6 + min(3.0, ih * 0.22),
                            ),
                            (min(13, w - 10), depth - 2, min(5.6, ih * 0.42)),
                        )
