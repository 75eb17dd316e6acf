"""Contract of every part: shapes, repeatability, channels, empty bags, order, save and load."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from bagscan import registry, testing
from bagscan.association import Grid
from bagscan.contracts import Regioner
from bagscan.core import Regions
from bagscan.core.errors import ConfigError
from bagscan.model import Model
from bagscan.model_config import ModelConfig
from bagscan.registry import KINDS, builtin_names, modules_of, part
from bagscan.scorers.fitted import Fitted

REGIONERS, ENCODERS, SCORERS = (builtin_names(kind) for kind in KINDS)
NOT_PARTS = {
    "regions": {"connectivity", "instances", "kernel", "pasting", "pixel_features", "superpixels"},
    "encoders": {"cutting", "pooling", "region_means"},
    "scorers": {"dcgan", "fitted"},
}


def build(kind: str, name: str):
    module = part(kind, name)
    torch.manual_seed(0)
    return module.build(module.tiny()).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_a_part_or_known_not_to_be(kind):
    assert set(modules_of(kind)) == set(builtin_names(kind)) | NOT_PARTS[kind]


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in KINDS for n in builtin_names(k)])
def test_part(kind, name):
    testing.check_part(part(kind, name))


def test_a_part_of_another_package_that_cannot_be_imported_is_named(monkeypatch):
    broken = EntryPoint("mine", "no_such_package.mine", "bagscan.scorers")
    monkeypatch.setattr(registry, "find_entry_points", lambda kind: {"mine": broken})
    with pytest.raises(ConfigError, match=r"no_such_package\.mine"):
        part("scorers", "mine")


def test_a_name_of_another_package_does_not_hide_a_built_in_part(monkeypatch):
    other = EntryPoint("memory", "no_such_package.memory", "bagscan.scorers")
    monkeypatch.setattr(registry, "find_entry_points", lambda kind: {"memory": other})
    assert registry.names("scorers").count("memory") == 1
    assert part("scorers", "memory").__name__ == "bagscan.scorers.memory"


@dataclass(frozen=True)
class BankConfig:
    dim: int = 4


class Bank(Fitted):
    """Distance to the nearest stored row."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.register_buffer("rows", torch.zeros(1, config.dim))

    def fit(self, benign, anomalous, seed=0):
        self.rows = benign

    def distance(self, embeddings):
        return torch.cdist(embeddings, self.rows).amin(1)


class ForgetfulBank(Bank):
    """It keeps its rows in an attribute that is not part of its weights."""

    def __init__(self, config):
        super().__init__(config)
        self._rows = torch.zeros(1, config.dim)

    def fit(self, benign, anomalous, seed=0):
        self._rows = benign

    def distance(self, embeddings):
        return torch.cdist(embeddings, self._rows).amin(1)


def test_a_fitted_scorer_must_come_back_from_its_weights():
    module = {"tiny": BankConfig, "__name__": "bank"}
    testing.check_scorer(SimpleNamespace(**module, build=Bank))
    with pytest.raises(AssertionError):
        testing.check_scorer(SimpleNamespace(**module, build=ForgetfulBank))


def test_unknown_name_gives_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'pooled'"):
        part("encoders", "poled")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("name", REGIONERS)
def test_regioner(name, channels):
    testing.check_regioner(part("regions", name), channels)


def test_grid_cells_by_side_and_by_count():
    module = part("regions", "grid")
    by_side = module.build(module.Config(cell_px=20)).regions(testing.synthetic_view())
    assert by_side.n == 3 * 4
    assert by_side.areas()[0] == 400
    assert by_side.labels[19, 19] == 0
    assert by_side.labels[20, 20] == 5
    assert module.build(module.Config(n_superpixels=12)).regions(testing.synthetic_view()).n == 12


REGIONS = torch.from_numpy(
    (np.arange(48)[:, None] // 12 * 4 + np.arange(64)[None] // 16).astype(np.int64)
)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ENCODERS)
def test_encoder(name, channels):
    testing.check_encoder(part("encoders", name), channels)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder_passes_the_gradient_to_the_association(name):
    testing.check_gradient(part("encoders", name))


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
    """A region thinner than the sampling raster is described by its own pixels alone."""
    encoder = build("encoders", name)
    labels = torch.full((1, 48, 64), -1)
    labels[:, 1:3, 1:3] = 0
    torch.manual_seed(4)
    image = torch.randn(1, 3, 48, 64)
    other = image.clone()
    other[:, :, 40:, 56:] += 5
    chosen = torch.zeros(1, 2, dtype=torch.long)
    with torch.no_grad():
        assert torch.allclose(
            encoder(image, labels, chosen), encoder(other, labels, chosen), atol=2e-2
        )


@pytest.mark.parametrize("name", SCORERS)
def test_scorer(name):
    testing.check_scorer(part("scorers", name))


@dataclass(frozen=True)
class Nothing:
    """No settings."""


class OfNoContract(nn.Module):
    config, kind = Nothing(), "superpixel"


class OfAnotherSize(Regioner):
    config, kind = Nothing(), "superpixel"

    def regions(self, view, n_superpixels=None):
        return Regions.from_labels(np.zeros((2, 2), int), self.kind)


class NeverTheSame(OfAnotherSize):
    def regions(self, view, n_superpixels=None):
        return Regions.from_labels(np.random.default_rng().integers(0, 2, view.shape), self.kind)


@pytest.mark.parametrize(
    ("broken", "result"),
    [
        (OfNoContract, "bagscan.contracts.Regioner"),
        (OfAnotherSize, "regions have shape"),
        (NeverTheSame, "two different ways"),
    ],
)
def test_a_broken_regioner_is_told_what_is_wrong(broken, result):
    module = SimpleNamespace(__name__="broken", tiny=Nothing, build=lambda config: broken())
    with pytest.raises(AssertionError, match=result):
        testing.check_regioner(module)


def test_a_part_of_another_kind_is_refused(monkeypatch):
    monkeypatch.setattr(
        "bagscan.building.part",
        lambda kind, name: part("scorers", "softmax") if kind == "regions" else part(kind, name),
    )
    with pytest.raises(ConfigError, match="Regioner"):
        Model(ModelConfig(regioner={"name": "softmax"}))


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"scorer": {"name": "softmax", "dim": 3}}, r"scorer\.dim"),
        ({"regioner": {"name": "ssn", "channels": 5}}, r"regioner\.channels"),
        (
            {"scorer": {"name": "fused", "unseen": {"name": "memory", "dim": 3}}},
            r"scorer\.unseen\.dim",
        ),
    ],
)
def test_a_setting_that_follows_from_the_rest_is_not_overwritten_in_silence(settings, place):
    parts = {
        "regioner": {"name": "grid"},
        "encoder": {"name": "pixels"},
        "scorer": {"name": "softmax"},
    }
    with pytest.raises(ConfigError, match=place):
        Model(ModelConfig(**parts | settings))
