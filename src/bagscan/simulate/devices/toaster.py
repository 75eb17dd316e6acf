"""A toaster: shell, slots between mica sheets with heating bands, cages, lever and magnet."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import Builder
from bagscan.simulate.cords import cord_and_plug
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.parts import board, helix

LAYOUTS = ("two_slots", "long_slot", "four_slots")
DIMENSIONS = {
    "length_mm": (245.0, 290.0),
    "width_mm": (145.0, 175.0),
    "height_mm": (165.0, 190.0),
    "shell": ("stainless_steel", "polypropylene", "aluminium"),
    "steel_mm": (0.5, 0.8),
    "plastic_mm": (2.4, 3.2),
    "slot_mm": (26.0, 34.0),
    "bands": (7, 9, 11),
    "band_mm": (0.06, 0.14),
    "cage_wires": (6, 8, 10),
    "cage_wire_mm": (0.7, 1.0),
    "mica_mm": (0.45, 0.8),
    "end_mm": (32.0, 44.0),
    "magnet_mm": (16.0, 23.0),
    "board_grain_mm": (8.0, 13.0),
    "cord_turns": (1.0, 2.5),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a standing toaster, with slots along x and the lever at +x."""
    wall = d.plastic_mm if d.shell == "polypropylene" else d.steel_mm
    width = d.width_mm * (
        0.72 if layout == "long_slot" else 1.25 if layout == "four_slots" else 1.0
    )
    length = d.length_mm * (1.15 if layout == "long_slot" else 1.0)
    with b.frame((0, 0, d.height_mm / 2)):
        with b.part("shell"):
            interior = b.case(d.shell, (length, width, d.height_mm), wall, 20)
        iw, ih = width - 2 * wall, d.height_mm - 2 * wall
        with b.within(interior):
            n = {"two_slots": 2, "long_slot": 1, "four_slots": 4}[layout]
            pitch = min(d.slot_mm + 9, (iw - 12) / n)
            span = length - 2 * wall - d.end_mm - 26
            for k in range(n):
                with b.frame((-d.end_mm / 2 + 6, (k - (n - 1) / 2) * pitch, ih * 0.06)):
                    _slot(b, d, span, pitch - 8, ih * 0.68)
            _works(b, d, length / 2 - wall - d.end_mm - 1, iw, ih)
            with b.part("crumb_tray"):
                b.box("aluminium", (span, iw - 24, 0.6), (-d.end_mm / 2 + 6, 0, -ih / 2 + 6))
    cord_and_plug(b, (-length / 2 - 0.5, width * 0.2, 12), (-1, 0), d.cord_turns, cores=3)


def _slot(b: Builder, d: SimpleNamespace, span: float, slot_width: float, height: float) -> None:
    """Add a slot centred on the origin and heated from both sides."""
    for side in (-1, 1):
        y = side * (slot_width / 2 + 1.4)
        with b.part("heating_element", replaceable=True):
            b.box("mica", (span, d.mica_mm, height), (0, y, 0))
            for k in range(d.bands):
                z = -height * 0.45 + height * 0.9 * k / (d.bands - 1)
                b.box(
                    "nichrome",
                    (span * 0.97, d.band_mm, 1.4),
                    (0, y - side * (d.mica_mm / 2 + 0.1 + d.band_mm / 2), z),
                )
        with b.part("cage"):
            for x in np.linspace(-span * 0.42, span * 0.42, d.cage_wires):
                b.cylinder(
                    "stainless_steel",
                    d.cage_wire_mm,
                    height * 0.94,
                    (x, side * (slot_width / 2 - d.cage_wire_mm - 1.6), 0),
                    8,
                )
    with b.part("carriage"):
        b.box("stainless_steel", (span * 0.92, slot_width * 0.5, 0.8), (0, 0, -height * 0.4))


def _works(b: Builder, d: SimpleNamespace, start: float, iw: float, ih: float) -> None:
    """Add lever, spring, magnet and board at the end of the case, from x = ``start``."""
    middle = start + d.end_mm / 2
    with b.part("lever"):
        b.box("stainless_steel", (2, min(26, iw * 0.25), ih * 0.7), (start + 5, iw * 0.08, 0))
        b.cylinder("stainless_steel", 3, ih * 0.86, (start + 13, iw * 0.08, 0), 12)
    with b.part("spring"):
        b.wire(
            "stainless_steel",
            helix(18, 3.4, ih * 0.5, 10) + np.array([middle + 4, -iw * 0.12, 0.05 * ih]),
            0.45,
            segments=4,
        )
    with b.part("magnet", replaceable=True):
        m = d.magnet_mm
        core = b.box("iron", (m, m * 0.9, m * 1.1), (middle, -iw * 0.28, -ih / 2 + m + 9))
        b.cylinder(
            "copper", m * 0.36, m, (middle, -iw * 0.28, -ih / 2 + m + 9), inside=core, density=0.7
        )
    with b.part("board"), b.frame((middle + 4, iw * 0.29, 0), rotation_xyz(0, np.pi / 2, 0)):
        board(b, ih * 0.55, iw * 0.26, 1.6, min(12.0, d.end_mm / 2 - 6), 0, d.board_grain_mm, 0.6)
    with b.part("wires"):
        for y in (-0.06, 0.0):
            b.wire(
                "copper",
                [
                    (start - 2, iw * y, -ih * 0.44),
                    (middle - 8, iw * y, -ih * 0.46),
                    (middle + 10, iw * y, -ih * 0.42),
                ],
                0.8,
            )
