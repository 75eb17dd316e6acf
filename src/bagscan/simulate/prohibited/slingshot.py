"""A slingshot: a fork with a handle, two rubber bands and a pouch."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import Builder

LAYOUTS = ("wire", "cast", "wrist_brace")
DIMENSIONS = {
    "fork_width_mm": (70.0, 105.0),
    "fork_mm": (55.0, 85.0),
    "handle_mm": (80.0, 115.0),
    "rod_mm": (3.2, 5.5),
    "cast_mm": (8.0, 14.0),
    "grip_radius_mm": (10.0, 16.0),
    "band_mm": (120.0, 200.0),
    "band_radius_mm": (2.0, 3.6),
    "slack": (0.05, 0.4),
    "pouch_mm": (35.0, 60.0),
    "brace_mm": (110.0, 150.0),
    "metal": ("iron", "stainless_steel", "aluminium", "zamak"),
    "grip": ("abs", "rubber", "wood"),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a slingshot in the x-y plane, its fork at +x, its handle along -x."""
    half = d.fork_width_mm / 2
    radius = d.cast_mm * 0.5 if layout == "cast" else d.rod_mm
    with b.frame((0, 0, d.grip_radius_mm)):
        t = np.linspace(-1, 1, 30)
        x = d.fork_mm * np.abs(t) ** 1.6 + 3
        b.wire(d.metal, np.column_stack([x, half * np.sign(t) * np.abs(t) ** 0.6, 0 * t]), radius)
        grip = b.cylinder(
            d.grip, d.grip_radius_mm, d.handle_mm, (-d.handle_mm / 2 - radius, 0, 0), 18, axis="x"
        )
        b.cylinder(
            d.metal,
            radius * 0.9,
            d.handle_mm * 0.9,
            (-d.handle_mm / 2 - radius, 0, 0),
            12,
            axis="x",
            inside=grip,
        )
        s = np.linspace(0, 1, 16)
        for side in (-1, 1):
            end = d.fork_mm + radius + 4 + d.band_radius_mm
            y = side * (half * (1 - s) + d.pouch_mm / 4 * s)
            wave = d.slack * 40 * np.sin(2 * np.pi * s) * side
            band = np.column_stack([end + s * d.band_mm * (1 - d.slack), y + wave, 0 * s])
            b.wire("rubber", band, d.band_radius_mm)
        b.box(
            "leather",
            (18, d.pouch_mm, 1.6),
            (d.fork_mm + radius + 18 + d.band_mm * (1 - d.slack), 0, 0),
        )
        if layout == "wrist_brace":
            a = np.linspace(0.15 * np.pi, 1.85 * np.pi, 24)
            x = -d.handle_mm - radius - d.brace_mm / 2 - 6
            b.wire(
                d.metal,
                np.column_stack([x + d.brace_mm / 2 * np.cos(a), 38 * np.sin(a), 0 * a]),
                d.rod_mm * 0.9,
            )
