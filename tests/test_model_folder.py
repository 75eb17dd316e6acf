"""Values of a model card are checked against their meaning."""

import json
from pathlib import Path

import pytest

from bagscan.core.errors import BagscanError, ModelError
from bagscan.model_folder import SHIPPED, locate_model, verified_id, write_files
from bagscan.screening import Screener


def altered(folder, change):
    """A copy of the bundled model with a changed card and checksums that fit."""
    source = SHIPPED / "raw"
    card = json.loads((source / "model.json").read_text())
    change(card)
    contents = {
        path.name: path.read_bytes()
        for path in source.iterdir()
        if path.name not in ("SHA256SUMS", "model.json")
    }
    write_files(folder, contents | {"model.json": json.dumps(card).encode()})
    return folder


def setting(*path, to):
    def change(card):
        for key in path[:-1]:
            card = card[key]
        card[path[-1]] = to

    return change


WRONG = {
    "a threshold that no score reaches": setting("operating_point", "threshold", to=50),
    "a threshold below all scores": setting("operating_point", "threshold", to=-0.1),
    "a threshold that is text": setting("operating_point", "threshold", to="half"),
    "a threshold that is none": setting("operating_point", "threshold", to=None),
    "a key too many": setting("operating_point", "mood", to=1),
    "a rate above 1": setting("operating_point", "expected_fpr", to=3),
    "a device threshold out of reach": setting("model", "thresholds", "device", to=1e9),
    "a threshold of nothing known": setting("model", "thresholds", "mood", to=1),
    "a slope of next to nothing": setting("model", "thresholds", "slope", to=1e-9),
    "an offset that nothing overcomes": setting("model", "thresholds", "offset", to=-1e9),
    "a pair that nothing overcomes": setting("model", "thresholds", "pairing", to={"offset": -1e6}),
    "a pair that counts for nothing": setting(
        "model", "thresholds", "pairing", to={"views": 0.0, "place": 0.0}
    ),
    "benign scores that are none": setting("about", "benign_score_quantiles", to="abc"),
    "a point that no score reaches": setting("operating_point", "threshold", to=1.0),
    "a slope that turns scores over": setting("model", "thresholds", "slope", to=-1.0),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_card_that_lies_is_refused(tmp_path, wrong):
    with pytest.raises(BagscanError):
        Screener.load(altered(tmp_path / "m", WRONG[wrong]))


def test_a_card_that_does_not_is_taken(tmp_path):
    assert (
        Screener.load(
            altered(tmp_path / "m", setting("operating_point", "threshold", to=0.6))
        ).point.threshold
        == 0.6
    )


@pytest.mark.parametrize("calibration", [[0, 0], [-1, 0], [1], "none", [float("nan"), 0]])
def test_a_calibration_must_rise(tiny_model, tmp_path, calibration):
    card = json.loads((tiny_model / "model.json").read_text()) | {"calibration": calibration}
    contents = {
        path.name: path.read_bytes()
        for path in tiny_model.iterdir()
        if path.is_file() and path.name not in ("SHA256SUMS", "model.json")
    }
    write_files(tmp_path / "m", contents | {"model.json": json.dumps(card).encode()})
    with pytest.raises(BagscanError):
        Screener.load(tmp_path / "m")


def test_the_folder_of_a_run_is_told_from_that_of_its_model(tiny_model):
    with pytest.raises(ModelError, match=str(tiny_model)):
        verified_id(tiny_model.parent)


def test_a_model_that_comes_along_goes_by_its_name_and_a_folder_of_that_name_comes_first(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert locate_model("raw") == SHIPPED / "raw"
    assert locate_model("runs/raw") == Path("runs/raw")
    (tmp_path / "raw").mkdir()
    assert locate_model("raw") == Path("raw")


def test_a_folder_that_is_not_there_is_told_with_its_neighbour(tmp_path):
    (tmp_path / "trained").mkdir()
    with pytest.raises(ModelError, match="'trained'"):
        verified_id(tmp_path / "traned")
