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
    told = json.loads((tmp_path / "service_kills.jsonl").read_text())["results"]
    assert told["workers_killed"] >= 2
    assert told["accepted"] > 5
    assert told["lost"] == told["jobs_twice"] == 0
    assert told["results"] == told["accepted"]
    assert told["store"] == "ok"
    assert "the chain is whole" in told["audit verify"]
