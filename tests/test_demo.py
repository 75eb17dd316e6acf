"""What ``make demo`` says of its alarms."""

import importlib.util
import json
from pathlib import Path

import numpy as np
from pycocotools import mask as rle

from bagscan.simulate.summary import read_scans

spec = importlib.util.spec_from_file_location("demo_truth", Path(__file__).parents[1] / "benchmarks" / "demo_truth.py")
demo_truth = importlib.util.module_from_spec(spec)
spec.loader.exec_module(demo_truth)


def alarm(scan, view, mask):
    finding = {"view_id": view, "mask": mask}
    return {"scan_id": scan["id"], "decision": "ALARM", "views": {"below": {}, "side": {}}, "findings": [finding]}


def test_an_alarm_counts_as_a_find_where_it_touches_the_anomaly(simulated_root, tmp_path, capsys):
    scan = next(s for s in read_scans(simulated_root) if s["label"] == "anomalous")
    truth = {v: json.loads((simulated_root / "truth" / f"{scan['id']}_{v}.json").read_text()) for v in ("below", "side")}
    view, anomaly = next((v, e["segmentation"]) for v, told in truth.items() for e in told["annotations"] if e["role"] == "anomaly")
    outside = np.asfortranarray(1 - rle.decode(anomaly))
    elsewhere = rle.encode(outside)
    hit, miss = alarm(scan, view, anomaly), alarm(scan, view, {"size": elsewhere["size"], "counts": elsewhere["counts"].decode()})
    assert demo_truth.touches(hit, simulated_root / "truth")
    assert not demo_truth.touches(miss, simulated_root / "truth")
    assert not demo_truth.touches(hit | {"findings": []}, simulated_root / "truth")

    (tmp_path / "screened").mkdir()
    (tmp_path / "simulated").symlink_to(simulated_root)
    unread = {"scan_id": "nobody_below", "decision": "REVIEW", "views": {}, "findings": []}  # a bag that could not be read has no row of its own name
    (tmp_path / "screened" / "findings.json").write_text(json.dumps([hit, unread]))
    demo_truth.main(tmp_path)
    told = capsys.readouterr().out
    assert "anomalous bags: 1 of" in told
    assert "in 1 of them a flagged part touches the anomaly" in told
    assert "benign bags: 0 of" in told
