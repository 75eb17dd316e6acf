"""A can under pressure: a thin metal wall, liquid, a dome, a valve with a dip tube."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder

LAYOUTS = ("spray", "deodorant", "gas_cartridge", "small_cylinder")
DIMENSIONS = {
    "radius_mm": (17.0, 36.0),
    "length_mm": (100.0, 250.0),
    "wall_mm": (0.2, 0.6),
    "dome_mm": (8.0, 18.0),
    "neck_radius_mm": (9.0, 13.0),
    "level": (0.1, 0.85),
    "cap_mm": (20.0, 38.0),
    "cap_wall_mm": (1.0, 1.8),
    "valve_radius_mm": (4.0, 7.0),
    "tube_radius_mm": (1.6, 2.6),
    "contents": ("ethanol", "oil", "water"),
    "metal": ("iron", "iron", "aluminium"),
    "seam_mm": (2.0, 4.5),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a can along x, its valve at +x."""
    small = layout == "small_cylinder"
    r = d.radius_mm * (0.45 if small else 1.25 if layout == "gas_cartridge" else 1.0)
    long = d.length_mm * (0.45 if small else 0.75 if layout == "gas_cartridge" else 1.0)
    wall = 1.6 if small else d.wall_mm
    metal = "iron" if small else d.metal
    neck = min(d.neck_radius_mm, r * 0.6)

    def profile(inset: float) -> list[tuple[float, float]]:
        low, top = -long / 2 + inset, long / 2 - inset
        return [
            (0.0, low + 4),
            (r * 0.7, low),
            (r - inset, low + 3),
            (r - inset, top - d.dome_mm),
            (neck - inset, top - 0.2),
            (0.0, top),
        ]

    with b.frame((0, 0, r), axis="x"):
        cavity = b.vessel(metal, profile(0), profile(wall))
        if not small:  # the double seam of the bottom
            b.tube(metal, r + 1.0, r + 0.05, d.seam_mm, (0, 0, -long / 2 + 5 + d.seam_mm / 2), 32)
        tube = d.tube_radius_mm
        if not small:
            b.tube("polyethylene", tube, tube - 0.7, long * 0.7, (0, 0, 0), 12, inside=cavity)
        valve = min(d.valve_radius_mm, neck * 0.8)
        b.cylinder("iron", valve, 7, (0, 0, long / 2 + 3.7), 16)
        if layout in ("spray", "deodorant"):
            b.cylinder("polyethylene", valve, 9, (0, 0, long / 2 + 11.9), 16)
            top = d.cap_mm if layout == "spray" else d.cap_mm * 0.9
            cap = b.cylinder("polypropylene", r * 0.97, top, (0, 0, long / 2 + 17 + top / 2), 24)
            b.cylinder(
                AIR,
                r * 0.97 - d.cap_wall_mm,
                top - 2,
                (0, 0, long / 2 + 17 + top / 2),
                24,
                inside=cap,
            )
    if not small:
        _fill(b, d, cavity)


def _fill(b: Builder, d: SimpleNamespace, cavity: int) -> None:
    """Fill the lower part of the can; the dip tube displaces the cavity, not the liquid."""
    level = min(d.level, 0.4)  # below the tube, which runs along the axis
    b.pour(cavity, d.contents, level)
