"""The shape of a pistol, lying on its side: slide, barrel, frame, grip, magazine."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder

LAYOUTS = ("full_size", "compact", "polymer", "target")
DIMENSIONS = {
    "length_mm": (165.0, 220.0),
    "slide_height_mm": (21.0, 28.0),
    "width_mm": (22.0, 30.0),
    "frame_height_mm": (14.0, 22.0),
    "grip_mm": (75.0, 105.0),
    "grip_width_mm": (34.0, 46.0),
    "grip_angle_deg": (8.0, 20.0),
    "barrel_radius_mm": (6.0, 8.0),
    "bore_radius_mm": (3.2, 5.8),
    "guard_mm": (28.0, 40.0),
    "steel": ("iron", "stainless_steel"),
    "grip_cover": ("wood", "rubber", "nylon_gf30"),
    "magazine_load": (0.2, 1.0),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a pistol in the x-y plane, muzzle at +x, grip towards -y."""
    short = 0.8 if layout == "compact" else 1.0
    length, width = d.length_mm * short, d.width_mm
    frame = "nylon_gf30" if layout == "polymer" else d.steel
    with b.frame((0, 0, width / 2)):
        slide = b.box(d.steel, (length, d.slide_height_mm, width), (0, d.slide_height_mm / 2, 0))
        hollow = b.box(
            AIR,
            (length * 0.82, d.slide_height_mm * 0.7, width * 0.6),
            (length * 0.05, d.slide_height_mm * 0.45, 0),
            inside=slide,
        )
        at = (length * 0.09, d.slide_height_mm * 0.5, 0)
        radius = min(d.barrel_radius_mm, width * 0.27)
        barrel = b.cylinder(d.steel, radius, length * 0.7, at, axis="x", inside=hollow)
        bore = min(d.bore_radius_mm, radius * 0.7)
        b.cylinder(AIR, bore, length * 0.7 - 1, at, axis="x", inside=barrel)
        body = b.box(
            frame,
            (length * 0.86, d.frame_height_mm, width * 0.86),
            (-length * 0.03, -d.frame_height_mm / 2 - 0.05, 0),
        )
        b.box(
            AIR,
            (length * 0.5, d.frame_height_mm * 0.5, width * 0.4),
            (length * 0.1, -d.frame_height_mm * 0.5, 0),
            inside=body,
        )
        _grip(b, d, layout, length, frame)
        _guard(b, d, length, frame)
        if layout == "target":
            b.box(d.steel, (8, 7, 4), (-length * 0.42, d.slide_height_mm + 3.6, 0))
            b.box(d.steel, (5, 5, 3), (length * 0.46, d.slide_height_mm + 2.6, 0))


def _grip(b: Builder, d: SimpleNamespace, layout: str, length: float, frame: str) -> None:
    lean = np.tan(np.radians(d.grip_angle_deg)) * d.grip_mm
    top, right = -d.frame_height_mm - 0.1, -length * 0.2
    left, low = right - d.grip_width_mm, top - d.grip_mm * (0.8 if layout == "compact" else 1.0)
    outline = [(left - lean, low), (right - lean, low), (right, top), (left, top)]
    grip = b.prism(frame if layout == "polymer" else d.steel, outline, d.width_mm * 0.8)
    inner = np.array(outline) * 1.0
    middle = inner.mean(0)
    well = b.prism(AIR, middle + (inner - middle) * 0.78, d.width_mm * 0.66, inside=grip)
    clip = b.prism("iron", middle + (inner - middle) * 0.72, d.width_mm * 0.55, inside=well)
    load = middle + (inner - middle) * np.array([0.6, 0.66 * d.magazine_load])
    b.prism("brass", load, d.width_mm * 0.4, inside=clip, density=0.7)
    if layout != "polymer":
        for side in (-1, 1):
            cover = middle + (inner - middle) * 0.85
            b.prism(d.grip_cover, cover, 4.5, (0, 0, side * (d.width_mm * 0.4 + 2.3)))


def _guard(b: Builder, d: SimpleNamespace, length: float, frame: str) -> None:
    angle = np.linspace(np.pi, 2 * np.pi, 14)
    x = -length * 0.2 + d.guard_mm / 2 + 3
    path = np.column_stack(
        [x + d.guard_mm / 2 * np.cos(angle), -d.frame_height_mm - 3 + 22 * np.sin(angle), 0 * angle]
    )
    b.wire(frame, path, 2.4)
    b.box("iron", (3.5, 16, 5), (x - 3, -d.frame_height_mm - 9.5, 0))
