"""A detector is trained, evaluated and saved, and its weights are loaded into a model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from bagscan.cli import app
from bagscan.cli.terminal import PRESETS
from bagscan.core import View
from bagscan.core.errors import ConfigError
from bagscan.model import Model
from bagscan.model_config import ModelConfig
from bagscan.training.detection import DetectionExperiment
from bagscan.training.experiment import read_experiment, train

CONFIG = """
kind: detection
data:
  sources: [{format: simulated, root: ROOT, images: raw, views: below, annotate: device}]
  fractions: [0.34, 0.33, 0.33]
input:
  quantity: dual_energy
  channels: [low, high, zeff]
  working_side_px: 0
  mean: [0.8, 0.8, 6.0]
  std: [0.25, 0.25, 5.0]
regioner: {name: mask_rcnn, backbone: test_resnet, dim: 16, stride: 2}
training:
  batch_size: 2
  validation_scans: 2
loop: {steps: 2, warmup: 1, validate_every: 2}
"""


@pytest.fixture
def config(tmp_path: Path, simulated_root: Path) -> Path:
    path = tmp_path / "detection.yaml"
    path.write_text(CONFIG.replace("ROOT", str(simulated_root)))
    return path


@pytest.mark.parametrize("name", ["mask_rcnn", pytest.param("faster_rcnn", marks=pytest.mark.slow)])
def test_train_and_evaluate_from_the_command_line(config, tmp_path, name):
    more = ["--set", f"regioner.name={name}"]
    run = CliRunner().invoke(app, ["train", str(config), "--out", str(tmp_path / "run"), *more])
    assert run.exit_code == 0, run.output
    assert (tmp_path / "run" / "regioner.safetensors").is_file()
    run = CliRunner().invoke(
        app, ["evaluate", str(config), "--model", str(tmp_path / "run"), *more]
    )
    assert run.exit_code == 0, run.output
    assert "AP50" in run.output
    assert (tmp_path / "run" / "results.json").is_file()


@pytest.mark.parametrize(
    ("images", "quantity", "channels"),
    [
        ("raw", "dual_energy", ["high"]),
        ("all", "dual_energy", ["low", "high", "zeff", "red", "green", "blue"]),
    ],
)
def test_any_number_of_channels_is_taken(
    config, tmp_path, simulated_root, images, quantity, channels
):
    source = (
        f"data.sources=[{{format: simulated, root: {simulated_root}, images: {images}, "
        "views: below, annotate: device}]"
    )
    taken = (
        f"input={{quantity: {quantity}, channels: [{', '.join(channels)}], working_side_px: 0, "
        f"mean: {[0.8] * len(channels)}, std: {[0.25] * len(channels)}}}"
    )
    experiment = read_experiment(config, [source, taken])
    train(experiment, tmp_path / "run")
    weights = load_file(tmp_path / "run" / "regioner.safetensors")
    first = next(w for name, w in weights.items() if w.ndim == 4 and w.shape[1] == len(channels))
    assert first.shape[2] > 1, "the first kernels"


@pytest.mark.slow
def test_what_it_learnt_finds_items_in_a_model(config, tmp_path, simulated_root):
    experiment = read_experiment(config)
    assert isinstance(experiment, DetectionExperiment)
    train(experiment, tmp_path / "run")
    joint = tmp_path / "joint.yaml"
    joint.write_text(
        f"""
kind: joint
data:
  sources: [{{format: simulated, root: {simulated_root}, images: raw, views: below, items: true}}]
  fractions: [0.34, 0.33, 0.33]
model:
  input:
    quantity: dual_energy
    channels: [low, high, zeff]
    working_side_px: 0
    superpixel_side_px: 8
    log_transmission: true
    mean: [0.9, 0.6, 8.0]
    std: [0.9, 0.7, 5.0]
  regioner:
    name: sub_components
    items: {{name: mask_rcnn, backbone: test_resnet, dim: 16, stride: 2, min_score: 0.0}}
    parts: {{name: ssn, width: 4, n_features: 3, stride: 2}}
  encoder: {{name: pooled, backbone: test_resnet, dim: 8, attention_heads: 2}}
  scorer: {{name: softmax, hidden: 8}}
training:
  batch_size: 2
  verdict: 0.5
  balance_labels: 1.0
  validation_scans: 2
  augment: {{crop_px: 48}}
