"""Pooled encoder: one backbone pass per view, its features averaged inside every region.

K descriptions for the cost of one pass, where paper A runs its network once per segment. With a
soft association the average is weighted by Q, so the gradient reaches the SSN.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bagscan.association import Grid
from bagscan.backbones import create_backbone
from bagscan.contracts import MapEncoder
from bagscan.encoders.pooling import pool_regions

CARD = {
    "paper": "ours; backbones of paper A, top-down pathway of Lin et al., FPN, CVPR 2017",
    "channels": "1 or more",
    "weights": "those of the backbone, where they can be had",
    "limits": "describes a region by features whose receptive field is wider than the region",
}


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


class PooledEncoder(MapEncoder):
    """Backbone, top-down pathway, pooling. See :class:`Config`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.backbone, widths, strides = create_backbone(
            config.backbone, config.channels, config.pretrained, config.weights
        )
        self.used = [i for i, s in enumerate(strides) if s >= config.stride]
        if not self.used:
            self.used = [len(strides) - 1]
        self.lateral = nn.ModuleList(
            nn.Conv2d(widths[i], config.dim, 1, bias=False) for i in self.used
        )
        self.normal = nn.ModuleList(_norm_act(config.dim) for _ in self.used)
        # 3x3 mixing everywhere but on the finest map, where it would cost more than all others.
        self.mix = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(config.dim, config.dim, 3, padding=1, bias=False), _norm_act(config.dim)
            )
            for _ in self.used[1:]
        )
        self.dim = 2 * config.dim
        self.context = (
            nn.TransformerEncoderLayer(
                self.dim,
                config.attention_heads,
                2 * self.dim,
                0.0,
                batch_first=True,
                norm_first=True,
            )
            if config.attention_heads
            else None
        )
        self.to(memory_format=torch.channels_last)

    @property
    def is_exported(self) -> bool:
        """Unless regions attend to each other: tracing would fix their number."""
        return self.context is None

    def maps(self, image: Tensor) -> Tensor:
        """(B, C, H, W) normalised image -> (B, dim, h, w) features at the finest used stride."""
        levels = self.backbone(image.contiguous(memory_format=torch.channels_last))
        sides = [
            norm(conv(levels[i]))
            for i, conv, norm in zip(self.used, self.lateral, self.normal, strict=True)
        ]
        top = sides[-1] if not len(self.mix) else self.mix[-1](sides[-1])
        for k in range(len(sides) - 2, -1, -1):
            up = F.interpolate(top, size=sides[k].shape[-2:], mode="bilinear", align_corners=False)
            if k:
                top = self.mix[k - 1](up + sides[k])
        coarse = up if len(sides) > 1 else top
        return torch.cat([coarse, sides[0]], 1)

    def forward(
        self, image: Tensor, regions: tuple[Tensor, Grid] | Tensor, chosen: Tensor
    ) -> Tensor:
        """Describe chosen regions.

        Args:
            image: (B, C, H, W) normalised.
            regions: the soft association (q, grid), or hard labels (B, H, W) int64 from 0.
            chosen: (M, 2) int64 rows of (image in batch, region).

        Returns:
            (M, dim).
        """
        return self.described(self.maps(image), regions, chosen)

    def described(
        self, maps: Tensor, regions: tuple[Tensor, Grid] | Tensor, chosen: Tensor
    ) -> Tensor:
        """The same from maps that are there already."""
        pooled = pool_regions(maps.float(), regions)
        if self.context is not None:
            # A region that owns nothing is all zeros, and nobody's neighbour; one is always left to look at.
            empty = ~pooled.any(-1)
            empty[:, 0] = False
            pooled = self.context(pooled, src_key_padding_mask=empty)
        return pooled[chosen[:, 0], chosen[:, 1]]

    def in_context(self, means: Tensor) -> Tensor:
        """(n, dim) means of all regions of one image, each of which owns a pixel -> (n, dim) descriptions."""
        return means if self.context is None else self.context(means[None])[0]


def build(config: Config) -> PooledEncoder:
    return PooledEncoder(config)


def tiny() -> Config:
    return Config(backbone="test_resnet", dim=8)
