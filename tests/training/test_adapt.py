"""Adaptation without labels: statistics mix, a model that does not improve is left as it is."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from bagscan.cli import app
from bagscan.core import OperatingPoint, View
from bagscan.core.errors import ConfigError, DataError
from bagscan.detector.colours import N_QUANTILES, Colours
from bagscan.detector.inference import Options
from bagscan.detector.model import Detector
from bagscan.detector.network import NetworkConfig
from bagscan.formats import read_scan
from bagscan.formats.quantities import RGB
from bagscan.model_folder import WARNINGS, warning_of
from bagscan.runtime.load import load_detector
from bagscan.screening import Screener
from bagscan.training import adapt as adapting
from bagscan.training.adapt import _alarm_shares, _estimate, _set_statistics, _statistics, adapt
from bagscan.training.agreement import agreement

CATEGORIES = ("powder", "phone", "pistol", "cable")


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    config = NetworkConfig(backbone="test_efficientnet", pretrained=False, width=16)
    made = Detector.new(config, CATEGORIES, 1, 1, "colour", 1)
    made.about = {"validation": {"monitor": 0.9}, "limits": "tests"} | {
        key: f"a {key}" for key in WARNINGS
    }
    made.operating_point = OperatingPoint(0.5, "max_fpr=0.1 per scan", "val", 0.1, (0.0, 0.2))
    return made


@pytest.fixture(scope="module")
def model(detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "colour"
    detector.save(folder)
    return folder


def picture(seed):
    """White air with blocks of random colours, all darker on the left."""
    rng = np.random.default_rng(seed)
    pixels = np.ones((64, 96, 3))
    for _ in range(6):
        row, column = rng.integers(4, 48), rng.integers(4, 80)
        pixels[row : row + 14, column : column + 14] *= rng.uniform(0.2, 0.9, 3)
    return pixels


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    for k in range(24):
        Image.fromarray((picture(k) * 255).astype(np.uint8)).save(folder / f"{k:02d}.png")
    return folder


@pytest.fixture(scope="module")
def benign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benign")
    for k in range(24, 34):
        Image.fromarray((picture(k) * 255).astype(np.uint8)).save(folder / f"{k:02d}.png")
    return folder


def view(seed):
    return View(picture(seed).transpose(2, 0, 1).astype(np.float32), RGB, "pseudo_colour")


def test_statistics_mix_as_those_of_two_samples_do():
    rng = np.random.default_rng(0)
    samples = [
        torch.tensor(rng.normal(m, s, 4000), dtype=torch.float32) for m, s in ((0, 1), (3, 2))
    ]
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(1))
    before, target = ([(x.mean()[None], x.var()[None])] for x in samples)
    for share, expected in ((0.0, samples[0]), (1.0, samples[1]), (0.5, torch.cat(samples))):
        _set_statistics(network, before, target, share)
        assert network[0].running_mean.item() == pytest.approx(expected.mean().item(), abs=1e-3)
        assert network[0].running_var.item() == pytest.approx(expected.var().item(), rel=1e-3)


def test_estimating_leaves_the_detector_as_it_was(detector):
    before = _statistics(detector.network)
    target = _estimate(detector, [view(k) for k in range(3)])
    after = _statistics(detector.network)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(before, after, strict=True))
    assert not all(torch.allclose(a[0], b[0]) for a, b in zip(before, target, strict=True))
    assert not detector.network.training


def test_agreement_is_a_correlation_and_none_of_maps_that_show_nothing(detector):
    value = agreement(detector, [view(1)])
    assert -1 <= value <= 1
    assert agreement(detector, [view(1)]) == value
    air = View(np.ones((3, 64, 64), np.float32), RGB, "pseudo_colour")
    assert agreement(detector, [air]) == 0.0


def test_an_adapted_model_has_other_statistics_and_the_same_weights(
    model, archive, tmp_path, monkeypatch
):
    monkeypatch.setattr(adapting, "MIN_GAIN", -2.0)
    result = adapt(model, [archive], tmp_path / "out")
    assert (result.scans, result.checked) == (19, 5)
    before, after = Detector.load(model), Detector.load(tmp_path / "out")
    assert after.about["adapted"]["from"] == before.id
    assert after.about["limits"] == before.about["limits"]
    assert "validation" not in after.about, "a figure of the model before"
    assert after.thresholds == before.thresholds
    states = before.network.state_dict(), after.network.state_dict()
    changed = {name for name in states[0] if not torch.equal(states[0][name], states[1][name])}
    assert changed
    assert all(name.rpartition(".")[2] in ("running_mean", "running_var") for name in changed)


@pytest.mark.parametrize(
    ("colours", "agreed", "mapped"),
    [(True, 0.95, True), (True, 0.89, True), (True, 0.85, False), (False, 0.95, False)],
)
def test_colours_are_mapped_unless_maps_agree_much_less(
    detector, archive, tmp_path, monkeypatch, colours, agreed, mapped
):

    def agreement(detector, views):
        return agreed if detector.options.colours.scanner else 0.9

    monkeypatch.setattr(adapting, "agreement", agreement)
    monkeypatch.setattr(adapting, "MIN_GAIN", 2.0)  # statistics stay
    training = tuple(tuple(float(x) for x in np.linspace(0, 1, N_QUANTILES)) for _ in RGB)
    model = tmp_path / "model"
    replace(detector, options=Options(item_smoothing=1.0, colours=Colours(training))).save(model)
    if not mapped:
        with pytest.raises(DataError):
            adapt(model, [archive], tmp_path / "out", colours=colours)
        return
    result = adapt(model, [archive], tmp_path / "out", colours=colours)
    assert (result.colours, result.share) == (True, 0.0)
    before, after = Detector.load(model), Detector.load(tmp_path / "out")
    assert after.options.item_smoothing == 1.0
    assert after.options.colours.training == training
    scanner = np.array(after.options.colours.scanner)
    assert scanner.shape == (3, N_QUANTILES)
    assert (np.diff(scanner) >= 0).all()
    states = before.network.state_dict(), after.network.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    outputs = [load_detector(m).run_views([view(1)]).views[0] for m in (model, tmp_path / "out")]
    assert not np.array_equal(outputs[0].region_logits, outputs[1].region_logits)


def test_scans_that_check_the_result_are_not_adapted_to(model, archive, tmp_path, monkeypatch):
    monkeypatch.setattr(adapting, "MIN_GAIN", -2.0)
    monkeypatch.setattr(adapting, "_alarm_shares", lambda *_: [0.0, 0.0])
    checking = [archive / "00.png", archive / "01.png"]
    result = adapt(model, [archive], tmp_path / "out", benign=checking)
    assert result.scans + result.checked == 22


def test_a_model_that_gets_no_better_is_not_written(model, archive, tmp_path, monkeypatch):
    monkeypatch.setattr(adapting, "MIN_GAIN", 2.0)
    with pytest.raises(DataError):
        adapt(model, [archive], tmp_path / "out")
    run = CliRunner().invoke(app, ["adapt", str(model), str(archive), "--out", str(tmp_path / "a")])
    assert isinstance(run.exception, DataError)
    assert not list(tmp_path.iterdir())


def test_more_false_alarms_are_refused(model, archive, benign, tmp_path, monkeypatch):
    monkeypatch.setattr(adapting, "MIN_GAIN", -2.0)
    shares = iter([[0.1, 0.2], [0.2, 0.1]])
    monkeypatch.setattr(adapting, "_alarm_shares", lambda *_: next(shares))
    with pytest.raises(DataError):
        adapt(model, [archive], tmp_path / "out", [benign])
    assert not (tmp_path / "out").exists()
    result = adapt(model, [archive], tmp_path / "out", [benign])
    assert (result.false_alarms_before, result.false_alarms) == (0.2, 0.1)


def test_thresholds_are_chosen_on_benign_scans(model, archive, benign, tmp_path, monkeypatch):
    """If statistics get no better, the thresholds alone change."""
    monkeypatch.setattr(adapting, "MIN_GAIN", 2.0)
    monkeypatch.setattr(adapting, "MIN_SCANS", 8)
    before, shares = Detector.load(model), []
    for max_fpr in (0.0, 0.3, 1.0):
        out = tmp_path / str(max_fpr)
        result = adapt(model, [archive], out, [benign], max_fpr=max_fpr)
        assert (result.share, result.colours) == (0, False)  # its colours in training are not known
        # A device too small for a region of its own alarms nowhere.
        assert _alarm_shares([out], [benign])[0] <= result.false_alarms <= max_fpr
        shares.append(result.false_alarms)
        after = Detector.load(out)
        states = before.network.state_dict(), after.network.state_dict()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert after.operating_point.criterion == f"max_fpr={max_fpr} per scan"
        assert warning_of(before.about) == "a warning; a warning about thresholds"
        assert warning_of(after.about) == "a warning"
    assert shares == sorted(shares)
    assert shares[-1] > 0


def test_thresholds_need_enough_benign_scans(model, archive, benign, tmp_path):
    with pytest.raises(ConfigError):
        adapt(model, [archive], tmp_path / "out", max_fpr=0.1)
    with pytest.raises(DataError):  # ten
        adapt(model, [archive], tmp_path / "out", [benign], max_fpr=0.1)
    assert not (tmp_path / "out").exists()


def test_the_share_of_alarms_is_that_of_screening(model, archive):
    screener = Screener.load(model, runtime="torch")
    alarms = [bool(screener.screen(read_scan(path)).findings) for path in archive.iterdir()]
    assert _alarm_shares([model], [archive]) == pytest.approx([np.mean(alarms)])
    with pytest.raises(DataError):
        _alarm_shares([model], [])


def test_the_command_refuses_a_model_that_alarms_more(
    model, archive, benign, tmp_path, monkeypatch
):
    monkeypatch.setattr(adapting, "MIN_GAIN", -2.0)
    adapt(model, [archive], tmp_path / "unchecked")
    before, after = _alarm_shares([model, tmp_path / "unchecked"], [benign])
    out = tmp_path / "out"
    args = ["adapt", str(model), str(archive), "--out", str(out), "--benign", str(benign)]
    run = CliRunner().invoke(app, [*args, "--json"])
    assert isinstance(run.exception, DataError) == (after > before) == (not out.exists())
    if after <= before:
        answer = json.loads(run.stdout)
        assert (answer["false_alarms_before"], answer["false_alarms"]) == (before, after)


def test_an_output_that_cannot_be_written_is_refused_first(model, archive, tmp_path, monkeypatch):
    (tmp_path / "a_file").write_text("")
    monkeypatch.setattr(adapting, "adapt", lambda *_: pytest.fail("began to adapt"))
    run = CliRunner().invoke(
        app, ["adapt", str(model), str(archive), "--out", str(tmp_path / "a_file" / "out")]
    )
    assert isinstance(run.exception, ConfigError)


def test_few_or_unreadable_scans_are_an_error(model, archive, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for k, path in enumerate(sorted(archive.iterdir())):
        (few / path.name).write_bytes(path.read_bytes() if k < 19 else b"no picture")
    with pytest.raises(DataError):
        adapt(model, [few], tmp_path / "out")
    assert not (tmp_path / "out").exists()
