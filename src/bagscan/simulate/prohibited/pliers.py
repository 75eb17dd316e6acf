"""Pliers: two levers that cross at a joint, with jaws and covered handles."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import Builder
from bagscan.simulate.mesh import rotation_xyz

LAYOUTS = ("combination", "long_nose", "side_cutter", "water_pump")
DIMENSIONS = {
    "jaw_mm": (32.0, 60.0),
    "jaw_width_mm": (9.0, 14.0),
    "thickness_mm": (8.0, 12.5),
    "opening_deg": (0.0, 22.0),
    "joint_radius_mm": (8.0, 13.0),
    "handle_mm": (85.0, 130.0),
    "handle_width_mm": (8.0, 13.0),
    "bow_mm": (8.0, 18.0),
    "grip_mm": (2.0, 4.5),
    "grip_share": (0.6, 0.9),
    "tip_share": (0.3, 0.8),
    "grip": ("cable_pvc", "rubber", "polypropylene"),
}
JAWS = {"combination": 1.0, "long_nose": 1.7, "side_cutter": 0.6, "water_pump": 1.2}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add pliers in the x-y plane, jaws at +x, with the joint at the origin."""
    h = d.thickness_mm
    jaw = d.jaw_mm * JAWS[layout]
    tip = d.jaw_width_mm * d.tip_share * (0.5 if layout == "long_nose" else 1.0)
    bend = 14 if layout == "water_pump" else 0.0
    with b.frame((0, 0, h / 2 + d.grip_mm)):
        joint = d.joint_radius_mm * (1.3 if layout == "water_pump" else 1.0)
        b.cylinder("iron", joint, h, segments=24)
        for side in (-1, 1):
            opening = side * np.radians(d.opening_deg / 2)
            with b.frame((0, 0, 0), rotation_xyz(0, 0, opening)):
                outline = [
                    (joint * 0.98 + 0.3, 0.15 * side),
                    (joint + jaw, (0.15 + bend) * side),
                    (joint + jaw, (tip + bend) * side),
                    (joint * 0.98 + 0.3, d.jaw_width_mm * side),
                ]
                b.prism("iron", outline, h * (0.7 if layout == "long_nose" else 0.95))
            _handle(b, d, side, joint)


def _handle(b: Builder, d: SimpleNamespace, side: int, joint: float) -> None:
    spread = np.radians(d.opening_deg / 2 + 4)
    t = np.linspace(0, 1, 14)
    x = -joint - 1 - t * d.handle_mm
    y = side * (
        3
        + d.handle_width_mm * 0.6
        + d.bow_mm * np.sin(np.pi * t)
        + t * d.handle_mm * np.sin(spread)
    )
    radius = d.handle_width_mm * 0.42
    start = int((1 - d.grip_share) * 13)
    bare = np.column_stack([x, y, 0 * t])
    if start >= 2:
        b.wire("iron", bare[: start + 1], radius)
    cover = b.wire(d.grip, bare[start:] - [1.0, 0, 0], radius + d.grip_mm * 0.6, segments=10)
    b.wire("iron", bare[start:-1] - [3.0, 0, 0], radius * 0.85, inside=cover)
