"""Packing of a bag: objects are dropped onto a heap and stay inside the bag.

The heap is a height field. An object is represented by its lower and upper surface on the same
cells. Both are widened by a cell, so that objects do not touch in the scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy import ndimage

from bagscan.simulate.assembly import Assembly, Builder
from bagscan.simulate.cloth import build_sheet, draw_folds
from bagscan.simulate.raster_kernels import intersect_triangle

CELL_MM = 4.0
GAP_MM = 0.4
MIN_CLOTH_MM = 0.6


@dataclass
class Heap:
    """Interior of a bag as a height field.

    Attributes:
        height: (X, Y) height of the filling above the floor in mm, infinite in rounded corners.
        origin_mm: (x, y) centre of the first cell.
        ceiling_mm: maximum height of an object above the floor.
    """

    height: np.ndarray
    origin_mm: np.ndarray
    ceiling_mm: float

    @classmethod
    def empty(cls, room_mm: tuple[float, float, float], corner_mm: float) -> Heap:
        """Return an empty heap centred in x and y.

        Args:
            room_mm: (width, length, height) of the interior of the bag.
            corner_mm: radius of its vertical edges.
        """
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
        """Drop an object at the random position at which it rests lowest.

        Args:
            item: the object, in its final rotation.
            rng: source of the positions.
            tries: number of random positions.

        Returns:
            (3,) shift in mm, or None if the object fits at none of the positions.
        """
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
        self,
        rng: np.random.Generator,
        material: str,
        density: float,
        thick_mm: float,
        crumpled: bool = False,
    ) -> Assembly | None:
        """Lay a garment over a part of the heap.

        Args:
            rng: source of position, size and folds.
            material: name of the material.
            density: density relative to that of the material.
            thick_mm: mean thickness.
            crumpled: if true, the garment has fine folds and a weave.

        Returns:
            The garment, or None if there is no space for it.
        """
        size = [min(int(rng.uniform(120, 330) / CELL_MM), n) for n in self.height.shape]
        i, j = (
            int(rng.integers(0, n - r + 1)) for n, r in zip(self.height.shape, size, strict=True)
        )
        window = self.height[i : i + size[0], j : j + size[1]]
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
        thickness = np.clip(thick_mm * (1 + 0.45 * folds), thick_mm * 0.25, 2.2 * thick_mm)
        step = 3
        if crumpled:
            step = 1  # fine folds need a fine mesh
            thickness = _crumple(thickness, rng)
        top = np.minimum(base + thickness, self.ceiling_mm)
        use = inside[::step, ::step] & ((top - base)[::step, ::step] > MIN_CLOTH_MM)
        use = ndimage.binary_opening(use)
        if use.sum() < 30:
            return None
        xs, ys = (
            self.origin_mm[k] + CELL_MM * (at + np.arange(0, r, step))
            for k, (at, r) in enumerate(((i, size[0]), (j, size[1])))
        )
        b = Builder(rng)
        with b.part("garment"):
            b.add(
                build_sheet(xs, ys, base[::step, ::step], top[::step, ::step], use),
                material,
                density=density,
            )
        covered = ndimage.binary_dilation(
            np.kron(use, np.ones((step, step), bool))[: size[0], : size[1]], iterations=step
        )
        window[...] = np.where(
            covered & np.isfinite(window),
            np.maximum(window, ndimage.maximum_filter(top, 2 * step + 1)),
            window,
        )
        return b.build()


def _crumple(thickness: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a garment's thickness with fine folds and a weave; its mean hardly changes."""
    weave = rng.uniform(0, 0.25) * rng.standard_normal(thickness.shape)
    layers = np.clip(0.5 + 0.5 * draw_folds(thickness.shape, CELL_MM, rng) + weave, 0.2, 4)
    # Thinner cloth would have holes.
    return np.asarray(np.maximum(thickness * layers / layers.mean(), 1.2 * MIN_CLOTH_MM))


@dataclass(frozen=True)
class Surfaces:
    """Lower and upper surface of an object.

    Attributes:
        lower: (n, m) minimum z of each cell in mm, infinite in empty cells.
        upper: (n, m) maximum z of each cell in mm, minus infinity in empty cells.
        origin_mm: (x, y) centre of the first cell.
    """

    lower: np.ndarray
    upper: np.ndarray
    origin_mm: np.ndarray


def surfaces(item: Assembly) -> Surfaces:
    """Return the lower and upper surface of an object, widened by a cell."""
    low, high = item.bounds
    fine = CELL_MM / 2
    n = [int(np.ceil((high[k] - low[k]) / CELL_MM)) + 2 for k in (0, 1)]
    origin = (low[:2] + high[:2]) / 2 - np.array(n) * CELL_MM / 2 + CELL_MM / 2
    lower, upper = np.full((2 * n[0], 2 * n[1]), np.inf), np.full((2 * n[0], 2 * n[1]), -np.inf)
    scaled = item.vertices.copy()
    scaled[:, :2] = (scaled[:, :2] - (origin - fine / 2)) / fine
    _surfaces(scaled, item.faces, lower, upper)
    # Corners of triangles can lie between sample points; assign each to its nearest sample.
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


@numba.njit(cache=True)
def _surfaces(vertices, faces, lower, upper):  # type: ignore[no-untyped-def]
    """Update minimum and maximum z at integer (x, y); vertices are in units of the samples."""
    n, m = lower.shape
    for f in range(len(faces)):
        i0, i1, i2 = faces[f]
        y_low = min(vertices[i0, 1], vertices[i1, 1], vertices[i2, 1])
        y_high = max(vertices[i0, 1], vertices[i1, 1], vertices[i2, 1])
        for j in range(max(int(np.ceil(y_low)), 0), min(int(np.floor(y_high)) + 1, m)):
            is_cut, x0, z0, x1, z1 = intersect_triangle(vertices, faces, f, float(j))
            if not is_cut:
                continue
            if x0 > x1:
                x0, z0, x1, z1 = x1, z1, x0, z0
            for i in range(max(int(np.ceil(x0)), 0), min(int(np.floor(x1)) + 1, n)):
                z = z0 + (z1 - z0) * (i - x0) / (x1 - x0) if x1 > x0 else z0
                lower[i, j] = min(lower[i, j], z)
                upper[i, j] = max(upper[i, j], z)
