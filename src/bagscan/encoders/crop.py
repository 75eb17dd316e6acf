"""Crop encoder: every region cut out, weighted by its membership, and shown to the network alone.

Source: paper A, section II-B. The box of the region plus 15 % context is resized to a square; the
image is weighted by the region's soft membership, so that the gradient reaches the SSN.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import roi_align

from bagscan.association import Grid, hard_labels
from bagscan.backbones import create_backbone
from bagscan.contracts import Encoder
from bagscan.encoders.cutting import Membership, membership, region_boxes

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


class CropEncoder(Encoder):
    """Crops, backbone, global average. See :class:`Config`."""

    draws = True  # training describes a balanced sample of the regions

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.backbone, widths, _ = create_backbone(
            config.backbone, config.channels, config.pretrained, config.weights
        )
        self.dim = widths[-1]
        self.to(memory_format=torch.channels_last)

    def forward(
        self, image: Tensor, regions: tuple[Tensor, Grid] | Tensor, chosen: Tensor
    ) -> Tensor:
        """Describe chosen regions; arguments and result as the pooled encoder's."""
        inside, labels = (
            membership(regions),
            hard_labels(*regions) if isinstance(regions, tuple) else regions,
        )
        scale = labels.shape[-1] / image.shape[-1]
        boxes = region_boxes(labels, chosen, self.config.context) / scale
        if self.training:
            return self._describe(image, inside, boxes, chosen, scale)
        parts = zip(boxes.split(self.config.chunk), chosen.split(self.config.chunk), strict=True)
        described = [self._describe(image, inside, b, c, scale) for b, c in parts]
        return torch.cat(described) if described else image.new_zeros(0, self.dim)

    def _describe(
        self, image: Tensor, inside: Membership, boxes: Tensor, chosen: Tensor, scale: float
    ) -> Tensor:
        size = self.config.size_px
        rois = torch.cat([chosen[:, :1].to(boxes.dtype), boxes], 1)
        crops = roi_align(image, rois, size, aligned=True, sampling_ratio=1)
        weight = inside(boxes * scale, chosen, size)
        crops = crops * (self.config.floor + (1 - self.config.floor) * weight)[:, None]
        found: Tensor = self.backbone(crops.contiguous(memory_format=torch.channels_last))[-1].mean(
            (-2, -1), dtype=torch.float32
        )
        return found


def build(config: Config) -> CropEncoder:
    return CropEncoder(config)


def tiny() -> Config:
    return Config(backbone="test_resnet", size_px=64, chunk=8)
