"""A closed laptop: base with keyboard, board, cooling, cells and drives; lid with its panel."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.parts import board, boss, chip, fan, pouch_cell, speaker, usb_port

LAYOUTS = ("battery_front", "battery_rear", "drive_bay", "two_fans")
DIMENSIONS = {
    "width_mm": (285.0, 375.0),
    "depth_mm": (200.0, 255.0),
    "base_mm": (17.0, 24.0),
    "lid_mm": (5.5, 8.0),
    "wall_mm": (0.9, 1.6),
    "shell": ("aluminium", "az91", "pc_abs"),
    "cells": (2, 3, 4),
    "cell_thick_mm": (4.5, 6.5),
    "fan_radius_mm": (20.0, 27.0),
    "fan_blades": (9, 13, 19, 27),
    "board_grain_mm": (7.5, 12.0),
    "key_columns": (13, 14, 15),
    "panel_glass_mm": (0.5, 1.1),
    "side": (-1, 1),
    "bay": ("disk", "solid_state", "empty"),
    "ports": (2, 3, 4),
    "pipe_mm": (6.0, 9.0),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a closed laptop whose base is centred on z = 0, with the lid above."""
    with b.part("base_shell"):
        cavity = b.case(d.shell, (d.width_mm, d.depth_mm, d.base_mm), d.wall_mm, 6)
    w, depth, h = (
        d.width_mm - 2 * d.wall_mm - 1,
        d.depth_mm - 2 * d.wall_mm - 1,
        d.base_mm - 2 * d.wall_mm,
    )
    rear = -1 if layout == "battery_rear" else 1
    with b.within(cavity):
        _keyboard(b, d, w, depth, h)
        band = depth * 0.47
        with b.frame((0, rear * (depth - band) / 2, -h / 2)):
            _works(b, d, w, band, h - 5.5, layout)
        with b.frame((0, -rear * (depth - band) / 2, -h / 2)):
            _power(b, d, w, band, h - 5.5, layout)
    _lid(b, d)


def _keyboard(b: Builder, d: SimpleNamespace, w: float, depth: float, h: float) -> None:
    width, board_length, rows = w * 0.84, depth * 0.42, 6
    y = depth * 0.14
    with b.part("keyboard"):
        b.box("stainless_steel", (width, board_length, 0.4), (0, y, h / 2 - 3.4), density=0.8)
        for row in range(rows):
            ky = y - board_length / 2 + (row + 0.5) * board_length / rows
            for column in range(d.key_columns):
                if row == 0 and 4 <= column <= 8:
                    continue
                kx = -width / 2 + (column + 0.5) * width / d.key_columns
                b.box(
                    "abs",
                    (width / d.key_columns * 0.86, board_length / rows * 0.84, 1.3),
                    (kx, ky, h / 2 - 2),
                )
        b.box(
            "abs",
            (width / d.key_columns * 4.8, board_length / rows * 0.84, 1.3),
            (
                -width / 2 + 6.5 * width / d.key_columns,
                y - board_length / 2 + board_length / rows / 2,
                h / 2 - 2,
            ),
        )
    with b.part("touchpad"):
        b.box(
            "aluminosilicate_glass", (w * 0.32, depth * 0.26, 0.9), (0, -depth * 0.31, h / 2 - 1.2)
        )
        b.box("fr4", (w * 0.3, depth * 0.2, 0.8), (0, -depth * 0.31, h / 2 - 2.4))


def _works(b: Builder, d: SimpleNamespace, w: float, band: float, h: float, layout: str) -> None:
    """Add board, fans and heat pipes; z = 0 is the floor."""
    radius = min(d.fan_radius_mm, band / 2 - 9)
    fans = (-1, 1) if layout == "two_fans" else (d.side,)
    height = min(6.5, h - 1.5)
    for side in fans:
        with b.frame((side * (w / 2 - radius - 4), -band / 2 + radius + 2, height / 2 + 0.8)):
            fan(b, radius, height, d.fan_blades)
        with b.part("heat_sink"):
            for k in range(18):
                b.box(
                    "copper",
                    (0.35, 10, height),
                    (
                        side * (w / 2 - radius - 4) + (k - 8.5) * radius * 0.105,
                        -band / 2 + 2 * radius + 9.5,
                        height / 2 + 0.8,
                    ),
                )
    fan_width = 2 * radius + 10
    board_length = w - fan_width * len(fans) - 18 * (2 - len(fans))
    x = -d.side * (fan_width - 18) / 2 if len(fans) == 1 else 0.0
    with b.frame((x, 0, 2.6)):
        headroom = max(1.5, h - 2.6 - 0.6 - 3.4)
        cpu_x, cpu_y = -0.12 * board_length, -band / 2 + radius + 2
        with b.part("mainboard"):
            board(
                b,
                board_length,
                band - 4,
                1.2,
                headroom,
                1.8,
                d.board_grain_mm,
                keep=(cpu_x, cpu_y, 42, 34),
            )
        with b.part("processor"), b.frame((cpu_x, cpu_y, 0.6)):
            chip(b, 28, 1.2)
            b.box("copper", (34, 28, 1.0), (0, 0, 1.8))
        with b.part("heat_pipe"):
            for side in fans:
                reach = side * (board_length / 2 + 2.0) - cpu_x
                pipe = b.box(
                    "copper",
                    (abs(reach), d.pipe_mm, 2.2),
                    (cpu_x + reach / 2, cpu_y, 0.6 + headroom + 1.5),
                )
                b.box(
                    AIR,
                    (abs(reach) - 2, d.pipe_mm - 1, 1.2),
                    (cpu_x + reach / 2, cpu_y, 0.6 + headroom + 1.5),
                    inside=pipe,
                )
    if len(fans) == 1:
        with b.part("ports"):
            for k in range(d.ports):
                usb_port(
                    b,
                    (
                        -d.side * (w / 2 - 8.5),
                        (k + 0.5) / d.ports * (band - 8) - (band - 8) / 2,
                        min(4.2, h / 2),
                    ),
                    (14, min(13, band / d.ports - 3), min(6, h - 1)),
                )