loop: {{steps: 2, warmup: 1, validate_every: 2}}
init_regioner: {tmp_path / "run" / "regioner.safetensors"}
"""
    )
    best = train(read_experiment(joint), tmp_path / "model_run")
    assert np.isfinite(best["monitor"])
    model = Model.load(tmp_path / "model_run" / "model")
    kept = load_file(tmp_path / "run" / "regioner.safetensors")
    assert all(
        torch.equal(value, kept[name]) for name, value in model.regioner.items.named_parameters()
    )
    view = View(np.full((3, 64, 96), 0.9, np.float32), ("low", "high", "zeff"), "dual_energy")
    regions, scores = model.score_view(view)
    assert len(scores) == regions.n
    everywhere, more = model.everywhere().score_view(view)
    assert (everywhere.labels >= 0).all()
    assert len(more) >= len(scores)


def test_a_superpixel_regioner_detects_nothing(config, tmp_path):
    with pytest.raises(ConfigError, match="mask_rcnn or faster_rcnn"):
        train(
            read_experiment(config, ["regioner={name: ssn, width: 4}"]),
            tmp_path / "run",
        )


def test_where_to_cut_does_not_hang_on_what_it_is_judged_in(config):
    torch.manual_seed(0)
    detector = read_experiment(config, ["regioner.min_score=0.0"]).model().regioner
    view = View(
        np.random.default_rng(0).random((3, 64, 96), dtype=np.float32),
        ("low", "high", "zeff"),
        "dual_energy",
    )
    with torch.autocast("cpu", torch.bfloat16):
        halved = detector.regions(view)
    np.testing.assert_array_equal(halved.labels, detector.regions(view).labels)


def test_boxes_alone_refuse_masks(config):
    with pytest.raises(ConfigError, match="mask_rcnn"):
        read_experiment(config, ["regioner={name: faster_rcnn, masks: true}"]).model()


def test_a_model_loads_without_the_weights_that_its_parts_started_from(
    config, tmp_path, monkeypatch
):
    """Items and parts are nested parts: no weights are fetched for them either."""
    import bagscan.backbones

    parts = {
        "items": {"name": "mask_rcnn", "backbone": "test_resnet", "dim": 8},
        "parts": {"name": "ssn", "width": 4},
    }
    model = Model(
        ModelConfig(
            regioner={"name": "sub_components", **parts},
            encoder={"name": "pooled", "backbone": "test_resnet", "dim": 8},
        )
    )
    model.config.regioner["items"]["pretrained"] = True
    model.save(tmp_path / "model")
    asked = []
    build = bagscan.backbones.create_backbone
    monkeypatch.setattr(
        "bagscan.regions.mask_rcnn.create_backbone", lambda *a: (asked.append(a[2]), build(*a))[1]
    )
    Model.load(tmp_path / "model")
    assert asked == [False]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mask_rcnn", "faster_rcnn"])
def test_whole_items_are_trained_calibrated_and_screened(config, tmp_path, simulated_root, name):
    """Strategy 1 of paper A: a detector's items, with one verdict for each."""
    train(read_experiment(config, [f"regioner.name={name}"]), tmp_path / "found")
    small = {
        "data.sources": f"[{{format: simulated, root: {simulated_root}, images: raw, "
        "views: both, items: true}]",
        "data.fractions": "[0.34, 0.33, 0.33]",
        "model.input.working_side_px": 0,
        "model.regioner": f"{{name: {name}, backbone: test_resnet, dim: 16, stride: 2, "
        "min_score: 0.0}",
        "model.encoder": "{name: crop, backbone: test_resnet, size_px: 32}",
        "training.batch_size": 4,
        "training.validation_scans": 4,
        "training.augment.crop_px": 64,
        "training.augment.threats": 0.0,
        "loop": "{steps: 2, warmup: 1, validate_every: 2}",
        "init_regioner": str(tmp_path / "found" / "regioner.safetensors"),
    }
    settings = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    model, run = tmp_path / "run" / "model", CliRunner().invoke
    whole = str(PRESETS / "items_whole.yaml")
    trained = run(app, ["train", whole, "--out", str(tmp_path / "run"), *settings])
    assert trained.exit_code == 0, trained.output
    calibrate = ["calibrate", whole, "--model", str(model), "--level", "scan", "--max-fpr", "0.5"]
    refused = run(app, [*calibrate, "--mirrored", *settings])
    assert isinstance(refused.exception, ConfigError), "for detectors only"
    calibrated = run(app, [*calibrate, *settings])
    assert calibrated.exit_code == 0, calibrated.output
    screened = run(
        app,
        [
            "screen",
            str(simulated_root / "raw"),
            "--model",
            str(model),
            "--out",
            str(tmp_path / "out"),
            "--json",
        ],
    )
    assert screened.exit_code == 0, screened.output
    rows = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert sum(row["n_regions"] for row in rows) > 0
    found = [finding for row in rows for finding in row["findings"]]
    assert all(finding["kind"] == "instance" for finding in found)
    assert {row["decision"] for row in rows} <= {"ALARM", "CLEAR"}
