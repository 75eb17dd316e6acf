"""The shape of a pistol, lying on its side: slide or bare barrel, frame, grip, magazine."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.parts import helix

LAYOUTS = ("full_size", "compact", "polymer", "bare_barrel", "target")
DIMENSIONS = {
    "length_mm": (150.0, 225.0),
    "slide_height_mm": (20.0, 28.0),
    "width_mm": (20.0, 29.0),
    "wall_mm": (1.2, 4.0),
    "frame_height_mm": (14.0, 22.0),
    "grip_mm": (75.0, 105.0),
    "grip_width_mm": (34.0, 46.0),
    "grip_angle_deg": (8.0, 32.0),
    "barrel_radius_mm": (5.5, 8.0),
    "bore_radius_mm": (3.2, 5.0),
    "guard_mm": (28.0, 40.0),
    "grooves": (0, 6, 9),
    "rounds": (0, 3, 6, 8),
    # Alloys stand for air and alarm pistols, which are common in recorded scans.
    "metal": ("iron", "iron", "stainless_steel", "zamak", "aluminium"),
    "frame_metal": ("iron", "aluminium", "zamak"),
    "grip_cover": ("wood", "rubber", "nylon_gf30"),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a pistol in the x-y plane, muzzle at +x, grip towards -y."""
    length = d.length_mm * (0.8 if layout == "compact" else 1.0)
    frame = "nylon_gf30" if layout == "polymer" else d.frame_metal
    with b.frame((0, 0, d.width_mm / 2)):
        if layout == "bare_barrel":
            _bare_barrel(b, d, length)
        else:
            _slide(b, d, length)
        _frame(b, d, length, frame)
        _grip(b, d, layout, length, frame)
        _guard(b, d, length, frame)
        hammer_at = (-length / 2 - 5.5, d.slide_height_mm * 0.3, 0)
        b.slab(d.metal, (9, 7, 5), 3, hammer_at)
        if layout == "target":
            b.box(d.metal, (8, 7, 4), (-length * 0.42, d.slide_height_mm + 3.6, 0))
            b.box(d.metal, (5, 5, 3), (length * 0.46, d.slide_height_mm + 2.6, 0))


def _slide(b: Builder, d: SimpleNamespace, length: float) -> None:
    """Add the slide with grooves, and in it a barrel with a spring below."""
    high, wall = d.slide_height_mm, d.wall_mm
    slide = b.slab(d.metal, (length, high, d.width_mm), 4, (0, high / 2, 0))
    inner = (length - 2 * wall - 2, high - 2 * wall, d.width_mm - 2 * wall)
    hollow = b.box(AIR, inner, (0, high / 2, 0), inside=slide)
    radius = min(d.barrel_radius_mm, inner[1] * 0.27, inner[2] * 0.45)
    barrel_y = high - wall - radius - 0.3
    bore = min(d.bore_radius_mm, radius * 0.7)
    barrel = 0.8 * inner[0]
    at = ((inner[0] - barrel) / 2 - 0.1, barrel_y, 0)
    b.tube(d.metal, radius, bore, barrel, at, axis="x", inside=hollow)
    coil = inner[1] * 0.17
    with b.frame((inner[0] * 0.12, wall + coil + 0.9, 0), axis="x"):
        b.wire("iron", helix(16, coil, inner[0] * 0.6, 10), 0.5, inside=hollow)
    block = (length * 0.16, high * 0.28, inner[2] * 0.7)
    b.box("iron", block, (-length * 0.36, wall + high * 0.16, 0), inside=hollow)
    for k in range(d.grooves):
        x = -length * 0.47 + 3.4 * (k + 1)
        for side in (-1, 1):
            z = side * (d.width_mm / 2 - wall * 0.26)
            b.box(AIR, (1.6, high * 0.7, wall * 0.5), (x, high / 2, z), inside=slide)


