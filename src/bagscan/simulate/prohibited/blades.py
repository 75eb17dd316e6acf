"""The blade of a knife: a wedge with a curved edge."""

from __future__ import annotations

import numpy as np

from bagscan.simulate.assembly import Builder
from bagscan.simulate.mesh import Mesh


def add_blade(
    b: Builder, material: str, length: float, depth: float, spine: float, point: float
) -> int:
    """Add a blade along x from the origin, its edge towards -y, and return its index.

    Args:
        b: builder.
        material: material of the blade.
        length: length in mm.
        depth: distance from spine to edge in mm.
        spine: thickness at the spine in mm; the edge is a tenth as thick.
        point: how much of the length tapers to the point, in (0, 1].
    """
    x = np.linspace(0, 1, 16)
    taper = np.clip((1 - x) / max(point, 0.05), 0.04, 1) ** 0.6
    edge = np.column_stack([x * length, -depth * taper])
    back = np.column_stack([x * length, np.zeros(16)])
    corners = [
        np.column_stack([curve, np.full(16, side * thickness / 2)])
        for curve, thickness in ((back, spine), (edge, spine * 0.1))
        for side in (-1, 1)
    ]
    low_back, high_back, low_edge, high_edge = (k * 16 for k in range(4))
    around = [low_back, low_edge, high_edge, high_back]
    faces = []
    i, j = np.arange(15), np.arange(1, 16)
    for p, q in zip(around, around[1:] + around[:1], strict=True):
        faces += [np.column_stack([p + i, q + j, p + j]), np.column_stack([p + i, q + i, q + j])]
    a, c, d, e = around
    start = np.array([[a, d, c], [a, e, d]])
    faces += [start, start[:, ::-1] + 15]
    mesh = Mesh(np.concatenate(corners), np.concatenate(faces))
    return b.add(
        mesh if mesh.volume_mm3 > 0 else Mesh(mesh.vertices, mesh.faces[:, ::-1]), material
    )
