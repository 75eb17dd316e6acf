"""Scissors: two crossed blades with a pivot and ring handles."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import Builder
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.prohibited.blades import add_blade

LAYOUTS = ("household", "embroidery", "all_metal", "bandage")
DIMENSIONS = {
    "blade_mm": (60.0, 115.0),
    "depth_mm": (10.0, 19.0),
    "spine_mm": (1.4, 2.6),
    "point": (0.6, 1.0),
    "opening_deg": (0.0, 38.0),
    "shank_mm": (28.0, 55.0),
    "shank_width_mm": (7.0, 12.0),
    "ring_mm": (11.0, 19.0),
    "ring_long_share": (1.0, 1.7),
    "ring_wire_mm": (3.0, 5.5),
    "pivot_radius_mm": (2.2, 4.2),
    "handle": ("abs", "polypropylene", "nylon_gf30", "rubber"),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add scissors in the x-y plane, with the pivot at the origin and the points towards +x."""
    size = 0.6 if layout == "embroidery" else 1.0
    handle = "stainless_steel" if layout in ("all_metal", "embroidery") else d.handle
    wire = d.ring_wire_mm * (0.6 if handle == "stainless_steel" else 1.0)
    for side in (-1, 1):
        turn = rotation_xyz(0, 0, side * np.radians(d.opening_deg / 2 + 2))
        with b.frame((0, 0, wire + side * (d.spine_mm / 2 + 0.06)), turn):
            with b.frame((0, d.depth_mm * size / 2, 0)):
                add_blade(
                    b, "stainless_steel", d.blade_mm * size, d.depth_mm * size, d.spine_mm, d.point
                )
            long = d.shank_mm * size
            b.box(
                "stainless_steel",
                (long, d.shank_width_mm * size, d.spine_mm),
                (-long / 2 - 0.1, 0, 0),
            )
            _ring(b, d, side, size, wire, handle)
    b.cylinder("stainless_steel", d.pivot_radius_mm, 1.4, (0, 0, wire + d.spine_mm + 0.9), 14)


def _ring(b: Builder, d: SimpleNamespace, side: int, size: float, wire: float, handle: str) -> None:
    t = np.linspace(0, 1.96 * np.pi, 30)
    rx, ry = d.ring_mm * size * d.ring_long_share, d.ring_mm * size
    x = -d.shank_mm * size - rx - wire - 0.3
    path = np.column_stack([x + rx * np.cos(t), -side * ry * 0.9 + ry * np.sin(t), 0 * t])
    b.wire(handle, path, wire * 0.95)
