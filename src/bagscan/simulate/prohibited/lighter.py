"""A lighter: a small tank of fuel, a metal hood, a wheel and a spring."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.parts import helix

LAYOUTS = ("disposable", "petrol", "long_neck", "jet")
DIMENSIONS = {
    "width_mm": (20.0, 27.0),
    "thickness_mm": (9.0, 14.0),
    "body_mm": (50.0, 66.0),
    "wall_mm": (1.0, 1.8),
    "level": (0.05, 0.9),
    "hood_mm": (11.0, 18.0),
    "hood_wall_mm": (0.3, 0.6),
    "wheel_radius_mm": (3.0, 4.6),
    "spring_radius_mm": (1.4, 2.2),
    "case_wall_mm": (0.5, 0.9),
    "neck_mm": (90.0, 150.0),
    "body": ("polycarbonate", "abs", "pom"),
    "metal": ("iron", "brass", "aluminium"),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a lighter along x, its hood at +x."""
    w, h, long = d.width_mm, d.thickness_mm, d.body_mm
    with b.frame((0, 0, h / 2)):
        if layout == "petrol":
            _petrol(b, d)
            return
        body = b.slab(d.body, (long, w, h), min(w, h) * 0.4)
        tank = b.slab(AIR, (long - 4, w - 2 * d.wall_mm, h - 2 * d.wall_mm), h * 0.3, inside=body)
        b.pour(tank, "ethanol", d.level)
        middle = long / 2 + d.hood_mm / 2 + 0.1
        wide, tall, thin = w * 0.8, h * 0.9, 2 * d.hood_wall_mm
        hood = b.box(d.metal, (d.hood_mm, wide, tall), (middle, 0, 0))
        cavity = b.box(AIR, (d.hood_mm - 1, wide - thin, tall - thin), (middle, 0, 0), inside=hood)
        radius = min(d.wheel_radius_mm, (d.hood_mm - 1.5) / 2, w * 0.18)
        b.cylinder("iron", radius, h * 0.5, (middle, w * 0.15, 0), 14, inside=cavity)
        b.box("zamak", (d.hood_mm * 0.5, w * 0.15, h * 0.5), (middle, -w * 0.22, 0), inside=cavity)
        if layout == "jet":
            spring = helix(6, d.spring_radius_mm, 14)
            with b.frame((-long / 2 - 12, 0, 0), axis="x"):
                b.wire("stainless_steel", spring, 0.5)
                b.tube(d.metal, h * 0.42, h * 0.42 - 0.6, 20)
        if layout == "long_neck":
            b.tube(
                "iron",
                4,
                3.4,
                d.neck_mm,
                (long / 2 + d.hood_mm + d.neck_mm / 2 + 0.4, 0, 0),
                axis="x",
            )


def _petrol(b: Builder, d: SimpleNamespace) -> None:
    """Add a case with a hinged lid, cotton with fuel, and a chimney."""
    w, h = d.width_mm * 1.5, d.thickness_mm
    case = b.slab("brass", (36, w, h), 2.5, (-12, 0, 0))
    hollow = b.slab(
        AIR, (36 - 1, w - 2 * d.case_wall_mm, h - 2 * d.case_wall_mm), 2, (-12, 0, 0), inside=case
    )
    b.box("cotton", (30, w - 4, h - 3), (-12, 0, 0), inside=hollow, density=0.4 + 2 * d.level)
    lid = b.slab("brass", (20, w, h), 2.5, (16.3, 0, 0))
    size = (19, w - 2 * d.case_wall_mm, h - 2 * d.case_wall_mm)
    inner = b.slab(AIR, size, 2, (16.3, 0, 0), inside=lid)
    b.box("stainless_steel", (14, w * 0.5, 0.6), (15, 0, h * 0.25), inside=inner)
    b.cylinder("iron", min(d.wheel_radius_mm, 4), h * 0.4, (15, w * 0.33, 0), 14, inside=inner)
