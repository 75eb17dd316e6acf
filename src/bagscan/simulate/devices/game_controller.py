"""A game controller or console: shell with grips, sticks, buttons, motors, cell."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.parts import board, motor, pouch_cell, round_cell

LAYOUTS = ("pad", "handheld", "wheel_pad", "remote")
DIMENSIONS = {
    "width_mm": (138.0, 168.0),
    "depth_mm": (62.0, 84.0),
    "height_mm": (30.0, 42.0),
    "wall_mm": (2.0, 2.8),
    "shell": ("abs", "pc_abs", "polycarbonate"),
    "grip_mm": (34.0, 48.0),
    "grip_radius_mm": (14.0, 18.0),
    "stick_mm": (8.0, 10.5),
    "stick_spread": (0.4, 0.52),
    "rumble_radius_mm": (6.0, 8.5),
    "rumble_mass_mm": (7.0, 10.0),
    "cell_mm": (4.5, 8.0),
    "buttons": (4, 6, 8),
    "board_grain_mm": (6.0, 9.0),
    "screen_mm": (0.7, 1.4),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a controller or console that lies on its back, with its sticks towards z."""
    w = d.width_mm * {"pad": 1.0, "handheld": 1.45, "wheel_pad": 1.1, "remote": 0.3}[layout]
    depth = d.depth_mm * (2.0 if layout == "remote" else 1.15 if layout == "handheld" else 1.0)
    h = d.height_mm * (0.55 if layout == "handheld" else 0.75 if layout == "remote" else 1.0)
    with b.frame((0, 0, h / 2)):
        with b.part("shell"):
            interior = b.case(d.shell, (w, depth, h), d.wall_mm, 10)
        iw, il, ih = w - 2 * d.wall_mm - 1, depth - 2 * d.wall_mm - 1, h - 2 * d.wall_mm - 1
        with b.within(interior):
            _inside(b, d, layout, iw, il, ih)
        if layout in ("pad", "wheel_pad"):
            for side in (-1, 1):
                _grip(b, d, side, w, depth)


def _inside(b: Builder, d: SimpleNamespace, layout: str, w: float, depth: float, h: float) -> None:
    middle = h * 0.08
    with b.part("board"), b.frame((0, 0, middle)):
        stick = (
            (0.0, 0.0, 0.0, 0.0)
            if layout == "remote"
            else (0.0, -depth * 0.1, w * d.stick_spread + 2 * d.stick_mm + 6, 2 * d.stick_mm + 6)
        )
        board(b, w * 0.9, depth * 0.86, 1.2, 1.6, 1.6, d.board_grain_mm, keep=stick)
    headroom = h / 2 - middle - 0.8
    with b.part("sticks"):
        for side in () if layout == "remote" else (-1, 1):
            x = side * w * d.stick_spread / 2
            box = b.box(
                "stainless_steel",
                (2 * d.stick_mm, 2 * d.stick_mm, headroom * 0.5),
                (x, -depth * 0.1, middle + 0.7 + headroom * 0.25),
            )
            b.box(
                AIR,
                (2 * d.stick_mm - 1.4, 2 * d.stick_mm - 1.4, headroom * 0.5 - 1),
                (x, -depth * 0.1, middle + 0.7 + headroom * 0.25),
                inside=box,
            )
            b.cylinder(
                "pom",
                d.stick_mm * 0.5,
                headroom * 0.4,
                (x, -depth * 0.1, middle + 0.8 + headroom * 0.7),
            )
    with b.part("buttons"):
        for k in range(d.buttons):
            a = 2 * np.pi * k / d.buttons
            if layout == "remote":
                at = (
                    (k % 2 - 0.5) * w * 0.4,
                    depth * (-0.35 + 0.7 * (k // 2) / max(1, d.buttons // 2)),
                )
            else:
                at = (np.sign(k % 2 - 0.5) * w * 0.36 + 8 * np.cos(a), depth * 0.3 + 6 * np.sin(a))
            b.cylinder("abs", 3.0, headroom * 0.4, (at[0], at[1], middle + headroom * 0.75), 10)
    below = h / 2 + middle - 0.7 - 1.7
    thickness = min(d.cell_mm, below - 1)
    if layout == "remote":
        r = min(7.0, below / 2 - 0.4, w / 2 - 1)
        for side in (-1, 1):
            with b.frame((0, side * 27, -h / 2 + r + 0.3), axis="y"):
                round_cell(b, r, 50, "alkaline_core")
        return
    with b.frame((0, -2, -h / 2 + 0.6 + thickness / 2)):
        pouch_cell(b, w * 0.36, depth * 0.6, thickness)
    if layout == "handheld":
        with b.part("screen"):
            b.box(
                "soda_lime_glass",
                (w * 0.34, depth * 0.8, d.screen_mm),
                (0, 0, h / 2 - d.screen_mm / 2 - 0.1),
            )


def _grip(b: Builder, d: SimpleNamespace, side: int, w: float, depth: float) -> None:
    """Add a hollow grip towards −y with a rumble motor and its weight."""
    r = d.grip_radius_mm
    with b.frame((side * (w / 2 - r - 2), -depth / 2 - d.grip_mm / 2 - 0.2, 0), axis="y"):
        with b.part("grip"):
            shell = b.cylinder(d.shell, r, d.grip_mm, segments=20)
            interior = b.cylinder(
                AIR, r - d.wall_mm, d.grip_mm - 2 * d.wall_mm, segments=20, inside=shell
            )
            b.hollow(interior)
        with b.within(interior), b.frame((0, 0, 2)):
            motor(b, d.rumble_radius_mm, d.grip_mm * 0.42, 2, "ndfeb")
            with b.part("weight"):
                b.cylinder(
                    "tungsten",
                    min(d.rumble_mass_mm, r - 4) * 0.5,
                    5,
                    (0, 1.5, -d.grip_mm * 0.21 - 3.2),
                    12,
                )
