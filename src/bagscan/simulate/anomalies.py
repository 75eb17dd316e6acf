"""Anomalies: eight kinds of inert stand-ins, built to the size of the place they hide in.

The same builders make the look-alikes in benign bags. Shape alone does not identify an anomaly:
an object is an anomaly only in or on a device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bagscan.simulate.assembly import Assembly, Builder
from bagscan.simulate.mesh import Mesh
from bagscan.simulate.parts import helix, screw

Size = tuple[float, float, float]  # mm, longest first
AnomalyBuilder = Callable[[str, np.ndarray, np.random.Generator], Assembly | None]

ORGANIC = ("marzipan", "marzipan", "chocolate", "soap")
POWDERS = ("flour", "sugar", "salt")
LIQUIDS = ("water", "oil", "ethanol")


def build_anomaly(
    kind: str, size_mm: Sequence[float] | np.ndarray, rng: np.random.Generator
) -> Assembly | None:
    """Build an anomaly that fits a box, centred on the origin.

    Args:
        kind: one of ``KINDS``.
        size_mm: (x, y, z) sides of the box.
        rng: random generator of dimensions and materials.

    Returns:
        The anomaly as a single component, or None if the box is too small for its kind.
    """
    order = np.argsort(size_mm)[::-1]  # longest, middle, shortest
    rotation = np.zeros((3, 3))
    rotation[order, np.arange(3)] = 1
    if np.linalg.det(rotation) < 0:
        rotation[:, 2] *= -1
    long, wide, thick = (float(size_mm[k]) for k in order)
    b = Builder(rng)
    with b.part("anomaly"), b.frame(turn=rotation):
        fits = BUILDERS[kind](b, (long, wide, thick))
    return b.build() if fits else None


def build_from_mesh(
    mesh: Mesh, material: str, size_mm: Sequence[float] | np.ndarray, rng: np.random.Generator
) -> Assembly | None:
    """Build an anomaly from a user's mesh, its longest side along the longest of the box.

    Args:
        mesh: the user's mesh, in mm.
        material: name of its material.
        size_mm: (x, y, z) sides of the box.
        rng: random generator of the builder, not used.

    Returns:
        The anomaly, centred on the origin, or None if it does not fit the box.
    """
    low, high = mesh.bounds
    mesh_mm, box_mm = high - low, np.asarray(size_mm, float)
    rotation = np.zeros((3, 3))
    rotation[np.argsort(box_mm), np.argsort(mesh_mm)] = 1
    if np.linalg.det(rotation) < 0:
        rotation[np.argmin(box_mm)] *= -1
    if (np.sort(mesh_mm) > np.sort(box_mm)).any():
        return None
    b = Builder(rng)
    with b.part("anomaly"):
        b.add(mesh.moved(None, -(low + high) / 2), material, turn=rotation)
    return b.build()


# A builder adds an anomaly of a kind to ``b``, within a box of (longest, middle, shortest) side in
# mm. It returns False if the box is too small.


def organic_block(b: Builder, size: Size) -> bool:
    """Add a block or sheet of marzipan, chocolate or soap, common simulants of explosives."""
    x, y, z = (s * b.rng.uniform(0.8, 0.98) for s in size)
    if z < 0.25:
        return False
    b.slab(b.rng.choice(ORGANIC), (x, y, z), min(y * b.rng.uniform(0.05, 0.4), y / 2 - 0.01))
    return True


def powder(b: Builder, size: Size) -> bool:
    """Add a flat bag of powder, loose or compacted."""
    return _add_pillow(b, size, str(b.rng.choice(POWDERS)), float(b.rng.uniform(0.85, 1.2)))


def liquid(b: Builder, size: Size) -> bool:
    """Add a sachet of liquid."""
    return _add_pillow(b, size, str(b.rng.choice(LIQUIDS)), 1.0)


def _add_pillow(b: Builder, size: Size, material: str, density: float) -> bool:
    x, y, z = (s * b.rng.uniform(0.85, 0.98) for s in size)
    if z < 0.4:
        return False
    skin = b.ball("polyethylene", (x / 2, y / 2, z / 2))
    radii = (x / 2 - 0.1, y / 2 - 0.1, z / 2 - min(0.1, z * 0.05))
    b.ball(material, radii, inside=skin, density=density)
    return True


def metal_plate(b: Builder, size: Size) -> bool:
    """Add a piece of sheet metal, 0.05 to 2.5 mm thick."""
    material = str(b.rng.choice(["stainless_steel", "stainless_steel", "aluminium"]))
    z = min(size[2] * 0.9, float(np.exp(b.rng.uniform(np.log(0.08), np.log(2.5)))))
    x, y = (s * b.rng.uniform(0.7, 0.97) for s in size[:2])
    if z < 0.05 or y < 0.8:
        return False
    b.slab(material, (x, y, z), min(2.0, y * 0.2))
    return True


def screws(b: Builder, size: Size) -> bool:
    """Add 10 to 40 loose screws; fewer, but at least 3, in a small box."""
    radius = min(float(b.rng.uniform(0.5, 1.7)), size[2] * 0.22, size[1] * 0.2)
    length = min(radius * b.rng.uniform(4, 10), size[0] * 0.85)
    if radius < 0.3:
        return False
    pitch = np.array([length + 2.4 * radius, 4.4 * radius, 4.4 * radius])
    cells = np.maximum(np.floor(np.asarray(size) / pitch), 0).astype(int)
    capacity = int(np.prod(cells))
    if capacity < 3:
        return False
    count = min(capacity, int(b.rng.integers(10, 41)))
    material = str(b.rng.choice(["stainless_steel", "brass", "zamak"]))
    for cell in b.rng.choice(capacity, count, replace=False):
        at = (np.array(np.unravel_index(cell, cells)) + 0.5 - cells / 2) * pitch
        sign = 1 if b.rng.random() < 0.5 else -1
        with b.frame(at, turn=np.diag([sign, sign, 1.0])), b.frame(axis="x"):
            screw(b, (0, 0, length / 2 - 0.4 * radius), length, radius, material=material)
    return True


def sharp(b: Builder, size: Size) -> bool:
    """Add a blade: narrow, pointed, thinner along the edge."""
    thick = min(size[2] * 0.85, float(b.rng.uniform(0.15, 2.2)))
    long = size[0] * b.rng.uniform(0.8, 0.97)
    wide = min(size[1] * 0.95, size[0] * b.rng.uniform(0.12, 0.35))
    if thick < 0.1 or wide < 0.8 or long < 4:
        return False
    point = b.rng.uniform(0.15, 0.4)
    back = [(-long / 2, -wide / 2), (long * (0.5 - point), -wide / 2), (long / 2, -wide * 0.1)]
    bevel = [(-long / 2, wide * 0.1), (long * (0.5 - point * 0.6), wide * 0.1)]
    edge = [(long * (0.45 - point), wide / 2), (-long / 2, wide / 2)]
    steel = "stainless_steel" if b.rng.random() < 0.85 else "titanium"
    b.prism(steel, [*back, *bevel[::-1]], thick)
    b.prism(steel, [*bevel, *edge], thick * 0.4)
    return True


def wires_and_battery(b: Builder, size: Size) -> bool:
    """Add a small battery cell and a coil of insulated wire."""
    x, y, z = size
    radius = min(z / 2 - 0.2, y * 0.22, 7.2)
    if radius < 0.8 or x < 5:
        return False
    long = min(x * 0.9, radius * 7)
    core = str(b.rng.choice(["alkaline_core", "li_ion_stack", "nimh_core"]))
    at = (0, -y / 2 + radius + 0.3, 0)
    can = b.cylinder("stainless_steel", radius, long, at, 16, axis="x")
    b.cylinder(core, radius * 0.92, long * 0.94, at, 16, axis="x", inside=can)
    free_y = y - 2 * radius - 1.2
    coil_radius = min(free_y, z) / 2 - 0.7
    if coil_radius > 0.8:
        turns = float(b.rng.uniform(2, 6))
        coil = helix(turns, coil_radius * 0.95, x * b.rng.uniform(0.5, 0.85), 14)[:, [2, 0, 1]]
        coil = coil + np.array([0, y / 2 - free_y / 2, 0])
        sheath = b.wire("cable_pvc", coil, min(0.6, coil_radius * 0.3))
        if coil_radius > 2.4:
            b.wire("copper", coil[1:-1], min(0.3, coil_radius * 0.15), inside=sheath, segments=4)
    return True


def metal_tube(b: Builder, size: Size) -> bool:
    """Add a piece of pipe."""
    outer = min(size[1], size[2]) / 2 * b.rng.uniform(0.8, 0.97)
    if outer < 0.5:
        return False
    wall = min(outer * 0.6, float(b.rng.uniform(0.3, 2.0)))
    material = str(b.rng.choice(["stainless_steel", "copper", "aluminium", "brass"]))
    b.tube(material, outer, outer - wall, size[0] * b.rng.uniform(0.7, 0.97), axis="x")
    return True


BUILDERS: dict[str, Callable[[Builder, Size], bool]] = {
    "organic_block": organic_block,
    "powder": powder,
    "liquid": liquid,
    "metal_plate": metal_plate,
    "screws": screws,
    "sharp": sharp,
    "wires_and_battery": wires_and_battery,
    "metal_tube": metal_tube,
}
KINDS = tuple(BUILDERS)
# Ranges of two aspect ratios of the box to search for: longest to middle side, middle to shortest.
SHAPES = {
    "organic_block": ((1.0, 2.5), (1.0, 5.0)),
    "powder": ((1.0, 2.0), (1.2, 4.0)),
    "liquid": ((1.0, 2.0), (1.5, 5.0)),
    "metal_plate": ((1.0, 3.0), (4.0, 20.0)),
    "screws": ((1.0, 2.0), (1.0, 4.0)),
    "sharp": ((3.0, 7.0), (3.0, 8.0)),
    "wires_and_battery": ((1.3, 3.0), (1.4, 3.0)),
    "metal_tube": ((2.5, 7.0), (1.0, 1.2)),
}


@dataclass(frozen=True)
class MinimumSize:
    """Minimum size of an anomaly after it is built.

    Attributes:
        sides_mm: longest, middle and shortest side of its bounding box.
        volume_mm3: volume of its bounding box.
        solids: number of its solids; a screw has two.
    """

    sides_mm: tuple[float, float, float]
    volume_mm3: float = 0.0
    solids: int = 1


@dataclass(frozen=True)
class Sizes:
    """Sizes of the anomalies of a dataset.

    Attributes:
        volumes_mm3: by kind, smallest and largest volume of the box to search for; see
            ``volume_exponent``.
        volume_exponent: exponent of the random number; 1 is log-uniform, larger values favour small
            volumes.
        least: minimum size by kind; a kind without an entry has no minimum.
        fill: lowest and highest level that a hollow is filled to, as a share of its height.
    """

    volumes_mm3: Mapping[str, tuple[float, float]]
    volume_exponent: float = 1.0
    least: Mapping[str, MinimumSize] = field(default_factory=dict)
    fill: tuple[float, float] = (0.1, 0.9)


MIN_BULK_SIZE = MinimumSize((30.0, 20.0, 3.0), 25e3)
SIZES = {
    # Sizes that an operator is expected to find.
    "operational": Sizes(
        volumes_mm3={
            "organic_block": (50e3, 600e3),
            "powder": (50e3, 600e3),
            "liquid": (50e3, 600e3),
            "metal_plate": (2e3, 30e3),
            "screws": (12e3, 80e3),
            "sharp": (2.5e3, 16e3),
            "wires_and_battery": (20e3, 100e3),
            "metal_tube": (10e3, 150e3),
        },
        least={
            "organic_block": MIN_BULK_SIZE,
            "powder": MIN_BULK_SIZE,
            "liquid": MIN_BULK_SIZE,
            "metal_plate": MinimumSize((45.0, 28.0, 0.0)),
            "screws": MinimumSize((25.0, 12.0, 0.0), solids=20),
            "sharp": MinimumSize((60.0, 10.0, 0.0)),
            "wires_and_battery": MinimumSize((30.0, 14.0, 0.0)),
            "metal_tube": MinimumSize((55.0, 7.0, 0.0)),
        },
    ),
    # Several orders of magnitude, down to crumbs hidden in the noise: a stress test.
    "specks": Sizes(
        volumes_mm3={
            "organic_block": (3.0, 9000.0),
            "powder": (6.0, 10000.0),
            "liquid": (6.0, 10000.0),
            "metal_plate": (0.8, 1500.0),
            "screws": (20.0, 2500.0),
            "sharp": (1.5, 900.0),
            "wires_and_battery": (30.0, 4000.0),
            "metal_tube": (3.0, 2000.0),
        },
        volume_exponent=1.7,
        fill=(0.01, 0.8),
    ),
}
OPERATIONAL = SIZES["operational"]
# In a device with a smaller bounding box, the volume of an anomaly and its minimum lengths scale
# with the box, but not below these factors.
FULL_SIZE_VOLUME_MM3, MIN_VOLUME_FACTOR, MIN_LENGTH_FACTOR = 6e5, 0.2, 0.6


def size_factor(device: Assembly) -> float:
    """Return the scale factor of the volume of anomalies in a device, in [0.2, 1].

    It is 1 if the bounding box of the device has 600 cm³ or more.
    """
    low, high = device.bounds
    return float(np.clip(np.prod(high - low) / FULL_SIZE_VOLUME_MM3, MIN_VOLUME_FACTOR, 1.0))


def draw_place_size(
    kind: str, rng: np.random.Generator, sizes: Sizes = OPERATIONAL, scale: float = 1.0
) -> np.ndarray:
    """Draw the size of the place that an anomaly of a kind needs.

    Args:
        kind: one of ``KINDS``.
        rng: random generator.
        sizes: range of sizes.
        scale: factor of the volume, see :func:`size_factor`.

    Returns:
        (3,) mm, longest side first.
    """
    low, high = sizes.volumes_mm3[kind]
    volume = scale * low * (high / low) ** (rng.random() ** sizes.volume_exponent)
    first, second = (np.exp(rng.uniform(*np.log(pair))) for pair in SHAPES[kind])
    middle = (volume * second / first) ** (1 / 3)
    return np.array([middle * first, middle, middle / second])


def is_large_enough(
    anomaly: Assembly, kind: str, sizes: Sizes = OPERATIONAL, scale: float = 1.0
) -> bool:
    """Return whether an anomaly has the minimum size of its kind, scaled by ``scale``."""
    minimum = sizes.least.get(kind)
    if minimum is None:
        return True
    low, high = anomaly.bounds
    sides = np.sort(high - low)[::-1]
    return bool(
        (sides >= max(MIN_LENGTH_FACTOR, scale) * np.array(minimum.sides_mm)).all()
        and np.prod(sides) >= scale * minimum.volume_mm3
        and len(anomaly) >= minimum.solids
    )
