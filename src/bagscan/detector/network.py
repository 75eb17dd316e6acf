"""Network of the detector: maps of a view, and a head that computes the verdict on a device.

It consists of a backbone, pretrained on ImageNet if a package has the weights, a feature pyramid
(Lin et al. 2017) and maps at a stride of 8 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bagscan.backbones import create_backbone, first_layer, fold_first_layer
from bagscan.detector.features import CELL_PX, N_COLOURS, N_FEATURES
from bagscan.detector.two_views import NEAR_CELLS, TOP_PLACES, TwoViews, TwoViewsConfig

FIRST_BIAS = -3.0  # initial bias of the maps, whose positives are rare


@dataclass(frozen=True)
class NetworkConfig:
    """Settings of the network.

    Attributes:
        backbone, pretrained: see :func:`bagscan.backbones.create_backbone`.
        channels: channels of the input features.
        deepest_stride: largest stride of the backbone's stages; 0 keeps all stages.
        fold: block size of the space-to-depth step before the first convolution, in pixels.
        width: channels of the feature pyramid.
        level_stages: true applies batch normalisation to each backbone stage first. Stages of
            mobile backbones differ in spread by a factor of ten.
        categories: names of the categories of a pixel.
        two_views: module that evaluates both views of a bag together, see
            :class:`bagscan.detector.two_views.TwoViewsConfig`.
    """

    backbone: str = "tf_efficientnet_lite0"
    pretrained: bool = True
    channels: int = N_FEATURES
    deepest_stride: int = 0
    fold: int = 2
    width: int = 96
    level_stages: bool = False
    categories: tuple[str, ...] = ()
    two_views: TwoViewsConfig = field(default_factory=TwoViewsConfig)


@dataclass(frozen=True)
class Maps:
    """Outputs of a forward pass.

    Attributes:
        categories: (B, n, h, w) logits of the categories.
        anomaly: (B, 1, h, w) logits of an anomaly.
        contact: (B, 1, h, w) logits of contact between two devices of one class.
        fine: (B, c, h, w) features at the finest stage.
        coarse: (B, c, h', w') features of the coarsest backbone stage.
        merged: (B, c, h, w) features that the categories are computed from.
    """

    categories: Tensor
    anomaly: Tensor
    contact: Tensor
    fine: Tensor
    coarse: Tensor
    merged: Tensor


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Verdict(nn.Sequential):
    """Head that computes the log-odds of an anomaly in a device.

    It adds a correction, computed from pooled features, to the mean of the device's highest logits.

    Args:
        width: channels of the fine features.
        coarse_width: channels of the coarse features.
        coarse_cells: side of a coarse cell, in fine cells.
    """

    def __init__(self, width: int, coarse_width: int, coarse_cells: int) -> None:
        super().__init__(
            nn.Linear(2 * width + coarse_width + 2, 128), nn.ReLU(inplace=True), nn.Linear(128, 1)
        )
        self.coarse_cells = coarse_cells

    def forward(self, anomaly: Tensor, fine: Tensor, coarse: Tensor, device: Tensor) -> Tensor:  # type: ignore[override]
        """Return the (D,) logits of devices.

        Args:
            anomaly: (1 or D, 1, h, w) logits of the anomaly map.
            fine: (1 or D, c, h, w) fine features.
            coarse: (1 or D, c, h', w') coarse features.
            device: (D, 1, h, w) masks of the devices.
        """
        near = F.max_pool2d(device.float(), NEAR_CELLS, 1, NEAR_CELLS // 2)
        inside = (near > 0.3).float()
        area = inside.sum((2, 3)).clamp(min=1)
        anomaly, fine, coarse = anomaly.float(), fine.float(), coarse.float()
        logits = anomaly.masked_fill(inside < 0.5, -30.0).flatten(1)
        soft_max = torch.logsumexp(logits, 1, keepdim=True) - area.log()
        top = logits.topk(TOP_PLACES, 1).values.clamp(min=-12).mean(1, keepdim=True)
        mean = (fine * inside).sum((2, 3)) / area
        highest = fine.masked_fill(inside < 0.5, 0).amax((2, 3))
        share = F.avg_pool2d(near, self.coarse_cells)
        coarse_mean = (coarse * share).sum((2, 3)) / share.sum((2, 3)).clamp(min=0.1)
        correction = torch.cat([mean, highest, coarse_mean, soft_max, top], 1)
        for layer in self:
            correction = layer(correction)
        return (top + correction)[:, 0]


def _create_backbone(config: NetworkConfig) -> tuple[nn.Module, list[int], list[int]]:
    """Return the backbone, and channels and strides of its stages, in folded pixels."""
    deepest = config.deepest_stride
    if not config.pretrained:
        inputs = config.channels * config.fold**2
        return create_backbone(config.backbone, inputs, deepest_stride=deepest)
    created = create_backbone(config.backbone, config.channels, True, deepest_stride=deepest)
    fold_first_layer(created[0], config.fold)
    if config.channels == N_COLOURS:
        # Features are the absorbed shares of colours; ImageNet's are the colours themselves.
        with torch.no_grad():
            first_layer(created[0]).weight.neg_()
    return created


class DetectorNetwork(nn.Module):
    """Network with backbone, feature pyramid, maps and verdict; see :class:`NetworkConfig`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone, widths, strides = _create_backbone(config)
        self.levels = [k for k, stride in enumerate(strides) if stride >= 4]
        widths = [widths[k] for k in self.levels]
        self.level = nn.ModuleList(
            nn.BatchNorm2d(w) if config.level_stages else nn.Identity() for w in widths
        )
        self.lateral = nn.ModuleList(nn.Conv2d(w, config.width, 1) for w in widths)
        self.mix = nn.ModuleList(_block(config.width, config.width) for _ in widths[:-1])
        self.categories = nn.Conv2d(config.width, len(config.categories), 1)
        self.last = _block(config.width, config.width)
        self.maps = nn.Conv2d(config.width, 2, 1)
        for head in (self.categories, self.maps):
            nn.init.constant_(head.bias, FIRST_BIAS)  # type: ignore[arg-type]
        self.verdict = Verdict(config.width, widths[-1], strides[-1] * config.fold // CELL_PX)
        self.two_views = (
            TwoViews(config.two_views, config.width) if config.two_views.width else None
        )

    def forward(self, features: Tensor) -> Maps:
        """Compute the maps of views.

        Args:
            features: (B, C, H, W), 0 in air; H and W must be multiples of 64.

        Returns:
            Maps of size (H / 8, W / 8).
        """
        if torch.is_autocast_enabled(features.device.type):
            # Cast before the fold, which then moves half as many bytes.
            features = features.to(torch.get_autocast_dtype(features.device.type))
        folded = F.pixel_unshuffle(features.contiguous(), self.config.fold).contiguous(
            memory_format=torch.channels_last
        )
        stages = self.backbone(folded)
        stages = [level(stages[k]) for level, k in zip(self.level, self.levels, strict=True)]
        merged = self.lateral[-1](stages[-1])
        for lateral, mix, stage in zip(
            reversed(self.lateral[:-1]), reversed(self.mix), reversed(stages[:-1]), strict=True
        ):
            size = stage.shape[-2:]
            upsampled = F.interpolate(merged, size=size, mode="bilinear", align_corners=False)
            merged = mix(lateral(stage) + upsampled)
        fine = self.last(merged)
        maps = self.maps(fine)
        return Maps(self.categories(merged), maps[:, :1], maps[:, 1:], fine, stages[-1], merged)
