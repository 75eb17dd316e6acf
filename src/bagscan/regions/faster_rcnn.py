"""Faster R-CNN: boxes of items (Ren et al., NIPS 2015; Bhowmik & Breckon, section II-A)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bagscan.regions import instances, mask_rcnn
from bagscan.regions.mask_rcnn import MaskRCNNRegioner

CARD = {
    **mask_rcnn.CARD,
    "paper": "Ren et al., NIPS 2015; Bhowmik & Breckon, section II-A",
    "limits": "a box also holds objects beside the item",
}


@dataclass(frozen=True)
class Config(instances.Config):
    """Settings of Faster R-CNN: those of Mask R-CNN, with other defaults.

    Attributes:
        masks: always false.
        widen_px: dilation of the regions in pixels.
    """

    masks: bool = False
    widen_px: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.masks:
            raise ValueError("faster_rcnn cannot predict masks; use mask_rcnn")


def build(config: Config) -> MaskRCNNRegioner:
    return MaskRCNNRegioner(config)


def tiny() -> Config:
    return replace(Config(), backbone="test_resnet", dim=16, stride=1, min_score=0.0)
