"""Crop encoder: every region cut out, weighted by its membership, and shown to the network alone.

Source: paper A, section II-B. The box of the region plus 15 % context is resized to a square; the
image is weighted by the region's soft membership, so that the gradient reaches the SSN.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from bagscan.backbones import create_backbone
from bagscan.core import Grid
from bagscan.core.association import NEIGHBOURS, candidate_index, from_cells, hard_labels

CARD = {
    "paper": "Bhowmik & Breckon, section II-B",
    "channels": "1 or more",
    "weights": "those of the backbone, where they can be had",
    "limits": "one backbone pass per region: seconds per scan on a CPU",
}


@dataclass(frozen=True)
class Config:
    """Crop encoder settings.

    Attributes:
        backbone, pretrained, weights: see :func:`create_backbone`. channels: image channels.
        size_px: side of the resized crop (224 in paper A). context: added around the box, as a
            share of its sides. floor: weight of the image outside the region's membership, so
            that context stays visible; 0 blanks it, as the paper.
        chunk: crops per backbone pass in use; bounds the memory.
    """

    backbone: str = "resnet10t"
    channels: int = 3
    size_px: int = 224
    context: float = 0.15
    floor: float = 0.0
    chunk: int = 32
    pretrained: bool = False
    weights: str | None = None


class CropEncoder(nn.Module):
    """Crops, backbone, global average. See :class:`Config`."""

    needs_choice = True  # training describes a balanced sample of the regions

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.backbone, widths, _ = create_backbone(config.backbone, config.channels, config.pretrained, config.weights)
        self.dim = widths[-1]
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor, regions: tuple[Tensor, Grid] | Tensor, chosen: Tensor) -> Tensor:
        """Describe chosen regions; arguments and result as the pooled encoder's."""
        membership: SoftMembership | HardMembership
        if isinstance(regions, tuple):
            membership, labels = SoftMembership(*regions), hard_labels(*regions)
        else:
            membership, labels = HardMembership(regions), regions
        scale = labels.shape[-1] / image.shape[-1]
        boxes = region_boxes(labels, chosen, self.config.context) / scale
        if self.training:
            return self._describe(image, membership, boxes, chosen, scale)
        parts = zip(boxes.split(self.config.chunk), chosen.split(self.config.chunk), strict=True)
        described = [self._describe(image, membership, b, c, scale) for b, c in parts]
        return torch.cat(described) if described else image.new_zeros(0, self.dim)

    def _describe(self, image: Tensor, membership: SoftMembership | HardMembership, boxes: Tensor, chosen: Tensor, scale: float) -> Tensor:
        size = self.config.size_px
        rois = torch.cat([chosen[:, :1].to(boxes.dtype), boxes], 1)
        crops = roi_align(image, rois, size, aligned=True, sampling_ratio=1)
        weight = membership(boxes * scale, chosen, size)
        crops = crops * (self.config.floor + (1 - self.config.floor) * weight)[:, None]
        return self.backbone(crops.contiguous(memory_format=torch.channels_last))[-1].mean((-2, -1), dtype=torch.float32)


def region_boxes(labels: Tensor, chosen: Tensor, context: float) -> Tensor:
    """(M, 4) xyxy float boxes of chosen regions in label pixels, widened by ``context``.

    A region that owns no pixel gets the box of the whole image.
    """
    b, height, width = labels.shape
    n = int(labels.max()) + 1
    index = (torch.arange(b, device=labels.device)[:, None, None] * n + labels).masked_fill(labels < 0, b * n).reshape(-1)
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


def _sample_positions(boxes: Tensor, size: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel rows (M, size, 1), columns (M, 1, size) under a raster over each box; and which lie inside."""
    steps = (torch.arange(size, device=boxes.device) + 0.5) / size
    xs = boxes[:, :1] + steps * (boxes[:, 2:3] - boxes[:, :1])
    ys = boxes[:, 1:2] + steps * (boxes[:, 3:] - boxes[:, 1:2])
    inside = ((ys >= 0) & (ys < height))[:, :, None] & ((xs >= 0) & (xs < width))[:, None]
    return ys.long().clamp(0, height - 1)[:, :, None], xs.long().clamp(0, width - 1)[:, None], inside


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
        return self.q[chosen[:, 0, None, None], j, rows, cols] * near


def build(config: Config) -> CropEncoder:
    return CropEncoder(config)


def tiny() -> Config:
    return Config(backbone="test_resnet", size_px=64, chunk=8)