def _bare_barrel(b: Builder, d: SimpleNamespace, length: float) -> None:
    """Add a receiver with a bolt and two knobs, and a thin barrel with a front sight."""
    high, wall, half = d.slide_height_mm, d.wall_mm, length / 2
    body = b.slab(d.metal, (half, high, d.width_mm * 0.8), 4, (-half / 2, high / 2, 0))
    inner = (half - 2 * wall - 2, high - 2 * wall, d.width_mm * 0.8 - 2 * wall)
    hollow = b.box(AIR, inner, (-half / 2, high / 2, 0), inside=body)
    bolt = min(inner[1], inner[2]) * 0.4
    b.cylinder(d.metal, bolt, inner[0] * 0.6, (-half * 0.6, high / 2, 0), axis="x", inside=hollow)
    radius = min(d.barrel_radius_mm, high * 0.4)
    at = (half / 2 + 0.1, high * 0.55, 0)
    b.tube(d.metal, radius, min(d.bore_radius_mm, radius - 1.4), half, at, axis="x")
    b.box(d.metal, (7, 4.5, 3), (half - 4, high * 0.55 + radius + 2.5, 0))
    for side in (-1, 1):
        at = (-half * 0.55, high * 0.6, side * (d.width_mm * 0.4 + 2.1))
        b.cylinder(d.metal, 7.5, 4, at, 18)


def _frame(b: Builder, d: SimpleNamespace, length: float, material: str) -> None:
    """Add the hollow frame with pins."""
    high, wide = d.frame_height_mm, d.width_mm * 0.86
    outline = np.array(
        [(-0.46, -0.05), (-0.46, -high), (0.1, -high), (0.38, -high * 0.55), (0.4, -0.05)]
    ) * (length, 1)
    body = b.prism(material, outline, wide)
    wall = min(d.wall_mm, high * 0.2)
    inner = (length * 0.52, high - 2.4 * wall, wide - 2 * wall)
    hollow = b.box(AIR, inner, (-length * 0.17, -high / 2, 0), inside=body)
    for k in range(4):
        at = (length * (-0.38 + 0.13 * k), -high * 0.5, 0)
        b.cylinder("iron", b.rng.uniform(1.2, 2.4), inner[2], at, 10, inside=hollow)


def _grip(b: Builder, d: SimpleNamespace, layout: str, length: float, material: str) -> None:
    """Add the grip with a magazine: a thin box with cases of brass."""
    long = d.grip_mm * (0.8 if layout == "compact" else 1.0)
    top, right = -d.frame_height_mm - 0.1, -length * 0.18
    lean = np.tan(np.radians(d.grip_angle_deg)) * long
    down = np.linspace(0, 1, 9)
    front = np.column_stack([right - lean * down - 2 * np.sin(np.pi * down), top - long * down])
    back = front - (d.grip_width_mm, 0) - np.column_stack([4 * np.sin(np.pi * down), 0 * down])
    outline = np.concatenate([front[::-1], back])
    middle = outline.mean(0)
    wide, wall = d.width_mm * 0.8, min(d.wall_mm, 2.5)
    grip = b.prism(material, outline, wide)
    well = b.prism(AIR, middle + (outline - middle) * 0.86, wide - 2 * wall, inside=grip)
    clip_width = wide - 2 * wall - 1
    clip = b.prism("iron", middle + (outline - middle) * 0.76, clip_width, inside=well)
    room = b.prism(AIR, middle + (outline - middle) * 0.71, clip_width - 1.8, inside=clip)
    case = min(4.8, clip_width * 0.36)
    across, step = d.grip_width_mm * 0.5, 2 * case + 0.4
    first = middle[1] + 0.71 * (top - middle[1]) - case - 0.3
    for k in range(min(d.rounds, int(0.71 * long / step))):
        y = first - k * step
        x = np.interp(-y, -front[:, 1], front[:, 0]) - d.grip_width_mm / 2 - 1.5
        b.tube("brass", case, case - 0.5, across, (x, y, 0), 12, axis="x", inside=room)
    if layout != "polymer":
        cover = middle + (outline - middle) * 0.85
        for side in (-1, 1):
            b.prism(d.grip_cover, cover, 4.5, (0, 0, side * (wide / 2 + 2.3)))


def _guard(b: Builder, d: SimpleNamespace, length: float, material: str) -> None:
    """Add the ring around the trigger, and the curved trigger."""
    x, top = -length * 0.18 + d.guard_mm / 2 + 3, -d.frame_height_mm - 3
    angle = np.linspace(np.pi, 2 * np.pi, 18)
    path = np.column_stack(
        [x + d.guard_mm / 2 * np.cos(angle), top + 24 * np.sin(angle), 0 * angle]
    )
    b.wire(material, path, 2.2)
    bend = np.linspace(0, 1, 8)
    trigger = np.column_stack([x - 4 + 5 * bend**2, top - 1 - 15 * bend, 0 * bend])
    b.wire("iron", trigger, 1.9)
