"""Cells run side by side, with processes that draw, end where the same cells end one by one; what the deadline cuts off goes on later."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bagscan.cli import app

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "accelerator_row.py"
NAME = "pseudo-colour_resnet-50_seed0"


def row(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    places = ["--data", folder / "data", "--runs", folder / "side_by_side", "--out", folder / "row"]
    command = [sys.executable, SCRIPT, "--scale", "smoke", "--workers", "2", *places, "--cell", f"table-1:{NAME}", "--cell", f"table-2:{NAME}", *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=280, env={**os.environ, "BAGSCAN_LOADERS": "2"})


def test_cells_side_by_side_are_those_that_run_one_by_one(tmp_path):
    cut_off = row(tmp_path, "--minutes", "0")
    assert (cut_off.returncode, "0 of 2 cells are done" in cut_off.stdout) == (1, True), cut_off.stderr
    assert "stopped at the deadline" in cut_off.stdout
    shutil.rmtree(tmp_path / "side_by_side", ignore_errors=True)
    (tmp_path / "side_by_side").write_text("a file where a folder should be")
    failed = row(tmp_path, "--minutes", "4")
    assert (failed.returncode, "detector.log: failed, as told there" in failed.stdout) == (1, True), failed.stdout
    (tmp_path / "side_by_side").unlink()
    done = row(tmp_path, "--minutes", "4")
    assert (done.returncode, "2 of 2 cells are done" in done.stdout) == (0, True), done.stdout + done.stderr
    again = row(tmp_path, "--minutes", "0", "--data", str(tmp_path / "nowhere"))
    assert (again.returncode, (tmp_path / "nowhere").exists()) == (0, False), "what is done needs no sets"
    for table in ("table-1", "table-2"):
        places = ["--data", str(tmp_path / "data"), "--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
        alone = CliRunner().invoke(app, ["benchmark", table, "--scale", "smoke", "--only", NAME, *places])
        assert alone.exit_code == 0, alone.output
        one, other = (json.loads((tmp_path / of / "smoke" / table / f"{NAME}.json").read_text())["results"] for of in ("results", "row/results"))
        assert one["thresholds"] == other["thresholds"]
        assert one["sets"]["smoke_20"]["roc"] == other["sets"]["smoke_20"]["roc"]
        brought = list((tmp_path / "row" / "runs" / "smoke" / table).glob(f"{NAME}_*/*"))
        assert sorted(path.name.split("_")[0] for path in brought) == ["log.jsonl", "scores"]
        assert "judging" in (tmp_path / "row" / "logs" / f"{table}_{NAME}.log").read_text()


def test_an_unknown_cell_is_named_with_those_there_are(tmp_path):
    refused = row(tmp_path, "--cell", "table-1:high_resnet-18_seed0")
    assert refused.returncode != 0
    assert "no cell 'table-1:high_resnet-18_seed0'" in refused.stderr
    assert "table-1:high_resnet-50_seed0" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "data").exists()
