"""Records and card of the bundled detectors say what was measured on them."""

import pytest

from bagscan.detector.model import Detector
from bagscan.model_folder import SHIPPED
from experiments import detector as script
from experiments.engine import read_table

NAMES = ("colour", "raw")


@pytest.mark.parametrize("name", NAMES)
def test_records_are_those_of_the_bundled_model(name):
    bundled = Detector.load(SHIPPED / name)
    ids = {r["data"]["hash"] for r in read_table("detector") if r["config"]["model"] == name}
    assert ids == {bundled.id}


@pytest.mark.parametrize("name", [*NAMES, "prohibited"])
def test_networks_take_at_most_8_mb(name):
    assert (SHIPPED / name / "weights.safetensors").stat().st_size <= 8e6


def of_real_scans(**aurocs):
    return [
        {
            "config": {"model": "colour", "scans": "sixray", "group": group},
            "results": {
                "auroc": auroc,
                "attenuation_auroc": 0.7,
                "hit_at_1": 0.5,
                "attenuation_hit_at_1": 0.4,
            },
        }
        for group, auroc in aurocs.items()
    ]


@pytest.mark.parametrize(
    ("records", "warns"),
    [
        ([], True),
        (of_real_scans(all=0.8, scanner=0.6), True),
        (of_real_scans(all=0.8, scanner=0.75), False),
    ],
)
def test_a_colour_model_warns_until_it_is_ahead_of_attenuation_everywhere(
    monkeypatch, records, warns
):
    monkeypatch.setattr(script, "read_table", lambda name: records)
    entries = script.real_scanners("colour", "colour")
    assert ("warning" in entries) is warns
    assert script.real_scanners("raw", "raw") == {}


def test_the_bundled_colour_model_warns():
    due = script.real_scanners("colour", "colour").get("warning")
    assert Detector.load(SHIPPED / "colour").about.get("warning") == due
