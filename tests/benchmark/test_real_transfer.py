"""Transfer from simulated to real scans, on made-up bags: each variant starts where it says, on one split, and is run once."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from bagscan.model import Model

spec = importlib.util.spec_from_file_location("real_transfer", Path(__file__).parents[2] / "benchmarks" / "real_transfer.py")
real_transfer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(real_transfer)

ALONE, SCRATCH, AFTER = "simulated alone", "real, from scratch", "simulated, then real, with threats"


@pytest.fixture
def run(tmp_path, tiny_config, tiny_model, monkeypatch):
    def run(*variants):
        monkeypatch.setattr(real_transfer, "CONFIG", tiny_config)
        places = ["--simulated", str(tiny_model), "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "record.json")]
        monkeypatch.setattr(sys, "argv", ["real_transfer.py", *places, "--threads", "1", "--only", *variants])
        real_transfer.main()
        return json.loads((tmp_path / "record.json").read_text())

    return run


def test_variants_are_judged_on_one_split_and_not_run_again(run, tmp_path, tiny_model, capsys, monkeypatch):
    started = {}
    whole = real_transfer.train
    monkeypatch.setattr(real_transfer, "train", lambda experiment, folder: started.update({folder.name: experiment}) or whole(experiment, folder))
    record = run(ALONE, SCRATCH, AFTER)
    assert list(record["results"]) == record["config"]["variants"] == [ALONE, SCRATCH, AFTER]
    assert record["config"]["simulated_model"] == Model.load(tiny_model).id
    assert [name.replace("_", " ") for name in started] == ["real from scratch", "simulated then real with threats"], "the simulated model is not trained"
    scratch, after = started.values()
    assert (scratch.init, scratch.training.augment.threats) == (None, 0)
    assert (str(after.init), after.training.augment.threats) == (str(tiny_model), 0.3)
    assert {str(e.data.split) for e in started.values()} == {str(tmp_path / "runs" / "split.json")}
    for found in record["results"].values():
        low, high = found["all"]["interval"]
        assert low <= found["all"]["auroc"] <= high
        assert 0 <= found["all"]["darkness"]["auroc"] <= 1
    capsys.readouterr()
    assert run(ALONE)["results"] == record["results"], "what is there stays in the record"
    assert "==" not in capsys.readouterr().out
