"""How the demo's alarms compare with what was simulated: ``python benchmarks/demo_truth.py demo-out``."""

import json
import sys
from pathlib import Path
from typing import Any

from pycocotools import mask as rle

from bagscan.simulate.summary import read_scans
from bagscan.simulate.truth import ANOMALY


def main(folder: Path) -> None:
    rows = {row["scan_id"]: row for row in json.loads((folder / "screened" / "findings.json").read_text()) if row["decision"] == "ALARM"}
    scans = read_scans(folder / "simulated")
    for label in ("anomalous", "benign"):
        alarms = [rows[scan["id"]] for scan in scans if scan["label"] == label and scan["id"] in rows]
        on_it = sum(touches(row, folder / "simulated" / "truth") for row in alarms)
        where = f", in {on_it} of them a flagged part touches the anomaly" if label == "anomalous" and alarms else ""
        print(f"{label} bags: {len(alarms)} of {sum(scan['label'] == label for scan in scans)} with an alarm{where}")
    print("Devices of families that the model never saw. What its verdicts are worth: docs/results.md#simulated_raw_screened.")


def touches(row: dict[str, Any], truth: Path) -> bool:
    """Whether a flagged part shares a pixel with the anomaly, in any view."""
    for view in row["views"]:
        told = json.loads((truth / f"{row['scan_id']}_{view}.json").read_text())["annotations"]
        anomalies = [entry["segmentation"] for entry in told if entry["role"] == ANOMALY]
        flagged = [found["mask"] for found in row["findings"] if found["view_id"] == view]
        if anomalies and flagged and rle.iou(flagged, anomalies, [0] * len(anomalies)).any():
            return True
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]))
