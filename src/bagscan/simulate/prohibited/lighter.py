"""A lighter: a small tank of fuel, a valve, a metal hood, a wheel with its flint, or a piezo."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.parts import helix

LAYOUTS = ("disposable", "piezo", "petrol", "long_neck", "jet")
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
    "valve_radius_mm": (1.6, 2.6),
    "valve_mm": (8.0, 14.0),
    "rod_mm": (16.0, 24.0),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a lighter along x, its hood at +x."""
    with b.frame((0, 0, d.thickness_mm / 2)):
        if layout == "petrol":
            _petrol(b, d)
            return
        _body(b, d, layout == "piezo")
        _hood(b, d)
        if layout == "jet":
            _jet(b, d)
        if layout == "long_neck":
            start = d.body_mm / 2 + d.hood_mm + 0.4
            b.tube("iron", 4, 3.4, d.neck_mm, (start + d.neck_mm / 2, 0, 0), axis="x")


def _body(b: Builder, d: SimpleNamespace, piezo: bool) -> None:
    """Add the tank; below the hood the valve, and beside it the flint's spring or a piezo."""
    w, h, long = d.width_mm, d.thickness_mm, d.body_mm
    body = b.slab(d.body, (long, w, h), min(w, h) * 0.4)
    inner = (w - 2 * d.wall_mm, h - 2 * d.wall_mm)
    upper = d.rod_mm + 1.5
    lower = long - upper - 6
    low_end = -long / 2 + 2 + lower / 2
    tank = b.slab(AIR, (lower, *inner), h * 0.3, (low_end, 0, 0), inside=body)
    b.pour(tank, "ethanol", d.level)
    top = long / 2 - 1.0
    around = b.slab(
        "ethanol", (upper, *inner), h * 0.3, (top - upper / 2, 0, 0), inside=body, density=0.7
    )
    with b.within(around):
        y, radius = w * 0.2, min(d.valve_radius_mm, inner[1] / 2 - 0.6)
        b.cylinder("brass", radius, d.valve_mm, (top - 0.5 - d.valve_mm / 2, -y, 0), 12, axis="x")
        if piezo:
            r = min(3.2, inner[1] / 2 - 0.5, inner[0] / 2 - y - 0.3)
            case = b.cylinder("pom", r, d.rod_mm, (top - 0.7 - d.rod_mm / 2, y, 0), 14, axis="x")
            half = d.rod_mm / 2
            b.cylinder(
                "barium_titanate", r * 0.5, 4, (top - half - 3, y, 0), 10, axis="x", inside=case
            )
            b.cylinder("iron", r * 0.6, 5, (top - 0.7 - half + 4, y, 0), 10, axis="x", inside=case)
        else:
            at = (top - 0.7 - d.rod_mm / 2, y, 0)
            b.tube("stainless_steel", 1.5, 0.9, d.rod_mm, at, 12, axis="x")


def _hood(b: Builder, d: SimpleNamespace) -> None:
    """Add the hood of sheet metal, with a wheel and a fork in it."""
    w, h = d.width_mm, d.thickness_mm
    middle = d.body_mm / 2 + d.hood_mm / 2 + 0.1
    wide, tall, thin = w * 0.8, h * 0.9, 2 * d.hood_wall_mm
    hood = b.box(d.metal, (d.hood_mm, wide, tall), (middle, 0, 0))
    cavity = b.box(AIR, (d.hood_mm - 1, wide - thin, tall - thin), (middle, 0, 0), inside=hood)
    radius = min(d.wheel_radius_mm, (d.hood_mm - 1.5) / 2, w * 0.18)
    b.cylinder("iron", radius, h * 0.5, (middle, w * 0.15, 0), 14, inside=cavity)
    b.box("zamak", (d.hood_mm * 0.5, w * 0.15, h * 0.5), (middle, -w * 0.22, 0), inside=cavity)


def _jet(b: Builder, d: SimpleNamespace) -> None:
    """Add a metal base with a burner's coil at the other end."""
    spring = helix(6, d.spring_radius_mm, 14)
    with b.frame((-d.body_mm / 2 - 12, 0, 0), axis="x"):
        b.wire("stainless_steel", spring, 0.5)
        b.tube(d.metal, d.thickness_mm * 0.42, d.thickness_mm * 0.42 - 0.6, 20)


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
