"""Voxel grid of the solids of an assembly.

Solids are painted into voxels, enclosing solids first. A solid is expected to replace only the
solid that encloses it; air and empty space are interchangeable. Any other replaced solid is an
overlap, which would count twice in an image. :func:`audit` measures the overlap. The grid also
shows where there is space for an anomaly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from bagscan.simulate.assembly import AIR, OUTSIDE, Assembly
from bagscan.simulate.raster_kernels import intersect_triangle

# Offset of voxel centres from the round coordinates of device surfaces, as a share of the pitch.
OFF_GRID = np.array([0.3137, 0.2713, 0.2291])


@dataclass(frozen=True)
class Grid:
    """Voxels along x, y and z.

    Attributes:
        origin_mm: (3,) centre of the first voxel.
        pitch_mm: (3,) distance between voxels.
        shape: (X, Y, Z) number of voxels.
    """

    origin_mm: np.ndarray
    pitch_mm: np.ndarray
    shape: tuple[int, int, int]

    @classmethod
    def around(
        cls,
        low: np.ndarray,
        high: np.ndarray,
        pitch_mm: Sequence[float] | np.ndarray,
        margin_mm: float = 0.0,
    ) -> Grid:
        """Return a grid over a box with a margin."""
        pitch = np.asarray(pitch_mm, float)
        start = np.asarray(low) - margin_mm + OFF_GRID * pitch
        count = np.ceil((np.asarray(high) + margin_mm - start) / pitch).astype(int)
        return cls(
            start, pitch, (max(1, int(count[0])), max(1, int(count[1])), max(1, int(count[2])))
        )

    def centre(self, index: np.ndarray) -> np.ndarray:
        """Return the (..., 3) centres in mm of voxel indices (..., 3)."""
        return np.asarray(self.origin_mm + np.asarray(index) * self.pitch_mm)


@dataclass(frozen=True)
class Occupancy:
    """Solids in the voxels of a grid.

    Attributes:
        grid: the grid.
        owner: (X, Y, Z) int32 index of the solid in each voxel, or ``OUTSIDE``.
        overlap: (S,) number of voxels in which a solid replaced another than its enclosing solid.
        filled: (S,) number of voxels of each solid.
    """

    grid: Grid
    owner: np.ndarray
    overlap: np.ndarray
    filled: np.ndarray

    @property
    def overlap_share(self) -> float:
        """Volume that counts twice, as a share of the volume of all solids."""
        return float(self.overlap.sum() / max(1, (self.owner != OUTSIDE).sum()))


def occupy(assembly: Assembly, grid: Grid) -> Occupancy:
    """Paint an assembly, in which enclosing solids always precede enclosed solids."""
    owner = np.full(grid.shape, OUTSIDE, np.int32)
    overlap, filled = np.zeros(len(assembly), np.int64), np.zeros(len(assembly), np.int64)
    if len(assembly):
        in_voxels = np.ascontiguousarray((assembly.vertices - grid.origin_mm) / grid.pitch_mm)
        low, high = assembly.solid_bounds().transpose(1, 0, 2)
        first = np.maximum(np.ceil((low - grid.origin_mm) / grid.pitch_mm), 0).astype(np.int64)
        end = np.minimum(np.floor((high - grid.origin_mm) / grid.pitch_mm) + 1, grid.shape).astype(
            np.int64
        )
        # Solid that each solid displaces, -1 for air and empty space.
        weighs = np.array(
            [k if name != AIR else -1 for k, name in enumerate(assembly.material)] + [-1]
        )
        _paint(
            in_voxels,
            assembly.faces,
            assembly.first_face,
            weighs[assembly.inside],
            weighs,
            first,
            np.maximum(end, first),
            owner,
            overlap,
            filled,
        )
    return Occupancy(grid, owner, overlap, filled)


def audit(assembly: Assembly, pitch_mm: Sequence[float] = (1.0, 1.0, 0.5)) -> Occupancy:
    """Paint an assembly on a grid around it to measure overlaps."""
    return occupy(assembly, Grid.around(*assembly.bounds, pitch_mm))


def free_voxels(occupancy: Occupancy, assembly: Assembly) -> np.ndarray:
    """Return a (X, Y, Z) bool mask of the voxels of air inside solids."""
    return np.asarray(
        np.array([name == AIR for name in assembly.material] + [False])[occupancy.owner]
    )


class BoxFinder:
    """Search for empty boxes in a grid, by a summed-volume table of its blocked voxels."""

    def __init__(self, free: np.ndarray) -> None:
        self.free = free
        self._blocked = np.zeros(tuple(n + 1 for n in free.shape), np.int32)
        self._blocked[1:, 1:, 1:] = (~free).astype(np.int32).cumsum(0).cumsum(1).cumsum(2)

    def empty(self, low: Sequence[int] | np.ndarray, end: Sequence[int] | np.ndarray) -> bool:
        """Return True if all voxels from ``low`` to ``end - 1`` exist and are free."""
        if min(low) < 0 or any(e > n for e, n in zip(end, self.free.shape, strict=True)):
            return False
        s, (a, b, c), (d, e, f) = self._blocked, low, end
        return bool(
            s[d, e, f]
            - s[a, e, f]
            - s[d, b, f]
            - s[d, e, c]
            + s[a, b, f]
            + s[a, e, c]
            + s[d, b, c]
            - s[a, b, c]
            == 0
        )

    def grow(
        self, start: Sequence[int], most: Sequence[int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Grow a box around a free voxel until every side is blocked or ``most`` voxels long.

        Returns:
            First voxel and the voxel after the last, (3,) each.
        """
        low, end = np.array(start), np.array(start) + 1
        sides = [(axis, sign) for axis in range(3) for sign in (-1, 1)]
        while sides:
            axis, sign = sides[int(rng.integers(len(sides)))]
            trial_low, trial_end = low.copy(), end.copy()
            (trial_low if sign < 0 else trial_end)[axis] += sign
            if end[axis] - low[axis] < most[axis] and self.empty(trial_low, trial_end):
                low, end = trial_low, trial_end
            else:
                sides.remove((axis, sign))
        return low, end


