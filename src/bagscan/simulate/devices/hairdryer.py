"""A hairdryer: barrel with motor, fan and heater; handle with switch; cord."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.cords import cord_and_plug
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.parts import board, motor

LAYOUTS = ("pistol", "folding", "motor_in_handle", "diffuser")
DIMENSIONS = {
    "radius_mm": (31.0, 42.0),
    "barrel_mm": (135.0, 185.0),
    "wall_mm": (1.8, 2.6),
    "nozzle_mm": (30.0, 62.0),
    "nozzle_share": (0.6, 0.8),
    "handle_mm": (95.0, 130.0),
    "handle_radius_mm": (14.0, 19.0),
    "handle_lean": (-0.15, 0.25),
    "motor_radius_mm": (13.0, 17.0),
    "motor_mm": (30.0, 46.0),
    "blades": (5, 7, 9, 11),
    "heater_turns": (9, 12, 15),
    "heater_wire_mm": (0.25, 0.4),
    "grille_bars": (7, 9, 11),
    "cord_turns": (1.5, 3.5),
    "shell": ("pc_abs", "nylon_gf30", "polycarbonate"),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a hairdryer that lies on its side, with the barrel along x and the handle along −y."""
    half = d.barrel_mm / 2
    with b.frame((0, 0, d.radius_mm)):
        with b.part("barrel"):
            shell = b.cylinder(d.shell, d.radius_mm, d.barrel_mm, segments=28, axis="x")
            interior = b.cylinder(
                AIR, d.radius_mm - d.wall_mm, d.barrel_mm, segments=28, axis="x", inside=shell
            )
        _nozzle(b, d, half, layout)
        r = d.radius_mm - d.wall_mm - 1
        with b.within(interior), b.frame(axis="x"):
            _barrel(b, d, half, r, layout)
        angle = 0.0 if layout != "folding" else 1.0 + d.handle_lean
        _handle(b, d, half, layout, d.handle_lean * 0.5 + angle * 0.6)


def _nozzle(b: Builder, d: SimpleNamespace, half: float, layout: str) -> None:
    r, w, length = d.radius_mm, d.wall_mm, d.nozzle_mm
    with b.part("nozzle"):
        if layout == "diffuser":
            width = r * 1.5
            profile = [
                (r - w, 0),
                (r, 0),
                (width, length),
                (width, length + 12),
                (width - w, length + 12),
                (width - w, length),
            ]
        else:
            end = r * d.nozzle_share
            profile = [(r - w, 0), (r, 0), (end, length), (end - w, length)]
        b.lathe(d.shell, profile, (half + 0.1, 0, 0), axis="x")


def _barrel(b: Builder, d: SimpleNamespace, half: float, r: float, layout: str) -> None:
    """Add motor, fan and heater along z, the axis of the barrel; air flows towards +z."""
    with b.part("grille"):
        for x in np.linspace(-r * 0.85, r * 0.85, d.grille_bars):
            b.box(d.shell, (1.4, 2 * np.sqrt(r * r - x * x) * 0.97, 2), (x, 0, -half + 2))
    hub = -half + 12
    if layout != "motor_in_handle":
        rm = min(d.motor_radius_mm, r - 8)
        with b.frame((0, 0, -half + 10 + d.motor_mm / 2)):
            motor(b, rm, d.motor_mm, 4)
        hub = -half + 10 + d.motor_mm + 6
    with b.part("fan"):
        b.tube("pc_abs", 8, 3.5, 12, (0, 0, hub + 8))
        for k in range(d.blades):
            a = 2 * np.pi * k / d.blades
            b.box(
                "pc_abs",
                (r * 0.86 - 9.5, 1.2, 13),
                ((r * 0.9 + 8.5) / 2 * np.cos(a), (r * 0.9 + 8.5) / 2 * np.sin(a), hub + 8),
                turn=rotation_xyz(0.5, 0, a),
            )
    start = hub + 20
    length = half - 6 - start
    with b.part("heater", replaceable=True):
        b.box("mica", (0.5, r * 1.7, length), (0, 0, start + length / 2))
        for side in (-1, 1):
            b.box("mica", (r * 0.8, 0.5, length), (side * (r * 0.4 + 0.4), 0, start + length / 2))
        for share in (0.35, 0.6, 0.82):
            t = np.linspace(0, 1, d.heater_turns * 14)
            a = 2 * np.pi * d.heater_turns * t
            # The wire bulges outwards between the mica sheets.
            radius = r * share * (1 + 0.06 * np.cos(8 * a))
            points = np.column_stack(
                [radius * np.cos(a), radius * np.sin(a), start + 3 + (length - 6) * t]
            )
            b.wire("nichrome", points, d.heater_wire_mm, segments=4)
    with b.part("thermostat"):
        b.box("alumina", (7, 5, 9), (r * 0.22, r * 0.2, start + length * 0.2))


def _handle(b: Builder, d: SimpleNamespace, half: float, layout: str, angle: float) -> None:
    length, r = d.handle_mm, d.handle_radius_mm
    reach = d.radius_mm + abs(np.sin(angle)) * r + 0.3
    with (
        b.frame((-half * 0.25, -reach, 0), rotation_xyz(np.pi / 2, 0, 0)),
        b.frame(turn=rotation_xyz(0, angle, 0)),
        b.frame((0, 0, length / 2)),
    ):
        with b.part("handle"):
            shell = b.cylinder(d.shell, r, length, segments=24)
            interior = b.cylinder(AIR, r - 2.2, length - 4.4, segments=24, inside=shell)
            b.hollow(interior)
        with b.within(interior):
            if layout == "motor_in_handle":
                with b.frame((0, 0, -length * 0.2)):
                    motor(b, r - 3.5, min(d.motor_mm, length * 0.36), 3)
            with b.part("switch", replaceable=True):
                body = b.box("nylon_gf30", (r * 0.9, r * 0.9, 22), (0, 0, length * 0.22))
                b.box("brass", (3, r * 0.6, 16), (0, 0, length * 0.22), inside=body)
            with (
                b.part("board"),
                b.frame((-r * 0.64, 0, length * 0.22), rotation_xyz(0, np.pi / 2, 0)),
            ):
                board(b, 20, r * 0.8, 1.2, 2.2, grain=6)
            with b.part("wires"):
                for y in (-3, 3):
                    b.wire(
                        "copper",
                        [
                            (r * 0.6, y, -length * 0.42),
                            (r * 0.62, y, 0),
                            (r * 0.6, y, length * 0.4),
                        ],
                        0.7,
                    )
        with b.part("strain_relief"):
            b.lathe("cable_pvc", [(0, 0), (6, 0), (3.6, 22), (0, 22)], (0, 0, length / 2 + 0.1), 14)
    end = np.array([-half * 0.25, -reach]) + (length + 22.5) * np.array(
        [np.sin(angle), -np.cos(angle)]
    )
    cord_and_plug(
        b,
        (float(end[0]), float(end[1]), 0.0),
        (float(np.sin(angle)), float(-np.cos(angle))),
        d.cord_turns,
        cores=2,
    )
