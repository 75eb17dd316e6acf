"""Fireworks: paper tubes with powder, in a string, mat or cake, single, or on a stick."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder

LAYOUTS = ("string", "mat", "single", "rocket", "cake")
DIMENSIONS = {
    "radius_mm": (3.0, 9.0),
    "length_mm": (28.0, 80.0),
    "paper_mm": (0.8, 2.0),
    "fill": (0.3, 0.9),
    "count": (4, 8, 12, 16),
    "clay_mm": (2.0, 8.0),
    "fuse_mm": (20.0, 60.0),
    "stick_mm": (200.0, 300.0),
    "stick_side_mm": (3.0, 5.0),
    "gap_mm": (0.3, 1.2),
    "mat_rows": (4, 6, 8),
    "mat_radius_mm": (2.0, 3.2),
    "powder": ("salt", "sugar", "magnesia"),
    "powder_density": (0.5, 1.0),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add fireworks whose tubes lie along x."""
    if layout == "rocket":
        _tube(b, d, d.radius_mm * 1.8, d.length_mm * 1.4, (0, 0, d.radius_mm * 1.8))
        b.box(
            "wood",
            (d.stick_mm, d.stick_side_mm, d.stick_side_mm),
            (-d.stick_mm / 3, 0, d.radius_mm * 3.6 + d.stick_side_mm / 2 + 0.1),
        )
        return
    if layout == "mat":
        _mat(b, d)
        return
    rows = {"string": d.count, "single": 1, "cake": 4}[layout]
    layers = 4 if layout == "cake" else 1
    r = d.radius_mm * (1.5 if layout == "single" else 0.8)
    step = 2 * r + d.gap_mm
    for layer in range(layers):
        for k in range(rows):
            at = (0, (k - (rows - 1) / 2) * step, r + layer * step)
            _tube(b, d, r, d.length_mm, at)
    t = np.linspace(0, 1, 12)
    x = d.length_mm / 2 + 3 + t * d.fuse_mm
    b.wire("cotton", np.column_stack([x, 6 * np.sin(6 * t), 0 * t + r]), 1.2)


def _mat(b: Builder, d: SimpleNamespace) -> None:
    """Add an oval mat of many small tubes, each second row shifted by half a tube."""
    r, long = d.mat_radius_mm, min(d.length_mm * 0.6, 28.0)
    across, along = 2 * r + d.gap_mm + 2.5, long + 4.0
    for row in range(d.mat_rows):
        x = (row - (d.mat_rows - 1) / 2) * along
        half = np.sqrt(max(0.0, (d.mat_rows * along / 2) ** 2 - x**2))
        count = max(1, int(2 * half / across * 0.7))
        for k in range(count):
            y = (k - (count - 1) / 2 + 0.5 * (row % 2)) * across + b.rng.uniform(-0.9, 0.9)
            _tube(b, d, r, long, (x + b.rng.uniform(-1.5, 1.5), y, r))


def _tube(
    b: Builder, d: SimpleNamespace, radius: float, length: float, at: tuple[float, float, float]
) -> None:
    """Add a paper tube, closed by clay at both ends, with powder in its middle."""
    body = b.cylinder("cardboard", radius, length, at, 14, axis="x")
    wall = min(d.paper_mm, radius * 0.25)
    hollow = b.cylinder(AIR, radius - wall, length - 1, at, 14, axis="x", inside=body)
    clay = min(d.clay_mm, length * 0.2)
    for side in (-1, 1):
        end = (at[0] + side * (length / 2 - 0.6 - clay / 2), at[1], at[2])
        b.cylinder(
            "alumina", radius - wall - 0.05, clay, end, 14, axis="x", inside=hollow, density=0.5
        )
    powder = (length - 2 * clay - 2) * d.fill
    b.cylinder(
        d.powder,
        radius - wall - 0.05,
        powder,
        at,
        14,
        axis="x",
        inside=hollow,
        density=d.powder_density,
    )
