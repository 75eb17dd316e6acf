"""How the demo's alarms compare with what was simulated: ``python -m experiments.demo_truth demo-out``."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle
from scipy.ndimage import distance_transform_edt

from bagscan.simulate.summary import read_scans
from bagscan.simulate.truth import ANOMALY

NEAR_PX = 10  # a millimetre each: a region counts as on the anomaly where half of it lies on it or so near


def main(folder: Path) -> None:
    rows = {row["scan_id"]: row for row in json.loads((folder / "screened" / "findings.json").read_text())}
    counts: Counter[str] = Counter()
    for scan in read_scans(folder / "simulated"):
        row = rows.get(scan["id"], {"decision": "REVIEW", "findings": []})
        tally(scan["label"] == "anomalous", row, folder / "simulated" / "truth", counts)
    print(text(counts))


def tally(anomalous: bool, row: dict[str, Any], truth: Path, counts: Counter[str]) -> None:
    """Count one bag. What is REVIEW is missed where something is hidden, and a false alarm where nothing is."""
    regions = [on_the_anomaly(found, row["scan_id"], truth) for found in row["findings"]]
    counts["regions"] += len(regions)
    counts["on it"] += sum(regions)
    if not anomalous:
        counts["benign"] += 1
        counts["false alarms"] += row["decision"] != "CLEAR"
        return
    counts["anomalous"] += 1
    counts["found"] += row["decision"] == "ALARM"
    counts["right place"] += any(regions)


def text(counts: Counter[str]) -> str:
    """The tally for people."""
    missed = counts["anomalous"] - counts["found"]
    return "\n".join(
        [
            f"Bags with something hidden: {counts['anomalous']}. Found: {counts['found']}, {counts['right place']} of them at the right place; missed: {missed}.",
            f"Benign bags: {counts['benign']}. False alarms: {counts['false alarms']}.",
            f"Flagged regions: {counts['regions']}, {counts['on it']} of them on the hidden thing or within 10 mm of it.",
        ]
    )


def on_the_anomaly(found: dict[str, Any], scan_id: str, truth: Path) -> bool:
    """Whether at least half of a flagged region lies on the anomaly or within 10 mm of it."""
    told = json.loads((truth / f"{scan_id}_{found['view_id']}.json").read_text())["annotations"]
    anomalies = [rle.decode(entry["segmentation"]) for entry in told if entry["role"] == ANOMALY]
    if not anomalies:
        return False
    near = distance_transform_edt(anomalies[0] == 0) <= NEAR_PX
    flagged = rle.decode(found["mask"]).astype(bool)
    return bool(flagged.any() and np.mean(near[flagged]) >= 0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
