"""The simulator's commands as a user types them."""

import json
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from bagscan.cli import app
from bagscan.simulate.devices import device_module


def run(*line):
    return CliRunner().invoke(app, [str(part) for part in line])


def run_main(*line):
    """Run in a separate process, through the entry point that turns errors into one line."""
    return subprocess.run(
        [sys.executable, "-c", "from bagscan.cli import main; main()", *map(str, line)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "set"
    found = run("simulate", "--preset", "smoke", "--count", 2, "--out", out, "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["scans"] == 2
    return out


@pytest.mark.slow
def test_convert_tip_and_export_on_what_was_simulated(made, tmp_path):
    raw = sorted((made / "raw").glob("*_below.tif"))[0]
    found = run("convert", raw, "--out", tmp_path / "converted", "--json")
    assert found.exit_code == 0, found.output
    assert (
        "calibrat" in json.loads(found.stdout)["converted"][0]["calibration"]
        or "profile" in found.stdout
    )
    for name in ("raw", "colour"):
        assert len(list((tmp_path / "converted" / name).iterdir())) == 1
    twice = run_main("screen", tmp_path / "converted", "--out", tmp_path / "screened")
    assert twice.returncode == 2
    assert f"{tmp_path}/converted/raw or" in twice.stderr
    found = run(
        "tip",
        raw,
        "--out",
        tmp_path / "tip.tif",
        "--kind",
        "metal_plate",
        "--size-mm",
        "40,30,3",
        "--profile",
        "g640_coarse",
    )
    assert found.exit_code == 0, found.output
    assert (tmp_path / "tip_mask.png").is_file()
    for air in ("0", "-1", "nan"):
        refused = run_main(
            "tip", raw, "--out", tmp_path / "no.tif", "--kind", "metal_plate", "--air", air
        )
        assert refused.returncode == 2
        assert "--air is" in refused.stderr
    assert not (tmp_path / "no.tif").exists()
    assert run("export-compass", made, "--out", tmp_path / "compass").exit_code == 0
    assert (tmp_path / "compass" / "meta.txt").is_file()


def test_contact_sheets(tmp_path):
    found = run(
        "gallery", "--out", tmp_path, "--bags", 1, "--devices", 2, "--profile", "g640_coarse"
    )
    assert found.exit_code == 0, found.output
    for name in ("bags.png", "devices.png"):
        with Image.open(tmp_path / name) as sheet:
            assert min(sheet.convert("L").getextrema()) < 100


@pytest.mark.slow
def test_a_sheet_of_one_device_says_what_can_be_hidden_in_it(tmp_path):
    found = run("gallery", "--out", tmp_path, "--device", "bottle", "--profile", "g640_coarse")
    assert found.exit_code == 0, found.output
    assert found.output.count("partial_fill") == len(device_module("bottle").LAYOUTS)
    with Image.open(tmp_path / "bottle.png") as sheet:
        assert min(sheet.convert("L").getextrema()) < 150
    assert not (tmp_path / "bags.png").exists()


@pytest.mark.parametrize(
    ("line", "result"),
    [
        (("simulate", "--preset", "smok"), "did you mean 'smoke'"),
        (("simulate", "--count", "0"), "count must be 1 or more"),
        (("simulate", "--profile", "g641"), "did you mean 'g640'"),
        (("simulate", "--insert", "absent.stl"), "no such file"),
        (("simulate", "--insert-material", "leed", "--insert", "a.stl"), "did you mean 'lead'"),
        (("convert", "absent.tif"), "no such file"),
        (("convert", ".", "--wedges", "a.yaml", "--profile", "g640"), "--wedges and --profile"),
        (("convert", "tests/core"), "no scans in"),
        (("export-compass", "."), "bagscan simulate"),
    ],
)
def test_wrong_lines_get_one_line_back(line, result, tmp_path):
    found = run_main(*line, "--out", tmp_path / "out")
    assert found.returncode == 2
    assert result in found.stderr
    assert "Traceback" not in found.stderr
