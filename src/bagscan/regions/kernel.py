"""Fused SSN iterations for inference: one compiled pass over the cells, no memory traffic for Q.

The same arithmetic as :func:`bagscan.regions.ssn.soft_slic` followed by ``hard_labels``; a test
holds them together. Only the numba-compiled loops see single pixels.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bagscan.core import Grid

BLOCK = 64  # pixels handled together: the block's features and affinities stay in the L1 cache


@njit(fastmath=True, cache=True)  # type: ignore[untyped-decorator]
def _exp_block(x: np.ndarray) -> None:
    """In place e**x for x <= 0, relative error < 1e-5, without a branch or a table, so that it vectorises.

    e**x = (e**(x/64))**64: a short Taylor series and six squarings. Below -40 a share is nothing, and
    smaller results would be denormal numbers, which cost a hundred times a normal one.
    """
    for i in range(x.size):
        t = max(x[i], np.float32(-40.0)) * np.float32(1 / 64)
        p = np.float32(1 / 40320) * t + np.float32(1 / 5040)
        p = p * t + np.float32(1 / 720)
        p = p * t + np.float32(1 / 120)
        p = p * t + np.float32(1 / 24)
        p = p * t + np.float32(1 / 6)
        p = p * t + np.float32(0.5)
        p = p * t + np.float32(1.0)
        p = p * t + np.float32(1.0)
        p *= p
        p *= p
        p *= p
        p *= p
        p *= p
        p *= p
        x[i] = p


@njit(fastmath=True, cache=True)  # type: ignore[untyped-decorator]
def _affinities(block: np.ndarray, near: np.ndarray, norms: np.ndarray, q: np.ndarray) -> None:
    """q (J, BLOCK) = 2 S.F - |S|^2, less its maximum over J."""
    n_near, n_dim = near.shape
    for j in range(n_near):
        for i in range(BLOCK):
            q[j, i] = -norms[j]
        for d in range(n_dim):
            s = 2 * near[j, d]
            for i in range(BLOCK):
                q[j, i] += s * block[d, i]
    for i in range(BLOCK):
        top = q[0, i]
        for j in range(1, n_near):
            top = max(top, q[j, i])
        for j in range(n_near):
            q[j, i] -= top


@njit(fastmath=True, cache=True)  # type: ignore[untyped-decorator]
def _candidates(r: int, c: int, rows: int, cols: int, index: np.ndarray) -> int:
    n = 0
    for dr in range(-1, 2):
        for dc in range(-1, 2):
            if 0 <= r + dr < rows and 0 <= c + dc < cols:
                index[n] = (r + dr) * cols + c + dc
                n += 1
    return n


@njit(fastmath=True, cache=True)  # type: ignore[untyped-decorator]
def _iterate(blocks, counts, centres, rows, cols, iterations):  # type: ignore[no-untyped-def]
    """blocks (cells, n_blocks, D, BLOCK); counts (cells, n_blocks) valid pixels. -> winners."""
    n_cells, n_blocks, n_dim, _ = blocks.shape
    winners = np.zeros((n_cells, n_blocks, BLOCK), np.int32)
    index = np.zeros(9, np.int64)
    q_all = np.empty((9, BLOCK), np.float32)
    near_all = np.empty((9, n_dim), np.float32)
    norms = np.empty(9, np.float32)
    weight = np.empty(BLOCK, np.float32)
    for step in range(iterations):
        last = step == iterations - 1
        total = np.zeros((n_cells, n_dim), np.float32)
        mass = np.zeros(n_cells, np.float32)
        for cell in range(n_cells):
            n_near = _candidates(cell // cols, cell % cols, rows, cols, index)
            near = near_all[:n_near]
            q = q_all[:n_near]
            for j in range(n_near):
                norms[j] = 0
                for d in range(n_dim):
                    s = centres[index[j], d]
                    near[j, d] = s
                    norms[j] += s * s
            for b in range(n_blocks):
                block = blocks[cell, b]
                _affinities(block, near, norms, q)
                if last:
                    for i in range(BLOCK):
                        best = 0
                        for j in range(1, n_near):
                            if q[j, i] > q[best, i]:
                                best = j
                        winners[cell, b, i] = index[best]
                    continue
                _exp_block(q.reshape(-1))
                for i in range(BLOCK):
                    weight[i] = q[0, i]
                for j in range(1, n_near):
                    for i in range(BLOCK):
                        weight[i] += q[j, i]
                for i in range(BLOCK):
                    weight[i] = np.float32(1.0) / weight[i] if i < counts[cell, b] else np.float32(0.0)
                for j in range(n_near):
                    k = index[j]
                    share = np.float32(0.0)
                    for i in range(BLOCK):
                        q[j, i] *= weight[i]
                        share += q[j, i]
                    mass[k] += share
                    for d in range(n_dim):
                        acc = np.float32(0.0)
                        for i in range(BLOCK):
                            acc += q[j, i] * block[d, i]
                        total[k, d] += acc
        if not last:
            for k in range(n_cells):
                for d in range(n_dim):
                    centres[k, d] = total[k, d] / max(mass[k], np.float32(1e-8))
    return winners


def _blocks_of_cells(features: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut features into per-cell pixel blocks.

    Returns:
        blocks (cells, n_blocks, D, BLOCK), counts (cells, n_blocks) of real pixels, and order
        (cells, p): the image position of each slot, real pixels first, -1 for padding.
    """
    left, right, top, bottom = grid.padding
    position = np.arange(grid.height * grid.width, dtype=np.int32).reshape(grid.height, grid.width)
    position = np.pad(position, ((top, bottom), (left, right)), constant_values=-1)
    shape = (grid.rows, grid.cell_h, grid.cols, grid.cell_w)
    order = position.reshape(shape).transpose(0, 2, 1, 3).reshape(grid.n, -1)
    cut = (order < 0).any(1)  # only cells at the border have padding to move to the back
    order[cut] = np.take_along_axis(order[cut], np.argsort(order[cut] < 0, axis=1, kind="stable"), 1)
    n_blocks = -(-order.shape[1] // BLOCK)
    order = np.pad(order, ((0, 0), (0, n_blocks * BLOCK - order.shape[1])), constant_values=-1)
    # Slots without a pixel repeat the first one with weight 0, so that their arithmetic stays finite.
    taken = np.where(order < 0, order[:, :1], order)
    flat = features.reshape(len(features), -1)
    blocks = flat[:, taken].reshape(len(features), grid.n, n_blocks, BLOCK).transpose(1, 2, 0, 3)
    counts = (order >= 0).reshape(grid.n, n_blocks, BLOCK).sum(-1)
    return np.ascontiguousarray(blocks, dtype=np.float32), counts, order


def iterate_numba(features: np.ndarray, grid: Grid, iterations: int) -> np.ndarray:
    """Run SSN's iterations and return hard labels.

    Args:
        features: (D, H, W) float32. grid: with H, W its height and width. iterations: at least 1.

    Returns:
        (H, W) int32 superpixel index, not yet connected.
    """
    # Centring removes the common offset whose squares would eat float32 precision.
    features = features - features.mean((1, 2), keepdims=True)
    blocks, counts, order = _blocks_of_cells(features, grid)
    real = (order >= 0).reshape(blocks.shape[0], blocks.shape[1], 1, BLOCK)
    centres = (blocks * real).sum((1, 3)) / counts.sum(1, keepdims=True)
    winners = _iterate(blocks, counts, centres.astype(np.float32), grid.rows, grid.cols, iterations)
    labels = np.empty(grid.height * grid.width, np.int32)
    kept = order >= 0
    labels[order[kept]] = winners.reshape(order.shape)[kept]
    return labels.reshape(grid.height, grid.width)
