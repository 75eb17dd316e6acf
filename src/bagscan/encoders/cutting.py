"""Regions as boxes, and how far what a box shows belongs to its region."""

from __future__ import annotations

import torch
from torch import Tensor

from bagscan.association import NEIGHBOURS, Grid, candidate_index, from_cells


def region_boxes(labels: Tensor, chosen: Tensor, context: float) -> Tensor:
    """(M, 4) xyxy float boxes of chosen regions in label pixels, widened by ``context``.

    A region that owns no pixel gets the box of the whole image.
    """
    b, height, width = labels.shape
    n = int(labels.max()) + 1
    index = (
        (torch.arange(b, device=labels.device)[:, None, None] * n + labels)
        .masked_fill(labels < 0, b * n)
        .reshape(-1)
    )
    rows = torch.arange(height, device=labels.device)[None, :, None].expand_as(labels).reshape(-1)
    cols = torch.arange(width, device=labels.device)[None, None].expand_as(labels).reshape(-1)

    def extreme(values: Tensor, how: str, start: int) -> Tensor:
        filled = torch.full((b * n + 1,), start, dtype=torch.long, device=labels.device)
        return filled.scatter_reduce_(0, index, values, how)

    wanted = (chosen[:, 0] * n + chosen[:, 1]).clamp(max=b * n)
    x1, y1 = extreme(cols, "amin", width)[wanted], extreme(rows, "amin", height)[wanted]
    x2, y2 = extreme(cols, "amax", -1)[wanted] + 1, extreme(rows, "amax", -1)[wanted] + 1
    boxes = torch.stack([x1, y1, x2, y2], 1).float()
    boxes = torch.where((x2 > x1)[:, None], boxes, boxes.new_tensor([0, 0, width, height]))
    margin = (boxes[:, 2:] - boxes[:, :2]) * context / 2
    return torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], 1)


def _sample_positions(
    boxes: Tensor, size: int, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel rows (M, size, 1), columns (M, 1, size) under a raster over each box; and which lie inside."""
    steps = (torch.arange(size, device=boxes.device) + 0.5) / size
    xs = boxes[:, :1] + steps * (boxes[:, 2:3] - boxes[:, :1])
    ys = boxes[:, 1:2] + steps * (boxes[:, 3:] - boxes[:, 1:2])
    inside = ((ys >= 0) & (ys < height))[:, :, None] & ((xs >= 0) & (xs < width))[:, None]
    return (
        ys.long().clamp(0, height - 1)[:, :, None],
        xs.long().clamp(0, width - 1)[:, None],
        inside,
    )


class HardMembership:
    """1 inside the region, 0 elsewhere."""

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels

    def __call__(self, boxes: Tensor, chosen: Tensor, size: int) -> Tensor:
        """(M, size, size) weights over each box."""
        rows, cols, inside = _sample_positions(boxes, size, *self.labels.shape[-2:])
        under = self.labels[chosen[:, 0, None, None], rows, cols]
        return ((under == chosen[:, 1, None, None]) & inside).float()


class SoftMembership:
    """The region's Q at each pixel; differentiable."""

    def __init__(self, q: Tensor, grid: Grid) -> None:
        self.q = from_cells(q, grid)  # (B, 9, H, W)
        self.grid = grid
        own = candidate_index(grid, q)[:, :, len(NEIGHBOURS) // 2]  # index of each pixel's own cell
        cell = own[None, :, :, None, None].expand(1, -1, -1, 1, grid.cell_h * grid.cell_w)
        self.cell = from_cells(cell, grid)[0, 0]

    def __call__(self, boxes: Tensor, chosen: Tensor, size: int) -> Tensor:
        """(M, size, size) weights over each box."""
        rows, cols, inside = _sample_positions(boxes, size, self.grid.height, self.grid.width)
        cell, region = self.cell[rows, cols], chosen[:, 1, None, None]
        dr = region // self.grid.cols - cell // self.grid.cols
        dc = region % self.grid.cols - cell % self.grid.cols
        near = (dr.abs() <= 1) & (dc.abs() <= 1) & inside
        j = ((dr + 1) * 3 + dc + 1).clamp(0, 8)
        found: Tensor = self.q[chosen[:, 0, None, None], j, rows, cols] * near
        return found


Membership = HardMembership | SoftMembership


def membership(regions: tuple[Tensor, Grid] | Tensor) -> Membership:
    """Of regions given as the soft association (q, grid), or as hard labels (B, H, W)."""
    return SoftMembership(*regions) if isinstance(regions, tuple) else HardMembership(regions)
