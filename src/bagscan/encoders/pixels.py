"""Pixels as they are: every region's box resized to a square and laid out as a vector, for models that reconstruct.

Values are brought to [-1, 1], the range of the decoders' tanh: a public implementation that normalises
with ImageNet statistics and decodes with tanh scores below chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import roi_align

from bagscan.association import Grid, hard_labels
from bagscan.contracts import Encoder
from bagscan.encoders.cutting import membership, region_boxes

CARD = {
    "paper": "Akcay et al., GANomaly (ACCV 2018), for the form of the input",
    "channels": "1 or more",
    "weights": "none",
    "limits": "small regions are made larger, and large ones lose their detail",
}


@dataclass(frozen=True)
class Config:
    """Pixel encoder settings.

    Attributes:
        channels: image channels. size_px: side of the square. context: added around the region's box, as
            a share of its sides. reach: normalised values beyond it are clipped: (x - mean) / std = reach becomes 1.
        floor: weight of what lies outside the region; 1 shows its surroundings.
    """

    channels: int = 3
    size_px: int = 32
    context: float = 0.15
    reach: float = 3.0
    floor: float = 1.0


class PixelEncoder(Encoder):
    """Crops and nothing else. See :class:`Config`."""

    draws = True

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.dim = config.channels * config.size_px**2

    def forward(
        self, image: Tensor, regions: tuple[Tensor, Grid] | Tensor, chosen: Tensor
    ) -> Tensor:
        """(B, C, H, W) normalised -> (M, C x size x size) in [-1, 1]; other arguments as the pooled encoder's."""
        size = self.config.size_px
        labels = hard_labels(*regions) if isinstance(regions, tuple) else regions
        scale = labels.shape[-1] / image.shape[-1]
        boxes = region_boxes(labels, chosen, self.config.context) / scale
        rois = torch.cat([chosen[:, :1].to(boxes.dtype), boxes], 1)
        crops = roi_align(image, rois, size, aligned=True, sampling_ratio=-1)
        weight = membership(regions)(boxes * scale, chosen, size)
        crops = crops * (self.config.floor + (1 - self.config.floor) * weight)[:, None]
        found: Tensor = (crops / self.config.reach).clamp(-1, 1).flatten(1).float()
        return found


def build(config: Config) -> PixelEncoder:
    return PixelEncoder(config)


def tiny() -> Config:
    return Config(size_px=16, floor=0.5)
