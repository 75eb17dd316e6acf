"""Multi-label training and one-class fitting: sampling, stored results, configured runs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bagscan.cli import app
from bagscan.core.errors import ConfigError, DataError, TrainingError
from bagscan.evaluation.multi_label import UNKNOWN, map_interval, ranking_table
from bagscan.model import Model
from bagscan.model_config import resize
from bagscan.training.experiment import read_experiment, train
from bagscan.training.multi_label import (
    MultiLabelConfig,
    MultiLabelTask,
    augment,
    ideal_set,
    label_vector,
)
from bagscan.training.one_class import Descriptions

weekly = pytest.mark.weekly


def test_ap_is_the_mean_precision_at_each_positive_over_all_images():
    truth = np.array([[1, 0], [0, 1], [1, 0], [0, 0], [0, UNKNOWN]])
    scores = np.array([[0.9, 0.2], [0.8, 0.6], [0.3, 0.7], [0.1, 0.1], [0.05, 0.99]])
    result = ranking_table(truth, scores, ("a", "b"))
    assert result["ap"]["a"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert result["ap"]["b"] == pytest.approx(1 / 2)  # the unknown one is not ranked
    assert result["map"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    # At 0.5: a has 1 right, 1 wrong, 1 missed; b has 1 right and 1 wrong.
    assert result["micro_precision"] == pytest.approx(2 / 4)
    assert result["micro_recall"] == pytest.approx(2 / 3)
    assert result["macro_recall"] == pytest.approx((1 / 2 + 1) / 2)
    low, high = map_interval(np.repeat(truth[:4], 20, 0), np.repeat(scores[:4], 20, 0))
    assert (
        low
        <= ranking_table(np.repeat(truth[:4], 20, 0), np.repeat(scores[:4], 20, 0), ("a", "b"))[
            "map"
        ]
        <= high
    )


def test_a_class_without_positives_is_undefined_and_not_averaged():
    result = ranking_table(
        np.array([[1, 0], [0, 0]]), np.array([[0.9, 0.8], [0.1, 0.2]]), ("a", "b")
    )
    assert np.isnan(result["ap"]["b"])
    assert result["map"] == 1


def test_labels_as_sixray_writes_them():
    assert list(
        label_vector({"Gun": 1, "Knife": -1, "Wrench": 0}, ("Gun", "Knife", "Wrench", "Pliers"))
    ) == [1, 0, UNKNOWN, 0]


def test_the_ideal_set_holds_as_many_negatives_as_positives_always_the_same():
    labels = np.zeros((100, 2), int)
    labels[:12, 0] = 1
    labels[90:] = UNKNOWN
    for negatives, expected in ((1.0, 12), (3.0, 36), (0.0, 78)):
        chosen = ideal_set(labels, negatives, 0)
        assert (chosen < 12).sum() == 12
        assert len(chosen) == 12 + expected
        assert chosen.max() < 90, "unknown labels are not negatives"
    assert np.array_equal(ideal_set(labels, 1.0, 4), ideal_set(labels, 1.0, 4))
    assert not np.array_equal(ideal_set(labels, 1.0, 4), ideal_set(labels, 1.0, 5))
    assert len(ideal_set(labels, 1.0, 0, positives=5)) == 10
    with pytest.raises(DataError, match="no image holds"):
        ideal_set(np.zeros((4, 2), int), 1.0, 0)


def test_images_in_use_are_not_augmented_and_in_training_only_a_little():
    pixels = np.full((3, 60, 90), 0.9, np.float32)
    pixels[:, 20:40, 30:60] = 0.2
    pixels = resize(pixels, 64, 64)
    plain = torch.from_numpy(pixels)
    config = MultiLabelConfig()
    seen = [augment(pixels, config, np.random.default_rng(seed)) for seed in range(8)]
    assert not any(torch.equal(plain, one) for one in seen)
    for one in seen:
        assert (one < 0.5).float().mean() == pytest.approx(
            float((plain < 0.5).float().mean()), rel=0.35
        )
    still = MultiLabelConfig(turn=0, zoom=0, shift=0)
    assert any(
        torch.allclose(plain, augment(pixels, still, np.random.default_rng(seed)), atol=0.02)
        for seed in range(6)
    )


PHASE_1 = """
kind: multi_label
data:
  sources: [{{format: simulated, root: {root}, label: kind}}]
  fractions: [0.34, 0.33, 0.33]
