"""One contract for every part: shapes, repeatability, any channels, empty bags, order, save and load."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from bagscan.association import Grid
from bagscan.core import Regions, View
from bagscan.core.errors import ConfigError
from bagscan.registry import KINDS, modules_of, names, part

REGIONERS, ENCODERS, SCORERS = (names(kind) for kind in KINDS)
NOT_PARTS = {
    "regions": {"connectivity", "instances", "kernel", "pixel_features", "superpixels"},
    "encoders": {"cutting", "pooling", "region_means"},
    "scorers": {"dcgan", "fitted"},
}


def build(kind: str, name: str, channels: int | None = None):
    module = part(kind, name)
    config = module.tiny()
    if channels and hasattr(config, "channels"):
        config = dataclasses.replace(config, channels=channels)
    torch.manual_seed(0)
    return module.build(config).eval()


def view(channels: int = 3, seed: int | None = 0) -> View:
    pixels = np.full((channels, 48, 64), 0.9, np.float32)
    if seed is not None:
        pixels *= np.random.default_rng(seed).random(pixels.shape, dtype=np.float32)
    quantity = "pseudo_colour" if channels == 3 else "transmission"
    return View(pixels, tuple(f"c{i}" for i in range(channels)), quantity)


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_a_part_or_known_not_to_be(kind):
    assert set(modules_of(kind)) == set(names(kind)) | NOT_PARTS[kind]


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in KINDS for n in names(k)])
def test_card_and_frozen_config(kind, name):
    module = part(kind, name)
    assert {"paper", "channels", "weights", "limits"} <= set(module.CARD)
    with pytest.raises(dataclasses.FrozenInstanceError):
        module.tiny().anything = 1


def test_unknown_name_gives_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'pooled'"):
        part("encoders", "poled")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("name", REGIONERS)
def test_regioner(name, channels):
    regioner = build("regions", name, channels)
    found = regioner.regions(view(channels))
    assert isinstance(found, Regions)
    assert found.shape == (48, 64)
    assert found.kind == regioner.kind
    assert found.areas().min(initial=1) > 0
    again = regioner.regions(view(channels))
    assert np.array_equal(found.labels, again.labels)
    flat = regioner.regions(view(channels, seed=None))
    # A detector may find nothing, and then there is nothing to cut up.
    assert flat.n >= (name not in ("mask_rcnn", "faster_rcnn", "sub_components"))


def test_grid_cells_by_side_and_by_count():
    module = part("regions", "grid")
    by_side = module.build(module.Config(cell_px=20)).regions(view())
    assert by_side.n == 3 * 4
    assert by_side.areas()[0] == 400
    assert by_side.labels[19, 19] == 0
    assert by_side.labels[20, 20] == 5
    assert module.build(module.Config(n_superpixels=12)).regions(view()).n == 12


REGIONS = torch.from_numpy((np.arange(48)[:, None] // 12 * 4 + np.arange(64)[None] // 16).astype(np.int64))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ENCODERS)
def test_encoder(name, channels):
    encoder = build("encoders", name, channels)
    torch.manual_seed(1)
    images = torch.randn(2, channels, 48, 64)
    labels = REGIONS.expand(2, -1, -1).contiguous()
    chosen = torch.tensor([[0, 3], [1, 15], [1, 0]])
    with torch.no_grad():
        found = encoder(images, labels, chosen)
        swapped = encoder(images.flip(0), labels, torch.tensor([[1, 3], [0, 15], [0, 0]]))
        alone = encoder(images[1:], labels[1:], torch.tensor([[0, 15], [0, 0]]))
        none = encoder(images, labels, torch.zeros(0, 2, dtype=torch.long))
    assert found.shape == (3, encoder.dim)
    assert found.dtype == torch.float32
    assert torch.allclose(found, swapped, atol=1e-4)
    assert torch.allclose(found[1:], alone, atol=1e-4)
    assert none.shape == (0, encoder.dim)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder_passes_the_gradient_to_the_association(name):
    encoder = build("encoders", name).train()
    grid = Grid.for_count(48, 64, 12)
    torch.manual_seed(2)
    raw = torch.randn(2, grid.rows, grid.cols, 9, grid.cell_h * grid.cell_w, requires_grad=True)
    embedded = encoder(torch.randn(2, 3, 48, 64), (raw.softmax(-2), grid), torch.tensor([[0, 1], [1, 5], [0, 7]]))
    embedded.square().sum().backward()
    assert raw.grad is not None
    assert raw.grad.abs().max() > 0


@pytest.mark.parametrize("name", ENCODERS)
def test_hard_association_and_hard_labels_describe_alike(name):
    encoder = build("encoders", name)
    grid = Grid(48, 64, 12, 16)
    q = torch.zeros(1, 4, 4, 9, 12 * 16)
    q[..., 4, :] = 1
    chosen = torch.stack([torch.zeros(16, dtype=torch.long), torch.arange(16)], 1)
    torch.manual_seed(3)
    image = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        soft, hard = encoder(image, (q, grid), chosen), encoder(image, REGIONS[None], chosen)
    assert torch.allclose(soft, hard, atol=1e-4)


@pytest.mark.parametrize("name", ENCODERS)
def test_what_lies_in_no_region_says_nothing_of_one(name):
    """A region thinner than the sampling raster is described by its own pixels, not by what is outside."""
    encoder = build("encoders", name)
    labels = torch.full((1, 48, 64), -1)
    labels[:, 1:3, 1:3] = 0
    torch.manual_seed(4)
    image = torch.randn(1, 3, 48, 64)
    other = image.clone()
    other[:, :, 40:, 56:] += 5
    chosen = torch.zeros(1, 2, dtype=torch.long)
    with torch.no_grad():
        assert torch.allclose(encoder(image, labels, chosen), encoder(other, labels, chosen), atol=2e-2)


@pytest.mark.parametrize("name", SCORERS)
def test_scorer(name):
    scorer = build("scorers", name)
    embeddings = torch.randn(9, scorer.config.dim)
    with torch.no_grad():
        scores = scorer.score(embeddings)
        order = torch.randperm(9)
        assert torch.allclose(scorer.score(embeddings[order]), scores[order], atol=1e-6)
    assert scores.shape == (9,)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in KINDS for n in names(k)])
def test_state_comes_back(kind, name, tmp_path):
    from safetensors.torch import load_file, save_file

    one: nn.Module = build(kind, name)
    state = {k: v.contiguous() for k, v in one.state_dict().items()}
    save_file(state, tmp_path / "a.safetensors")
    torch.manual_seed(99)
    other = part(kind, name).build(one.config)
    other.load_state_dict(load_file(tmp_path / "a.safetensors"))
    for key, value in other.state_dict().items():
        assert torch.equal(value, state[key])
