"""A craft knife or scalpel: a thin segmented blade in a plastic or metal holder."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.prohibited.blades import add_blade

LAYOUTS = ("snap_off", "trapezoid", "scalpel")
DIMENSIONS = {
    "length_mm": (125.0, 165.0),
    "width_mm": (16.0, 32.0),
    "thickness_mm": (9.0, 17.0),
    "wall_mm": (1.6, 2.8),
    "blade_width_mm": (9.0, 18.0),
    "blade_thickness_mm": (0.38, 0.7),
    "exposed_mm": (0.0, 45.0),
    "spare_blades": (0, 1, 3),
    "segment_mm": (5.0, 10.0),
    "holder": ("abs", "nylon_gf30", "zamak", "polypropylene"),
    "rail_mm": (0.5, 1.0),
    "slider_mm": (12.0, 24.0),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a knife along x, its blade at +x."""
    if layout == "scalpel":
        _scalpel(b, d)
        return
    wide = d.width_mm * (1.0 if layout == "trapezoid" else 0.75)
    long, h = d.length_mm, d.thickness_mm
    blade = min(d.blade_width_mm, wide - 2 * d.wall_mm - 2)
    holder = "zamak" if layout == "trapezoid" else d.holder
    with b.frame((0, 0, h / 2)):
        body = b.slab(holder, (long, wide, h), wide * 0.25)
        inside = (long - 4, wide - 2 * d.wall_mm, h - 2 * d.wall_mm)
        hollow = b.slab(AIR, inside, wide * 0.25, inside=body)
        inner_mm = h - 2 * d.wall_mm - 1
        with b.within(hollow):
            b.box("stainless_steel", (long * 0.85, blade, d.rail_mm), (0, 0, -inner_mm / 2 + 0.6))
            inner = long * (0.7 if layout == "snap_off" else 0.3)
            b.box("iron", (inner, blade, d.blade_thickness_mm), (long * 0.48 - inner / 2, 0, 0.3))
            for k in range(d.spare_blades):
                z = 1.2 + d.blade_thickness_mm * (k + 1) * 1.2
                if z < inner_mm / 2 - 0.5:
                    b.box("iron", (inner * 0.8, blade, d.blade_thickness_mm), (-long * 0.1, 0, z))
        if d.exposed_mm > 6:
            with b.frame((long / 2 + 0.2, blade / 2, 0.3)):
                add_blade(b, "iron", d.exposed_mm, blade, d.blade_thickness_mm, 0.35)
        b.box("abs", (d.slider_mm, wide * 0.45, 4), (long * 0.1, 0, h / 2 + 2.1))


def _scalpel(b: Builder, d: SimpleNamespace) -> None:
    """Add a flat steel holder and a small blade."""
    long = d.length_mm * 0.9
    with b.frame((0, 0, 2)):
        b.slab("stainless_steel", (long, d.width_mm * 0.4, 3), 2)
        with b.frame((long / 2 + 0.2, 4, 0)):
            add_blade(b, "iron", 38.0, 8.5, d.blade_thickness_mm, 0.8)
