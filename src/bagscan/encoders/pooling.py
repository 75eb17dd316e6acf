"""Feature maps averaged inside regions: by a soft association, or by hard labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bagscan.association import Grid, pool, to_cells
from bagscan.encoders.region_means import PIXEL_STRIDE


def pool_regions(features: Tensor, regions: tuple[Tensor, Grid] | Tensor) -> Tensor:
    """(B, D, h, w) features averaged in every region -> (B, n, D).

    Args:
        regions: the soft association (q, grid), or hard labels (B, H, W) int64 from 0; -1 is left out.
    """
    return (
        pool_soft(features, *regions)
        if isinstance(regions, tuple)
        else pool_hard(features, regions)
    )


def pool_soft(features: Tensor, q: Tensor, grid: Grid) -> Tensor:
    """(B, D, h, w) features, averaged by Q -> (B, grid.n, D).

    Both are brought to a common raster of whole cells: a few samples per cell side, as the
    features have no more; borders of cells stay borders, so no sample belongs to two cells.
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
    found: Tensor = pool(q_coarse, to_cells(sampled, coarse)).reshape(b, grid.n, d)
    return found


def pool_hard(features: Tensor, labels: Tensor) -> Tensor:
    """(B, D, h, w) features, averaged inside hard labels (B, H, W) -> (B, n, D); -1 is left out.

    The cost grows with pixels, not with the number of regions.
    """
    b, d, h, w = features.shape
    height, width = labels.shape[-2:]
    n = int(labels.max()) + 1
    flat = features.permute(0, 2, 3, 1).reshape(-1, d)
    rows = torch.arange(0, height, PIXEL_STRIDE, device=labels.device)
    cols = torch.arange(0, width, PIXEL_STRIDE, device=labels.device)
    place = _feature_index(rows, cols, height, width, h, w)
    base = torch.arange(b, device=labels.device)[:, None, None]
    seen = labels[:, ::PIXEL_STRIDE, ::PIXEL_STRIDE]
    target, source = base * n + seen, base * (h * w) + place
    keep = seen.reshape(-1) >= 0
    target, source = target.reshape(-1)[keep], source.reshape(-1)[keep]
    # A region too thin for the sampling raster is described at one of its own pixels.
    mass = torch.zeros(b * n, device=labels.device).index_add_(
        0, target, torch.ones(len(target), device=labels.device)
    )
    missed = (mass == 0).nonzero()[:, 0]
    if len(missed):
        # One slot more, for what is in no region.
        last = torch.full((b * n + 1,), -1, dtype=torch.long, device=labels.device)
        everything = (base * n + labels).masked_fill(labels < 0, b * n).reshape(-1)
        every_place = base * (h * w) + _feature_index(
            torch.arange(height, device=labels.device),
            torch.arange(width, device=labels.device),
            height,
            width,
            h,
            w,
        )
        last.scatter_reduce_(0, everything, every_place.expand(labels.shape).reshape(-1), "amax")
        missed = missed[last[missed] >= 0]
        target, source = torch.cat([target, missed]), torch.cat([source, last[missed]])
        mass[missed] = 1
    total = flat.new_zeros(b * n, d).index_add_(0, target, flat[source])
    return (total / mass.clamp(min=1)[:, None].to(flat.dtype)).reshape(b, n, d)


def _feature_index(rows: Tensor, cols: Tensor, height: int, width: int, h: int, w: int) -> Tensor:
    """(len(rows), len(cols)) flat index of the feature cell under each pixel."""
    iy = (rows * h // height).clamp(max=h - 1)
    ix = (cols * w // width).clamp(max=w - 1)
    return iy[:, None] * w + ix[None]
