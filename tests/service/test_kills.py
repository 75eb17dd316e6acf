"""kill -9 of workers and of the service while scans come in; the benchmark repeats it 100 times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_no_accepted_job_is_lost_or_done_twice(tmp_path):
    subprocess.run(
        [
            sys.executable,
            "-m",
            "experiments.service_load",
            "kills",
            "--workers",
            "2",
            "--services",
            "2",
            "--out",
            tmp_path,
        ],
        check=True,
        timeout=180,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    result = json.loads((tmp_path / "service_kills.jsonl").read_text())["results"]
    assert result["workers_killed"] >= 2
    assert result["accepted"] > 5
    assert result["lost"] == result["jobs_twice"] == 0
    assert result["results"] == result["accepted"]
    assert result["store"] == "ok"
    assert "the chain is whole" in result["audit verify"]
