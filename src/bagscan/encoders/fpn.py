"""Encoder of GBAD, phase I: a ResNeXt-50 with a feature pyramid, pooled over each region.

Source: Dumagpi, Jung & Jeong, "A new GAN-based anomaly detection (GBAD) approach for multi-threat
object classification on large-scale X-ray security images" (2020). Each pyramid level (L1-L4) is
pooled and passed through a layer of its own (FC1-FC4). Their outputs are concatenated to the
description that phases II and III use. Pyramid: Lin et al., "Feature pyramid networks" (CVPR 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from bagscan.association import Grid
from bagscan.backbones import create_backbone
from bagscan.contracts import Encoder
from bagscan.encoders.pooling import pool_regions

CARD = {
    "paper": "Dumagpi, Jung & Jeong 2020, phase I",
    "channels": "1 or more",
    "weights": "those of the backbone, if available",
    "limits": "describes a region by features whose receptive field is wider than the region",
}
LEVELS = 4


@dataclass(frozen=True)
class Config:
    """Settings of the pyramid encoder.

    Attributes:
        backbone, pretrained, weights: see :func:`create_backbone`.
        channels: image channels.
        level_dim: channels of every pyramid level, and units of each of FC1-FC4.
        plain: true pools the last four backbone stages directly, without the pyramid.
    """

    backbone: str = "resnext50_32x4d"
    channels: int = 3
    level_dim: int = 256
    plain: bool = False
    pretrained: bool = False
    weights: str | None = None


class FPNEncoder(Encoder):
    """Encoder with a backbone, a feature pyramid and FC1-FC4. See :class:`Config`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.backbone, widths, _ = create_backbone(
            config.backbone, config.channels, config.pretrained, config.weights
        )
        self.used = list(range(len(widths)))[-LEVELS:]
        used_widths = [widths[i] for i in self.used]
        self.pyramid = (
            None if config.plain else FeaturePyramidNetwork(used_widths, config.level_dim)
        )
        inputs = used_widths if config.plain else [config.level_dim] * len(used_widths)
        self.fc = nn.ModuleList(
            nn.Sequential(nn.Linear(n, config.level_dim), nn.ReLU(inplace=True)) for n in inputs
        )
        self.dim = config.level_dim * len(used_widths)
        self.to(memory_format=torch.channels_last)

    def forward(
        self, image: Tensor, regions: tuple[Tensor, Grid] | Tensor, chosen: Tensor
    ) -> Tensor:
        """Describe the chosen regions; see :meth:`bagscan.contracts.Encoder.forward`.

        Returns:
            (M, 4 x level_dim) descriptions.
        """
        maps = self.backbone(image.contiguous(memory_format=torch.channels_last))
        levels = [maps[i] for i in self.used]
        if self.pyramid is not None:
            levels = list(self.pyramid({str(i): m for i, m in enumerate(levels)}).values())
        pooled = [
            pool_regions(level.float(), regions)[chosen[:, 0], chosen[:, 1]] for level in levels
        ]
        return torch.cat([fc(p) for fc, p in zip(self.fc, pooled, strict=True)], 1)


def build(config: Config) -> FPNEncoder:
    return FPNEncoder(config)


def tiny() -> Config:
    return Config(backbone="test_resnet", level_dim=8)
