"""Hidden anomalies of simulated bags, beside the flagged regions."""

import json

import numpy as np
import pytest

from bagscan.formats.coco import encode_mask
from bagscan.reporting.truth import compare_with_truth, load_hidden_masks, summarise_truth
from bagscan.simulate.summary import read_scans

VIEWS = ("below", "side")


def row(decision, *masks):
    findings = [{"view_id": view, "mask": encode_mask(mask)} for view, mask in masks]
    return {"decision": decision, "findings": findings}


@pytest.fixture
def hidden(simulated_root):
    scan = next(s for s in read_scans(simulated_root) if s["label"] == "anomalous")
    return load_hidden_masks(simulated_root / "raw" / f"{scan['id']}_below.tif", scan["id"], VIEWS)


def test_the_truth_lies_beside_simulated_scans_alone(simulated_root, tmp_path, hidden):
    assert set(hidden) <= set(VIEWS)
    assert all(mask.any() for mask in hidden.values())
    benign = next(s for s in read_scans(simulated_root) if s["label"] == "benign")
    assert (
        load_hidden_masks(
            simulated_root / "colour" / f"{benign['id']}_side.png", benign["id"], VIEWS
        )
        == {}
    )
    assert load_hidden_masks(tmp_path / "raw" / "7_below.tif", "7", VIEWS) is None
    assert load_hidden_masks(simulated_root / "raw" / "7_below.tif", "7", ()) is None


def test_prohibited_items_are_hidden_things_too(tmp_path):
    (tmp_path / "truth").mkdir()
    entries = []
    for k, role in enumerate(("item", "prohibited", "prohibited", "anomaly")):
        mask = np.zeros((8, 12), bool)
        mask[2 * k, 3 * k] = True
        entries.append({"role": role, "segmentation": encode_mask(mask)})
    truth = {"image": {"height": 8, "width": 12}, "annotations": entries}
    (tmp_path / "truth" / "7_below.json").write_text(json.dumps(truth))
    hidden = load_hidden_masks(tmp_path / "colour" / "7_below.png", "7", ["below"])
    assert np.argwhere(hidden["below"]).tolist() == [[2, 3], [4, 6], [6, 9]]


def test_bags_and_regions_are_counted_against_the_truth(hidden):
    view, mask = next(iter(hidden.items()))
    far = np.zeros_like(mask)
    far[:3, :3] = True
    found = compare_with_truth(row("ALARM", (view, mask), (view, far)), hidden)
    assert found == {"outcome": "found", "on_it": [True, False]}
    three_false = [(view, far)] * 3
    assert compare_with_truth(row("ALARM", (view, mask), *three_false), hidden)["outcome"] == (
        "found elsewhere"
    )
    many = compare_with_truth(row("ALARM", *[(view, mask)] * 12, *three_false), hidden)
    assert many["outcome"] == "found"
    truths = [
        found,
        compare_with_truth(row("ALARM", (view, far)), hidden),
        compare_with_truth(row("CLEAR"), hidden),
        compare_with_truth(row("REVIEW"), {}),
        compare_with_truth(row("CLEAR"), {}),
        compare_with_truth(row("ALARM", (view, mask)), {}),
    ]
    assert [truth["outcome"] for truth in truths] == [
        "found",
        "found elsewhere",
        "missed",
        "false alarm",
        "rightly clear",
        "false alarm",
    ]
    result = summarise_truth(truths)
    assert "hidden: 3. Found: 2, 1 of them at the right place; missed: 1." in result
    assert "Benign bags: 3. False alarms: 2." in result
    assert "Flagged regions: 4, 1 of them" in result
    assert summarise_truth([]) == ""


def test_the_report_tells_what_was_missed_and_draws_it(simulated_root, tmp_path, monkeypatch):
    from bagscan.model_folder import shipped_models
    from bagscan.reporting import folder

    scan = next(s for s in read_scans(simulated_root) if s["label"] == "anomalous")
    files = sorted((simulated_root / "raw").glob(f"{scan['id']}_*.tif"))
    for most, pictures in ((50, "data:image/jpeg"), (0, "report_images/")):
        monkeypatch.setattr(folder, "MAX_IN_ONE_FILE", most)
        out = tmp_path / str(most)
        result = folder.screen_folder(files, shipped_models(), out)
        page = (out / "report.html").read_text()
        outcome = json.loads((out / "findings.json").read_text())[0]["truth"]["outcome"]
        assert outcome in ("found", "found elsewhere", "missed")
        assert result["truth"] in page.replace("<br>", "\n")
        assert f">{outcome}<" in page
        drawings = [path.read_text() for path in out.glob("report_images/*.svg")]
        assert all(
            "<script" not in drawing and "data:image/jpeg" in drawing for drawing in drawings
        ), "a file that is shown as a picture loads no other"
        assert "what is hidden here" in "".join([page, *drawings])
        assert pictures in page
        assert (
            page.count('<img class="view" loading="lazy"')
            == len(drawings)
            == (0 if most else len(files))
        )
    again = sorted((tmp_path / "0" / "report_images").iterdir())
    monkeypatch.setattr(folder, "MAX_IN_ONE_FILE", 50)
    folder.screen_folder(files, shipped_models(), tmp_path / "0")
    assert again
    assert not list((tmp_path / "0" / "report_images").iterdir()), (
        "a page with its pictures inside leaves none beside it"
    )
