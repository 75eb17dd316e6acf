"""Losses at their known values, and learning that lowers them."""

import math

import pytest
import torch
from torch.nn import functional as F

from bagscan.association import Grid
from bagscan.regions.ssn import soft_slic
from bagscan.training.losses import (
    channel_reconstruction_loss,
    compactness_loss,
    label_reconstruction_loss,
)


def cells_of_their_own(grid):
    q = torch.zeros(1, grid.rows, grid.cols, 9, grid.cell_h * grid.cell_w)
    q[..., 4, :] = 1
    return q


def test_labels_that_follow_the_cells_cost_nothing():
    grid = Grid(6, 6, 3, 3)
    labels = torch.zeros(1, 6, 6, dtype=torch.long)
    labels[:, :, 3:] = 1
    assert label_reconstruction_loss(cells_of_their_own(grid), grid, labels) < 1e-6


def test_half_and_half_cells_cost_ln_2():
    grid = Grid(4, 4, 4, 4)
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    labels[:, :, 2:] = 1
    assert math.isclose(
        label_reconstruction_loss(cells_of_their_own(grid), grid, labels), math.log(2), rel_tol=1e-5
    )


def test_channel_reconstruction_is_the_variance_within_cells():
    grid = Grid(4, 8, 4, 4)
    image = torch.randn(1, 2, 4, 8)
    expected = (
        (image.reshape(2, 4, 2, 4) - image.reshape(2, 4, 2, 4).mean((1, 3), keepdim=True))
        .square()
        .mean()
    )
    assert torch.allclose(
        channel_reconstruction_loss(cells_of_their_own(grid), grid, image), expected, atol=1e-6
    )


def test_compactness_of_a_square_cell():
    grid = Grid(3, 3, 3, 3)
    ys, xs = torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing="ij")
    loss = compactness_loss(cells_of_their_own(grid), grid, torch.stack([ys, xs])[None])
    assert math.isclose(loss, 4 / 3, rel_tol=1e-5)


@pytest.mark.slow
def test_descending_the_gradient_lowers_the_reconstruction_loss():
    torch.manual_seed(0)
    grid = Grid.for_count(24, 24, 9)
    labels = (F.interpolate(torch.randn(1, 1, 4, 4), size=(24, 24), mode="bicubic") > 0)[
        :, 0
    ].long()
    ys, xs = torch.meshgrid(torch.arange(24.0) * 0.3, torch.arange(24.0) * 0.3, indexing="ij")
    learned = torch.zeros(1, 2, 24, 24).normal_(0, 0.1).requires_grad_()
    optimizer = torch.optim.Adam([learned], 0.1)

    def loss():
        features = torch.cat([torch.stack([ys, xs])[None], learned], 1)
        return label_reconstruction_loss(soft_slic(features, grid, 3), grid, labels)

    first = float(loss().detach())
    for _ in range(30):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
    assert float(loss().detach()) < 0.5 * first
