"""Backbones by name: their pyramids, and errors."""

import pytest
import torch
from torch import nn

from bagscan.backbones import create_backbone, first_layer, fold_first_layer
from bagscan.core.errors import ConfigError, ModelError


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    "name", ["squeezenet", "squeezenet1_1_bn", "resnet10t", "tf_efficientnet_lite0"]
)
def test_maps_have_the_widths_and_strides_that_are_told(name, channels):
    net, widths, strides = create_backbone(name, channels)
    maps = net.eval()(torch.zeros(1, channels, 96, 128))
    assert [m.shape[1] for m in maps] == widths
    assert [round(128 / m.shape[-1]) for m in maps] == strides


def test_normalised_squeezenet_has_a_norm_after_every_convolution_and_the_same_kernels():
    plain, normalised = (
        create_backbone(name, 3)[0] for name in ("squeezenet1_1", "squeezenet1_1_bn")
    )
    convolutions, norms = (
        [m for m in normalised.modules() if isinstance(m, kind)]
        for kind in (nn.Conv2d, nn.BatchNorm2d)
    )
    assert [c.out_channels for c in convolutions] == [n.num_features for n in norms]
    assert [c.weight.shape for c in convolutions] == [
        m.weight.shape for m in plain.modules() if isinstance(m, nn.Conv2d)
    ]
    x = 100 * torch.rand(4, 3, 64, 64)
    with torch.no_grad():  # norms give features of about unit size for any input
        assert normalised.train()(x)[-1].abs().mean() < 2
        assert plain(x)[-1].abs().mean() > 2


def test_normalised_squeezenet_has_no_published_weights():
    with pytest.raises(ModelError, match="squeezenet1_1_bn"):
        create_backbone("squeezenet1_1_bn", 3, pretrained=True)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folded_layer_responds_to_blocks_as_to_pixels_of_their_mean(channels):
    net = create_backbone("tf_efficientnet_lite0", channels)[0].eval()
    x = torch.rand(1, channels, 64, 64)
    noise = torch.rand(1, channels, 64, 2, 64, 2)
    noise -= noise.mean((3, 5), keepdim=True)
    blocks = (x[:, :, :, None, :, None] + noise).reshape(1, channels, 128, 128)
    with torch.no_grad():
        expected = net(x)
        fold_first_layer(net, 2)
        found = net(nn.functional.pixel_unshuffle(blocks, 2))
    assert first_layer(net).in_channels == 4 * channels
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(expected, found, strict=True))


def test_unknown_name_offers_a_near_one():
    with pytest.raises(ConfigError, match="resnet50"):
        create_backbone("resnett50", 3)
