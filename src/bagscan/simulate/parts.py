"""Components that many devices contain: boards, cells, motors. Dimensions in mm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bagscan.simulate.assembly import AIR, Builder

Rectangle = tuple[float, float, float, float]  # x, y of the centre, width, length


def slots(
    rng: np.random.Generator, width: float, length: float, least: float
) -> Iterator[Rectangle]:
    """Split a rectangle centred on the origin into rectangles of about ``least`` length.

    Args:
        rng: source of split positions and sizes.
        width: size along x.
        length: size along y.
        least: approximate length of the longer side at which splitting stops.
    """
    pending = [(0.0, 0.0, width, length)]
    while pending:
        x, y, w, h = pending.pop()
        longer, share = max(w, h), rng.uniform(0.35, 0.65)
        if longer < least * rng.uniform(1.3, 2.6) or min(w, h) < 1.0:
            yield x, y, w, h
        elif w >= h:
            pending += [
                (x - w / 2 + w * share / 2, y, w * share, h),
                (x + w * share / 2, y, w * (1 - share), h),
            ]
        else:
            pending += [
                (x, y - h / 2 + h * share / 2, w, h * share),
                (x, y + h * share / 2, w, h * (1 - share)),
            ]


def board(
    b: Builder,
    width: float,
    length: float,
    thickness: float = 1.2,
    height: float = 4.0,
    below: float = 0.0,
    grain: float = 9.0,
    populated: float = 0.85,
    keep: Rectangle | None = None,
) -> None:
    """Add a printed circuit board with copper and components, centred on the origin.

    Args:
        b: builder of the device.
        width: size along x.
        length: size along y.
        thickness: thickness of the bare board.
        height: free height above the board.
        below: free height below it.
        grain: approximate size of its components.
        populated: share of slots with a component, in [0, 1].
        keep: rectangle above the board that stays free of components.
    """
    plate = b.box("fr4", (width, length, thickness))
    for x, y, w, h in slots(b.rng, width - 1.0, length - 1.0, grain):
        if b.rng.random() < 0.75:  # planes and traces: up to four layers of 35 µm
            layer = b.rng.uniform(0.035, 0.14)
            b.box(
                "copper",
                (w * b.rng.uniform(0.5, 0.95), h * b.rng.uniform(0.5, 0.95), layer),
                (x, y, 0),
                inside=plate,
            )
        for side, headroom in ((1, height), (-1, below)):
            is_reserved = (
                side > 0
                and keep is not None
                and abs(x - keep[0]) < (w + keep[2]) / 2
                and abs(y - keep[1]) < (h + keep[3]) / 2
            )
            if headroom > 0.6 and b.rng.random() < populated and not is_reserved:
                with b.frame((x, y, side * thickness / 2)):
                    _populate_slot(b, w, h, headroom, side)


def _populate_slot(b: Builder, w: float, h: float, headroom: float, sign: int) -> None:
    """Add a component to a slot, above the board (``sign`` 1) or below it (-1)."""
    draw, side = b.rng.random(), min(w, h)
    if side > 4 and draw < 0.45:
        chip(b, side * b.rng.uniform(0.6, 0.85), min(1.2, headroom), sign)
    elif side > 5 and headroom > 6 and draw < 0.58:
        r, tall = side * b.rng.uniform(0.3, 0.42), min(headroom, b.rng.uniform(5, 14)) - 0.2
        capacitor(b, r, tall, (0, 0, sign * (tall / 2 + 0.05)))
    elif side > 4 and draw < 0.7 and headroom > 1.6:
        tall = min(headroom, b.rng.uniform(1.5, 4)) - 0.1
        core = b.box("ferrite", (side * 0.7, side * 0.7, tall), (0, 0, sign * tall / 2))
        b.cylinder(
            "copper",
            side * 0.25,
            tall * 0.7,
            (0, 0, sign * tall / 2),
            10,
            inside=core,
            density=0.6,
        )
    elif side > 3 and draw < 0.8 and headroom > 2:
        tall = min(headroom, b.rng.uniform(2, 5)) - 0.1
        shell = b.box("nylon_gf30", (w * 0.85, h * 0.7, tall), (0, 0, sign * tall / 2))
        b.box(
            "brass",
            (w * 0.7, h * 0.4, tall * 0.6),
            (0, 0, sign * tall / 2),
            inside=shell,
            density=0.2,
        )
    else:
        _passives(b, w, h, headroom, sign)


def _passives(b: Builder, w: float, h: float, headroom: float, sign: int) -> None:
    """Add rows of chip resistors or capacitors with their solder."""
    long, wide = ((1.6, 0.8), (2.0, 1.25), (3.2, 1.6))[int(b.rng.integers(3))]
    tall = min(headroom, wide * 0.6)
    nx, ny = max(1, min(3, int(w / (long + 1.2)))), max(1, min(3, int(h / (wide + 0.8))))
    if w < long or h < wide:
        return
    kind = "barium_titanate" if b.rng.random() < 0.5 else "alumina"
    for i in range(nx):
        for j in range(ny):
            x, y = (i + 0.5 - nx / 2) * w / nx, (j + 0.5 - ny / 2) * h / ny
            b.box(kind, (long * 0.7, wide, tall), (x, y, sign * tall / 2))
            for end_x in (x - long * 0.42, x + long * 0.42):
                b.box("solder", (long * 0.14, wide, tall * 0.6), (end_x, y, sign * tall * 0.3))


def chip(b: Builder, side: float, tall: float, way: int = 1) -> None:
    """Add a packaged chip: moulding compound, lead frame, silicon, and solder beneath."""
    b.box("solder", (side * 0.9, side * 0.9, 0.1), (0, 0, way * 0.05), density=0.4)
    body = b.box("moulding_compound", (side, side, tall - 0.1), (0, 0, way * (tall / 2 + 0.05)))
    b.box("copper", (side * 0.55, side * 0.55, 0.12), (0, 0, way * tall * 0.35), inside=body)
    b.box(
        "silicon", (side * 0.45, side * 0.45, 0.3), (0, 0, way * (tall * 0.35 + 0.25)), inside=body
    )


def capacitor(
    b: Builder,
    radius: float,
    tall: float,
    at: tuple[float, float, float] = (0, 0, 0),
    axis: str = "z",
) -> None:
    """Add an electrolytic capacitor: can, wet paper and foil."""
    can = b.cylinder("aluminium", radius, tall, at, 12, axis=axis)
    b.cylinder("aluminium", radius * 0.93, tall * 0.94, at, 12, axis=axis, inside=can, density=0.6)


def screw(
    b: Builder,
    at: tuple[float, float, float],
    length: float = 6.0,
    radius: float = 1.0,
    axis: str = "z",
    material: str = "stainless_steel",
) -> None:
    """Add a screw with its head upwards along the axis; shank and head meet at ``at``."""
    with b.frame(at, axis=axis):
        b.cylinder(material, radius, length, (0, 0, -length / 2), 8)
        b.cylinder(material, radius * 1.9, radius * 1.1, (0, 0, radius * 0.55), 10)


def boss(b: Builder, at: tuple[float, float, float], tall: float, material: str = "abs") -> None:
    """Add a plastic post with a screw in it."""
    post = b.cylinder(material, 3.0, tall, at, 10)
    with b.within(post), b.frame(at):
        b.cylinder("stainless_steel", 1.1, tall * 0.7, (0, 0, -tall * 0.1), 8)
        b.cylinder("stainless_steel", 2.2, min(1.4, tall * 0.12), (0, 0, tall * 0.35), 10)


def pouch_cell(
    b: Builder, width: float, length: float, thick: float, name: str = "battery_cell"
) -> None:
    """Add a lithium pouch cell: laminate, roll with denser folded edges, two tabs."""
    with b.part(name, replaceable=True):
        bag = b.slab("aluminium", (width, length, thick), 2.0, density=0.55)
        roll = b.slab(
            "li_ion_stack",
            (width - 1.2, length - 1.2, max(thick - 0.3, thick * 0.7)),
            1.5,
            inside=bag,
        )
        for side in (-1, 1):
            b.box(
                "copper",
                (1.0, length - 5, max(thick - 0.6, thick * 0.5)),
                (side * (width / 2 - 1.9), 0, 0),
                inside=roll,
                density=0.15,
            )
        b.box("nickel", (min(5, width * 0.2), 2.5, 0.12), (-width * 0.2, length / 2 + 1.3, 0))
        b.box("aluminium", (min(5, width * 0.2), 2.5, 0.12), (width * 0.2, length / 2 + 1.3, 0))


def round_cell(
    b: Builder, radius: float, length: float, core: str = "li_ion_stack", name: str = "battery_cell"
) -> None:
    """Add a cylindrical cell along z: steel can, core, gas space at the head, cap."""
    with b.part(name, replaceable=True):
        can = b.cylinder("stainless_steel", radius, length, segments=20)
        b.cylinder(core, radius - 0.3, length * 0.91, (0, 0, -length * 0.03), 20, inside=can)
        b.cylinder(AIR, radius - 0.5, length * 0.035, (0, 0, length * 0.46), 16, inside=can)
        b.cylinder("stainless_steel", radius * 0.32, 1.2, (0, 0, length / 2 + 0.62), 10)


def motor(
    b: Builder, radius: float, length: float, shaft: float = 8.0, magnets: str = "ferrite"
) -> None:
    """Add a direct-current motor along z: can, magnets, wound rotor, shaft."""
    with b.part("motor", replaceable=True):
        can = b.cylinder("stainless_steel", radius, length, segments=24)
        interior = b.cylinder(AIR, radius - 1.2, length - 2.4, segments=24, inside=can)
        with b.within(interior):
            b.tube(magnets, radius - 1.4, radius * 0.68, length * 0.7)
            rotor = b.cylinder("iron", radius * 0.6, length * 0.72)
            b.tube(
                "copper", radius * 0.52, radius * 0.22, length * 0.66, inside=rotor, density=0.45
            )
            b.cylinder("brass", radius * 0.25, length * 0.12, (0, 0, -length * 0.43), 12)
        b.cylinder(
            "stainless_steel", max(1.0, radius * 0.09), shaft, (0, 0, length / 2 + shaft / 2), 10
        )


def transformer(b: Builder, size: tuple[float, float, float], core: str = "ferrite") -> None:
    """Add a transformer: a core with two windows full of copper."""
    w, d, h = size
    with b.part("transformer", replaceable=True):
        body = b.box(core, size)
        for side in (-1, 1):
            b.box(
                "copper",
                (w * 0.22, d * 0.62, h * 0.96),
                (side * w * 0.24, 0, 0),
                inside=body,
                density=0.55,
            )
        b.box("polyester", (w * 0.6, d * 0.8, 0.3), (0, 0, h / 2 + 0.16), density=5)


def speaker(b: Builder, radius: float, depth: float) -> None:
    """Add a round speaker facing z: basket, magnet, coil, cone."""
    with b.part("speaker", replaceable=True):
        b.tube("iron", radius, radius * 0.9, depth * 0.3, (0, 0, depth * 0.35), 20)
        b.cylinder("paper", radius * 0.88, depth * 0.06, (0, 0, depth * 0.3), 20)
        b.cylinder(
            "ndfeb" if radius < 15 else "ferrite",
            radius * 0.45,
            depth * 0.4,
            (0, 0, -depth * 0.22),
            16,
        )
        b.cylinder("iron", radius * 0.5, depth * 0.08, (0, 0, -depth * 0.46), 16)
        b.tube(
            "copper",
            radius * 0.26,
            radius * 0.2,
            depth * 0.16,
            (0, 0, depth * 0.15),
            16,
            density=0.6,
        )


def fan(b: Builder, radius: float, tall: float, blades: int) -> None:
    """Add a fan in a ring."""
    with b.part("fan", replaceable=True):
        b.tube("pc_abs", radius, radius - 1.2, tall, segments=24)
        b.tube("pc_abs", radius * 0.42, radius * 0.36, tall * 0.9, segments=20)
        hub = b.cylinder("ferrite", radius * 0.34, tall * 0.55, segments=16)
        b.tube(
            "copper", radius * 0.26, radius * 0.1, tall * 0.5, segments=12, inside=hub, density=0.6
        )
        middle, long = (radius * 0.44 + radius - 1.6) / 2, radius * 0.56 - 1.6
        for k in range(blades):
            angle = 2 * np.pi * k / blades
            turn = np.array(
                [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
            )
            b.box(
                "pc_abs",
                (long * 0.94, 0.7, tall * 0.8),
                (middle * np.cos(angle), middle * np.sin(angle), 0),
                turn=turn,
            )


def usb_port(
    b: Builder, at: tuple[float, float, float], size: tuple[float, float, float] = (13, 13, 6)
) -> None:
    """Add a metal socket with its tongue."""
    shell = b.box("stainless_steel", size, at)
    interior = b.box(AIR, (size[0] - 0.8, size[1] - 0.8, size[2] - 0.8), at, inside=shell)
    b.box("nylon_gf30", (size[0] * 0.7, size[1] * 0.6, size[2] * 0.3), at, inside=interior)


def helix(turns: float, radius: float, length: float, per_turn: int = 12) -> np.ndarray:
    """Return the (P, 3) points of a coil along z, centred on the origin."""
    t = np.linspace(0, 1, max(4, int(turns * per_turn)))
    angle = 2 * np.pi * turns * t
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), (t - 0.5) * length])
