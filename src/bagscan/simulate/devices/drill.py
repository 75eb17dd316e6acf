"""A cordless drill: motor, gears and chuck in line; handle with trigger; cells in the foot."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.parts import board, motor, round_cell

LAYOUTS = ("pistol", "slim", "right_angle")
DIMENSIONS = {
    "radius_mm": (27.0, 35.0),
    "body_mm": (125.0, 165.0),
    "wall_mm": (2.6, 3.6),
    "shell": ("nylon_gf30", "pc_abs", "abs"),
    "chuck_radius_mm": (17.0, 23.0),
    "chuck_mm": (36.0, 56.0),
    "motor_radius_mm": (17.0, 22.0),
    "motor_mm": (48.0, 66.0),
    "gear_radius_mm": (18.0, 23.0),
    "handle_mm": (95.0, 125.0),
    "handle_radius_mm": (15.0, 19.0),
    "lean": (-0.2, 0.2),
    "cells": (3, 5),
    "magnets": ("ferrite", "ndfeb"),
    "bit": (True, False),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a drill that lies on its side, with the body along x and the handle along −y."""
    k = 0.8 if layout == "slim" else 1.0
    r, length = d.radius_mm * k, d.body_mm
    with b.frame((0, 0, r)):
        with b.part("body"):
            shell = b.cylinder(d.shell, r, length, segments=24, axis="x")
            interior = b.cylinder(
                AIR, r - d.wall_mm, length - 2 * d.wall_mm, segments=24, axis="x", inside=shell
            )
        with b.within(interior), b.frame(axis="x"):
            _train(b, d, r - d.wall_mm - 1, length - 2 * d.wall_mm)
        with b.part("chuck"), b.frame((length / 2 + 0.2, 0, 0), axis="x"):
            body = b.lathe(
                "stainless_steel",
                [
                    (0, 0),
                    (d.chuck_radius_mm * k, 0),
                    (d.chuck_radius_mm * k, d.chuck_mm * 0.6),
                    (d.chuck_radius_mm * 0.5, d.chuck_mm),
                    (0, d.chuck_mm),
                ],
            )
            bore = b.cylinder(
                AIR, 4.2, d.chuck_mm * 0.8, (0, 0, d.chuck_mm * 0.6 - 0.1), 12, inside=body
            )
            if d.bit:
                b.cylinder(
                    "stainless_steel",
                    3,
                    d.chuck_mm * 0.36,
                    (0, 0, d.chuck_mm * 0.8),
                    8,
                    inside=bore,
                )
                b.cylinder("stainless_steel", 3, 25, (0, 0, d.chuck_mm + 12.6), 8)
        if layout == "right_angle":
            with b.frame((0, 0, 0)):
                _handle(b, d, (-length / 2 - 0.3, 0.0), np.pi / 2, k)
        else:
            _handle(
                b,
                d,
                (-length * 0.18, -r - 0.3 - abs(np.sin(d.lean)) * d.handle_radius_mm),
                d.lean,
                k,
            )


def _train(b: Builder, d: SimpleNamespace, r: float, length: float) -> None:
    """Add motor, gears and spindle along z, the axis of the body."""
    rm = min(d.motor_radius_mm, r)
    z = -length / 2 + 4 + d.motor_mm / 2
    with b.frame((0, 0, z)):
        motor(b, rm, d.motor_mm, 5, d.magnets)
    start = z + d.motor_mm / 2 + 6
    depth = min(36.0, length / 2 - start - 1)
    if depth < 12:
        return
    with b.part("gearbox", replaceable=True):
        rg = min(d.gear_radius_mm, r)
        box = b.cylinder("zamak", rg, depth, (0, 0, start + depth / 2), 20)
        interior = b.cylinder(AIR, rg - 3.5, depth - 4, (0, 0, start + depth / 2), 20, inside=box)
        with b.within(interior), b.frame((0, 0, start + depth / 2)):
            b.cylinder("stainless_steel", rg * 0.22, depth - 5, segments=12)
            for k in range(3):
                a = 2 * np.pi * k / 3
                b.cylinder(
                    "stainless_steel",
                    rg * 0.24,
                    depth * 0.4,
                    (rg * 0.5 * np.cos(a), rg * 0.5 * np.sin(a), 0),
                    12,
                )


def _handle(
    b: Builder, d: SimpleNamespace, at: tuple[float, float], angle: float, k: float
) -> None:
    length, rh = d.handle_mm, d.handle_radius_mm * k
    turn = (
        rotation_xyz(np.pi / 2, 0, 0) @ rotation_xyz(0, -angle, 0)
        if angle < 1
        else rotation_xyz(0, -np.pi / 2, 0) @ rotation_xyz(0, 0, np.pi / 2)
    )
    with b.frame((at[0], at[1], 0), turn), b.frame((0, 0, length / 2)):
        with b.part("handle"):
            shell = b.cylinder(d.shell, rh, length, segments=20)
            interior = b.cylinder(AIR, rh - 2.8, length - 5.6, segments=20, inside=shell)
            b.hollow(interior)
        with b.within(interior):
            with b.part("switch", replaceable=True):
                body = b.box("nylon_gf30", (rh * 0.9, rh * 0.8, 26), (0, 0, -length * 0.24))
                b.box(
                    "brass",
                    (rh * 0.5, rh * 0.5, 16),
                    (0, 0, -length * 0.24),
                    inside=body,
                    density=0.4,
                )
            with b.part("wires"):
                for x in (-3, 3):
                    b.wire(
                        "copper",
                        [(x, 3, -length * 0.08), (x, 4, length * 0.15), (x, 3, length * 0.42)],
                        1.0,
                    )
        pitch, cell = 20.0, 66.0
        width, depth, height = pitch * ((d.cells + 1) // 2) + 6, 2 * pitch + 6, cell + 8
        # The battery pack lies across the end of the handle; its cells are parallel to the body.
        with b.frame((0, 0, length / 2 + depth / 2 + 0.3)):
            with b.part("pack"):
                pack = b.case(d.shell, (height, width, depth), 2.2, 6)
            with b.within(pack):
                for c in range(d.cells):
                    row, column = c % 2, c // 2
                    y = (column - ((d.cells + 1) // 2 - 1) / 2) * pitch
                    with b.frame((-1, y, (row - 0.5) * (pitch - 0.4)), axis="x"):
                        round_cell(b, 9.1, 65)
                with b.part("pack_board"), b.frame((height / 2 - 3.6, 0, 0), axis="x"):
                    board(b, depth * 0.5, width * 0.5, 1.0, 0.0, grain=8)
