"""Dropping things into a bag: each comes to rest on what lies below it, nothing leaves the room.

The heap is a height field. An item is its lower and its upper surface on the same cells, made wider
by one cell, so that things that are told apart by the field do not touch in the scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy import ndimage

from bagscan.simulate.assembly import Assembly, Builder
from bagscan.simulate.mesh import Mesh
from bagscan.simulate.raster import cut_triangle

CELL_MM = 4.0
GAP_MM = 0.4


@dataclass
class Heap:
    """The room of a bag and how high it is filled, cell by cell.

    Attributes:
        height: (X, Y) mm above the room's floor, infinite where the room's corners are cut off.
        origin_mm: centre of the first cell. ceiling_mm: no item may reach higher.
    """

    height: np.ndarray
    origin_mm: np.ndarray
    ceiling_mm: float

    @classmethod
    def empty(cls, room_mm: tuple[float, float, float], corner_mm: float) -> Heap:
        """An empty room centred in x and y."""
        n = [int((room_mm[k] - 2.0) // CELL_MM) for k in (0, 1)]
        origin = -np.array(n) * CELL_MM / 2 + CELL_MM / 2
        x, y = (np.abs(origin[k] + CELL_MM * np.arange(n[k])) + CELL_MM / 2 for k in (0, 1))
        dx, dy = (
            np.maximum(x - (room_mm[0] / 2 - corner_mm), 0),
            np.maximum(y - (room_mm[1] / 2 - corner_mm), 0),
        )
        outside = np.hypot(dx[:, None], dy[None]) > corner_mm - 1.0
        return cls(np.where(outside, np.inf, 0.0), origin, room_mm[2] - 1.0)

    def drop(self, item: Assembly, rng: np.random.Generator, tries: int = 30) -> np.ndarray | None:
        """(3,) shift that lays an item where it rests lowest of some random places; None where it fits nowhere."""
        cells = surfaces(item)
        n, m = cells.lower.shape
        free = self.height.shape[0] - n, self.height.shape[1] - m
        if min(free) < 0:
            return None
        best: tuple[float, int, int] | None = None
        filled = np.isfinite(cells.lower)
        lower, tall = cells.lower[filled], float(cells.upper[filled].max())
        for i, j in zip(
            rng.integers(0, free[0] + 1, tries), rng.integers(0, free[1] + 1, tries), strict=True
        ):
            rest = float((self.height[i : i + n, j : j + m][filled] - lower).max()) + GAP_MM
            if rest + tall <= self.ceiling_mm and (best is None or rest < best[0]):
                best = rest, int(i), int(j)
        if best is None:
            return None
        rest, i, j = best
        window = self.height[i : i + n, j : j + m]
        window[filled] = np.maximum(window[filled], rest + cells.upper[filled])
        at = self.origin_mm + CELL_MM * np.array([i, j])
        return np.append(at - cells.origin_mm, rest)

    def drape(
        self, rng: np.random.Generator, material: str, density: float, thick_mm: float
    ) -> Assembly | None:
        """A garment over part of the heap, following it; None where there is no room for it."""
        reach = [min(int(rng.uniform(120, 330) / CELL_MM), n) for n in self.height.shape]
        i, j = (
            int(rng.integers(0, n - r + 1)) for n, r in zip(self.height.shape, reach, strict=True)
        )
        window = self.height[i : i + reach[0], j : j + reach[1]]
        base = ndimage.maximum_filter(np.where(np.isfinite(window), window, -1.0), 5)
        inside = ndimage.binary_erosion(np.isfinite(window), iterations=2, border_value=1)
        base = ndimage.maximum_filter(ndimage.gaussian_filter(base, 1.5), 3)
        base = (
            np.maximum(base, ndimage.maximum_filter(np.where(np.isfinite(window), window, -1.0), 3))
            + GAP_MM
        )
        folds = (
            ndimage.gaussian_filter(rng.standard_normal(window.shape), 2.5) * 2.5
            + ndimage.gaussian_filter(rng.standard_normal(window.shape), 7) * 7
        )
        thick = np.clip(thick_mm * (1 + 0.45 * folds), thick_mm * 0.25, 2.2 * thick_mm)
        top = np.minimum(base + thick, self.ceiling_mm)
        step = 3
        use = inside[::step, ::step] & ((top - base)[::step, ::step] > 0.6)
        use = ndimage.binary_opening(use)
        if use.sum() < 30:
            return None
        xs, ys = (
            self.origin_mm[k] + CELL_MM * (at + np.arange(0, r, step))
            for k, (at, r) in enumerate(((i, reach[0]), (j, reach[1])))
        )
        b = Builder(rng)
        with b.part("garment"):
            b.add(
                sheet(xs, ys, base[::step, ::step], top[::step, ::step], use),
                material,
                density=density,
            )
        covered = ndimage.binary_dilation(
            np.kron(use, np.ones((step, step), bool))[: reach[0], : reach[1]], iterations=step
        )
        window[...] = np.where(
            covered & np.isfinite(window),
            np.maximum(window, ndimage.maximum_filter(top, 2 * step + 1)),
            window,
        )
        return b.build()


@dataclass(frozen=True)
class Surfaces:
    """(n, m) lowest and highest z of an item by cell, infinite where it is not; centre of the first cell."""

    lower: np.ndarray
    upper: np.ndarray
    origin_mm: np.ndarray


def surfaces(item: Assembly) -> Surfaces:
    """Lower and upper surface of an item, wider by one cell."""
    low, high = item.bounds
    fine = CELL_MM / 2
    n = [int(np.ceil((high[k] - low[k]) / CELL_MM)) + 2 for k in (0, 1)]
    origin = (low[:2] + high[:2]) / 2 - np.array(n) * CELL_MM / 2 + CELL_MM / 2
    lower, upper = np.full((2 * n[0], 2 * n[1]), np.inf), np.full((2 * n[0], 2 * n[1]), -np.inf)
    scaled = item.vertices.copy()
    scaled[:, :2] = (scaled[:, :2] - (origin - fine / 2)) / fine
    _surfaces(scaled, item.faces, lower, upper)
    # Corners of triangles may fall between sample points: they count in the cell that they lie in.
    cell = np.clip(np.rint(scaled[:, :2]).astype(int), 0, np.array(lower.shape) - 1)
    np.minimum.at(lower, tuple(cell.T), scaled[:, 2])
    np.maximum.at(upper, tuple(cell.T), scaled[:, 2])
    lower = lower.reshape(n[0], 2, n[1], 2).min((1, 3))
    upper = upper.reshape(n[0], 2, n[1], 2).max((1, 3))
    wide = np.ones((3, 3), bool)
    return Surfaces(
        ndimage.minimum_filter(lower, footprint=wide, mode="constant", cval=np.inf),
        ndimage.maximum_filter(upper, footprint=wide, mode="constant", cval=-np.inf),
        np.asarray(origin),
    )


def sheet(
    x: np.ndarray, y: np.ndarray, lower: np.ndarray, upper: np.ndarray, use: np.ndarray
) -> Mesh:
    """A watertight sheet over the nodes of a grid where all four corners of a square are in ``use``."""
    n, m = use.shape
    square = use[:-1, :-1] & use[1:, :-1] & use[:-1, 1:] & use[1:, 1:]
    node = np.arange(n * m).reshape(n, m)
    a, b, c, d = (
        node[s][square] for s in (np.s_[:-1, :-1], np.s_[1:, :-1], np.s_[1:, 1:], np.s_[:-1, 1:])
    )
    top = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])]) + n * m
    bottom = np.concatenate([np.column_stack([a, c, b]), np.column_stack([a, d, c])])
    walls = []
    padded = np.pad(square, 1)
    # Each side of a square that no other square shares is closed from bottom to top.
    for beside, p, q in (
        (padded[1:-1, :-2], a, b),
        (padded[2:, 1:-1], b, c),
        (padded[1:-1, 2:], c, d),
        (padded[:-2, 1:-1], d, a),
    ):
        rim = ~beside[square]
        p, q = p[rim], q[rim]
        walls += [np.column_stack([p, q, q + n * m]), np.column_stack([p, q + n * m, p + n * m])]
    xx, yy = np.meshgrid(x, y, indexing="ij")
    vertices = np.concatenate(
        [
            np.column_stack([xx.ravel(), yy.ravel(), lower.ravel()]),
            np.column_stack([xx.ravel(), yy.ravel(), upper.ravel()]),
        ]
    )
    faces = np.concatenate([top, bottom, *walls])
    used, renumbered = np.unique(faces, return_inverse=True)
    return Mesh(vertices[used], renumbered.reshape(-1, 3))


@numba.njit(cache=True)
def _surfaces(vertices, faces, lower, upper):  # type: ignore[no-untyped-def]
    """Lowest and highest z at whole (x, y); vertices are in units of the samples."""
    n, m = lower.shape
    for f in range(len(faces)):
        i0, i1, i2 = faces[f]
        y_low = min(vertices[i0, 1], vertices[i1, 1], vertices[i2, 1])
        y_high = max(vertices[i0, 1], vertices[i1, 1], vertices[i2, 1])
        for j in range(max(int(np.ceil(y_low)), 0), min(int(np.floor(y_high)) + 1, m)):
            cuts, x0, z0, x1, z1 = cut_triangle(vertices, faces, f, float(j))
            if not cuts:
                continue
            if x0 > x1:
                x0, z0, x1, z1 = x1, z1, x0, z0
            for i in range(max(int(np.ceil(x0)), 0), min(int(np.floor(x1)) + 1, n)):
                z = z0 + (z1 - z0) * (i - x0) / (x1 - x0) if x1 > x0 else z0
                lower[i, j] = min(lower[i, j], z)
                upper[i, j] = max(upper[i, j], z)
