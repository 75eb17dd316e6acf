"""An external disk, an optical drive or a solid-state stick."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.cords import cord_and_plug
from bagscan.simulate.parts import board, motor, usb_port

LAYOUTS = ("portable", "desktop", "solid_state", "optical")
DIMENSIONS = {
    "width_mm": (72.0, 84.0),
    "length_mm": (105.0, 126.0),
    "height_mm": (11.0, 18.0),
    "wall_mm": (1.2, 2.2),
    "shell": ("aluminium", "pc_abs", "abs"),
    "disk_wall_mm": (1.4, 2.4),
    "platters": (1, 2),
    "platter": ("aluminium", "soda_lime_glass"),
    "hub_mm": (7.0, 10.0),
    "magnet_mm": (14.0, 20.0),
    "arm": (-0.25, 0.25),
    "board_grain_mm": (6.0, 10.0),
    "cord_turns": (1.5, 3.0),
    "cord": (True, False),
    "chips": (2, 4),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a disk, drive or stick that lies flat, with its socket at +y."""
    k = {"portable": 1.0, "desktop": 1.55, "solid_state": 0.72, "optical": 1.6}[layout]
    w, length = d.width_mm * k, d.length_mm * (1.15 if layout == "optical" else k)
    h = d.height_mm * {"portable": 1.0, "desktop": 2.0, "solid_state": 0.75, "optical": 1.5}[layout]
    with b.frame((0, 0, h / 2)):
        with b.part("case"):
            interior = b.case(d.shell, (w, length, h), d.wall_mm, 5)
        iw, il, ih = w - 2 * d.wall_mm - 1, length - 2 * d.wall_mm - 1, h - 2 * d.wall_mm - 0.8
        with b.within(interior):
            if layout == "solid_state":
                with b.part("board"), b.frame((0, -5, -0.2)):
                    board(
                        b,
                        iw * 0.8,
                        il - 20,
                        1.0,
                        min(1.5, ih / 2 - 0.6),
                        grain=d.board_grain_mm + 6,
                    )
            elif layout == "optical":
                _optical(b, d, iw, il, ih)
            else:
                with b.frame((0, -5, 0)):
                    _disk(b, d, min(iw - 1, 102), min(il - 14, 147), min(ih - 0.6, 26))
            with b.part("socket"), b.frame((0, il / 2 - 6.5, 0)):
                usb_port(b, (0, 0, 0), (min(12, iw * 0.3), 11, min(6, ih - 0.5)))
    if d.cord:
        cord_and_plug(b, (0, length / 2 + 0.4, h / 2), (0, 1), d.cord_turns, 1.8, 4, "usb")


def _disk(b: Builder, d: SimpleNamespace, w: float, length: float, h: float) -> None:
    """Add a hard disk: cast body, platters, arm, voice-coil magnets, board beneath."""
    wall = min(d.disk_wall_mm, h * 0.16)
    with b.part("disk", replaceable=True), b.frame((0, 0, 1.2)):
        body = b.box("aluminium", (w, length, h - 2.4))
        interior = b.box(AIR, (w - 4, length - 4, h - 2.4 - 2 * wall), inside=body)
        clearance = h - 2.4 - 2 * wall
        r = min(w * 0.45, length * 0.36)
        y = length / 2 - r - 3
        with b.within(interior):
            for k in range(d.platters):
                z = clearance * ((k + 0.5) / d.platters - 0.5)
                plate = b.cylinder(d.platter, r, min(1.2, clearance * 0.2), (0, y, z), 32)
                b.cylinder(
                    "stainless_steel",
                    d.hub_mm,
                    min(1.2, clearance * 0.2),
                    (0, y, z),
                    16,
                    inside=plate,
                )
            m = min(d.magnet_mm, w * 0.25)
            for z in (-0.3, 0.3):
                b.box(
                    "ndfeb",
                    (m, m * 0.7, clearance * 0.18),
                    (w * 0.2, -length / 2 + m * 0.6 + 3, clearance * z),
                )
            b.box(
                "copper",
                (m * 0.7, m * 0.5, clearance * 0.16),
                (w * 0.2, -length / 2 + m * 0.6 + 3, 0),
                density=0.6,
            )
    with b.part("disk_board"), b.frame((0, -length * 0.1, -h / 2 + 1.5)):
        board(b, w * 0.9, length * 0.55, 0.8, 0.0, 0.8, d.board_grain_mm)


def _optical(b: Builder, d: SimpleNamespace, w: float, length: float, h: float) -> None:
    """Add an optical drive: tray, spindle, sled on rails, board at the back."""
    with b.part("tray"):
        plate = b.box("pc_abs", (w * 0.94, length * 0.78, 1.4), (0, -length * 0.08, -h / 2 + 4.5))
        b.box(AIR, (w * 0.2, length * 0.4, 1.4), (0, -length * 0.15, -h / 2 + 4.5), inside=plate)
    with b.frame((0, length * 0.06, h * 0.2)):
        motor(b, min(13.0, w * 0.12), h * 0.3, 1.5)
    with b.part("rails"):
        for side in (-1, 1):
            b.cylinder(
                "stainless_steel",
                1.3,
                length * 0.5,
                (side * w * 0.17, -length * 0.15, -h / 2 + 1.9),
                8,
                axis="y",
            )
    with b.part("sled", replaceable=True):
        b.box("zamak", (w * 0.2, 18, h * 0.25), (0, -length * 0.25, h * 0.2))
        b.cylinder("soda_lime_glass", 2.4, 1.5, (0, -length * 0.25, h * 0.325 + 0.8), 10)
    with b.part("board"), b.frame((-w * 0.25, length * 0.38, -h * 0.1)):
        board(b, w * 0.36, length * 0.12, 1.0, min(3.0, h * 0.4), grain=d.board_grain_mm)
