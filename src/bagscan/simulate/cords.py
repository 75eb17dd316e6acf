"""Power and signal cords of devices with their plugs. Dimensions in mm."""

from __future__ import annotations

import numpy as np

from bagscan.simulate.assembly import Builder


def cord_and_plug(
    b: Builder,
    start: tuple[float, float, float],
    towards: tuple[float, float],
    turns: float,
    radius: float = 3.2,
    cores: int = 3,
    plug: str = "mains",
) -> None:
    """Add a cord that leaves a device and lies in a flat coil around its plug.

    Args:
        b: builder of the device.
        start: point at which the cord leaves; its z is that of the whole cord.
        towards: unit vector (x, y) away from the device.
        turns: turns of the coil.
        radius: radius of the sheath.
        cores: number of copper cores.
        plug: ``mains`` for a mains plug; any other value for a USB plug.
    """
    pitch = 2 * radius + 0.8
    inner_radius, bend = (36.0, 10.0) if plug == "mains" else (23.0, 7.0)
    outer_radius = inner_radius + pitch * turns
    angle = np.linspace(0, 2 * np.pi * turns, int(turns * 22))
    r = outer_radius - pitch * angle / (2 * np.pi)
    out = np.asarray(towards, float)
    side = np.array([-out[1], out[0]])
    lead = b.rng.uniform(14, 40)
    # The lead joins the coil tangentially, so the centre of the coil lies beside the lead.
    centre = np.asarray(start[:2]) + out * (lead + outer_radius * 0.15) + side * outer_radius
    coil = centre + r[:, None] * (np.sin(angle)[:, None] * out - np.cos(angle)[:, None] * side)
    lead_end = lead + outer_radius * 0.15 - 2.0
    first = np.asarray(start[:2]) + out * np.linspace(0, lead_end, 5)[:, None]
    # The end turns inwards, so that the plug lies across the middle of the coil.
    along, inwards = np.array(coil[-1] - coil[-2]), centre - coil[-1]
    along, inwards = along / np.linalg.norm(along), inwards / np.linalg.norm(inwards)
    quarter = np.linspace(0.25, np.pi / 2, 6)[:, None]
    flat = np.concatenate(
        [first, coil, coil[-1] + bend * (np.sin(quarter) * along + (1 - np.cos(quarter)) * inwards)]
    )
    points = np.column_stack([flat, np.full(len(flat), start[2])])
    with b.part("cord"):
        sheath = b.wire("cable_pvc", points, radius)
        tangent = np.gradient(flat, axis=0)
        normal = np.column_stack([-tangent[:, 1], tangent[:, 0]])
        normal /= np.linalg.norm(tangent, axis=1)[:, None]
        for k in range(cores):
            offset = (k - (cores - 1) / 2) * radius * 0.52
            core = np.column_stack([flat + offset * normal, np.full(len(flat), start[2])])[1:-1]
            b.wire("copper", core, radius * 0.17, inside=sheath)
    _plug(b, np.append(flat[-1], start[2]), inwards, plug)


def winding_path(
    rng: np.random.Generator, length_mm: float, spread_mm: float, step_mm: float = 5.0
) -> np.ndarray:
    """Return the (P, 3) points of a cord that lies as it fell: in loops and bends of any size.

    Its curvature is random and changes slowly, and turns back where the cord gets away from the
    origin. Later parts lie on earlier ones.

    Args:
        rng: random generator.
        length_mm: length of the cord.
        spread_mm: distance from the origin at which the cord turns back.
        step_mm: distance of neighbouring points.
    """
    points = [np.zeros(2)]
    heading, curvature = rng.uniform(0, 2 * np.pi), 0.0
    for _ in range(max(4, round(length_mm / step_mm))):
        curvature = 0.92 * curvature + rng.normal(0, 0.012)
        x, y = points[-1]
        away = np.hypot(x, y) / spread_mm
        back = 0.03 * away * np.sin(np.arctan2(-y, -x) - heading)
        heading += step_mm * float(np.clip(curvature + back, -0.1, 0.1))  # bends of 10 mm or more
        points.append(points[-1] + step_mm * np.array([np.cos(heading), np.sin(heading)]))
    flat = np.stack(points)
    return np.column_stack([flat, np.linspace(0, 12, len(flat))])


def _plug(b: Builder, end: np.ndarray, direction: np.ndarray, kind: str) -> None:
    x, y = direction
    turn = np.array([[x, -y, 0], [y, x, 0], [0, 0, 1]])
    with b.frame(end, turn), b.part("plug"):
        if kind == "mains":
            body = b.slab("cable_pvc", (26, 20, 15), 4, (13.2, 0, 0))
            for pin_y in (-5.5, 5.5):
                b.box("brass", (12, 3, 4), (19, pin_y, 0), inside=body)
                b.cylinder("brass", 2.2, 17, (34.9, pin_y, 0), 10, axis="x")
        else:
            b.slab("cable_pvc", (14, 9, 6), 2, (7.2, 0, 0))
            shell = b.box("stainless_steel", (9, 7, 2.6), (18.8, 0, 0))
            b.box("nylon_gf30", (8.4, 6, 1.4), (18.8, 0, 0), inside=shell)
