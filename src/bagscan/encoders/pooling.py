"""Averages of feature maps inside regions, given by a soft association or by labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bagscan.association import Grid, pool, to_cells
from bagscan.encoders.region_means import PIXEL_STRIDE


def pool_regions(features: Tensor, regions: tuple[Tensor, Grid] | Tensor) -> Tensor:
    """Average features inside every region.

    Args:
        features: (B, D, h, w).
        regions: soft association (q, grid), or (B, H, W) int64 labels from 0; -1 is in no region.

    Returns:
        (B, n, D) means.
    """
    if isinstance(regions, tuple):
        return pool_soft(features, *regions)
    return pool_hard(features, regions)


def pool_soft(features: Tensor, q: Tensor, grid: Grid) -> Tensor:
    """Average features weighted by a soft association.

    Features and Q are resampled to a common grid with a few samples per cell, since the features
    are no finer. No sample straddles the border of a cell.

    Args:
        features: (B, D, h, w).
        q: soft association, see :mod:`bagscan.association`.
        grid: grid of the cells.

    Returns:
        (B, grid.n, D) means.
    """
    b, d, height, _ = features.shape
    rows, columns = (
        max(1, round(cell * height / grid.height), round(cell / PIXEL_STRIDE))
        for cell in (grid.cell_h, grid.cell_w)
    )
    per_side = (rows, columns)
    coarse = Grid(grid.rows * per_side[0], grid.cols * per_side[1], *per_side)
    cells = q.reshape(b * grid.n * 9, 1, grid.cell_h, grid.cell_w)
    q_coarse = F.adaptive_avg_pool2d(cells, per_side).reshape(*q.shape[:4], -1)
    left, right, top, bottom = grid.padding
    scale_y, scale_x = features.shape[-2] / grid.height, features.shape[-1] / grid.width
    ys = (torch.arange(coarse.height, device=q.device) + 0.5) / coarse.height * (
        grid.height + top + bottom
    ) - top
    xs = (torch.arange(coarse.width, device=q.device) + 0.5) / coarse.width * (
        grid.width + left + right
    ) - left
    iy = (ys * scale_y).long().clamp(0, features.shape[-2] - 1)
    ix = (xs * scale_x).long().clamp(0, features.shape[-1] - 1)
    sampled = features[:, :, iy][:, :, :, ix]
    means: Tensor = pool(q_coarse, to_cells(sampled, coarse)).reshape(b, grid.n, d)
    return means


def pool_hard(features: Tensor, labels: Tensor) -> Tensor:
    """Average features inside labelled regions.

    The cost grows with the number of pixels, not of regions. A region too thin for the sampling
    grid gets the features at one of its own pixels, an empty region gets zeros.

    Args:
        features: (B, D, h, w).
        labels: (B, H, W) int64 labels from 0; -1 is in no region.

    Returns:
        (B, n, D) means.
    """
    b, d, h, w = features.shape
    height, width = labels.shape[-2:]
    n = int(labels.max()) + 1
    flat = features.permute(0, 2, 3, 1).reshape(-1, d)
    rows = torch.arange(0, height, PIXEL_STRIDE, device=labels.device)
    cols = torch.arange(0, width, PIXEL_STRIDE, device=labels.device)
    cells = _feature_index(rows, cols, height, width, h, w)
    base = torch.arange(b, device=labels.device)[:, None, None]
    sampled = labels[:, ::PIXEL_STRIDE, ::PIXEL_STRIDE]
    target, source = base * n + sampled, base * (h * w) + cells
    keep = sampled.reshape(-1) >= 0
    target, source = target.reshape(-1)[keep], source.reshape(-1)[keep]
    mass = torch.zeros(b * n, device=labels.device).index_add_(
        0, target, torch.ones(len(target), device=labels.device)
    )
    missed = (mass == 0).nonzero()[:, 0]
    if len(missed):
        # The last slot collects pixels in no region.
        last = torch.full((b * n + 1,), -1, dtype=torch.long, device=labels.device)
        all_targets = (base * n + labels).masked_fill(labels < 0, b * n).reshape(-1)
        all_rows = torch.arange(height, device=labels.device)
        all_cols = torch.arange(width, device=labels.device)
        all_cells = base * (h * w) + _feature_index(all_rows, all_cols, height, width, h, w)
        last.scatter_reduce_(0, all_targets, all_cells.expand(labels.shape).reshape(-1), "amax")
        missed = missed[last[missed] >= 0]
        target, source = torch.cat([target, missed]), torch.cat([source, last[missed]])
        mass[missed] = 1
    total = flat.new_zeros(b * n, d).index_add_(0, target, flat[source])
    return (total / mass.clamp(min=1)[:, None].to(flat.dtype)).reshape(b, n, d)


def _feature_index(rows: Tensor, cols: Tensor, height: int, width: int, h: int, w: int) -> Tensor:
    """Return the (len(rows), len(cols)) flat indices of the feature cells under pixels."""
    iy = (rows * h // height).clamp(max=h - 1)
    ix = (cols * w // width).clamp(max=w - 1)
    return iy[:, None] * w + ix[None]
