"""Handcuffs: two closed rings with lock cases and teeth, joined by a chain, a hinge or a bar."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.mesh import rotation_xyz

LAYOUTS = ("chain", "hinged", "rigid")
DIMENSIONS = {
    "ring_radius_mm": (27.0, 34.0),
    "ring_width_mm": (5.0, 8.0),
    "ring_thickness_mm": (4.0, 7.0),
    "case_mm": (30.0, 40.0),
    "case_width_mm": (16.0, 24.0),
    "case_thickness_mm": (8.0, 12.0),
    "case_wall_mm": (1.0, 2.0),
    "teeth": (0, 9, 14),
    "folded_deg": (0.0, 150.0),
    "links": (2, 3, 4),
    "link_mm": (11.0, 17.0),
    "wire_mm": (1.6, 2.6),
    "bridge_mm": (14.0, 40.0),
    "steel": ("stainless_steel", "iron", "nickel"),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add handcuffs in the x-y plane, one ring towards -x; a chain lets the other one turn."""
    bridge = d.links * d.link_mm * 0.8 if layout == "chain" else d.bridge_mm
    fold = np.radians(d.folded_deg) if layout == "chain" else 0.0
    # A cuff that is folded back lies on the other one.
    rise = d.case_thickness_mm + 1 if fold > np.radians(70) else 0.0
    with b.frame((0, 0, d.case_thickness_mm / 2)):
        _cuff(b, d, np.pi, bridge / 2, 0.0)
        _cuff(b, d, fold, bridge / 2, rise)
        _join(b, d, layout, bridge, fold, rise)


def _cuff(b: Builder, d: SimpleNamespace, direction: float, start: float, z: float) -> None:
    """Add a lock case and a ring through it, from ``start`` mm along a direction in the plane."""
    with b.frame((0, 0, z), rotation_xyz(0, 0, direction)):
        size = np.array([d.case_width_mm, d.case_mm, d.case_thickness_mm])
        at = (start + size[0] / 2 + 1, 0, 0)
        case = b.slab(d.steel, tuple(size), 4, at)
        inner = b.slab(AIR, tuple(size - 2 * d.case_wall_mm), 3, at, inside=case)
        b.box("iron", tuple(size * (0.5, 0.6, 0.35)), at, inside=inner)
        r, wire = d.ring_radius_mm, (d.ring_width_mm + d.ring_thickness_mm) / 4
        # The ring ends at both short sides of the case.
        half = min(np.arcsin(min(0.95, (d.case_mm / 2 + wire + 0.5) / r)), 1.1)
        centre = at[0] + r * np.cos(half)
        angle = np.linspace(np.pi + half, 3 * np.pi - half, 44)
        path = np.column_stack([centre + r * np.cos(angle), r * np.sin(angle), 0 * angle])
        b.wire(d.steel, path, wire)
        for k in range(d.teeth):
            turn = np.radians(-75 + 150 * k / max(d.teeth - 1, 1))
            far = r + wire + 0.9
            tooth_at = (centre + far * np.cos(turn), far * np.sin(turn), 0)
            with b.frame(tooth_at, rotation_xyz(0, 0, turn)):
                b.box(d.steel, (1.6, 2.4, wire))


def _join(
    b: Builder, d: SimpleNamespace, layout: str, bridge: float, fold: float, rise: float
) -> None:
    if layout == "chain":
        t = np.linspace(0, 1.94 * np.pi, 22)
        for k in range(d.links):
            x = (k - (d.links - 1) / 2) * d.link_mm * 0.8
            flat = np.column_stack([x + d.link_mm / 2 * np.cos(t), 3.6 * np.sin(t), 0 * t])
            path = flat if k % 2 else flat[:, [0, 2, 1]]
            along = (k + 1) / (d.links + 1)
            with b.frame((0, 0, rise * along), rotation_xyz(0, 0, fold * (x > 0))):
                b.wire(d.steel, path, d.wire_mm * 0.55)
    elif layout == "hinged":
        plate = (bridge / 2 - 1, d.case_width_mm * 0.8, 3)
        for side in (-1, 1):
            b.box(d.steel, plate, (side * bridge / 4, 0, 0))
        b.cylinder(d.steel, 2.4, d.case_width_mm, (0, 0, 4.2), 12, axis="y")
    else:
        bar = b.slab("nylon_gf30", (bridge, d.case_width_mm * 1.1, 12), 4)
        b.box(d.steel, (bridge - 4, d.case_width_mm * 0.5, 4), inside=bar)