model:
  input: {{working_side_px: 64, square: true}}
  regioner: {{name: whole_image}}
  encoder: {{name: fpn, backbone: test_resnet, level_dim: 8}}
  scorer: {{name: multi_label, classes: {kinds}}}
training: {{batch_size: 4, negatives: 0}}
loop: {{steps: 4, warmup: 1, validate_every: 2, checkpoint_every: 2}}
"""


@pytest.fixture
def phase_1(tmp_path, simulated_root):
    kinds = sorted(
        {
            scan["anomaly"]["kind"]
            for path in (simulated_root / "scans").glob("*.json")
            for scan in json.loads(path.read_text())["scans"]
            if "anomaly" in scan
        }
    )
    path = tmp_path / "phase_1.yaml"
    path.write_text(PHASE_1.format(root=simulated_root, kinds=kinds))
    return path


def test_phase_one_trains_resumes_and_tells_curves(phase_1, tmp_path, said):
    best, model = (
        train(read_experiment(phase_1), tmp_path / "run"),
        tmp_path / "run" / "model",
    )
    assert {"map", "micro_f1", "train_map", "train_macro_recall"} <= set(best)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert sum("validation" in row for row in rows) == 2
    assert Model.load(model).scorer.config.classes
    result = CliRunner().invoke(
        app,
        ["evaluate", str(phase_1), "--model", str(model), "--out", str(tmp_path / "results.json")],
    )
    assert result.exit_code == 0, result.output
    assert "classes of whole images: mAP" in result.output
    assert set(
        json.loads((tmp_path / "results.json").read_text())["results"]["classes"]["ap"]
    ) == set(Model.load(model).scorer.config.classes)
    said.clear()
    train(read_experiment(phase_1), tmp_path / "run")
    assert any("resuming at step 4" in text for text in said)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode",
    ["product", *(pytest.param(m, marks=weekly) for m in ("hard_gate", "cnn_alone", "gan_alone"))],
)
def test_gbad_goes_from_phase_one_to_a_report_by_configuration_alone(
    mode, tmp_path, sixray_root, simulated_root, monkeypatch
):
    monkeypatch.setenv("BAGSCAN_DATA", str(sixray_root))
    model = (
        "model: {input: {working_side_px: 64, square: true}, regioner: {name: whole_image}, "
        "encoder: {name: fpn, backbone: test_resnet, level_dim: 8}, "
    )
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    data = "data: {sources: [{format: sixray, root: sixray}], fractions: [0.6, 0.2, 0.2]}\n"
    one.write_text(
        f"kind: multi_label\n{data}{model}scorer: {{name: multi_label, classes: [Gun, Wrench]}}}}\n"
        "training: {batch_size: 4}\nloop: {steps: 4}\n"
    )
    gate = (
        "{name: svm, errors: {name: bigan, widths: [16, 8], latent: 4, matched: 8, "
        "epochs: 2, min_steps: 0}}"
    )
    two.write_text(
        f"kind: one_class\n{data}init: {tmp_path}/one/model\n"
        f"scorer: {{name: gbad, classes: [Gun, Wrench], mode: {mode}, gate: {gate}}}\n"
    )
    train(read_experiment(one), tmp_path / "one")
    folder = tmp_path / "two" / "model"
    goes_all_the_way(two, tmp_path / "two", next((simulated_root / "colour").glob("*_below.png")))
    phase_1, gbad = Model.load(tmp_path / "one" / "model"), Model.load(folder)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            phase_1.scorer.state_dict().values(),
            gbad.scorer.known.state_dict().values(),
            strict=True,
        )
    ), "phase I stays as it is"


@pytest.mark.slow
def test_phase_one_alone_goes_all_the_way(phase_1, tmp_path, simulated_root):
    goes_all_the_way(
        phase_1, tmp_path / "run", next((simulated_root / "colour").glob("*_below.png"))
    )


@pytest.mark.parametrize("loss", ["bce", "weighted", "focal"])
def test_every_loss_meets_imbalance_in_its_own_way(phase_1, loss):
    from bagscan.datasets.config import load_records
    from bagscan.training.samples import load_samples

    experiment = read_experiment(phase_1, [f"training.loss={loss}"])
    model = Model(experiment.model)
    samples = load_samples(load_records(experiment.data), model.config.input)
    task = MultiLabelTask(model, samples, samples, experiment.training)
    assert (float(task.weight.max()) > 1) is (loss == "weighted")
    logits = torch.tensor([[4.0] + [-4.0] * (len(task.classes) - 1)])
    import bagscan.training.multi_label as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "logits_of", lambda model, pixels: logits)
        sure, _ = task.loss((torch.zeros(1), torch.tensor([[1] + [0] * (len(task.classes) - 1)])))
    plain = float(torch.nn.functional.softplus(torch.tensor(-4.0)))
    if loss == "focal":
        assert float(sure) < 0.01 * plain, "correct predictions hardly count"
    elif loss == "bce":
        assert float(sure) == pytest.approx(plain, rel=1e-4)


def goes_all_the_way(config: Path, run: Path, scan: Path) -> dict:
    """Train, calibrate, evaluate, screen and show from configuration alone; return the findings."""
    folder, report = run / "model", run / "report"
    for words in (
        ["train", str(config), "--out", str(run)],
        ["calibrate", str(config), "--model", str(folder), "--max-fpr", "0.3"],
        ["evaluate", str(config), "--model", str(folder), "--out", str(run / "results.json")],
        ["screen", str(scan), "--model", str(folder), "--views", "", "--out", str(report)],
    ):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
    assert Model.load(folder).operating_point is not None
    assert json.loads((run / "results.json").read_text())["results"]["operating_point"]
    (row,) = json.loads((report / "findings.json").read_text())
    assert row["n_regions"] >= 1, row["reasons"]
    assert all(row["threshold"] <= one["score"] <= 1 for one in row["findings"])
    assert (row["decision"] == "ALARM") is bool(row["findings"])
    page = (report / "report.html").read_text()
    assert scan.stem in page
    assert row["decision"] in page
    return row


ONE_CLASS = """
kind: one_class
data:
  sources: [{{format: simulated, root: {root}, images: colour, views: below}}]
  fractions: [0.34, 0.33, 0.33]
