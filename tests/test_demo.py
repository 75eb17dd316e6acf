"""What ``make demo`` says of its alarms."""

import json

import numpy as np
from pycocotools import mask as rle

from bagscan.simulate.summary import read_scans
from experiments import demo_truth


def row(scan, decision, *findings):
    return {"scan_id": scan["id"], "decision": decision, "views": {"below": {}, "side": {}}, "findings": list(findings)}


def test_bags_and_regions_are_counted_against_the_truth(simulated_root, tmp_path, capsys):
    scans = read_scans(simulated_root)
    hidden = [s for s in scans if s["label"] == "anomalous"]
    benign = [s for s in scans if s["label"] == "benign"]
    truth = {v: json.loads((simulated_root / "truth" / f"{hidden[0]['id']}_{v}.json").read_text()) for v in ("below", "side")}
    view, anomaly = next((v, e["segmentation"]) for v, told in truth.items() for e in told["annotations"] if e["role"] == "anomaly")
    far = np.zeros(anomaly["size"], np.uint8, order="F")
    far[:3, :3] = 1
    elsewhere = rle.encode(far)
    on_it = {"view_id": view, "mask": anomaly}
    beside = {"view_id": view, "mask": {"size": elsewhere["size"], "counts": elsewhere["counts"].decode()}}

    (tmp_path / "screened").mkdir()
    (tmp_path / "simulated").symlink_to(simulated_root)
    rows = [row(hidden[0], "ALARM", on_it, beside), row(benign[0], "REVIEW"), *(row(s, "CLEAR") for s in [*hidden[1:], *benign[1:]])]
    (tmp_path / "screened" / "findings.json").write_text(json.dumps(rows))
    demo_truth.main(tmp_path)
    told = capsys.readouterr().out
    assert f"hidden: {len(hidden)}. Found: 1, 1 of them at the right place; missed: {len(hidden) - 1}." in told
    assert f"Benign bags: {len(benign)}. False alarms: 1." in told
    assert "Flagged regions: 2, 1 of them" in told


def test_a_scan_without_a_row_is_one_that_nobody_judged(simulated_root, tmp_path, capsys):
    (tmp_path / "screened").mkdir()
    (tmp_path / "simulated").symlink_to(simulated_root)
    (tmp_path / "screened" / "findings.json").write_text("[]")
    demo_truth.main(tmp_path)
    benign = sum(s["label"] == "benign" for s in read_scans(simulated_root))
    assert f"False alarms: {benign}." in capsys.readouterr().out
