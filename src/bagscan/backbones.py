"""Backbones as feature pyramids: SqueezeNet from torchvision, all others from timm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bagscan.core.errors import ConfigError, ModelError, nearest
from bagscan.imagenet import EFFICIENTNETS, load_efficientnet, load_squeezenet, unavailable

ALIASES = {
    "vgg16": "vgg16",
    "vgg-16": "vgg16",
    "resnet-50": "resnet50",
    "squeezenet": "squeezenet1_1",
}
NORMALISED = "_bn"
# With and without batch normalisation; without it, SqueezeNet and VGG do not learn from scratch.
SQUEEZENETS = (
    "squeezenet1_0",
    "squeezenet1_1",
    f"squeezenet1_0{NORMALISED}",
    f"squeezenet1_1{NORMALISED}",
)


class SqueezeNetPyramid(nn.Module):
    """SqueezeNet that returns a feature map per pooling stage.

    If the name ends in ``_bn``, batch normalisation follows each convolution.

    Args:
        name: an entry of ``SQUEEZENETS``.
        channels: channels of the image.
    """

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        import torchvision  # takes seconds, and most models only need timm

        layers = list(
            getattr(torchvision.models, name.removesuffix(NORMALISED))(weights=None).features
        )
        first = layers[0]
        if channels != 3:
            layers[0] = nn.Conv2d(channels, first.out_channels, first.kernel_size, first.stride)
        stages: list[list[nn.Module]] = [[]]
        for layer in layers:
            if isinstance(layer, nn.MaxPool2d):
                # The original pooling drops the last odd row; padding keeps features aligned.
                stages.append([nn.MaxPool2d(3, 2, 1)])
            else:
                stages[-1].append(layer)
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)
        if name.endswith(NORMALISED):
            _add_normalisation(self.stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature map of each stage, from fine to coarse."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def _add_normalisation(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            setattr(module, name, nn.Sequential(child, nn.BatchNorm2d(child.out_channels)))
        else:
            _add_normalisation(child)


class Shallow(nn.Module):
    """EfficientNet pyramid without the stages beyond a stride, which hold most of the weights.

    Args:
        net: a timm network with ``blocks`` and ``feature_info``.
        deepest_stride: maximum stride of the feature maps.
    """

    def __init__(self, net: nn.Module, deepest_stride: int) -> None:
        super().__init__()
        reductions, blocks = getattr(net, "feature_info", None), getattr(net, "blocks", None)
        assert reductions is not None
        assert isinstance(blocks, nn.Sequential)
        self.kept = sum(r <= deepest_stride for r in reductions.reduction())
        last = reductions.get_dicts()[self.kept - 1]["stage"]
        net.blocks = blocks[:last]
        self.net = net

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps up to the maximum stride, from fine to coarse."""
        maps: list[Tensor] = self.net(x)
        return maps[: self.kept]


def create_backbone(
    name: str,
    channels: int,
    pretrained: bool = False,
    weights: str | None = None,
    deepest_stride: int = 0,
) -> tuple[nn.Module, list[int], list[int]]:
    """Build a backbone that returns its feature maps from fine to coarse.

    Args:
        name: ``squeezenet1_1``, ``vgg16``, ``resnet50`` or any timm model with feature maps. Use
            ``squeezenet1_1_bn`` or ``vgg16_bn`` to train from scratch.
        channels: image channels, 1 or more.
        pretrained: True to start from ImageNet weights, see :mod:`bagscan.imagenet`. The first
            layer is adapted to ``channels``.
        weights: a local safetensors state dict to start from.
        deepest_stride: stages with a larger stride are removed; 0 keeps all stages.

    Returns:
        The module, the channels of each map and the stride of each map.

    Raises:
        ConfigError: the name is unknown, or ``deepest_stride`` is set for SqueezeNet.
        ModelError: the weights are not available.
    """
    import timm

    name = ALIASES.get(name.lower(), name)
    if name not in SQUEEZENETS and not timm.is_model(name):
        known = [*timm.list_models(), *SQUEEZENETS]
        raise ConfigError(
            f"unknown backbone {name!r}{nearest(name, known)}; "
            "expected squeezenet1_1 or a name of timm.list_models()"
        )
    if name in SQUEEZENETS and deepest_stride:
        raise ConfigError("deepest_stride is only supported for timm backbones; set it to 0")
    if name in SQUEEZENETS:
        net: nn.Module = SqueezeNetPyramid(name, channels)
        if pretrained:
            load_squeezenet(net, name)
    else:
        packaged = pretrained and name in EFFICIENTNETS
        settings: dict[str, Any] = {
            "features_only": True,
            "pretrained": pretrained and not packaged,
            "in_chans": channels,
        }
        try:
            net = timm.create_model(name, **settings)
            # Networks with blocks are shortened by Shallow, all others by timm.
            if deepest_stride and not _has_blocks(net):
                info: Any = net.feature_info
                indices = tuple(k for k, r in enumerate(info.reduction()) if r <= deepest_stride)
                net = timm.create_model(name, **settings, out_indices=indices)
        except (RuntimeError, OSError, ValueError) as error:
            raise ModelError(unavailable(name, error)) from error
        if packaged:
            load_efficientnet(net, name)
    if weights:
        _load_local(net, Path(weights))
    if deepest_stride and _has_blocks(net):
        net = Shallow(net, deepest_stride)
    widths, strides = _measure_maps(net, channels)
    return net, widths, strides


def _has_blocks(net: nn.Module) -> bool:
    """Return True for the EfficientNet family of timm."""
    return isinstance(getattr(net, "blocks", None), nn.Sequential)


def _measure_maps(net: nn.Module, channels: int) -> tuple[list[int], list[int]]:
    """Return channels and stride of each map."""
    net.eval()
    with torch.no_grad():
        maps = net(torch.zeros(1, channels, 128, 128))
    net.train()
    return [m.shape[1] for m in maps], [round(128 / m.shape[-1]) for m in maps]


@torch.no_grad()
def fold_first_layer(net: nn.Module, fold: int) -> None:
    """Adapt the first layer to images folded by :func:`torch.nn.functional.pixel_unshuffle`.

    It then responds to a block of ``fold`` x ``fold`` pixels as it did to a pixel of their mean.
    """
    first = first_layer(net)
    kernels = first.weight.repeat_interleave(fold**2, 1) / fold**2
    first.weight, first.in_channels = nn.Parameter(kernels), kernels.shape[1]


def first_layer(net: nn.Module) -> nn.Conv2d:
    """Return the first convolution of a network."""
    return next(module for module in net.modules() if isinstance(module, nn.Conv2d))


def _load_local(net: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file")
    try:
        net.load_state_dict(load_file(path))
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{path}: state dict does not fit this backbone: {error}") from error
