"""How the demo's alarms compare with what was simulated: ``python benchmarks/demo_truth.py demo-out``."""

import json
import sys
from pathlib import Path

from bagscan.simulate.summary import read_scans


def main(folder: Path) -> None:
    findings = json.loads((folder / "screened" / "findings.json").read_text())
    alarms = {row["scan_id"] for row in findings if row["decision"] == "ALARM"}
    told: dict[str, list[bool]] = {}
    for scan in read_scans(folder / "simulated"):
        told.setdefault(scan["label"], []).append(scan["id"] in alarms)
    for label, hits in sorted(told.items()):
        print(f"{label} bags: {sum(hits)} of {len(hits)} with an alarm")
    print("Devices of families that the model never saw. What its verdicts are worth: docs/results.md#simulated_raw_screened.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
