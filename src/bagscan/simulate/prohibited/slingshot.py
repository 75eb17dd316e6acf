"""A slingshot: a fork with a handle, two rubber bands and a pouch."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.mesh import ribbon

LAYOUTS = ("wire", "cast", "bent_wire", "wrist_brace")
DIMENSIONS = {
    "fork_width_mm": (60.0, 100.0),
    "fork_mm": (45.0, 85.0),
    "handle_mm": (70.0, 110.0),
    "handle_width_mm": (20.0, 34.0),
    "rod_mm": (2.6, 5.0),
    "cast_mm": (7.0, 14.0),
    "plate_mm": (5.0, 12.0),
    "hole_mm": (6.0, 10.0),
    "tip_mm": (5.0, 9.0),
    "grip_radius_mm": (9.0, 15.0),
    "band_mm": (50.0, 170.0),
    "band_radius_mm": (1.0, 2.6),
    "slack": (0.1, 0.6),
    "pouch_mm": (30.0, 55.0),
    "brace_mm": (110.0, 150.0),
    "metal": ("iron", "stainless_steel", "aluminium", "zamak"),
    "grip": ("abs", "rubber", "wood"),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a slingshot in the x-y plane, its fork at +x, its handle along -x."""
    with b.frame((0, 0, d.grip_radius_mm)):
        if layout == "cast":
            _plate(b, d)
        elif layout == "bent_wire":
            _bent_wire(b, d)
        else:
            _rod(b, d)
        _bands(b, d, d.fork_mm + (2 * d.tip_mm if layout == "cast" else d.tip_mm * 0.6))
        if layout == "wrist_brace":
            a = np.linspace(0.15 * np.pi, 1.85 * np.pi, 24)
            x = -d.handle_mm - d.rod_mm - d.brace_mm / 2 - 6
            path = np.column_stack([x + d.brace_mm / 2 * np.cos(a), 38 * np.sin(a), 0 * a])
            b.wire(d.metal, path, d.rod_mm * 0.9)


def _fork(d: SimpleNamespace) -> np.ndarray:
    """Return the (30, 2) middle line of the fork, from tip to tip."""
    t = np.linspace(-1, 1, 30)
    x = d.fork_mm * np.abs(t) ** 1.6 + 3
    return np.column_stack([x, d.fork_width_mm / 2 * np.sign(t) * np.abs(t) ** 0.6])


def _rod(b: Builder, d: SimpleNamespace) -> None:
    """Add a fork of round rod whose handle has a cover."""
    fork = _fork(d)
    b.wire(d.metal, np.column_stack([fork, np.zeros(len(fork))]), d.rod_mm)
    at = (-d.handle_mm / 2 - d.rod_mm, 0, 0)
    grip = b.cylinder(d.grip, d.grip_radius_mm, d.handle_mm, at, 18, axis="x")
    b.cylinder(d.metal, d.rod_mm * 0.9, d.handle_mm * 0.9, at, 12, axis="x", inside=grip)


def _plate(b: Builder, d: SimpleNamespace) -> None:
    """Add a fork cast in one piece: a handle with a hole, arms, and tips with a hole each."""
    fork = _fork(d)
    b.add(ribbon(fork, d.cast_mm, d.plate_mm), d.metal)
    at = (-d.handle_mm / 2 - d.cast_mm / 2 - 0.1, 0, 0)
    handle = b.slab(d.metal, (d.handle_mm, d.handle_width_mm, d.plate_mm), 9, at)
    hole_at = (at[0] - d.handle_mm * 0.28, 0, 0)
    b.cylinder(AIR, d.hole_mm, d.plate_mm, hole_at, 20, inside=handle)
    b.slab(
        AIR, (d.handle_mm * 0.3, d.handle_width_mm * 0.3, d.plate_mm), 3,
        (at[0] + d.handle_mm * 0.18, 0, 0), inside=handle,
    )  # fmt: skip
    for end in (fork[0], fork[-1]):
        tip_at = (end[0] + d.tip_mm + 0.5, end[1], 0)
        tip = b.cylinder(d.metal, d.tip_mm, d.plate_mm, tip_at, 18)
        b.cylinder(AIR, d.tip_mm * 0.4, d.plate_mm, tip_at, 12, inside=tip)


def _bent_wire(b: Builder, d: SimpleNamespace) -> None:
    """Add a fork bent of one wire: a loop as handle, arms, and tips that curl outwards."""
    half = d.fork_width_mm / 2
    loop = np.linspace(0.5 * np.pi, 1.5 * np.pi, 14)
    wide = d.handle_width_mm * 0.4
    handle = np.column_stack([-d.handle_mm + wide * np.cos(loop), wide * np.sin(loop)])
    curl = np.linspace(0, 1.4 * np.pi, 12)
    tip = np.column_stack(
        [d.fork_mm + d.tip_mm * np.sin(curl), half + d.tip_mm * (1 - np.cos(curl)) - d.tip_mm]
    )
    arm = np.linspace(0, 1, 12)[:, None] ** [1.4, 0.8]
    arm = np.array([0.0, wide]) + arm * (np.array([d.fork_mm, half - d.tip_mm]) - [0.0, wide])
    upper = np.concatenate([tip[::-1], arm[::-1][1:], handle[:7]])
    path = np.concatenate([upper, upper[::-1] * [1, -1]])
    b.wire(d.metal, np.column_stack([path, np.zeros(len(path))]), min(d.rod_mm, d.tip_mm * 0.4))


def _bands(b: Builder, d: SimpleNamespace, tips: float) -> None:
    """Add two bands from beyond the tips, at x = ``tips``, and the pouch that joins them."""
    half, reach = d.fork_width_mm / 2, d.band_mm * (1 - d.slack)
    start = tips + d.rod_mm + d.band_radius_mm + 4
    s = np.linspace(0, 1, 16)
    for side in (-1, 1):
        apart = half * (1 - s) + d.pouch_mm / 4 * s
        wave = np.minimum(d.slack * 30, 0.5 * apart) * np.sin(2 * np.pi * s)
        band = np.column_stack([start + s * reach, side * (apart + wave), 0 * s])
        b.wire("rubber", band, d.band_radius_mm)
    b.box("leather", (16, d.pouch_mm, 1.6), (start + reach + 12, 0, 0))