def _power(b: Builder, d: SimpleNamespace, w: float, band: float, h: float, layout: str) -> None:
    """Add cells, bay and speakers; z = 0 is the floor."""
    thickness = min(d.cell_thick_mm, h - 1)
    bay = 76.0 if layout in ("drive_bay", "battery_rear") else 0.0
    span = w - bay - 58
    x0 = -d.side * bay / 2
    cell_width = span / d.cells
    for k in range(d.cells):
        with b.frame((x0 - span / 2 + (k + 0.5) * cell_width, -1.5, 1 + thickness / 2)):
            pouch_cell(b, cell_width - 3, band - 20, thickness)
    with b.part("battery_board"), b.frame((x0, band / 2 - 5.2, 1.4)):
        board(b, span * 0.8, 6, 0.8, min(2.5, h - 2), grain=5)
    if bay:
        with b.frame((d.side * (w / 2 - bay / 2 - 27), 0, 0)):
            _bay(b, d.bay, bay - 4, min(band - 4, 100), min(9.0, h - 0.6))
    for side in (-1, 1):
        with b.frame((side * (w / 2 - 14), -band / 2 + 16, min(4.4, h / 2))):
            speaker(b, 9, min(6, h - 2))
        boss(b, (side * (w / 2 - 14), band / 2 - 14, h / 2), h - 0.8)


def _bay(b: Builder, kind: str, w: float, length: float, h: float) -> None:
    if kind == "disk":
        with b.part("disk", replaceable=True):
            body = b.box("aluminium", (w, length, h), (0, 0, h / 2 + 0.2))
            interior = b.box(AIR, (w - 3, length - 3, h - 3), (0, 0, h / 2 + 0.2), inside=body)
            with b.within(interior), b.frame((0, 0, h / 2 + 0.2)):
                b.cylinder("aluminium", w * 0.43, 0.8, (0, length / 2 - w * 0.43 - 3, 0.6), 32)
                b.cylinder(
                    "stainless_steel", 9, max(0.5, h * 0.15), (0, length / 2 - w * 0.43 - 3, -0.6)
                )
                b.box("ndfeb", (18, 13, 1.8), (w * 0.26, -length / 2 + 11, 0))
    elif kind == "solid_state":
        with b.part("disk", replaceable=True), b.frame((0, 0, 1.6)):
            board(b, 22, length * 0.8, 0.8, min(1.6, h - 2), grain=14)
    # Other kinds: the bay stays empty, so that an empty bay does not indicate an anomaly.


def _lid(b: Builder, d: SimpleNamespace) -> None:
    z = d.base_mm / 2 + 0.5 + d.lid_mm / 2
    with b.part("lid_shell"):
        interior = b.case(
            d.shell,
            (d.width_mm, d.depth_mm, d.lid_mm),
            d.wall_mm,
            6,
            (0, 0, z),
            lid=d.wall_mm * 0.7,
        )
    w, depth = d.width_mm - 2 * d.wall_mm, d.depth_mm - 2 * d.wall_mm
    with b.within(interior), b.frame((0, 0, z)):
        with b.part("panel"):
            b.box(
                "soda_lime_glass",
                (w * 0.95, depth * 0.84, d.panel_glass_mm),
                (0, depth * 0.02, -1.0),
            )
            b.box("pmma", (w * 0.95, depth * 0.84, 1.4), (0, depth * 0.02, 0.4))
        with b.part("panel_board"), b.frame((0, -depth * 0.45, 0)):
            board(b, w * 0.6, min(9, depth * 0.04), 0.7, 1.2, grain=6)
        with b.part("camera_board"):
            b.box("fr4", (60, 5, 0.8), (0, depth * 0.47, 0))
        with b.part("antenna"):
            for side in (-1, 1):
                b.wire(
                    "copper",
                    [
                        (side * w * 0.487, -depth * 0.4, 0.5),
                        (side * w * 0.487, 0, 0.5),
                        (side * w * 0.487, depth * 0.4, 0.5),
                    ],
                    0.35,
                )
    with b.part("hinge"):
        for side in (-1, 1):
            b.cylinder(
                "stainless_steel",
                3.0,
                40,
                (side * d.width_mm * 0.36, d.depth_mm / 2 + 3.1, d.base_mm / 2),
                axis="x",
            )
