"""What the card of a model that comes along says of it."""

import importlib.util
import json
from pathlib import Path

import pytest

from bagscan.core import OperatingPoint
from bagscan.model import Model
from bagscan.model_folder import SHIPPED

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("ship", ROOT / "benchmarks" / "ship.py")
ship = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ship)


@pytest.mark.parametrize("name", ["raw", "colour"])
def test_a_shipped_card_says_what_the_records_say_and_what_the_model_is_not_fit_for(name):
    card = (SHIPPED / name / "MODEL_CARD.md").read_text()
    records = [json.loads((ROOT / "benchmarks" / "results" / f"simulated_{name}{kind}.json").read_text())["results"] for kind in ("", "_screened")]
    assert ship.told_of_items(records[0]) in card
    assert ship.told_of_bags(records[1]) in card
    assert "little better than by chance" in card
    assert records[0]["per_scan"]["auroc"] < 0.75, "or the card would run its model down"


def test_a_record_of_another_model_is_refused(tiny_model, tmp_path):
    model = Model.load(tiny_model)
    for point, message in ((None, "not of this model"), ({"threshold": 0.61}, "not of this model"), ({"threshold": 0.6}, None)):
        (tmp_path / "record.json").write_text(json.dumps({"results": {"operating_point": point}}))
        if message is None:
            assert ship.results_at(tmp_path / "record.json", model) == {"operating_point": point}
            continue
        with pytest.raises(SystemExit, match=message):
            ship.results_at(tmp_path / "record.json", model)
    assert model.operating_point == OperatingPoint(0.6, "by hand", "val", 0.05, (0.0, 0.1))
