"""The mean of models has the mean of their weights, and refuses other networks."""

import pytest
import torch

from bagscan.core.errors import ConfigError
from experiments.mean_of_models import mean_of


def test_weights_are_averaged_and_counts_are_not():
    states = [{"w": torch.full((2,), float(k)), "n": torch.tensor(k)} for k in (1, 2, 6)]
    mean = mean_of(states)
    assert torch.equal(mean["w"], torch.full((2,), 3.0))
    assert mean["n"] == 1


@pytest.mark.parametrize("other", [{"w": torch.zeros(3)}, {"v": torch.zeros(2)}])
def test_networks_with_other_layers_have_no_mean(other):
    with pytest.raises(ConfigError):
        mean_of([{"w": torch.zeros(2)}, other])
