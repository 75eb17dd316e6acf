"""Crop encoder: passes a crop of every region through the backbone.

Source: Bhowmik & Breckon, section II-B. The box of the region plus 15 % context is resized to a
square. The image is weighted by the region's soft membership, so that gradients reach the SSN.
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
    "weights": "those of the backbone, if available",
    "limits": "one backbone pass per region: seconds per scan on a CPU",
}


@dataclass(frozen=True)
class Config:
    """Settings of the crop encoder.

    Attributes:
        backbone, pretrained, weights: see :func:`create_backbone`.
        channels: image channels.
        size_px: side of the resized crop (224 in the paper).
        context: margin around the region's box, as a share of its sides.
        floor: weight of the image outside the region, in [0, 1]; 0 blanks it, as in the paper.
        chunk: crops per backbone pass in inference; limits memory use.
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
    """Encoder with crops, a backbone and global average pooling. See :class:`Config`."""

    samples_regions = True  # cost grows with the regions, so training describes a balanced sample

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
        """Describe the chosen regions; see :meth:`bagscan.contracts.Encoder.forward`."""
        weights = membership(regions)
        labels = hard_labels(*regions) if isinstance(regions, tuple) else regions
        scale = labels.shape[-1] / image.shape[-1]
        boxes = region_boxes(labels, chosen, self.config.context) / scale
        if self.training:
            return self._describe(image, weights, boxes, chosen, scale)
        chunks = zip(boxes.split(self.config.chunk), chosen.split(self.config.chunk), strict=True)
        descriptions = [self._describe(image, weights, b, c, scale) for b, c in chunks]
        return torch.cat(descriptions) if descriptions else image.new_zeros(0, self.dim)

    def _describe(
        self, image: Tensor, weights: Membership, boxes: Tensor, chosen: Tensor, scale: float
    ) -> Tensor:
        size = self.config.size_px
        rois = torch.cat([chosen[:, :1].to(boxes.dtype), boxes], 1)
        crops = roi_align(image, rois, size, aligned=True, sampling_ratio=1)
        weight = weights(boxes * scale, chosen, size)
        crops = crops * (self.config.floor + (1 - self.config.floor) * weight)[:, None]
        features = self.backbone(crops.contiguous(memory_format=torch.channels_last))[-1]
        means: Tensor = features.mean((-2, -1), dtype=torch.float32)
        return means


def build(config: Config) -> CropEncoder:
    return CropEncoder(config)


def tiny() -> Config:
    return Config(backbone="test_resnet", size_px=64, chunk=8)
