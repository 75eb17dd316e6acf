"""Pooled encoder: one backbone pass per view, its features averaged inside every region.

K descriptions for the cost of one pass, where paper A runs its network once per segment. With a
soft association the average is weighted by Q, so the gradient reaches the SSN.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bagscan.backbones import create_backbone
from bagscan.core import Grid
from bagscan.core.association import pool, to_cells

CARD = {
    "paper": "ours; backbones of paper A, top-down pathway of Lin et al., FPN, CVPR 2017",
    "channels": "1 or more",
    "weights": "those of the backbone, where they can be had",
    "limits": "describes a region by features whose receptive field is wider than the region",
}
PIXEL_STRIDE = 4  # label pixels sampled when averaging inside hard regions; the features are no finer


@dataclass(frozen=True)
class Config:
    """Pooled encoder settings.

    Attributes:
        backbone, pretrained, weights: see :func:`create_backbone`. channels: image channels.
        dim: channels of the pathway; the description has twice as many (coarse and fine).
        stride: finest map that is pooled, in pixels.
        attention_heads: of one layer of attention over all regions of an image, so that a region is
            described beside its neighbours; 0 for each alone, as the paper.
    """

    backbone: str = "resnet10t"
    channels: int = 3
    dim: int = 96
    stride: int = 4
    attention_heads: int = 0
    pretrained: bool = False
    weights: str | None = None


def _norm_act(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(dim), nn.ReLU(inplace=True))


class PooledEncoder(nn.Module):
    """Backbone, top-down pathway, pooling. See :class:`Config`."""

    needs_choice = False  # describing all regions costs no more than describing a few

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.backbone, widths, strides = create_backbone(config.backbone, config.channels, config.pretrained, config.weights)
        self.used = [i for i, s in enumerate(strides) if s >= config.stride]
        if not self.used:
            self.used = [len(strides) - 1]
        self.lateral = nn.ModuleList(nn.Conv2d(widths[i], config.dim, 1, bias=False) for i in self.used)
        self.normal = nn.ModuleList(_norm_act(config.dim) for _ in self.used)
        # 3x3 mixing everywhere but on the finest map, where it would cost more than all others.
        self.mix = nn.ModuleList(nn.Sequential(nn.Conv2d(config.dim, config.dim, 3, padding=1, bias=False), _norm_act(config.dim)) for _ in self.used[1:])
        self.dim = 2 * config.dim
        self.context = nn.TransformerEncoderLayer(self.dim, config.attention_heads, 2 * self.dim, 0.0, batch_first=True, norm_first=True) if config.attention_heads else None
        self.to(memory_format=torch.channels_last)

    def maps(self, image: Tensor) -> Tensor:
        """(B, C, H, W) normalised image -> (B, dim, h, w) features at the finest used stride."""
        levels = self.backbone(image.contiguous(memory_format=torch.channels_last))
        sides = [norm(conv(levels[i])) for i, conv, norm in zip(self.used, self.lateral, self.normal, strict=True)]
        top = sides[-1] if not len(self.mix) else self.mix[-1](sides[-1])
        for k in range(len(sides) - 2, -1, -1):
            up = F.interpolate(top, size=sides[k].shape[-2:], mode="bilinear", align_corners=False)
            if k:
                top = self.mix[k - 1](up + sides[k])
        coarse = up if len(sides) > 1 else top
        return torch.cat([coarse, sides[0]], 1)

    def forward(self, image: Tensor, regions: tuple[Tensor, Grid] | Tensor, chosen: Tensor) -> Tensor:
        """Describe chosen regions.

        Args:
            image: (B, C, H, W) normalised.
            regions: the soft association (q, grid), or hard labels (B, H, W) int64 from 0.
            chosen: (M, 2) int64 rows of (image in batch, region).

        Returns:
            (M, dim).
        """
        features = self.maps(image).float()
        if isinstance(regions, tuple):
            pooled = pool_soft(features, *regions)
        else:
            pooled = pool_hard(features, regions)
        if self.context is not None:
            # A region that owns nothing is all zeros, and nobody's neighbour; one is always left to look at.
            empty = ~pooled.any(-1)
            empty[:, 0] = False
            pooled = self.context(pooled, src_key_padding_mask=empty)
        return pooled[chosen[:, 0], chosen[:, 1]]


def pool_soft(features: Tensor, q: Tensor, grid: Grid) -> Tensor:
    """(B, D, h, w) features, averaged by Q -> (B, grid.n, D).

    Both are brought to a common raster of whole cells: a few samples per cell side, as the
    features have no more; borders of cells stay borders, so no sample belongs to two cells.
    """
    b, d, height, _ = features.shape
    per_side = (max(1, round(grid.cell_h * height / grid.height)), max(1, round(grid.cell_w * height / grid.height)))
    coarse = Grid(grid.rows * per_side[0], grid.cols * per_side[1], *per_side)
    cells = q.reshape(b * grid.n * 9, 1, grid.cell_h, grid.cell_w)
    q_coarse = F.adaptive_avg_pool2d(cells, per_side).reshape(*q.shape[:4], -1)
    left, right, top, bottom = grid.padding
    scale_y, scale_x = features.shape[-2] / grid.height, features.shape[-1] / grid.width
    ys = (torch.arange(coarse.height, device=q.device) + 0.5) / coarse.height * (grid.height + top + bottom) - top
    xs = (torch.arange(coarse.width, device=q.device) + 0.5) / coarse.width * (grid.width + left + right) - left
    iy = (ys * scale_y).long().clamp(0, features.shape[-2] - 1)
    ix = (xs * scale_x).long().clamp(0, features.shape[-1] - 1)
    sampled = features[:, :, iy][:, :, :, ix]
    return pool(q_coarse, to_cells(sampled, coarse)).reshape(b, grid.n, d)


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
    mass = torch.zeros(b * n, device=labels.device).index_add_(0, target, torch.ones(len(target), device=labels.device))
    missed = (mass == 0).nonzero()[:, 0]
    if len(missed):
        # One slot more, for what is in no region.
        last = torch.full((b * n + 1,), -1, dtype=torch.long, device=labels.device)
        everything = (base * n + labels).masked_fill(labels < 0, b * n).reshape(-1)
        every_place = base * (h * w) + _feature_index(torch.arange(height, device=labels.device), torch.arange(width, device=labels.device), height, width, h, w)
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


def build(config: Config) -> PooledEncoder:
    return PooledEncoder(config)


def tiny() -> Config:
    return Config(backbone="test_resnet", dim=8)