scorer: {scorer}
init: {init}
training: {{rows_per_scan: 30}}
"""
SCORERS = [
    "{name: gaussian}",
    "{name: memory, cap_mb: 0.05}",
    pytest.param("{name: isolation, trees: 5}", marks=weekly),
    "{name: svm, errors: {name: bigan, widths: [16, 8], latent: 4, matched: 8, "
    "epochs: 2, min_steps: 0}}",
    "{name: fused, known: {name: softmax, hidden: 8}, unseen: {name: memory, cap_mb: 0.05}}",
    pytest.param(
        "{name: bigan, widths: [16, 8], latent: 4, matched: 8, epochs: 2, min_steps: 0}",
        marks=weekly,
    ),
    pytest.param(
        "{name: fused, known: {name: softmax, hidden: 8}, "
        "unseen: {name: svm, errors: {name: bigan, epochs: 2, min_steps: 0}}}",
        marks=weekly,
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("scorer", SCORERS)
def test_every_one_class_scorer_trains_calibrates_evaluates_and_screens_from_configuration(
    scorer, tmp_path, simulated_root, tiny_model
):
    config = tmp_path / "one.yaml"
    config.write_text(ONE_CLASS.format(root=simulated_root, scorer=scorer, init=tiny_model))
    run, folder = tmp_path / "run", tmp_path / "run" / "model"
    goes_all_the_way(config, run, next((simulated_root / "colour").glob("*_below.png")))
    assert Model.load(folder).about["described by"] == Model.load(tiny_model).id
    # Descriptions are kept: fitting again needs no encoder.
    kept = sorted(run.glob("descriptions_*.safetensors"))
    assert len(kept) == 2
    before = [p.stat().st_mtime_ns for p in kept]
    assert CliRunner().invoke(app, ["train", str(config), "--out", str(run)]).exit_code == 0
    assert [p.stat().st_mtime_ns for p in kept] == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ganomaly", *(pytest.param(n, marks=weekly) for n in ("skip_ganomaly", "anogan"))]
)
def test_models_of_pixels_need_no_trained_encoder(name, tmp_path, simulated_root):
    config = tmp_path / "pixels.yaml"
    config.write_text(
        ONE_CLASS.format(
            root=simulated_root,
            scorer=f"{{name: {name}, latent: 8, width: 4, epochs: 1, batch_size: 8}}",
            init="null",
        )
        + "model: {input: {working_side_px: 96}, regioner: {name: grid, cell_px: 24}, "
        "encoder: {name: pixels, size_px: 16}}\n"
    )
    goes_all_the_way(
        config, tmp_path / "run", next((simulated_root / "colour").glob("*_below.png"))
    )
    assert Model.load(tmp_path / "run" / "model").scorer.config.channels == 3


def test_fitting_says_what_is_wrong(tmp_path, simulated_root, tiny_model):
    config = tmp_path / "one.yaml"
    config.write_text(
        ONE_CLASS.format(root=simulated_root, scorer="{name: softmax}", init=tiny_model)
    )
    with pytest.raises(ConfigError, match="'softmax'"):
        train(read_experiment(config), tmp_path / "a")
    config.write_text(ONE_CLASS.format(root=simulated_root, scorer="{name: gaussian}", init="null"))
    with pytest.raises(ConfigError, match="init"):
        train(read_experiment(config), tmp_path / "b")
    kinds = {
        scan["anomaly"]["kind"]
        for path in (simulated_root / "scans").glob("*.json")
        for scan in json.loads(path.read_text())["scans"]
        if "anomaly" in scan
    }
    config.write_text(
        ONE_CLASS.format(
            root=simulated_root, scorer="{name: svm, errors: {name: gaussian}}", init=tiny_model
        )
    )
    with pytest.raises(TrainingError, match="phase III"):
        train(
            read_experiment(config, [f"training.leave_out=[{', '.join(kinds)}]"]),
            tmp_path / "c",
        )


def test_images_are_squared_in_training_as_in_use(phase_1, simulated_root):
    from bagscan.datasets.config import load_records
    from bagscan.formats import read_scan
    from bagscan.training.multi_label import class_scores
    from bagscan.training.samples import load_samples

    experiment = read_experiment(phase_1)
    model = Model(experiment.model).eval()
    records = load_records(experiment.data)[:3]
    samples = load_samples(records, model.config.input)
    assert {s.counts.shape[-2:] for s in samples} == {(64, 64)}
    by_screening = [
        float(model.score_view(model.config.input.working_view(read_scan(r.path).views[0]))[1][0])
        for r in records
    ]
    assert class_scores(model, samples).max(1) == pytest.approx(np.array(by_screening), abs=2e-3)
    with pytest.raises(ConfigError, match="square=true"):
        MultiLabelTask(
            Model(read_experiment(phase_1, ["model.input.square=false"]).model),
            samples,
            samples,
            experiment.training,
        )


def test_changed_settings_describe_anew(tmp_path, simulated_root):
    config = tmp_path / "pixels.yaml"
    config.write_text(
        ONE_CLASS.format(root=simulated_root, scorer="{name: gaussian}", init="null")
        + "model: {input: {working_side_px: 64}, regioner: {name: grid, cell_px: 24}, "
        "encoder: {name: pixels, size_px: 4}}\n"
    )
    for number, settings in enumerate(
        ([], ["model.encoder.reach=2"], ["model.regioner.cell_px=16"]), 1
    ):
        train(read_experiment(config, settings), tmp_path / "run")
        assert len(list((tmp_path / "run").glob("descriptions_train_*"))) == number


def test_half_of_a_batch_can_be_drawn_from_positives(phase_1):
    from bagscan.datasets.config import load_records
    from bagscan.training.samples import load_samples

    shares = {}
    for balance in (0.0, 1.0):
        experiment = read_experiment(
            phase_1, [f"training.balance={balance}", "training.batch_size=32"]
        )
        model = Model(experiment.model)
        samples = load_samples(load_records(experiment.data), model.config.input)
        _, labels = MultiLabelTask(model, samples, samples, experiment.training).batch(
            np.random.default_rng(0)
        )
        shares[balance] = float((labels == 1).any(1).float().mean())
    assert shares[1.0] == 1
    assert 0.2 < shares[0.0] < 0.8


def test_what_is_left_out_is_not_among_the_rows():
    rows = torch.arange(8.0)[:, None]
    found = Descriptions(
        rows,
        np.array([1, 0, 1, 0, 1, 0, 0, -1]),
        np.array([0, 0, 1, 1, 2, 2, 2, 2]),
        ("sharp", "powder", "several"),
    )
    assert found.anomalous().flatten().tolist() == [0, 2, 4]
    assert found.anomalous(["sharp"]).flatten().tolist() == [2], (
        "what is of several kinds may be of that one"
    )
    assert found.benign(1, 0).numel() == 3
    assert set(found.benign(9, 0).flatten().tolist()) == {1, 3, 5, 6}
