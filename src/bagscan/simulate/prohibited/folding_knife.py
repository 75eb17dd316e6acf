"""A folding knife or multi-tool, open or closed: scales, liners, blade, pivot, spring."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.prohibited.blades import add_blade

LAYOUTS = ("open", "closed", "multi_tool", "half_open")
DIMENSIONS = {
    "handle_mm": (85.0, 120.0),
    "handle_width_mm": (19.0, 28.0),
    "thickness_mm": (10.0, 16.0),
    "blade_share": (0.7, 0.88),
    "blade_depth_mm": (14.0, 22.0),
    "spine_mm": (1.8, 3.4),
    "point": (0.4, 1.0),
    "liner_mm": (0.8, 1.5),
    "pivot_radius_mm": (2.2, 4.0),
    "scales": ("nylon_gf30", "wood", "aluminium", "titanium", "abs"),
    "tools": (3, 5, 7),
    "clip_mm": (30.0, 55.0),
}
ANGLES = {"open": 0.0, "closed": 180.0, "multi_tool": 180.0, "half_open": 75.0}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a knife in the x-y plane; its handle points to -x from the pivot at the origin."""
    w, h, long = d.handle_width_mm, d.thickness_mm, d.handle_mm
    slot = h - 2 * d.liner_mm - 4
    with b.frame((0, 0, h / 2)):
        handle = b.slab(d.scales, (long, w, h), w * 0.35, (-long / 2, 0, 0))
        frame = b.slab(
            "stainless_steel",
            (long - 3, w - 3, slot + 2 * d.liner_mm),
            w * 0.33,
            (-long / 2, 0, 0),
            inside=handle,
        )
        gap = b.box(AIR, (long - 10, w - 6, slot), (-long / 2, 0, 0), inside=frame)
        angle = ANGLES[layout]
        blades = d.tools if layout == "multi_tool" else 1
        step = slot / blades
        for k in range(blades):
            z = (k - (blades - 1) / 2) * step
            length = long * d.blade_share * (1 if k == 0 else 0.55 + 0.4 * (k % 3) / 3)
            depth = min(d.blade_depth_mm, w - 9) * (1 if k == 0 else 0.6)
            spine = min(d.spine_mm, step * 0.8)
            if angle == 180:
                with b.frame((-6, -depth / 2, z), rotation_xyz(0, 0, 3.14159)), b.within(gap):
                    add_blade(b, "stainless_steel", length * 0.9, depth, spine, d.point)
            else:
                with b.frame((0.3, depth / 2, z), rotation_xyz(0, 0, -angle / 180 * 3.14159)):
                    shift = 0.0 if angle == 0 else w * 0.75
                    with b.frame((shift, 0, 0)):
                        add_blade(b, "stainless_steel", length, depth, spine, d.point)
        b.cylinder("stainless_steel", d.pivot_radius_mm, 2, (-5, 0, h / 2 + 1.1), 14)
        b.box("stainless_steel", (d.clip_mm, 7, 1.2), (-long + d.clip_mm / 2 + 6, 0, -h / 2 - 0.7))
