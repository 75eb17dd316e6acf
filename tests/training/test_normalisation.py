"""Statistics of batch normalisation are those of the images that were shown."""

import torch
from torch import nn

from bagscan.training.normalisation import estimating, norms_of


def test_statistics_are_the_mean_over_all_batches_and_weights_stay():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5)).train()
    net[0].running_mean += 9
    batches = [torch.randn(4, 2, 8, 8) * 3 + k for k in range(5)]
    with estimating(net):
        assert not net[1].training
        for batch in batches:
            net(batch)
    (norm,) = norms_of(net)
    assert torch.allclose(
        norm.running_mean, torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    )
    assert torch.allclose(
        norm.running_var, torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0), rtol=1e-4
    )
    assert norm.momentum == 0.1
    assert not net.training
    assert torch.equal(norm.weight, torch.ones(2))
