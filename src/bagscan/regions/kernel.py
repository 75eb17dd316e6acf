"""SSN iterations for inference, as a compiled pass over the cells that does not store Q.

The arithmetic is that of :func:`bagscan.regions.ssn.soft_slic` followed by ``hard_labels``; a test
compares them.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bagscan.association import Grid

BLOCK = 64  # largest number of pixels per block, so that their data fit into the L1 cache
LANES = 16  # block sizes are multiples of this, to fill vector registers
TOGETHER = 4  # feature dimensions processed per pass over a block, to save memory reads


@njit(fastmath=True, inline="always")
def _exp(x):  # type: ignore[no-untyped-def]
    """Return e**x for x <= 0 with a relative error below 1e-5, in a form that can be vectorised.

    e**x = (e**(x/64))**64 is computed by a short Taylor series and six squarings. Arguments below
    -40 are clipped: such shares are negligible, and denormal numbers would be slow.
    """
    t = max(x, np.float32(-40.0)) * np.float32(1 / 64)
    p = np.float32(1 / 40320) * t + np.float32(1 / 5040)
    p = p * t + np.float32(1 / 720)
    p = p * t + np.float32(1 / 120)
    p = p * t + np.float32(1 / 24)
    p = p * t + np.float32(1 / 6)
    p = p * t + np.float32(0.5)
    p = p * t + np.float32(1.0)
    p = p * t + np.float32(1.0)
    p2 = p * p
    p4 = p2 * p2
    p8 = p4 * p4
    p16 = p8 * p8
    p32 = p16 * p16
    return p32 * p32


@njit(fastmath=True, inline="always")
def _affinities(block, near, norms, q):  # type: ignore[no-untyped-def]
    """Set q (J, size) to 2 S.F - |S|^2, for candidates S and features F."""
    n_near, n_dim = near.shape
    size = q.shape[1]
    for j in range(n_near):
        row = q[j]
        for i in range(size):
            row[i] = -norms[j]
        for d in range(0, n_dim, TOGETHER):
            s0, s1, s2, s3 = (
                2 * near[j, d],
                2 * near[j, d + 1],
                2 * near[j, d + 2],
                2 * near[j, d + 3],
            )
            f0, f1, f2, f3 = block[d], block[d + 1], block[d + 2], block[d + 3]
            for i in range(size):
                row[i] += s0 * f0[i] + s1 * f1[i] + s2 * f2[i] + s3 * f3[i]


@njit(fastmath=True, inline="always")
def _shares(q, count, weight, top):  # type: ignore[no-untyped-def]
    """Turn the affinities q (J, size) into unnormalised shares, and set their weights.

    Multiplied by ``weight``, shares sum to 1 over J, or to 0 for pixels from ``count`` on.
    """
    n_near, size = q.shape
    for i in range(size):
        top[i] = q[0, i]
        weight[i] = 0
    for j in range(1, n_near):
        for i in range(size):
            top[i] = max(top[i], q[j, i])
    for j in range(n_near):
        for i in range(size):
            q[j, i] = _exp(q[j, i] - top[i])
            weight[i] += q[j, i]
    for i in range(size):
        weight[i] = np.float32(1.0) / weight[i] if i < count else np.float32(0.0)


@njit(fastmath=True, inline="always")
def _add(block, q, weight, index, total, mass):  # type: ignore[no-untyped-def]
    """Add the features of a block to the sums of its candidates, weighted by the shares."""
    n_near, size = q.shape
    for j in range(n_near):
        k, row = index[j], q[j]
        share = np.float32(0.0)
        for i in range(size):
            row[i] *= weight[i]
            share += row[i]
        mass[k] += share
        for d in range(0, block.shape[0], TOGETHER):
            f0, f1, f2, f3 = block[d], block[d + 1], block[d + 2], block[d + 3]
            a0 = a1 = a2 = a3 = np.float32(0.0)
            for i in range(size):
                a0 += row[i] * f0[i]
                a1 += row[i] * f1[i]
                a2 += row[i] * f2[i]
                a3 += row[i] * f3[i]
            total[k, d] += a0
            total[k, d + 1] += a1
            total[k, d + 2] += a2
            total[k, d + 3] += a3


@njit(cache=True)
def _candidates(r, c, rows, cols, index):  # type: ignore[no-untyped-def]
    """Write the indices of a cell and its neighbours to ``index``, and return their number."""
    n = 0
    for dr in range(-1, 2):
        for dc in range(-1, 2):
            if 0 <= r + dr < rows and 0 <= c + dc < cols:
                index[n] = (r + dr) * cols + c + dc
                n += 1
    return n


@njit(fastmath=True, cache=True)
def _iterate(blocks, counts, centres, rows, cols, iterations):  # type: ignore[no-untyped-def]
    """Run the iterations and return the best candidate of each pixel.

    Args:
        blocks: (cells, n_blocks, D, size) features.
        counts: (cells, n_blocks) number of pixels in each block; the others are padding.
        centres: (cells, D) initial centres; changed in place.
        rows, cols: shape of the grid.
        iterations: at least 1.

    Returns:
        (cells, n_blocks, size) int32.
    """
    n_cells, n_blocks, n_dim, size = blocks.shape
    winners = np.zeros((n_cells, n_blocks, size), np.int32)
    index = np.zeros(9, np.int64)
    q_all = np.empty((9, size), np.float32)
    near_all = np.empty((9, n_dim), np.float32)
    norms = np.empty(9, np.float32)
    weight = np.empty(size, np.float32)
    top = np.empty(size, np.float32)
    for step in range(iterations):
        last = step == iterations - 1
        total = np.zeros((n_cells, n_dim), np.float32)
        mass = np.zeros(n_cells, np.float32)
        for cell in range(n_cells):
            n_near = _candidates(cell // cols, cell % cols, rows, cols, index)
            near, q = near_all[:n_near], q_all[:n_near]
            for j in range(n_near):
                norms[j] = 0
                for d in range(n_dim):
                    near[j, d] = centres[index[j], d]
                    norms[j] += near[j, d] * near[j, d]
            for b in range(n_blocks):
                block = blocks[cell, b]
                _affinities(block, near, norms, q)
                if last:
                    for i in range(size):
                        best = 0
                        for j in range(1, n_near):
                            if q[j, i] > q[best, i]:
                                best = j
                        winners[cell, b, i] = index[best]
                else:
                    _shares(q, counts[cell, b], weight, top)
                    _add(block, q, weight, index, total, mass)
        if not last:
            for k in range(n_cells):
                for d in range(n_dim):
                    centres[k, d] = total[k, d] / max(mass[k], np.float32(1e-8))
    return winners


@njit(cache=True)
def _fill_blocks(features, offset, top, left, rows, cols, cell_h, cell_w, blocks, counts, centres):  # type: ignore[no-untyped-def]
    """Set blocks to the features of each cell minus ``offset``, and centres to their means."""
    n_dim, height, width = features.shape
    n_blocks, size = blocks.shape[1], blocks.shape[3]
    for cell in range(rows * cols):
        y0, x0 = (cell // cols) * cell_h - top, (cell % cols) * cell_w - left
        slot = 0
        for y in range(max(y0, 0), min(y0 + cell_h, height)):
            for x in range(max(x0, 0), min(x0 + cell_w, width)):
                b, i = slot // size, slot % size
                for d in range(n_dim):
                    value = features[d, y, x] - offset[d]
                    blocks[cell, b, d, i] = value
                    centres[cell, d] += value
                slot += 1
        for b in range(n_blocks):
            counts[cell, b] = min(max(slot - b * size, 0), size)
        for d in range(n_dim):
            centres[cell, d] /= max(slot, 1)


@njit(cache=True)
def _fill_labels(winners, top, left, rows, cols, cell_h, cell_w, labels):  # type: ignore[no-untyped-def]
    """Write the winners, ordered by cell and block, to their pixels in ``labels``."""
    height, width = labels.shape
    size = winners.shape[2]
    for cell in range(rows * cols):
        y0, x0 = (cell // cols) * cell_h - top, (cell % cols) * cell_w - left
        slot = 0
        for y in range(max(y0, 0), min(y0 + cell_h, height)):
            for x in range(max(x0, 0), min(x0 + cell_w, width)):
                labels[y, x] = winners[cell, slot // size, slot % size]
                slot += 1


def iterate_numba(features: np.ndarray, grid: Grid, iterations: int) -> np.ndarray:
    """Run the SSN iterations and return hard labels.

    Args:
        features: (D, H, W) float32.
        grid: grid of an image of size (H, W).
        iterations: at least 1.

    Returns:
        (H, W) int32 superpixel index; superpixels are not necessarily connected.
    """
    features = np.ascontiguousarray(features, np.float32)
    n_dim = -(-len(features) // TOGETHER) * TOGETHER  # padded with zeros
    n_blocks = -(-grid.cell_h * grid.cell_w // BLOCK)
    size = -(-grid.cell_h * grid.cell_w // (n_blocks * LANES)) * LANES
    blocks = np.zeros((grid.n, n_blocks, n_dim, size), np.float32)
    counts = np.empty((grid.n, n_blocks), np.int64)
    centres = np.zeros((grid.n, n_dim), np.float32)
    left, _, top, _ = grid.padding
    raster = (top, left, grid.rows, grid.cols, grid.cell_h, grid.cell_w)
    # Without a common offset, squares keep their precision in float32.
    _fill_blocks(features, features.mean((1, 2)), *raster, blocks, counts, centres)
    winners = _iterate(blocks, counts, centres, grid.rows, grid.cols, iterations)
    labels = np.empty((grid.height, grid.width), np.int32)
    _fill_labels(winners, *raster, labels)
    return labels