@numba.njit(cache=True)
def _paint(vertices, faces, first_face, displaces, weighs, first, end, owner, overlap, filled):  # type: ignore[no-untyped-def]
    for s in range(len(displaces)):
        nx, ny, nz = end[s, 0] - first[s, 0], end[s, 1] - first[s, 1], end[s, 2] - first[s, 2]
        if nx <= 0 or ny <= 0 or nz <= 0:
            continue
        # Entrances and exits of each column: a cumulative sum above 0 is inside.
        crossing = np.zeros((nx, ny, nz + 1), np.int16)
        for f in range(first_face[s], first_face[s + 1]):
            i0, i1, i2 = faces[f]
            y_low, y_high = (
                min(vertices[i0, 1], vertices[i1, 1], vertices[i2, 1]),
                max(vertices[i0, 1], vertices[i1, 1], vertices[i2, 1]),
            )
            area = (vertices[i1, 0] - vertices[i0, 0]) * (vertices[i2, 1] - vertices[i0, 1]) - (
                vertices[i1, 1] - vertices[i0, 1]
            ) * (vertices[i2, 0] - vertices[i0, 0])
            if area == 0:
                continue
            step = -1 if area > 0 else 1
            for j in range(
                max(int(np.ceil(y_low)), first[s, 1]), min(int(np.floor(y_high)) + 1, end[s, 1])
            ):
                is_cut, x0, z0, x1, z1 = intersect_triangle(vertices, faces, f, float(j))
                if not is_cut:
                    continue
                if x0 > x1:
                    x0, z0, x1, z1 = x1, z1, x0, z0
                for i in range(
                    max(int(np.ceil(x0)), first[s, 0]), min(int(np.ceil(x1)), end[s, 0])
                ):
                    z = z0 + (z1 - z0) * (i - x0) / (x1 - x0)
                    k = min(max(int(np.ceil(z)), first[s, 2]), end[s, 2])
                    crossing[i - first[s, 0], j - first[s, 1], k - first[s, 2]] += step
        for i in range(nx):
            for j in range(ny):
                within = 0
                for k in range(nz):
                    within += crossing[i, j, k]
                    if within > 0:
                        x, y, z = i + first[s, 0], j + first[s, 1], k + first[s, 2]
                        filled[s] += 1
                        if weighs[owner[x, y, z]] != displaces[s]:
                            overlap[s] += 1
                        owner[x, y, z] = s
