"""Rounded weights: few values, close to the original, exact in 16 bits."""

import zlib

import pytest
import torch

from experiments.rounded import STEPS, rounded


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return torch.randn(16, 32, 3, 3) * torch.logspace(-3, 0, 16)[:, None, None, None]


def test_every_channel_keeps_its_scale(weights):
    found = rounded(weights)
    for before, after in zip(weights, found, strict=True):
        assert (before - after).abs().max() <= before.abs().max() / STEPS + 1e-9
        assert len(after.unique()) <= 2 * STEPS + 1


def test_rounded_weights_are_exact_in_16_bits_and_compress(weights):
    found = rounded(weights)
    assert torch.equal(found.half().float(), found)
    sizes = [len(zlib.compress(w.half().numpy().tobytes(), 9)) for w in (weights, found)]
    assert sizes[1] < 0.7 * sizes[0]


def test_biases_statistics_and_counts_stay(weights):
    for kept in (weights[0, 0, 0], torch.tensor(3), torch.ones(4, 4, dtype=torch.long)):
        assert rounded(kept) is kept


def test_a_channel_of_zeros_stays_zero():
    assert torch.equal(rounded(torch.zeros(2, 3)), torch.zeros(2, 3))
