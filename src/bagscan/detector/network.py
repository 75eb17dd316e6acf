"""The network of the detector: one pass from a view to maps, and a head from a device's part of them to its verdict.

Backbone with ImageNet weights where a package has them, a pathway from coarse to fine (Lin et al. 2017,
feature pyramid networks), and maps at a stride of 8 pixels of the view.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bagscan.backbones import create_backbone
from bagscan.detector.features import CELL_PX, N_FEATURES
from bagscan.detector.two_views import NEAR_CELLS, TOP_PLACES, TwoViews, TwoViewsConfig

FIRST_BIAS = -3.0  # of maps of what is rare


@dataclass(frozen=True)
class NetworkConfig:
    """Attributes:
    backbone, pretrained: see :func:`bagscan.backbones.create_backbone`. channels: of the input.
    deepest_stride: of the backbone's stages that are kept; 0 for all.
    fold: pixels of each side that become channels before the first convolution.
    width: channels of the pathway. categories: what a pixel may belong to.
    two_views: what looks at both views of a bag together, see :class:`bagscan.detector.two_views.TwoViewsConfig`.
    level_stages: whether each stage of the backbone is normalised before the pathway and the verdict take it: stages of a mobile
        backbone are sums over blocks, whose spreads differ tenfold from stage to stage.
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
    """What one pass gives, each (B, n, h, w): logits of categories, of anomaly (n = 1) and of where two
    devices of one class touch (n = 1); features of the finest and of the coarsest stage, and those that categories are told from."""

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
    """Whether something is hidden in a device, from its pooled features and best places, on top of these.

    Args:
        width, coarse_width: channels of the finest and coarsest maps. coarse_cells: cells of the finest to one of the coarsest.
    """

    def __init__(self, width: int, coarse_width: int, coarse_cells: int) -> None:
        super().__init__(
            nn.Linear(2 * width + coarse_width + 2, 128), nn.ReLU(inplace=True), nn.Linear(128, 1)
        )
        self.coarse_cells = coarse_cells

    def forward(self, anomaly: Tensor, fine: Tensor, coarse: Tensor, device: Tensor) -> Tensor:  # type: ignore[override]
        """(D,) logits of (D, 1, h, w) masks of devices, on the maps of one view for all of them or of as many views."""
        near = F.max_pool2d(device.float(), NEAR_CELLS, 1, NEAR_CELLS // 2)
        inside = (near > 0.3).float()
        area = inside.sum((2, 3)).clamp(min=1)
        anomaly, fine, coarse = anomaly.float(), fine.float(), coarse.float()
        elsewhere = anomaly.masked_fill(inside < 0.5, -30.0).flatten(1)
        soft_most = torch.logsumexp(elsewhere, 1, keepdim=True) - area.log()
        top = elsewhere.topk(TOP_PLACES, 1).values.clamp(min=-12).mean(1, keepdim=True)
        mean, most = (
            (fine * inside).sum((2, 3)) / area,
            fine.masked_fill(inside < 0.5, 0).amax((2, 3)),
        )
        share = F.avg_pool2d(near, self.coarse_cells)
        deep = (coarse * share).sum((2, 3)) / share.sum((2, 3)).clamp(min=0.1)
        found = torch.cat([mean, most, deep, soft_most, top], 1)
        for layer in self:
            found = layer(found)
        return (top + found)[:, 0]


class DetectorNetwork(nn.Module):
    """See :class:`NetworkConfig`; the input's sides must be multiples of 64 pixels."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        inputs = config.channels * config.fold**2
        self.backbone, widths, strides = create_backbone(
            config.backbone, inputs, config.pretrained, deepest_stride=config.deepest_stride
        )
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
        """(B, C, H, W) features, 0 in air -> maps of (H / 8, W / 8)."""
        if torch.is_autocast_enabled(features.device.type):
            features = features.to(
                torch.get_autocast_dtype(features.device.type)
            )  # before the fold: half as much to move
        folded = F.pixel_unshuffle(features.contiguous(), self.config.fold).contiguous(
            memory_format=torch.channels_last
        )
        stages = self.backbone(folded)
        stages = [level(stages[k]) for level, k in zip(self.level, self.levels, strict=True)]
        merged = self.lateral[-1](stages[-1])
        for lateral, mix, stage in zip(
            reversed(self.lateral[:-1]), reversed(self.mix), reversed(stages[:-1]), strict=True
        ):
            merged = mix(
                lateral(stage)
                + F.interpolate(merged, size=stage.shape[-2:], mode="bilinear", align_corners=False)
            )
        fine = self.last(merged)
        both = self.maps(fine)
        return Maps(self.categories(merged), both[:, :1], both[:, 1:], fine, stages[-1], merged)
