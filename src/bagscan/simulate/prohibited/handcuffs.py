"""Handcuffs: two steel bows with lock cases, joined by a chain, a hinge or a bar."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder

LAYOUTS = ("chain", "hinged", "rigid")
DIMENSIONS = {
    "bow_radius_mm": (28.0, 36.0),
    "bow_width_mm": (5.0, 8.0),
    "bow_thickness_mm": (4.0, 7.0),
    "opening_deg": (0.0, 60.0),
    "case_mm": (34.0, 46.0),
    "case_width_mm": (18.0, 26.0),
    "case_thickness_mm": (8.0, 12.0),
    "case_wall_mm": (1.2, 2.2),
    "links": (2, 3, 4),
    "link_mm": (11.0, 17.0),
    "wire_mm": (1.6, 2.6),
    "bridge_mm": (22.0, 45.0),
    "steel": ("stainless_steel", "iron", "nickel"),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add handcuffs in the x-y plane, the two bows to the left and to the right."""
    bridge = d.links * d.link_mm * 0.8 if layout == "chain" else d.bridge_mm
    with b.frame((0, 0, d.case_thickness_mm / 2)):
        for side in (-1, 1):
            x = side * (bridge / 2 + d.case_mm / 2 + 0.5)
            case = b.slab(d.steel, (d.case_mm, d.case_width_mm, d.case_thickness_mm), 4, (x, 0, 0))
            inner = b.slab(
                AIR,
                (
                    d.case_mm - 2 * d.case_wall_mm,
                    d.case_width_mm - 2 * d.case_wall_mm,
                    d.case_thickness_mm - 2 * d.case_wall_mm,
                ),
                3,
                (x, 0, 0),
                inside=case,
            )
            b.box(
                "iron",
                (d.case_mm * 0.6, d.case_width_mm * 0.35, d.case_thickness_mm * 0.35),
                (x, 0, 0),
                inside=inner,
            )
            opening = np.radians(d.opening_deg)
            angle = np.linspace(np.pi * 1.08, np.pi * 2.92 - opening, 36)
            r = d.bow_radius_mm
            centre = x + side * (d.case_mm / 2 + r + d.bow_width_mm / 2 + 0.5)
            path = np.column_stack(
                [centre + side * r * np.cos(angle), r * np.sin(angle), 0 * angle]
            )
            b.wire(d.steel, path, (d.bow_width_mm + d.bow_thickness_mm) / 4)
        _join(b, d, layout, bridge)


def _join(b: Builder, d: SimpleNamespace, layout: str, bridge: float) -> None:
    if layout == "chain":
        t = np.linspace(0, 1.94 * np.pi, 22)
        for k in range(d.links):
            x = (k - (d.links - 1) / 2) * d.link_mm * 0.8
            flat = np.column_stack([x + d.link_mm / 2 * np.cos(t), 3.6 * np.sin(t), 0 * t])
            path = flat if k % 2 else flat[:, [0, 2, 1]]
            b.wire(d.steel, path, d.wire_mm * 0.55)
    elif layout == "hinged":
        plate = (bridge / 2 - 1, d.case_width_mm * 0.8, 3)
        for side in (-1, 1):
            b.box(d.steel, plate, (side * bridge / 4, 0, 0))
        b.cylinder(d.steel, 2.4, d.case_width_mm, (0, 0, 4.2), 12, axis="y")
    else:
        bar = b.slab("nylon_gf30", (bridge, d.case_width_mm * 1.1, 12), 4)
        b.box(d.steel, (bridge - 4, d.case_width_mm * 0.5, 4), inside=bar)
