"""A portable radio or loudspeaker: speakers, board, batteries, aerial."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.parts import board, pouch_cell, round_cell, speaker, transformer

LAYOUTS = ("upright", "two_speakers", "clock", "pocket")
DIMENSIONS = {
    "width_mm": (130.0, 210.0),
    "height_mm": (75.0, 125.0),
    "depth_mm": (36.0, 58.0),
    "wall_mm": (2.0, 3.0),
    "shell": ("abs", "pc_abs", "polystyrene", "wood"),
    "speaker_share": (0.3, 0.42),
    "speaker_depth_mm": (16.0, 26.0),
    "cells": (2, 4),
    "cell_radius_mm": (7.0, 7.3),
    "dial_mm": (10.0, 18.0),
    "aerial": (True, False),
    "aerial_mm": (120.0, 190.0),
    "board_grain_mm": (9.0, 14.0),
    "power": ("cells", "pouch", "mains"),
    "side": (-1, 1),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a radio that lies on its back, with its speaker towards z."""
    k = 0.62 if layout == "pocket" else 1.0
    w, h, depth = (
        d.width_mm * k,
        d.height_mm * k,
        d.depth_mm * (0.72 if layout == "pocket" else 1.0),
    )
    with b.frame((0, 0, depth / 2)):
        with b.part("case"):
            interior = b.case(d.shell, (w, h, depth), d.wall_mm, 8)
        iw, ih, il = w - 2 * d.wall_mm - 1, h - 2 * d.wall_mm - 1, depth - 2 * d.wall_mm - 1
        with b.within(interior):
            _inside(b, d, layout, iw, ih, il)
        if d.aerial and layout != "clock":
            with b.part("aerial"):
                length = min(d.aerial_mm, w * 0.95)
                rod = b.cylinder("brass", 2.6, length, (0, h / 2 + 3, 0), 10, axis="x")
                b.cylinder(AIR, 1.8, length - 2, (0, h / 2 + 3, 0), 8, axis="x", inside=rod)


def _inside(b: Builder, d: SimpleNamespace, layout: str, w: float, h: float, depth: float) -> None:
    """Add speakers towards +z, the board in the middle and batteries at the back."""
    r = min(h / 2 - 2, w * d.speaker_share * (0.48 if layout == "two_speakers" else 0.8))
    sides = (-1, 1) if layout == "two_speakers" else (d.side,)
    height = min(d.speaker_depth_mm, depth * 0.5)
    for side in sides:
        with b.frame((side * (w / 2 - r - 2), 0, depth / 2 - height / 2 - 0.8)):
            speaker(b, r, height)
    board_width = w - 2 * r * len(sides) - 8
    x = 0.0 if len(sides) == 2 else -d.side * (w / 2 - board_width / 2 - 1)
    with b.part("board"), b.frame((x, 0, depth * 0.12)):
        board(
            b,
            board_width,
            h - 4,
            1.4,
            depth * 0.3,
            1.5,
            d.board_grain_mm,
            0.7,
            keep=(0, 0, 2 * d.dial_mm + 2, 2 * d.dial_mm + 2),
        )
    if board_width > 2 * d.dial_mm + 4:
        with b.part("tuner"), b.frame((x, 0, depth * 0.12 + 0.7)):
            can = b.cylinder("aluminium", d.dial_mm * 0.8, depth * 0.2, (0, 0, depth * 0.1 + 0.1))
            b.cylinder(
                "polystyrene", d.dial_mm * 0.7, depth * 0.16, (0, 0, depth * 0.1 + 0.1), inside=can
            )
    floor, headroom = -depth / 2, depth * 0.62 - 3.5 - 0.7 - 1.5
    with b.part("coil"):
        rod = b.cylinder("ferrite", 4.0, w * 0.5, (0, h / 2 - 5, floor + 5), 10, axis="x")
        b.cylinder(
            "copper",
            3.9,
            w * 0.12,
            (w * 0.1, h / 2 - 5, floor + 5),
            10,
            axis="x",
            inside=rod,
            density=0.3,
        )
    _supply(b, d, w, h - 12, floor, min(headroom, depth * 0.5 - height * 0.1))


def _supply(
    b: Builder, d: SimpleNamespace, w: float, h: float, floor: float, headroom: float
) -> None:
    r = min(d.cell_radius_mm, headroom / 2 - 0.5)
    if d.power == "mains" and headroom > 14:
        with b.frame((-w * 0.22, -6, floor + headroom / 2)):
            transformer(b, (min(34, w * 0.3), min(30, h * 0.5), headroom * 0.85), "iron")
    elif d.power == "pouch" or r < 4:
        with b.frame((0, -6, floor + min(5, headroom / 2))):
            pouch_cell(b, w * 0.4, h * 0.6, min(7, headroom - 2))
    else:
        n = min(d.cells, int((h - 4) / (2 * r + 1)))
        length = min(50, w * 0.42)
        for k in range(n):
            with b.frame(
                (0, -6 + (k - (n - 1) / 2) * (2 * r + 1), floor + r + 0.5),
                rotation_xyz(0, np.pi / 2, 0),
            ):
                round_cell(b, r, length, "alkaline_core")
