"""An electric kettle: vessel, heater under its floor, base, handle, lid, cord."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.cords import cord_and_plug

LAYOUTS = ("jug", "travel", "glass")
DIMENSIONS = {
    "radius_mm": (62.0, 80.0),
    "height_mm": (135.0, 190.0),
    "taper": (0.76, 0.95),
    "shell": ("stainless_steel", "polypropylene"),
    "steel_mm": (0.5, 0.8),
    "plastic_mm": (2.2, 3.0),
    "floor_mm": (22.0, 30.0),
    "heater_share": (0.5, 0.72),
    "heater_radius_mm": (3.2, 4.2),
    "disc_mm": (1.5, 3.0),
    "handle_mm": (18.0, 26.0),
    "handle_reach_mm": (40.0, 56.0),
    "lid_mm": (8.0, 14.0),
    "switch_mm": (12.0, 18.0),
    "cord_turns": (1.0, 2.2),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a standing kettle."""
    k = 0.72 if layout == "travel" else 1.0
    r, h = d.radius_mm * k, d.height_mm * k
    material = "soda_lime_glass" if layout == "glass" else d.shell
    wall = (
        3.0 if layout == "glass" else d.steel_mm if material == "stainless_steel" else d.plastic_mm
    )
    top = r * d.taper
    with b.part("vessel"):
        base = d.floor_mm
        b.vessel(
            material,
            [(0, base), (r, base), (top, base + h), (0, base + h)],
            [
                (0, base + max(1.0, wall)),
                (r - wall, base + max(1.0, wall)),
                (top - wall, base + h - max(1.0, wall)),
                (0, base + h - max(1.0, wall)),
            ],
        )
    _foot(b, d, r)
    with b.part("lid"):
        b.lathe(
            "polypropylene",
            [(0, 0.1), (top * 0.9, 0.1), (top * 0.8, d.lid_mm), (0, d.lid_mm)],
            (0, 0, d.floor_mm + h),
        )
    _handle(b, d, r, h)
    cord_and_plug(b, (-r - 0.5, 0, 8), (-1, 0), d.cord_turns, cores=3)


def _foot(b: Builder, d: SimpleNamespace, r: float) -> None:
    """Add the heater disc under the vessel, and control and connector in the foot."""
    with b.part("foot"):
        shell = b.cylinder("polypropylene", r, d.floor_mm - 0.2, (0, 0, d.floor_mm / 2), 28)
        interior = b.cylinder(
            AIR, r - 2.5, d.floor_mm - 4, (0, 0, d.floor_mm / 2), 28, inside=shell
        )
        b.hollow(interior)
    with b.within(interior):
        z = d.floor_mm - 2.6 - d.disc_mm / 2
        with b.part("heater", replaceable=True):
            b.cylinder("aluminium", r * 0.85, d.disc_mm, (0, 0, z), 28)
            ring, rh = r * d.heater_share, d.heater_radius_mm
            turn = np.linspace(0, 1.8 * np.pi, 40)
            path = np.column_stack(
                [
                    ring * np.cos(turn),
                    ring * np.sin(turn),
                    np.full(40, z - d.disc_mm / 2 - rh - 0.1),
                ]
            )
            sheath = b.wire("stainless_steel", path, rh, segments=8)
            fill = b.wire("magnesia", path[1:-1], rh * 0.78, segments=8, inside=sheath)
            b.wire("nichrome", path[2:-2], rh * 0.2, inside=fill)
        with b.part("connector"):
            height = z - d.disc_mm / 2 - 2.5
            b.tube("nylon_gf30", r * 0.3, r * 0.24, height, (0, 0, 2.2 + height / 2))
            b.cylinder("brass", 3.5, height * 0.8, (0, 0, 2.2 + height / 2))
        with b.part("thermostat"):
            b.box(
                "bakelite",
                (r * 0.14, 10, height * 0.5),
                (r * 0.92 - 2.6 - r * 0.07, 0, 2.4 + height * 0.25),
            )


def _handle(b: Builder, d: SimpleNamespace, r: float, h: float) -> None:
    """Add a hollow handle towards +x: an upright, two arms and a switch."""
    x = r + d.handle_reach_mm
    height = h * 0.8
    with b.part("handle"):
        with b.frame((x, 0, d.floor_mm + h / 2)):
            interior = b.case("polypropylene", (d.handle_mm, d.handle_mm + 6, height), 2.4, 6)
        for side in (-1, 1):
            z = d.floor_mm + h / 2 + side * (height / 2 - 10)
            start = (
                r + (r * d.taper - r) * (z - d.floor_mm + (10 if side < 0 else -10)) / h
                if side < 0
                else r * 1.0
            )
            reach = x - d.handle_mm / 2 - start - 0.3
            b.box("polypropylene", (reach, d.handle_mm, 16), (start + 0.2 + reach / 2, 0, z))
    with (
        b.within(interior),
        b.part("switch", replaceable=True),
        b.frame((x, 0, d.floor_mm + h / 2 + height * 0.3)),
    ):
        body = b.box("nylon_gf30", (d.switch_mm * 0.7, d.switch_mm, d.switch_mm))
        b.box("brass", (d.switch_mm * 0.2, d.switch_mm * 0.6, d.switch_mm * 0.6), inside=body)
