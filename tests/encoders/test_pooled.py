"""A region's description depends on itself, or on all regions of its image."""

import numpy as np
import pytest
import torch

from bagscan.core import Regions
from bagscan.encoders import pooled
from bagscan.encoders.region_means import region_means


def encoder(heads: int) -> pooled.PooledEncoder:
    torch.manual_seed(0)
    return pooled.build(pooled.Config(backbone="test_resnet", dim=8, attention_heads=heads)).eval()


@pytest.mark.parametrize(("heads", "of_the_others"), [(0, False), (2, True)])
def test_a_description_knows_the_other_regions_with_attention_alone(heads, of_the_others):
    model = encoder(heads)
    means = torch.randn(6, model.dim, generator=torch.Generator().manual_seed(1))
    changed = means.clone()
    changed[0] += 3 * torch.randn(model.dim, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before, after = model.describe_means(means), model.describe_means(changed)
    assert not torch.allclose(before[0], after[0], atol=1e-3)
    assert bool((before[1:] - after[1:]).abs().amax(1).gt(1e-4).all()) is of_the_others


@pytest.mark.parametrize("heads", [0, 2])
def test_training_and_use_describe_alike(heads):
    """Training pools by labels in a batch; inference takes the means of the regions of one view."""
    model = encoder(heads)
    maps = torch.randn(1, model.dim, 8, 8, generator=torch.Generator().manual_seed(0))
    quarters = np.kron(
        np.arange(4).reshape(2, 2), np.ones((16, 16), int)
    )  # of a view with four times the side of its maps
    labels = torch.from_numpy(quarters)[None]
    means = torch.from_numpy(
        region_means(
            maps[0].permute(1, 2, 0).contiguous().numpy(),
            Regions.from_labels(quarters, "superpixel"),
        )
    )
    chosen = torch.tensor([[0, 3], [0, 1]])
    with torch.no_grad():
        trained, used = (
            model.describe_maps(maps, labels, chosen),
            model.describe_means(means)[chosen[:, 1]],
        )
    assert torch.allclose(trained, used, atol=1e-5)
