"""A screwdriver: a thin steel shaft in a plastic handle."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder

LAYOUTS = ("slotted", "phillips", "stubby", "bit_holder")
DIMENSIONS = {
    "shaft_mm": (75.0, 170.0),
    "shaft_radius_mm": (2.0, 4.6),
    "tip_width_mm": (3.0, 9.0),
    "tip_mm": (6.0, 12.0),
    "handle_mm": (80.0, 120.0),
    "handle_radius_mm": (11.0, 18.0),
    "waist_share": (0.6, 0.85),
    "flange_share": (1.0, 1.15),
    "core_share": (0.4, 0.85),
    "collar_mm": (4.0, 12.0),
    "handle": ("abs", "pmma", "polypropylene", "wood"),
    "bits": (2, 4, 6),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a screwdriver along x, its tip at +x."""
    short = 0.4 if layout == "stubby" else 1.0
    shaft, handle = d.shaft_mm * short, d.handle_mm * (0.6 if layout == "stubby" else 1.0)
    r = d.handle_radius_mm
    with b.frame((0, 0, r * 1.15), axis="x"):
        profile = [
            (0.0, -handle),
            (r * 0.8, -handle + 0.1),
            (r, -handle + 6),
            (r, -handle * 0.45),
            (r * d.waist_share, -handle * 0.25),
            (r * d.flange_share, -4),
            (0.0, 0.0),
        ]
        grip = b.lathe(d.handle, profile, segments=16)
        core = handle * d.core_share * 0.85
        inner = b.cylinder(
            "iron", d.shaft_radius_mm * 0.9, core, (0, 0, -core / 2 - 3), 12, inside=grip
        )
        if layout == "bit_holder":
            b.cylinder(AIR, d.shaft_radius_mm * 0.4, core * 0.5, (0, 0, -core / 2), 8, inside=inner)
            for k in range(d.bits):
                x = (k - (d.bits - 1) / 2) * 7.0
                b.cylinder("iron", 3.0, 25, (x, r + 6, -handle / 2), 6)
        b.cylinder("iron", d.shaft_radius_mm, shaft, (0, 0, shaft / 2 + 0.1), 14)
        b.tube(
            "iron",
            d.shaft_radius_mm + 1.6,
            d.shaft_radius_mm + 0.1,
            d.collar_mm,
            (0, 0, d.collar_mm / 2 + 0.2),
        )
        tip = (0, 0, shaft + d.tip_mm / 2 + 0.2)
        if layout == "slotted":
            b.box("iron", (1.0, d.tip_width_mm, d.tip_mm), tip)
        else:
            end = shaft + 0.2
            b.lathe(
                "iron",
                [
                    (0.0, end),
                    (d.shaft_radius_mm, end + 0.1),
                    (0.8, end + d.tip_mm),
                    (0.0, end + d.tip_mm + 0.1),
                ],
                segments=8,
            )
