"""A bottle or flask, lying: wall, contents, cap."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder

LAYOUTS = ("drink", "flask", "sports", "glass")
DIMENSIONS = {
    "radius_mm": (29.0, 44.0),
    "length_mm": (165.0, 260.0),
    "neck_radius_mm": (11.0, 17.0),
    "neck_mm": (16.0, 34.0),
    "shoulder_mm": (18.0, 45.0),
    "wall_mm": (0.4, 1.2),
    "waist_share": (0.86, 1.0),
    "base_rise_mm": (2.0, 7.0),
    "cap_mm": (12.0, 26.0),
    "level": (0.1, 0.95),
    "contents": ("water", "oil", "ethanol", "water"),
    "flask_gap_mm": (4.0, 8.0),
    "flask_steel_mm": (0.4, 0.8),
    "label_mm": (0.05, 0.12),
}
WALLS = {"drink": "pet", "sports": "polypropylene", "glass": "soda_lime_glass"}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a bottle or flask with its axis along x."""
    with b.frame((0, 0, d.radius_mm), axis="x"):
        if layout == "flask":
            _flask(b, d)
        else:
            thickness = {"drink": d.wall_mm, "sports": d.wall_mm * 2, "glass": d.wall_mm * 4 + 1}[
                layout
            ]
            _plain(b, d, WALLS[layout], thickness, layout)


def _profile(d: SimpleNamespace, inset: float) -> list[tuple[float, float]]:
    """Return the points (radius, z) from base to mouth, moved inwards by ``inset``."""
    r, n, end = d.radius_mm - inset, d.neck_radius_mm - inset, d.length_mm / 2
    low, top = -end + inset, end - inset
    shoulder = end - d.neck_mm - d.shoulder_mm
    middle = low + (shoulder - low) * 0.5
    return [
        (0.0, low),
        (r * 0.8, low + 1e-3),
        (r, low + r * 0.14),
        (r, middle - 25),
        (r * d.waist_share, middle),
        (r, middle + 25),
        (r, shoulder),
        (r * 0.75 + n * 0.25, shoulder + d.shoulder_mm * 0.5),
        (n, shoulder + d.shoulder_mm),
        (n, top - 1e-3),
        (0.0, top),
    ]


def _plain(b: Builder, d: SimpleNamespace, wall: str, thickness: float, layout: str) -> None:
    with b.part("wall"):
        cavity = b.vessel(wall, _profile(d, 0), _profile(d, thickness))
    with b.part("contents"):
        b.pour(cavity, d.contents, d.level)
    _cap(b, d)
    if layout == "sports":
        with b.part("spout"):
            b.tube("polypropylene", 5, 3, 18, (0, 0, d.length_mm / 2 + d.cap_mm * 0.6 + 9.3))


def _flask(b: Builder, d: SimpleNamespace) -> None:
    """Add a flask with two steel walls and a vacuum between them."""
    with b.part("wall"):
        outer = b.lathe("stainless_steel", _profile(d, 0))
        gap = b.lathe(AIR, _profile(d, d.flask_steel_mm), inside=outer)
    with b.part("inner_wall"), b.within(gap):
        inner_inset = d.flask_steel_mm + d.flask_gap_mm
        cavity = b.vessel(
            "stainless_steel", _profile(d, inner_inset), _profile(d, inner_inset + d.flask_steel_mm)
        )
    with b.part("contents"):
        b.pour(cavity, d.contents, d.level)
    _cap(b, d)


def _cap(b: Builder, d: SimpleNamespace) -> None:
    """Add a screw cap and a label."""
    with b.part("cap"):
        length = d.cap_mm * 0.6
        cap = b.cylinder(
            "polypropylene",
            d.neck_radius_mm + 2,
            length,
            (0, 0, d.length_mm / 2 + length / 2 + 0.05),
            24,
        )
        b.cylinder(
            AIR,
            d.neck_radius_mm - 1,
            length - 3,
            (0, 0, d.length_mm / 2 + length / 2 - 1.4),
            20,
            inside=cap,
        )
    with b.part("label"):
        b.tube(
            "paper",
            d.radius_mm + 0.05 + d.label_mm,
            d.radius_mm + 0.05,
            20,
            (0, 0, -(d.neck_mm + d.shoulder_mm) / 2 - 36),
        )
