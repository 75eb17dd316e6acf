"""The soft association's cell arithmetic, against plain loops."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bagscan.association import (
    Grid,
    candidate_index,
    from_cells,
    gather_neighbours,
    pool,
    scatter_neighbours,
    to_cells,
    unpool,
)


@pytest.mark.parametrize(
    ("height", "width", "n"), [(13, 29, 12), (8, 8, 1), (50, 7, 30), (1, 9, 4), (64, 64, 16)]
)
def test_cells_round_trip(height, width, n):
    grid = Grid.for_count(height, width, n)
    image = torch.arange(2 * height * width, dtype=torch.float32).reshape(1, 2, height, width)
    assert torch.equal(from_cells(to_cells(F.pad(image, grid.padding), grid), grid), image)


def test_candidates_are_the_nine_neighbours():
    grid = Grid(9, 12, 3, 3)
    index = candidate_index(grid, torch.zeros(1))
    assert index[1, 1].tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert index[0, 0].tolist() == [-1, -1, -1, -1, 0, 1, -1, 4, 5]


def test_scatter_is_the_transpose_of_gather():
    torch.manual_seed(0)
    a, b = torch.randn(1, 3, 4, 2), torch.randn(1, 3, 4, 9, 2)
    assert torch.allclose(
        (gather_neighbours(a) * b).sum(), (a * scatter_neighbours(b)).sum(), atol=1e-4
    )


def test_pool_of_hard_association_is_the_mean_and_unpool_gives_it_back():
    grid = Grid(6, 6, 3, 3)
    q = torch.zeros(1, 2, 2, 9, 9)
    q[..., 4, :] = 1
    image = torch.randn(1, 1, 6, 6)
    means = pool(q, to_cells(image, grid))
    assert torch.allclose(means[0, 1, 0, 0], image[0, 0, 3:, :3].mean(), atol=1e-6)
    back = from_cells(unpool(q, means), grid)
    assert torch.allclose(back[0, 0, 3:, :3], means[0, 1, 0, 0].expand(3, 3))


def test_grid_refuses_nothing_to_cut():
    with pytest.raises(ValueError, match="at least 1"):
        Grid.for_count(8, 8, 0)
    counts = [Grid.for_count(321, 481, n).n for n in (50, 100, 400)]
    assert np.all(np.abs(np.array(counts) / [50, 100, 400] - 1) < 0.25)
