"""Pixel encoder: resizes the box of every region to a square and flattens it.

It is meant for scorers that reconstruct crops. Values are scaled to [-1, 1], the range of the
decoders' tanh: a decoder cannot reproduce values outside of it.
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
    "limits": "small regions are enlarged, and large regions lose detail",
}


@dataclass(frozen=True)
class Config:
    """Settings of the pixel encoder.

    Attributes:
        channels: image channels.
        size_px: side of the square.
        context: margin around the region's box, as a share of its sides.
        reach: normalised value (x - mean) / std that becomes 1; larger values are clipped.
        floor: weight of pixels outside the region, in [0, 1]; 1 keeps the surroundings.
    """

    channels: int = 3
    size_px: int = 32
    context: float = 0.15
    reach: float = 3.0
    floor: float = 1.0


class PixelEncoder(Encoder):
    """Encoder that returns the pixels of crops. See :class:`Config`."""

    samples_regions = True  # cost grows with the regions, so training describes a balanced sample

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.dim = config.channels * config.size_px**2

    def forward(
        self, image: Tensor, regions: tuple[Tensor, Grid] | Tensor, chosen: Tensor
    ) -> Tensor:
        """Describe the chosen regions; see :meth:`bagscan.contracts.Encoder.forward`.

        Returns:
            (M, C x size x size) pixels in [-1, 1].
        """
        size = self.config.size_px
        labels = hard_labels(*regions) if isinstance(regions, tuple) else regions
        scale = labels.shape[-1] / image.shape[-1]
        boxes = region_boxes(labels, chosen, self.config.context) / scale
        rois = torch.cat([chosen[:, :1].to(boxes.dtype), boxes], 1)
        crops = roi_align(image, rois, size, aligned=True, sampling_ratio=-1)
        weight = membership(regions)(boxes * scale, chosen, size)
        crops = crops * (self.config.floor + (1 - self.config.floor) * weight)[:, None]
        pixels: Tensor = (crops / self.config.reach).clamp(-1, 1).flatten(1).float()
        return pixels


def build(config: Config) -> PixelEncoder:
    return PixelEncoder(config)


def tiny() -> Config:
    return Config(size_px=16, floor=0.5)
