"""A bottle or tin of lighter fluid: flat, with a thin spout."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder

LAYOUTS = ("flat_tin", "plastic_bottle", "round_tin")
DIMENSIONS = {
    "width_mm": (52.0, 78.0),
    "thickness_mm": (24.0, 38.0),
    "height_mm": (95.0, 150.0),
    "tin_mm": (0.22, 0.4),
    "plastic_mm": (0.8, 1.6),
    "corner_mm": (6.0, 12.0),
    "level": (0.1, 0.95),
    "spout_radius_mm": (4.0, 7.0),
    "spout_mm": (16.0, 30.0),
    "cap_radius_mm": (8.0, 13.0),
    "cap_mm": (10.0, 18.0),
    "cap": ("polypropylene", "polyethylene"),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a bottle that lies on its broad side, its spout at +x."""
    tin = layout != "plastic_bottle"
    wall, material = (d.tin_mm, "iron") if tin else (d.plastic_mm, "polyethylene")
    w, h, long = d.width_mm, d.thickness_mm, d.height_mm
    with b.frame((0, 0, h / 2), axis="x"):
        if layout == "round_tin":
            body = b.cylinder(material, h / 2 * 1.2, long, segments=28)
            cavity = b.cylinder(AIR, h / 2 * 1.2 - wall, long - 2 * wall, segments=28, inside=body)
        else:
            body = b.slab(material, (h, w, long), d.corner_mm)
            cavity = b.slab(
                AIR, (h - 2 * wall, w - 2 * wall, long - 2 * wall), d.corner_mm - wall, inside=body
            )
        b.pour(cavity, "oil", d.level)
        b.tube(
            "polyethylene",
            d.spout_radius_mm,
            d.spout_radius_mm - 1.2,
            d.spout_mm,
            (0, 0, long / 2 + d.spout_mm / 2 + 0.1),
        )
        top = long / 2 + d.spout_mm + d.cap_mm / 2 + 0.3
        cap = b.cylinder(d.cap, d.cap_radius_mm, d.cap_mm, (0, 0, top), 20)
        b.cylinder(AIR, d.cap_radius_mm - 1.2, d.cap_mm - 3, (0, 0, top), 20, inside=cap)
