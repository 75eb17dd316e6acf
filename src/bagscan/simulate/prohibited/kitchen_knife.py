"""A kitchen knife, lying flat: a wedge of steel, a tang, a handle."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import Builder
from bagscan.simulate.prohibited.blades import add_blade

LAYOUTS = ("chef", "paring", "bread", "cleaver")
DIMENSIONS = {
    "blade_mm": (110.0, 210.0),
    "depth_mm": (22.0, 48.0),
    "spine_mm": (0.8, 2.3),
    "point": (0.3, 1.0),
    "handle_mm": (95.0, 130.0),
    "handle_width_mm": (18.0, 27.0),
    "handle_thickness_mm": (13.0, 19.0),
    "tang_share": (0.4, 1.0),
    "tang_mm": (1.2, 2.6),
    "rivets": (0, 2, 3),
    "bolster_mm": (0.0, 12.0),
    "handle": ("wood", "pom", "polypropylene", "abs"),
}
SIZES = {"chef": (1.0, 1.0), "paring": (0.5, 0.55), "bread": (1.1, 0.7), "cleaver": (0.8, 1.9)}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a knife along x, its point at +x and its edge towards -y."""
    length, depth = (a * s for a, s in zip((d.blade_mm, d.depth_mm), SIZES[layout], strict=True))
    point = 0.05 if layout in ("cleaver", "bread") else d.point
    with b.frame((0, 0, d.handle_thickness_mm / 2)):
        add_blade(b, "stainless_steel", length, depth, d.spine_mm, point)
        if d.bolster_mm > 4:
            b.box(
                "stainless_steel",
                (d.bolster_mm, d.handle_width_mm, d.handle_thickness_mm * 0.8),
                (-d.bolster_mm / 2 - 0.1, -d.handle_width_mm / 2, 0),
            )
        start = -max(d.bolster_mm, 0.1) - 0.2
        t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        wave = np.sign(np.sin(t)) * np.abs(np.sin(t)) ** 0.5  # a rounded rectangle
        x = start - d.handle_mm / 2 * (1 - np.cos(t))
        outline = np.column_stack([x, d.handle_width_mm / 2 * (wave - 1)])
        handle = b.prism(d.handle, outline, d.handle_thickness_mm)
        tang = d.tang_share * d.handle_mm * 0.88
        inner = b.box(
            "stainless_steel",
            (tang, d.handle_width_mm * 0.5, d.tang_mm),
            (start - 3 - tang / 2, -d.handle_width_mm / 2, 0),
            inside=handle,
        )
        for k in range(d.rivets):
            x = start - 8 - k * (tang - 14) / max(d.rivets - 1, 1)
            b.cylinder("brass", 2.4, d.tang_mm, (x, -d.handle_width_mm / 2, 0), 12, inside=inner)
