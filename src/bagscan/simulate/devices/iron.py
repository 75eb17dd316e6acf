"""A clothes iron: sole plate with its heater, steam chamber, tank, handle, cord."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.cords import cord_and_plug
from bagscan.simulate.parts import board, helix

LAYOUTS = ("steam", "dry", "travel", "station")
DIMENSIONS = {
    "length_mm": (205.0, 255.0),
    "width_mm": (100.0, 125.0),
    "sole_mm": (7.0, 12.0),
    "sole": ("aluminium", "aluminium", "stainless_steel"),
    "nose": (2.4, 3.8),
    "tank_mm": (34.0, 50.0),
    "tank_wall_mm": (1.6, 2.6),
    "water_level": (0.0, 0.7),
    "handle_mm": (22.0, 30.0),
    "handle_rise_mm": (34.0, 50.0),
    "heater_radius_mm": (3.2, 4.4),
    "holes": (12, 20, 28),
    "thermostat_mm": (13.0, 19.0),
    "cord_turns": (1.5, 3.5),
    "shell": ("pc_abs", "polypropylene", "bakelite"),
}


def outline(length: float, width: float, nose: float, n: int = 12) -> np.ndarray:
    """Return the (2n - 2, 2) outline of a sole with its nose towards +x."""
    t = np.linspace(0, 1, n)
    half = width / 2 * np.clip(1 - t**nose, 0, 1) ** 0.75
    side = np.column_stack([-length / 2 + length * t, half])
    return np.concatenate([side, (side * [1, -1])[-2::-1]])


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a clothes iron that stands on its sole."""
    k = 0.72 if layout == "travel" else 1.0
    length, width, rise = (
        d.length_mm * k,
        d.width_mm * k,
        d.handle_rise_mm * (0.8 if layout == "travel" else 1.0),
    )
    sole = outline(length, width, d.nose)
    _sole(b, d, sole, length, width, layout)
    top = d.sole_mm + 9.0
    with b.part("tank"):
        height = d.tank_mm * (0.6 if layout in ("dry", "travel") else 1.0)
        body = b.prism(d.shell, sole * 0.95, height, (0, 0, top + height / 2))
        interior = b.prism(
            AIR,
            sole * (0.95 - 2 * d.tank_wall_mm / width),
            height - 2 * d.tank_wall_mm,
            (0, 0, top + height / 2),
            inside=body,
        )
        b.hollow(interior)
    with b.within(interior):
        if layout in ("steam", "travel"):
            with b.part("water"):
                wall = b.prism(
                    "polypropylene",
                    sole * 0.55,
                    height * 0.62,
                    (length * 0.1, 0, top + height * 0.45),
                )
                tank = b.prism(
                    AIR,
                    sole * 0.51,
                    height * 0.62 - 3,
                    (length * 0.1, 0, top + height * 0.45),
                    inside=wall,
                )
                if d.water_level > 0.05:
                    b.pour(tank, "water", d.water_level)
        with b.part("thermostat", replaceable=True), b.frame((-length * 0.3, 0, top + height / 2)):
            cup = b.cylinder("bakelite", d.thermostat_mm, 11)
            b.cylinder("brass", d.thermostat_mm * 0.6, 5, inside=cup)
            b.cylinder(
                "stainless_steel",
                4,
                height / 2 - d.tank_wall_mm - 5.6,
                (0, 0, (height / 2 - d.tank_wall_mm + 5.5) / 2),
            )
        if layout == "station":
            with b.part("board"), b.frame((length * 0.12, 0, top + height * 0.4)):
                board(b, length * 0.3, width * 0.3, 1.4, 12, grain=10)
    base = top + height
    _handle(b, d, length, base, rise)
    cord_and_plug(b, (-length * 0.5 - 0.5, 0, base + 8), (-1, 0), d.cord_turns, cores=3)


def _sole(
    b: Builder, d: SimpleNamespace, sole: np.ndarray, length: float, width: float, layout: str
) -> None:
    with b.part("sole_plate"):
        plate = b.prism(d.sole, sole, d.sole_mm, (0, 0, d.sole_mm / 2))
        turn = np.linspace(0.12, np.pi - 0.12, 26)
        path = np.column_stack(
            [
                -length * 0.34 + length * 0.62 * np.sin(turn),
                width * 0.33 * np.cos(turn) * (1 - 0.35 * np.sin(turn)),
                np.full(26, d.sole_mm + 0.1),
            ]
        )
        if layout != "dry":
            for i in range(d.holes):
                side = 1 if i % 2 else -1
                b.cylinder(
                    AIR,
                    1.5,
                    d.sole_mm,
                    (length * (-0.4 + 0.55 * i / d.holes), side * width * 0.14, d.sole_mm / 2),
                    8,
                    inside=plate,
                )
    with b.part("heater"):
        r = d.heater_radius_mm
        path = path + np.array([0, 0, r + 0.05])
        sheath = b.wire("stainless_steel", path, r, segments=8)
        fill = b.wire("magnesia", path[1:-1], r * 0.78, segments=8, inside=sheath)
        b.wire("nichrome", path[2:-2], r * 0.2, inside=fill)


def _handle(b: Builder, d: SimpleNamespace, length: float, base: float, rise: float) -> None:
    """Add a handle: two posts and a hollow bar."""
    bar = length * 0.86
    with b.part("handle"):
        for x, height in ((-bar / 2 + 11, rise), (bar / 2 - 24, rise)):
            post = b.slab(d.shell, (20, d.handle_mm, height), 4, (x, 0, base + height / 2))
            b.slab(AIR, (15, d.handle_mm - 5, height), 3, (x, 0, base + height / 2), inside=post)
        z = base + rise + d.handle_mm / 2
        with b.frame((0, 0, z)):
            interior = b.case(d.shell, (bar, d.handle_mm + 6, d.handle_mm), 2.5, 8)
    with b.within(interior), b.frame((0, 0, z)):
        with b.part("wires"):
            for y in (-4, 4):
                b.wire("copper", [(-bar * 0.42, y, 0), (0, y, 2), (bar * 0.25, y, 0)], 0.7)
        with b.part("spring"):
            b.wire("stainless_steel", helix(8, 3, 14)[:, [2, 0, 1]] + [bar * 0.36, 0, 0], 0.45)
        with b.part("light"):
            b.ball("soda_lime_glass", (5, 3, 3), (-bar * 0.46 + 2.5, 0, 0))
