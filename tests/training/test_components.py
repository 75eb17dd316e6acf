"""Components of items, as a second task."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from bagscan.core.errors import ConfigError
from bagscan.datasets.items import components_of
from bagscan.datasets.simulated import load
from bagscan.model import Model
from bagscan.training.components import Components
from bagscan.training.experiment import read_experiment
from bagscan.training.joint import JointTask
from bagscan.training.samples import load_samples

SETTINGS = """
data:
  sources: [{{format: simulated, root: {root}, images: raw, items: true}}]
  fractions: [0.34, 0.33, 0.33]
model:
  input:
    quantity: dual_energy
    channels: [low, high, zeff]
    working_side_px: 0
    superpixel_side_px: 8
    mean: [0.9, 0.6, 8.0]
    std: [0.9, 0.7, 5.0]
  regioner: {{name: ssn, width: 4, n_features: 3, stride: 2}}
  encoder: {encoder}
training: {{batch_size: 3, components: 0.5, augment: {{crop_px: 64, threats: 1.0}}}}
"""


@pytest.fixture
def items(tmp_path, simulated_root):
    def make(encoder="{name: pooled, backbone: test_resnet, dim: 8}"):
        path = tmp_path / "items.yaml"
        path.write_text(SETTINGS.format(root=simulated_root, encoder=encoder))
        experiment = read_experiment(path)
        model = Model(experiment.model)
        records = load(simulated_root, images="raw", items=True).records
        return experiment, model, load_samples(records, model.config.input)

    return make


def test_components_lie_on_their_item_and_are_none_of_the_anomalys(simulated_root):
    records = load(simulated_root, images="raw", items=True).records
    assert any(record.annotations for record in records)
    for record in records:
        names, masks = components_of(record)
        assert len(names) == len(masks) > 0
        assert record.item is not None
        assert masks.shape[1:] == record.item.mask.shape
        assert (
            masks & ~record.item.mask.pixels()
        ).sum() == 0  # the item's mask is wider than the item
        truth = json.loads(record.truth.read_text())
        hidden = {e["id"] for e in truth["annotations"] if e["role"] == "anomaly"}
        of_the_anomaly = {
            e["category"]
            for e in truth["annotations"]
            if e["role"] == "component" and e["parent_id"] in hidden
        }
        assert not of_the_anomaly & set(names)


def test_a_record_without_truth_tells_no_components(simulated_root):
    record = replace(load(simulated_root, images="raw", items=True).records[0], truth=None)
    names, masks = components_of(record)
    assert names == ()
    assert len(masks) == 0


def test_targets_are_shares_of_the_crops_components(items):
    _, _, samples = items()
    known = Components(samples, 16)
    sample = samples[0]
    names, masks = components_of(sample.record)
    assert np.array_equal(known.masks(sample), masks)  # at 1 mm, as simulated
    drawn = torch.zeros(len(names), 8, 12, dtype=torch.bool)
    drawn[0, :4, :2] = True
    target = known.target(sample, drawn)
    assert target.shape == (len(known.names), 2, 3)
    assert float(target[known.names.index(names[0]), 0, 0]) == pytest.approx(0.5)
    assert float(target.sum()) == pytest.approx(0.5)


def test_the_loss_is_none_where_all_is_told_and_counts_the_item_alone(items):
    _, _, samples = items()
    known = Components(samples, 4)
    kinds = len(known.names)
    torch.nn.init.zeros_(known.layer.weight)
    known.layer.weight.data[:, 0, 0, 0] = 60.0
    known.layer.bias.data[:] = -30.0
    features = torch.zeros(1, 4, 2, 2)
    features[0, 0, 0, 0] = 1.0  # the head predicts all components, at the first place only
    wanted = torch.zeros(1, kinds, 2, 2)
    wanted[0, :, 0, 0] = 1.0
    presence = torch.ones(1, 8, 8)
    assert float(known.loss(features, wanted, presence, 0.5).detach()) < 1e-6
    wanted[0, 0, 1, 1] = 1.0
    assert float(known.loss(features, wanted, presence, 0.5).detach()) == pytest.approx(
        30 / 4, rel=1e-3
    )
    presence[0, 4:, 4:] = 0
    assert float(known.loss(features, wanted, presence, 0.5).detach()) < 1e-6


@pytest.mark.slow
def test_it_is_learnt_beside_the_verdict_and_the_model_keeps_nothing_of_it(items):
    experiment, model, samples = items()
    task = JointTask(model, samples, samples, experiment.training)
    assert "components" in task.modules
    assert not any("components" in name for name in model.state_dict())
    rng, found = np.random.default_rng(0), []
    batch = task.batch(rng)
    optimiser = torch.optim.Adam([p for m in task.modules.values() for p in m.parameters()], 1e-2)
    for _ in range(20):
        loss, parts = task.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(parts["components"])
    assert found[-1] < 0.8 * found[0]
    assert any(
        p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.backbone.parameters()
    )


def test_what_cannot_learn_it_is_told(items):
    experiment, model, samples = items()
    bare = [replace(s, record=replace(s.record, truth=None)) for s in samples]
    with pytest.raises(ConfigError, match="items: true"):
        JointTask(model, bare, bare, experiment.training)
    experiment, model, samples = items("{name: crop, backbone: test_resnet, size_px: 32}")
    with pytest.raises(ConfigError, match="encoder pooled"):
        JointTask(model, samples, samples, experiment.training)
