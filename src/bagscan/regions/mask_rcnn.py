"""Mask R-CNN: electronic and electrical items of a view, with masks.

Sources: He et al., "Mask R-CNN" (ICCV 2017); Ren et al., "Faster R-CNN" (NIPS 2015); Bhowmik &
Breckon, section II-A. The implementation is that of torchvision, with any backbone and any number
of channels.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.poolers import initLevelMapper

from bagscan.backbones import create_backbone
from bagscan.contracts import Finder
from bagscan.core import Regions, View
from bagscan.regions.instances import Config, Detected, detections, item_regions, prepare
from bagscan.regions.pasting import paste_masks

CARD = {
    "paper": "He et al., ICCV 2017; Bhowmik & Breckon, section II-A",
    "channels": "1 or more",
    "weights": "pretrained weights of the backbone, where available; no COCO weights",
    "limits": "finds only classes it was trained on; can take two overlapping items for one",
}
HEAD = 256


class _Pyramid(nn.Module):
    """Backbone with a feature pyramid over its last four maps of stride 4 or more."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.backbone, widths, strides = create_backbone(
            config.backbone,
            config.channels,
            config.pretrained,
            config.weights,
            config.deepest_stride,
        )
        self.used = [i for i, s in enumerate(strides) if s >= 4][-4:]
        self.fpn = FeaturePyramidNetwork(
            [widths[i] for i in self.used], config.dim, LastLevelMaxPool()
        )
        self.out_channels = config.dim
        self.strides = [strides[i] for i in self.used]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = self.backbone(x.contiguous(memory_format=torch.channels_last))
        pyramid: dict[str, Tensor] = self.fpn(
            OrderedDict((str(k), maps[i]) for k, i in enumerate(self.used))
        )
        return pyramid


def _pool_of(strides: Sequence[int], size: int) -> MultiScaleRoIAlign:
    """Return a module that pools boxes from maps of fixed strides.

    By default, torchvision infers the strides from the first view and keeps them. After a narrow
    view, whose map sizes are rounded, it would pool all later views at a wrong place.
    """
    pool = MultiScaleRoIAlign([str(k) for k in range(len(strides))], size, 2)
    levels = [int(math.log2(stride)) for stride in (strides[0], strides[-1])]
    pool.scales, pool.map_levels = [1 / stride for stride in strides], initLevelMapper(*levels)
    return pool


class _IdentityTransform(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Transform that keeps size and values, since the regioner prepares the views."""

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        return image, target

    def postprocess(self, result: list[dict[str, Tensor]], *sizes: Any) -> list[dict[str, Tensor]]:
        if not torchvision._is_tracing():
            pasted: list[dict[str, Tensor]] = super().postprocess(result, *sizes)
            return pasted
        for found, (height, width) in zip(result, sizes[-1], strict=True):
            if "masks" in found:
                found["masks"] = paste_masks(found["masks"], found["boxes"], height, width)
        return result


class MaskRCNNRegioner(Finder):
    """Regioner of items, as masks that can overlap. See :class:`Config`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        pyramid, n = _Pyramid(config), 1 + len(config.classes)
        levels = [str(k) for k in range(len(pyramid.used))]
        sizes = tuple((s // config.stride,) for s in config.anchors_px[-len(levels) - 1 :])
        shared: dict[str, Any] = {
            "rpn_anchor_generator": AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
            "box_roi_pool": _pool_of(pyramid.strides, 7),
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
                "mask_roi_pool": _pool_of(pyramid.strides, 14),
                "mask_head": MaskRCNNHeads(config.dim, (config.dim, config.dim), 1),
                "mask_predictor": MaskRCNNPredictor(config.dim, config.dim, n),
            }
            self.detector: nn.Module = MaskRCNN(pyramid, **shared, **masks)
        else:
            self.detector = FasterRCNN(pyramid, **shared)
        zeros, ones = [0.0] * config.channels, [1.0] * config.channels
        self.detector.transform = _IdentityTransform(1, 1, zeros, ones)

    def prepare(self, pixels: Tensor, channels: Sequence[str]) -> Tensor:
        """Downsample and normalise views; see :func:`bagscan.regions.instances.prepare`."""
        prepared: Tensor = prepare(pixels, channels, self.config.stride)
        return prepared

    @torch.no_grad()
    def detect(self, view: View) -> list[dict[str, Any]]:
        """Detect the items of a view; see :func:`bagscan.regions.instances.detections`."""
        was_training = self.training
        self.eval()
        device = next(self.parameters()).device
        pixels = torch.from_numpy(np.array(view.pixels))[None]
        prepared = self.prepare(pixels, view.channels).to(device)
        with torch.autocast(device.type, enabled=False):  # regions do not depend on the precision
            output = {name: value.cpu() for name, value in self.detector(list(prepared))[0].items()}
        self.train(was_training)
        masks = output["masks"][:, 0].numpy() if self.config.masks else None
        detected = Detected(
            output["boxes"].numpy(), output["labels"].numpy(), output["scores"].numpy(), masks
        )
        return detections(detected, self.config, *view.shape)

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of the exported graphs: the whole detector."""
        return ("items",)

    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Return the dilated masks of the items; ``n_superpixels`` is ignored."""
        return item_regions(self.detect(view), self.config, *view.shape)


def build(config: Config) -> MaskRCNNRegioner:
    return MaskRCNNRegioner(config)


def tiny() -> Config:
    return Config(backbone="test_resnet", dim=16, stride=1, min_score=0.0)
