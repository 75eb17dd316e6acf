"""Library, command line and service give the same findings with the bundled model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bagscan.cli import app
from bagscan.formats.scans import read_views
from bagscan.model_folder import SHIPPED
from bagscan.service.inference.worker import serve_tasks

NOT_COMPARED = {"truth", "id", "path", "timings", "views"}


def result(row):
    return {key: value for key, value in row.items() if key not in NOT_COMPARED}


def test_library_command_line_and_service_say_the_same(make_house, simulated_root, tmp_path):
    from bagscan.reporting.findings import report_row
    from bagscan.screening import Screener

    house = make_house(target=serve_tasks, screen_timeout_s=120.0, workers=1)
    admin = house.person("admin")
    model = next(
        one
        for one in admin.get("/v1/models").json()["models"]
        if one["channels"] == "low,high,zeff"
    )
    bags = [
        {view: simulated_root / "raw" / f"{name}_{view}.tif" for view in ("below", "side")}
        for name in ("00000a", "00000b", "00001a")
    ]
    # All paths use the same screener; at this threshold there are findings to compare.
    threshold = 0.0005
    screener = Screener.load(SHIPPED / "raw", threshold)
    machine = house.machine()
    assert (
        admin.put(f"/v1/models/{model['id']}/threshold", json={"threshold": threshold}).status_code
        == 200
    )
    found = 0
    for files in bags:
        scan, _ = read_views(files)
        library = report_row(screener.screen(scan), scan, files)
        answer = machine.post(
            "/v1/screen",
            files=[("files", (path.name, path.read_bytes())) for path in files.values()],
        )
        assert answer.status_code == 200, answer.text
        assert result(answer.json()) == json.loads(json.dumps(result(library)))
        found += len(library["findings"])
    assert found > 0
    # At the model's own operating point, against the command line.
    admin.put(f"/v1/models/{model['id']}/threshold", json={"threshold": None})
    paths = [str(path) for files in bags for path in files.values()]
    run = CliRunner().invoke(app, ["screen", *paths, "--out", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    rows = json.loads((tmp_path / "out" / "findings.json").read_text())
    for files, row in zip(bags, rows, strict=True):
        answer = machine.post(
            "/v1/screen",
            files=[("files", (path.name, path.read_bytes())) for path in files.values()],
        )
        assert result(answer.json()) == result(row)


def test_the_service_itself_loads_no_torch():
    """Only workers open models and scans: the process with passwords and keys parses neither."""
    code = (
        "import sys; import bagscan.service.run, bagscan.service.http.app; "
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules), 'torch is loaded'"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_files_that_are_several_bags_are_refused(make_house, simulated_root):
    house = make_house(target=serve_tasks, screen_timeout_s=120.0)
    paths = [simulated_root / "raw" / f"00000{n}_below.tif" for n in "ab"]
    answer = house.machine().post(
        "/v1/screen", files=[("files", (Path(path).name, path.read_bytes())) for path in paths]
    )
    assert answer.status_code == 422
    assert "2 bags" in answer.json()["detail"]
