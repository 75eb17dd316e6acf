"""The shape of a revolver, lying on its side: barrel, cylinder with chambers, frame, grip."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder

LAYOUTS = ("snub", "service", "long_barrel")
DIMENSIONS = {
    "barrel_mm": (90.0, 130.0),
    "barrel_radius_mm": (7.5, 10.5),
    "bore_radius_mm": (2.8, 5.7),
    "cylinder_radius_mm": (17.0, 21.5),
    "cylinder_mm": (34.0, 46.0),
    "chambers": (5, 6, 7, 8),
    "loaded_share": (0.0, 1.0),
    "frame_width_mm": (12.0, 17.0),
    "grip_mm": (75.0, 110.0),
    "grip_width_mm": (28.0, 40.0),
    "guard_mm": (28.0, 38.0),
    "steel": ("iron", "stainless_steel", "zamak", "aluminium"),
    "grip_cover": ("wood", "rubber"),
}
LENGTHS = {"snub": 0.55, "service": 1.0, "long_barrel": 1.45}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a revolver in the x-y plane, muzzle at +x, grip towards -y."""
    barrel = d.barrel_mm * LENGTHS[layout]
    r, half = d.cylinder_radius_mm, d.cylinder_mm / 2
    with b.frame((0, 0, r)):
        _cylinder(b, d)
        tube_x = half + 1 + barrel / 2
        b.tube(
            d.steel,
            d.barrel_radius_mm,
            min(d.bore_radius_mm, d.barrel_radius_mm - 3),
            barrel,
            (tube_x, r * 0.5, 0),
            axis="x",
        )
        b.box(d.steel, (barrel * 0.9, 7, 6), (tube_x, r * 0.5 - d.barrel_radius_mm - 3.7, 0))
        b.box(d.steel, (d.cylinder_mm + 24, 5, d.frame_width_mm), (-4, r + 2.8, 0))
        b.box(d.steel, (d.cylinder_mm + 24, 6, d.frame_width_mm), (-4, -r - 3.3, 0))
        b.box(d.steel, (15, 2 * r, d.frame_width_mm), (-half - 8.1, 0, 0))
        _grip(b, d, -half - 16, -r - 0.2)
        angle = np.linspace(np.pi, 2 * np.pi, 14)
        path = np.column_stack(
            [-4 + d.guard_mm / 2 * np.cos(angle), -r - 9 + 22 * np.sin(angle), 0 * angle]
        )
        b.wire(d.steel, path, 2.2)
        b.box(d.steel, (3.5, 15, 4), (-6, -r - 15, 0))
        b.box(d.steel, (6, 16, 5), (-half - 20, r * 0.6, 0))  # hammer


def _cylinder(b: Builder, d: SimpleNamespace) -> None:
    """Add the drum. Chambers are air, or brass with lead where they are loaded."""
    drum = b.cylinder(d.steel, d.cylinder_radius_mm, d.cylinder_mm, axis="x", segments=28)
    loaded = round(d.loaded_share * d.chambers)
    chamber = min(d.bore_radius_mm + 0.4, d.cylinder_radius_mm * 0.62 * np.pi / d.chambers * 0.85)
    for k in range(d.chambers):
        angle = 2 * np.pi * k / d.chambers
        y, z = np.cos(angle), np.sin(angle)
        at = (0, d.cylinder_radius_mm * 0.62 * y, d.cylinder_radius_mm * 0.62 * z)
        hole = b.cylinder(AIR, chamber, d.cylinder_mm - 0.4, at, 14, axis="x", inside=drum)
        if k < loaded:
            case = b.cylinder(
                "brass", chamber * 0.95, d.cylinder_mm * 0.7, at, 14, axis="x", inside=hole
            )
            b.cylinder(
                "lead",
                chamber * 0.8,
                d.cylinder_mm * 0.2,
                (d.cylinder_mm * 0.2, at[1], at[2]),
                14,
                axis="x",
                inside=case,
            )


def _grip(b: Builder, d: SimpleNamespace, x: float, top: float) -> None:
    w, long = d.grip_width_mm, d.grip_mm
    outline = np.array(
        [
            (x, top + 18),
            (x - 4, top + 14),
            (x - w * 0.55, top - long * 0.6),
            (x - w, top - long),
            (x - w * 0.1, top - long),
            (x + w * 0.15, top - long * 0.45),
            (x + 10, top - 6.5),
            (x, top - 6.5),
        ]
    )
    core = b.prism(d.grip_cover, outline, d.frame_width_mm * 1.6)
    middle = outline.mean(0)
    b.prism(d.steel, middle + (outline - middle) * 0.6, d.frame_width_mm * 0.7, inside=core)
