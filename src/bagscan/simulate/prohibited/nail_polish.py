"""A small bottle of nail polish: thick glass, lacquer, mixing balls, a long cap with a brush."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder

LAYOUTS = ("square", "round", "tall")
DIMENSIONS = {
    "width_mm": (22.0, 32.0),
    "height_mm": (28.0, 48.0),
    "wall_mm": (2.5, 4.5),
    "base_mm": (4.0, 8.0),
    "corner_mm": (2.0, 6.0),
    "level": (0.2, 0.95),
    "neck_radius_mm": (5.0, 7.0),
    "neck_mm": (5.0, 9.0),
    "cap_radius_mm": (7.0, 10.0),
    "cap_mm": (30.0, 48.0),
    "balls": (0, 1, 2),
    "cap": ("abs", "polypropylene", "aluminium"),
    "lacquer_density": (1.0, 1.25),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a bottle that lies along x, its cap at +x."""
    w, long = d.width_mm, d.height_mm * (1.4 if layout == "tall" else 1.0)
    with b.frame((0, 0, w / 2), axis="x"):
        inner = (w - 2 * d.wall_mm, w - 2 * d.wall_mm, long - d.base_mm - d.wall_mm)
        z = (d.base_mm - d.wall_mm) / 2
        if layout == "round":
            glass = b.cylinder("soda_lime_glass", w / 2, long, segments=24)
            cavity = b.cylinder(AIR, inner[0] / 2, inner[2], (0, 0, z), 24, inside=glass)
        else:
            glass = b.slab("soda_lime_glass", (w, w, long), d.corner_mm)
            cavity = b.slab(AIR, inner, 2, (0, 0, z), inside=glass)
        for k in range(d.balls):
            at = (-inner[0] * 0.3, (k - 0.5) * 5, z - inner[2] / 2 + 3)
            b.ball("stainless_steel", (2.0, 2.0, 2.0), at, inside=cavity)
        top = long / 2 + d.neck_mm / 2 + 0.1
        b.tube("soda_lime_glass", d.neck_radius_mm, d.neck_radius_mm - 1.8, d.neck_mm, (0, 0, top))
        start = long / 2 + d.neck_mm + 0.3
        cap = b.cylinder(d.cap, d.cap_radius_mm, d.cap_mm, (0, 0, start + d.cap_mm / 2), 20)
        b.cylinder(
            AIR,
            d.cap_radius_mm - 1.5,
            d.cap_mm * 0.8,
            (0, 0, start + d.cap_mm * 0.42),
            20,
            inside=cap,
        )
    if d.balls == 0:
        b.pour(cavity, "ethanol", d.level)
