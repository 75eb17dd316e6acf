"""Cloth and film: sheets with fine folds, seams and pockets.

A sheet is given by the heights of its lower and upper surface on a grid. A fold is a line along
which it is several layers thick. Folds follow the zero lines of smooth noise, which wind and end
as wrinkles do.
"""

from __future__ import annotations

import numpy as np

from bagscan.simulate.mesh import Mesh

FOLD_SPACING_MM, FOLD_WIDTH_MM = (8.0, 60.0), (0.6, 2.0)
FOLD_SYSTEMS, FOLD_LAYERS = (8, 18), (1.0, 6.0)
PATCH_MM = 60.0  # extent of a group of folds
SEAM_MM = 2.0


def draw_smooth_noise(
    shape: tuple[int, int], sigmas: tuple[float, float], angle: float, rng: np.random.Generator
) -> np.ndarray:
    """Return (n, m) smooth noise of mean 0 and standard deviation 1.

    Args:
        shape: number of rows and columns.
        sigmas: σ of the smoothing along and across ``angle``, in cells.
        angle: direction in radians, from the rows.
        rng: random generator.
    """
    k0, k1 = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    along = np.cos(angle) * k0 + np.sin(angle) * k1
    across = -np.sin(angle) * k0 + np.cos(angle) * k1
    keep = np.exp(-2 * np.pi**2 * ((sigmas[0] * along) ** 2 + (sigmas[1] * across) ** 2))
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * keep, shape)
    return np.asarray((noise - noise.mean()) / max(float(noise.std()), 1e-12))


def draw_folds(shape: tuple[int, int], cell_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Return the (n, m) additional layers of a crumpled sheet, 0 where it is smooth.

    Args:
        shape: number of rows and columns of the grid.
        cell_mm: distance of its nodes.
        rng: random generator.
    """
    folds = np.zeros(shape)
    for _ in range(int(rng.integers(*FOLD_SYSTEMS))):
        spacing = np.exp(rng.uniform(*np.log(FOLD_SPACING_MM))) / cell_mm
        along = spacing * rng.uniform(1, 4)
        heights = draw_smooth_noise(shape, (along, spacing), rng.uniform(0, np.pi), rng)
        # The noise has a slope of about 1 / spacing, which turns its value into a distance.
        width = max(rng.uniform(*FOLD_WIDTH_MM) / cell_mm, 0.6)
        lines = np.exp(-0.5 * (heights * spacing / width) ** 2)
        patch = PATCH_MM / cell_mm
        extent = np.clip(draw_smooth_noise(shape, (patch, patch), 0.0, rng) + 0.3, 0, 1)
        folds += rng.uniform(*FOLD_LAYERS) * lines * extent
    return folds


def draw_pockets(x: np.ndarray, y: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the (n, m) additional layers of rectangular pockets with seams.

    Args:
        x: (n,) positions of the nodes in mm, around 0.
        y: (m,) positions of the nodes in mm, around 0.
        count: number of pockets.
        rng: random generator.
    """
    layers = np.zeros((len(x), len(y)))
    for _ in range(count):
        sides = [rng.uniform(0.25, 0.8) * np.ptp(axis) for axis in (x, y)]
        dx, dy = (
            side / 2 - np.abs(axis - rng.uniform(-0.5, 0.5) * (np.ptp(axis) - side))
            for axis, side in zip((x, y), sides, strict=True)
        )
        inside = np.minimum(dx[:, None], dy[None])  # distance from the edge
        layers += (inside > 0) + 2 * (np.abs(inside - SEAM_MM) < SEAM_MM)
    return layers


def build_sheet(
    x: np.ndarray, y: np.ndarray, lower: np.ndarray, upper: np.ndarray, use: np.ndarray
) -> Mesh:
    """Return a watertight sheet over the squares of a grid whose four corners are in ``use``.

    Args:
        x: (n,) positions of the nodes in mm.
        y: (m,) positions of the nodes in mm.
        lower: (n, m) lower surface in mm.
        upper: (n, m) upper surface in mm.
        use: (n, m) bool, nodes of the sheet.
    """
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
    # Close the sides that a square does not share with another square.
    for neighbour, p, q in (
        (padded[1:-1, :-2], a, b),
        (padded[2:, 1:-1], b, c),
        (padded[1:-1, 2:], c, d),
        (padded[:-2, 1:-1], d, a),
    ):
        rim = ~neighbour[square]
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
