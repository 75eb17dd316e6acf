"""Pooled encoder: averages the features of one backbone pass inside every region.

It describes all regions at the cost of a single pass, where Bhowmik & Breckon run their network
once per region. With a soft association, the averages are weighted by Q, so that gradients reach
the SSN.
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
    "weights": "those of the backbone, if available",
    "limits": "describes a region by features whose receptive field is wider than the region",
}


@dataclass(frozen=True)
class Config:
    """Settings of the pooled encoder.

    Attributes:
        backbone, pretrained, weights: see :func:`create_backbone`.
        channels: image channels.
        dim: channels of the top-down pathway; a description has 2 x dim (coarse and fine).
        stride: stride of the finest pooled map, in pixels.
        attention_heads: heads of a self-attention layer over all regions of an image; 0 describes
            each region separately.
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
    """Encoder with a backbone, a top-down pathway and pooling. See :class:`Config`."""

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
        # No 3x3 convolution on the finest map, where it would cost more than all others together.
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
    def is_exportable(self) -> bool:
        """True without attention between regions: tracing would fix their number."""
        return self.context is None

    def maps(self, image: Tensor) -> Tensor:
        """Return the (B, 2 x dim, h, w) features of (B, C, H, W) normalised images.

        The features have the finest used stride.
        """
        levels = self.backbone(image.contiguous(memory_format=torch.channels_last))
        laterals = [
            norm(conv(levels[i]))
            for i, conv, norm in zip(self.used, self.lateral, self.normal, strict=True)
        ]
        top = laterals[-1] if not len(self.mix) else self.mix[-1](laterals[-1])
        for k in range(len(laterals) - 2, -1, -1):
            size = laterals[k].shape[-2:]
            upsampled = F.interpolate(top, size=size, mode="bilinear", align_corners=False)
            if k:
                top = self.mix[k - 1](upsampled + laterals[k])
        coarse = upsampled if len(laterals) > 1 else top
        return torch.cat([coarse, laterals[0]], 1)

    def forward(
        self, image: Tensor, regions: tuple[Tensor, Grid] | Tensor, chosen: Tensor
    ) -> Tensor:
        """Describe the chosen regions.

        Args:
            image: (B, C, H, W) normalised images.
            regions: soft association (q, grid), or (B, H, W) int64 labels from 0; -1 is in no
                region.
            chosen: (M, 2) int64, image in the batch and region.

        Returns:
            (M, dim) descriptions.
        """
        return self.describe_maps(self.maps(image), regions, chosen)

    def describe_maps(
        self, maps: Tensor, regions: tuple[Tensor, Grid] | Tensor, chosen: Tensor
    ) -> Tensor:
        """Describe the chosen regions from the result of :meth:`maps`."""
        pooled = pool_regions(maps.float(), regions)
        if self.context is not None:
            # Mask empty regions, whose means are 0. Attention needs at least one unmasked region.
            empty = ~pooled.any(-1)
            empty[:, 0] = False
            pooled = self.context(pooled, src_key_padding_mask=empty)
        return pooled[chosen[:, 0], chosen[:, 1]]

    def describe_means(self, means: Tensor) -> Tensor:
        """Return (n, dim) descriptions from the (n, dim) means of all regions of one image.

        Every region must contain a pixel.
        """
        return means if self.context is None else self.context(means[None])[0]


def build(config: Config) -> PooledEncoder:
    return PooledEncoder(config)


def tiny() -> Config:
    return Config(backbone="test_resnet", dim=8)
