"""Statistics of batch normalisation, estimated on other images than those of training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def norms_of(network: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the batch normalisations of a network."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@contextmanager
def estimating(network: nn.Module) -> Iterator[None]:
    """Context in which forward passes set the statistics to the mean over all batches.

    Everything else is in evaluation mode, in the context and afterwards.
    """
    norms = norms_of(network.eval())
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
        norm.train()
    with torch.inference_mode():
        yield
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
