"""A hammer: a dense head across a long handle."""

from __future__ import annotations

from types import SimpleNamespace

from bagscan.simulate.assembly import AIR, Builder
from bagscan.simulate.mesh import rotation_xyz

LAYOUTS = ("claw", "engineer", "ball_peen", "mallet")
DIMENSIONS = {
    "handle_mm": (220.0, 330.0),
    "handle_width_mm": (22.0, 32.0),
    "handle_thickness_mm": (14.0, 22.0),
    "head_mm": (85.0, 130.0),
    "face_radius_mm": (11.0, 17.0),
    "neck_share": (0.7, 0.95),
    "claw_mm": (40.0, 60.0),
    "claw_angle_deg": (12.0, 30.0),
    "eye_mm": (14.0, 20.0),
    "handle": ("wood", "nylon_gf30", "wood"),
    "tube_wall_mm": (1.5, 2.5),
    "grip_mm": (80.0, 130.0),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a hammer with its handle along x and its head along y at +x."""
    soft = layout == "mallet"
    material, radius = ("rubber", d.face_radius_mm * 2) if soft else ("iron", d.face_radius_mm)
    with b.frame((0, 0, radius)):
        end = d.handle_mm / 2
        if d.handle == "wood" or soft:
            b.slab("wood", (d.handle_mm, d.handle_width_mm, d.handle_thickness_mm), 8)
        else:
            bar = b.tube("iron", 8, 8 - d.tube_wall_mm, d.handle_mm, axis="x")
            assert bar >= 0
            grip = b.cylinder("rubber", 14, d.grip_mm, (-end - d.grip_mm / 2 - 0.2, 0, 0), axis="x")
            b.cylinder(
                "iron", 8, d.grip_mm - 8, (-end - d.grip_mm / 2, 0, 0), axis="x", inside=grip
            )
        with b.frame((end + d.eye_mm / 2 + 4, 0, 0), axis="y"):
            b.box(material, (d.eye_mm + 7, 2 * radius * 0.9, d.eye_mm + 10))
            side = (d.eye_mm + 10) / 2
            poll = (d.head_mm - d.eye_mm) / 2
            b.cylinder(material, radius * d.neck_share, poll, (0, 0, side + poll / 2 + 0.1), 24)
            b.cylinder(material, radius, 10, (0, 0, side + poll + 5.3), 24)
            _rear(b, d, layout, material, radius, -side - 0.1)


def _rear(
    b: Builder, d: SimpleNamespace, layout: str, material: str, radius: float, z: float
) -> None:
    """Add the end of the head that is opposite to its face."""
    if layout == "claw":
        for side in (-1, 1):
            turn = rotation_xyz(0, side * 0.06, 0)
            b.box("iron", (6, radius * 1.1, d.claw_mm), (side * 6, 0, z - d.claw_mm / 2), turn=turn)
    elif layout == "ball_peen":
        b.cylinder("iron", radius * 0.7, 12, (0, 0, z - 6), 20)
        b.ball("iron", (radius * 0.9,) * 3, (0, 0, z - 12.2 - radius * 0.9))
    else:
        piece = b.box(
            material, (radius * 1.2, radius * 1.6, d.claw_mm * 0.8), (0, 0, z - d.claw_mm * 0.4)
        )
        if layout == "mallet":
            b.box(AIR, (4, 4, 10), (0, 0, z - d.claw_mm * 0.4), inside=piece)
