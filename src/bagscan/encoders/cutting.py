"""Boxes of regions, and the membership of each pixel of a box in its region."""

from __future__ import annotations

import torch
from torch import Tensor

from bagscan.association import NEIGHBOURS, Grid, candidate_index, from_cells


def region_boxes(labels: Tensor, chosen: Tensor, context: float) -> Tensor:
    """Return the boxes of regions.

    Args:
        labels: (B, H, W) int64 labels from 0; -1 is in no region.
        chosen: (M, 2) image and region of each box.
        context: share of its sides by which a box is widened.

    Returns:
        (M, 4) float x1, y1, x2, y2 in label pixels. A region without pixels gets the box of the
        whole image.
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

    def find_extreme(values: Tensor, reduce: str, start: int) -> Tensor:
        extremes = torch.full((b * n + 1,), start, dtype=torch.long, device=labels.device)
        return extremes.scatter_reduce_(0, index, values, reduce)

    slots = (chosen[:, 0] * n + chosen[:, 1]).clamp(max=b * n)
    x1, y1 = find_extreme(cols, "amin", width)[slots], find_extreme(rows, "amin", height)[slots]
    x2, y2 = find_extreme(cols, "amax", -1)[slots] + 1, find_extreme(rows, "amax", -1)[slots] + 1
    boxes = torch.stack([x1, y1, x2, y2], 1).float()
    boxes = torch.where((x2 > x1)[:, None], boxes, boxes.new_tensor([0, 0, width, height]))
    margin = (boxes[:, 2:] - boxes[:, :2]) * context / 2
    return torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], 1)


def _sample_positions(
    boxes: Tensor, size: int, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Sample each box on a grid of size x size pixels.

    Returns:
        (M, size, 1) pixel rows, (M, 1, size) pixel columns, and (M, size, size) bool, True for
        samples inside the image.
    """
    steps = (torch.arange(size, device=boxes.device) + 0.5) / size
    xs = boxes[:, :1] + steps * (boxes[:, 2:3] - boxes[:, :1])
    ys = boxes[:, 1:2] + steps * (boxes[:, 3:] - boxes[:, 1:2])
    inside = ((ys >= 0) & (ys < height))[:, :, None] & ((xs >= 0) & (xs < width))[:, None]
    rows = ys.long().clamp(0, height - 1)[:, :, None]
    cols = xs.long().clamp(0, width - 1)[:, None]
    return rows, cols, inside


class HardMembership:
    """Membership by labels: 1 inside the region, 0 elsewhere."""

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels

    def __call__(self, boxes: Tensor, chosen: Tensor, size: int) -> Tensor:
        """Return (M, size, size) weights in [0, 1] of samples of each box."""
        rows, cols, inside = _sample_positions(boxes, size, *self.labels.shape[-2:])
        labels = self.labels[chosen[:, 0, None, None], rows, cols]
        return ((labels == chosen[:, 1, None, None]) & inside).float()


class SoftMembership:
    """Membership by the soft association Q of each pixel; differentiable."""

    def __init__(self, q: Tensor, grid: Grid) -> None:
        self.q = from_cells(q, grid)  # (B, 9, H, W)
        self.grid = grid
        own_cell = candidate_index(grid, q)[:, :, len(NEIGHBOURS) // 2]
        cell = own_cell[None, :, :, None, None].expand(1, -1, -1, 1, grid.cell_h * grid.cell_w)
        self.cell = from_cells(cell, grid)[0, 0]  # (H, W) index of each pixel's own cell

    def __call__(self, boxes: Tensor, chosen: Tensor, size: int) -> Tensor:
        """Return (M, size, size) weights in [0, 1] of samples of each box."""
        rows, cols, inside = _sample_positions(boxes, size, self.grid.height, self.grid.width)
        cell, region = self.cell[rows, cols], chosen[:, 1, None, None]
        dr = region // self.grid.cols - cell // self.grid.cols
        dc = region % self.grid.cols - cell % self.grid.cols
        near = (dr.abs() <= 1) & (dc.abs() <= 1) & inside
        j = ((dr + 1) * 3 + dc + 1).clamp(0, 8)
        weights: Tensor = self.q[chosen[:, 0, None, None], j, rows, cols] * near
        return weights


Membership = HardMembership | SoftMembership


def membership(regions: tuple[Tensor, Grid] | Tensor) -> Membership:
    """Build the membership of regions.

    Args:
        regions: soft association (q, grid), or (B, H, W) labels.
    """
    return SoftMembership(*regions) if isinstance(regions, tuple) else HardMembership(regions)
