"""GBAD and kinds left out at scale smoke: cells run, resume, and say what they are made of."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bagscan.benchmark.gbad_cells import SCALES, VARIANTS, cells
from bagscan.benchmark.gbad_images import skewed, write_labels
from bagscan.benchmark.unseen import FALSE_POSITIVES, rates
from bagscan.cli import app
from bagscan.core.errors import ConfigError
from bagscan.datasets.record import Record
from bagscan.evaluation.results import check_record
from bagscan.evaluation.within_bag import BagResult


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gbad")


def bench(folder: Path, *words: str):
    places = ["--data", str(folder / "data"), "--runs", str(folder / "runs"), "--results", str(folder / "results"), "--out", str(folder / "figures")]
    return CliRunner().invoke(app, ["benchmark", *words, "--scale", "smoke", *places])


@pytest.fixture(scope="module")
def ran(folder: Path) -> Path:
    for variant in ("plain", "phase-i", "gbad_", "memory"):
        run = bench(folder, "gbad", "--only", "simulated_10_", "--only", variant)
        assert run.exit_code == 0, run.output
    return folder


def test_a_cell_tells_ap_by_class_curves_the_baseline_and_what_the_gan_said(ran):
    records = {path.stem: json.loads(path.read_text()) for path in (ran / "results" / "smoke").glob("*.json")}
    assert len(records) == 4
    for record in records.values():
        check_record(record)
        results = record["results"]
        assert set(results["ap"]) == set(record["config"]["classes"])
        assert {"map", "map_interval", "micro_f1", "macro_recall", "any_auroc", "trivial_baseline", "train", "test"} <= set(results)
        assert results["curves"][-1]["step"] == SCALES["smoke"].steps
        assert any("statistics" in note for note in record["notes"])
    assert any("bigan epoch 1/2" in line for line in records["simulated_10_gbad_seed0"]["results"]["told"])
    assert records["simulated_10_plain_seed0"]["results"]["told"] == []


def test_what_is_there_is_not_run_again_and_variants_share_phase_one(ran):
    path = ran / "results" / "smoke" / "simulated_10_plain_seed0.json"
    before = path.stat().st_mtime_ns
    run = bench(ran, "gbad", "--only", "simulated_10_plain")
    assert "1 of 1 cells" in run.output
    assert "| 1:10 |" in run.output
    assert path.stat().st_mtime_ns == before
    trained = {p.parent.parent.name for p in (ran / "runs" / "gbad" / "smoke").rglob("done")}
    assert trained == {"simulated_10_plain_seed0", "simulated_10_phase-i_seed0"}, "the gates stand on one phase I"


def test_pictures_of_the_report_are_drawn(ran):
    run = bench(ran, "gbad-figures")
    assert run.exit_code == 0, run.output
    drawn = {Path(line).name for line in run.output.splitlines() if line.endswith(".png")}
    assert drawn == {f"gbad_simulated_{name}.png" for name in ("skew", "curves", "labels", "examples")}
    assert len(json.loads(bench(ran, "gbad-figures", "--json").stdout)["figures"]) == 4


def test_cells_are_those_of_every_skew_or_list():
    small = SCALES["small"]
    assert len(cells("simulated", small)) == len(small.skews) * len(VARIANTS) * 3
    assert {c.skew for c in cells("sixray", small, ["10", "1000"])} == {10, 1000}
    with pytest.raises(ConfigError, match="did you mean 'sixray'"):
        cells("sixay", small)
    with pytest.raises(ConfigError, match="no list '50'"):
        cells("sixray", small, ["50"])


def test_sixray_without_its_test_images_holds_out_training_images_and_says_so(tmp_path, sixray_root, monkeypatch):
    data = tmp_path / "data"
    shutil.copytree(sixray_root, data)
    for path in (data / "sixray" / "JPEGImage").glob("?es*.jpg"):  # those of the test list
        path.unlink()
    monkeypatch.setenv("BAGSCAN_DATA", str(data))
    run = bench(tmp_path, "gbad", "--dataset", "sixray", "--list", "10", "--only", "phase-i")
    assert run.exit_code == 0, run.output
    assert "a fifth of the training list's stands in" in run.output
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "results" / "smoke").glob("sixray*.json"))
    assert any("Not comparable" in note for note in record["notes"])


def test_no_images_of_sixray_are_told_once_and_not_by_every_cell(tmp_path, monkeypatch):
    monkeypatch.setenv("BAGSCAN_DATA", str(tmp_path))
    run = bench(tmp_path, "gbad", "--dataset", "sixray", "--list", "10")
    assert run.exit_code != 0
    assert "set BAGSCAN_DATA" in str(run.exception)
    assert "failed:" not in run.output


def test_a_skewed_set_keeps_every_class_and_the_share_asked_for():
    rng = np.random.default_rng(0)
    labels = np.zeros((3000, 3), int)
    labels[np.arange(600), rng.integers(0, 3, 600)] = 1
    for skew, positives in ((1, 600), (10, 240), (100, 24), (1000, 3)):
        chosen = skewed(labels, skew, 0)
        has = (labels[chosen] == 1).any(1)
        assert has.sum() == positives
        assert (~has).sum() == (600 if skew == 1 else 2400)
        assert (labels[chosen] == 1).any(0).all()
    assert np.array_equal(skewed(labels, 100, 3), skewed(labels, 100, 3))


def test_label_vectors_are_written_as_the_report_does(tmp_path):
    records = [Record("P1", Path("a"), labels={"Gun": 1, "Knife": 0}), Record("N2", Path("b"), labels={"Gun": -1, "Knife": -1})]
    write_labels(records, ("Gun", "Knife"), tmp_path / "labels.json")
    assert json.loads((tmp_path / "labels.json").read_text()) == {"classes": ["Gun", "Knife"], "labels": {"P1": [1, None], "N2": [0, 0]}}


def test_sixray_runs_on_what_is_there_and_says_how_much_that_is(tmp_path, sixray_root, monkeypatch):
    monkeypatch.setenv("BAGSCAN_DATA", str(sixray_root))
    run = bench(tmp_path, "gbad", "--dataset", "sixray", "--list", "10", "--only", "phase-i")
    assert run.exit_code == 0, run.output
    assert "SIXray10 train: 54 of 60 listed images are there (90.0 %)" in run.output
    assert json.loads((tmp_path / "runs" / "gbad" / "labels_sixray10_train.json").read_text())["classes"][0] == "Gun"
    assert "list 10" in run.output


def bag(scores, truth, name="x"):
    """A bag whose regions are benign (0) or of one object (1)."""
    overlap = np.array(truth, float)[:, None]
    ones = np.ones(len(truth))
    return BagResult(np.array(scores, float), ones, overlap, overlap[:, 0], ones, np.ones(len(truth), bool), ("sharp",) if any(truth) else (), name)


def test_found_at_equal_false_positives_is_counted_by_object():
    bags = [bag(np.linspace(0, 1, 100), np.zeros(100)), bag([0.97, 0.2], [1, 1]), bag([0.93, 0.1], [1, 1])]
    objects, scans = [(1, 0), (2, 0)], ["a", "b", "c"]
    # Of 100 benign regions the fifth from above is 0.96: five alarm at or above it, four and the object above.
    assert rates(bags, scans, objects, 0.05).tp == 50
    assert rates(bags, scans, objects, 0.01).tp == 0
    assert rates(bags, scans, objects, 0.10).tp == 100
    low, high = rates(bags, scans, objects, 0.05).interval
    assert low <= 50 <= high
    assert np.isnan(rates(bags, scans, [], 0.05).tp)


def test_intervals_draw_whole_scans():
    """Forty objects in two scans are two things that can be drawn, not forty."""
    rng = np.random.default_rng(0)
    benign = [bag(rng.random(200), np.zeros(200)) for _ in range(30)]
    found, missed = bag([2.0], [1]), bag([-1.0], [1])
    bags = [*benign, *[found] * 20, *[missed] * 20]
    objects = [(30 + k, 0) for k in range(40)]
    own = [f"benign{k}" for k in range(30)]
    together = rates(bags, [*own, *["f"] * 20, *["m"] * 20], objects, 0.05).interval
    apart = rates(bags, [*own, *[f"o{k}" for k in range(40)]], objects, 0.05).interval
    assert together == [0, 100]
    assert 20 < apart[0] < 50 < apart[1] < 80


def test_kinds_left_out_are_compared_scorer_by_scorer(ran):
    run = bench(ran, "unseen", "--dataset", "simulated")
    assert run.exit_code == 0, run.output
    records = [json.loads(path.read_text()) for path in (ran / "results" / "smoke" / "simulated").glob("*.json")]
    assert records
    for record in records:
        check_record(record)
        scorers = record["results"]["scorers"]
        assert {"softmax", "memory", "softmax + memory", "BiGAN + SVM", "softmax + BiGAN + SVM", "gaussian", "isolation", "darkness", "chance"} <= set(scorers)
        for fpr in FALSE_POSITIVES:
            assert scorers["softmax"][f"at_{fpr}"]["gain"] == [0, 0]
            assert scorers["memory"][f"at_{fpr}"]["n"] >= 1
    assert "gains / loses on softmax" in run.output
    again = bench(ran, "unseen", "--dataset", "simulated")
    assert "there already" in again.output


def test_real_scans_are_left_out_by_class_of_box(tmp_path, yolo_root, monkeypatch):
    import bagscan.benchmark.unseen_run as module

    config = tmp_path / "real.yaml"
    config.write_text(
        "kind: joint\ndata: {sources: [{format: yolo, root: .}], fractions: [0.5, 0.25, 0.25]}\n"
        "model: {regioner: {name: ssn, n_superpixels: 40, width: 4, n_features: 3, stride: 2}, encoder: {name: pooled}, scorer: {name: softmax, hidden: 8}}\n"
    )
    classes = [0] * 6 + [1] * 6 + [2] * 12
    data = tmp_path / "data"
    shutil.copytree(yolo_root, data)
    (data / "classes.txt").write_text("bar\nBar\nrod\n")  # as two data sets write one class
    for path, name in zip(sorted((data / "labels").glob("*.txt")), classes, strict=True):
        path.write_text(path.read_text().replace("0 ", f"{name} ", 1))
    monkeypatch.setenv("BAGSCAN_DATA", str(data))
    monkeypatch.setattr(module, "REAL", config)
    run = bench(tmp_path, "unseen", "--dataset", "real")
    assert run.exit_code == 0, run.output
    records = [json.loads(path.read_text()) for path in (tmp_path / "results" / "smoke" / "real").glob("*.json")]
    assert {r["results"]["left_out"] for r in records} == {"bar", "rod"}
    trained = {r["results"]["left_out"]: r["data"]["counts"]["train"] for r in records}
    split = json.loads(next((tmp_path / "runs").rglob("split.json")).read_text())["parts"]["train"]
    names = {path.stem: int(path.read_text().split()[0]) for path in (data / "labels").glob("*.txt")}
    assert trained["bar"] == sum(names[Path(one).stem] == 2 for one in split), "both spellings are left out"
    assert sum(trained.values()) == len(split)
    for record in records:
        assert record["results"]["scorers"]["softmax"]["at_0.05"]["n"] >= 1
        assert record["results"]["scorers"]["memory"]["auroc"] is not None
