"""Mask R-CNN: every electronics or electrical item of a view, with its mask (paper A, section II-A).

Sources: He et al., "Mask R-CNN" (ICCV 2017); Ren et al., "Faster R-CNN" (NIPS 2015); torchvision's
implementation over any backbone and any number of channels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from bagscan.backbones import create_backbone
from bagscan.core import Regions, View

CARD = {
    "paper": "He et al., ICCV 2017; Bhowmik & Breckon, section II-A",
    "channels": "1 or more",
    "weights": "those of the backbone, where they can be had; none of COCO",
    "limits": "finds items of the kinds it was trained on; two that lie on one another may be taken for one",
}
HEAD = 256
BRIGHT, Z = (0.8, 0.25), (6.0, 5.0)  # mean and standard deviation of what the network sees


@dataclass(frozen=True)
class Config:
    """Detector settings.

    Attributes:
        backbone, pretrained, weights: see :func:`create_backbone`. channels: image channels.
        deepest_stride: of the backbone's stages that are kept; 0 for all.
        anchors_px: sides of the boxes that it starts from, in pixels of the view, smallest first.
        dim: channels of the feature pyramid. stride: pixels averaged before it sees them.
        classes: what it tells apart. masks: whether it draws masks; boxes alone are Faster R-CNN.
        min_score: of a detection that is kept. max_items: kept of one view, best first.
        widen_px: by which masks grow in use, so that what is taped to an item belongs to it.
        trainable: joint training does not train it; ``bagscan train`` of a detection configuration does.
    """

    backbone: str = "resnet18"
    channels: int = 3
    deepest_stride: int = 0
    anchors_px: tuple[int, ...] = (32, 64, 128, 256, 512)
    dim: int = 64
    stride: int = 2
    classes: tuple[str, ...] = ("item",)
    masks: bool = True
    min_score: float = 0.5
    max_items: int = 12
    widen_px: int = 6
    pretrained: bool = False
    weights: str | None = None
    trainable: bool = False

    def __post_init__(self) -> None:
        if len(self.anchors_px) < 5 or list(self.anchors_px) != sorted(self.anchors_px) or self.anchors_px[0] < self.stride:
            raise ValueError(f"anchors_px needs five ascending sides of at least stride={self.stride} pixels, got {self.anchors_px}")


class _Pyramid(nn.Module):
    """Backbone maps of stride 4 and more, brought to one width by a feature pyramid."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.backbone, widths, strides = create_backbone(config.backbone, config.channels, config.pretrained, config.weights, config.deepest_stride)
        self.used = [i for i, s in enumerate(strides) if s >= 4][-4:]
        self.fpn = FeaturePyramidNetwork([widths[i] for i in self.used], config.dim, LastLevelMaxPool())
        self.out_channels = config.dim

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = self.backbone(x.contiguous(memory_format=torch.channels_last))
        found: dict[str, Tensor] = self.fpn(OrderedDict((str(k), maps[i]) for k, i in enumerate(self.used)))
        return found


class _AsItIs(GeneralizedRCNNTransform):
    """Views keep their size and their values, in training and in use: the regioner sets both."""

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        return image, target


class MaskRCNNRegioner(nn.Module):
    """Instances of items as overlapping masks. See :class:`Config`."""

    kind = "instance"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        pyramid, n = _Pyramid(config), 1 + len(config.classes)
        levels = [str(k) for k in range(len(pyramid.used))]
        sizes = tuple((s // config.stride,) for s in config.anchors_px[-len(levels) - 1 :])
        shared: dict[str, Any] = {
            "rpn_anchor_generator": AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
            "box_roi_pool": MultiScaleRoIAlign(levels, 7, 2),
            "box_head": TwoMLPHead(config.dim * 49, HEAD),
            "box_predictor": FastRCNNPredictor(HEAD, n),
            "rpn_pre_nms_top_n_train": 500,
            "rpn_pre_nms_top_n_test": 300,
            "rpn_post_nms_top_n_train": 200,
            "rpn_post_nms_top_n_test": 100,
            "box_batch_size_per_image": 64,
            "box_detections_per_img": config.max_items,
            "box_score_thresh": 0.05,
        }
        if config.masks:
            masks = {
                "mask_roi_pool": MultiScaleRoIAlign(levels, 14, 2),
                "mask_head": MaskRCNNHeads(config.dim, (config.dim, config.dim), 1),
                "mask_predictor": MaskRCNNPredictor(config.dim, config.dim, n),
            }
            self.detector: nn.Module = MaskRCNN(pyramid, **shared, **masks)
        else:
            self.detector = FasterRCNN(pyramid, **shared)
        self.detector.transform = _AsItIs(1, 1, [0.0] * config.channels, [1.0] * config.channels)

    def prepare(self, pixels: Tensor, channels: Sequence[str]) -> Tensor:
        """(B, C, H, W) pixels of views -> what the detector takes, 1/stride of the size."""
        stats = np.array([Z if name == "zeff" else BRIGHT for name in channels], np.float32)
        mean, std = (torch.from_numpy(stats[:, k].copy()).to(pixels.device)[:, None, None] for k in (0, 1))
        return F.avg_pool2d((pixels - mean) / std, self.config.stride, ceil_mode=True, count_include_pad=False)

    @torch.no_grad()
    def detect(self, view: View) -> list[dict[str, Any]]:
        """Every detection of a view, best first: ``label``, ``score``, ``box_xyxy`` and ``mask`` (H, W) bool, in view pixels."""
        was_training = self.training
        self.eval()
        found = self.detector(list(self.prepare(torch.from_numpy(np.array(view.pixels))[None], view.channels)))[0]
        self.train(was_training)
        stride, (height, width) = self.config.stride, view.shape
        boxes = (found["boxes"] * stride).clamp(min=0).numpy()
        boxes[:, 2:] = boxes[:, 2:].clip(max=(width, height))
        masks = found["masks"][:, 0].numpy() > 0.5 if self.config.masks else None
        kept = []
        for k, (box, label, score) in enumerate(zip(boxes, found["labels"].tolist(), found["scores"].tolist(), strict=True)):
            x1, y1, x2, y2 = (round(float(v)) for v in box)
            if masks is None:
                mask = np.zeros((height, width), bool)
                mask[y1:y2, x1:x2] = True
            else:
                mask = masks[k].repeat(stride, 0).repeat(stride, 1)[:height, :width]
            if mask.any():
                kept.append({"label": self.config.classes[label - 1], "score": score, "box_xyxy": tuple(float(v) for v in box), "mask": mask})
        return kept

    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Masks of the items found, widened, as a stack; ``n_superpixels`` is not used."""
        sure = [d["mask"] for d in self.detect(view) if d["score"] >= self.config.min_score]
        masks = [binary_dilation(m, iterations=self.config.widen_px) if self.config.widen_px else m for m in sure]
        stack = np.stack(masks) if masks else np.zeros((0, *view.shape), bool)
        return Regions(stack, len(stack), self.kind)


def build(config: Config) -> MaskRCNNRegioner:
    return MaskRCNNRegioner(config)


def tiny() -> Config:
    return Config(backbone="test_resnet", dim=16, stride=1, min_score=0.0)
