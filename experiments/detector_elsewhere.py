"""Measure a bundled detector on datasets that were never used to choose anything.

    python -m experiments.detector_elsewhere NAME SET [SET ...]

The datasets are other scans, other devices and another scanner, see ``experiments/recipes`` and the
preset ``second_scanner``. Thresholds are those of the model. Results go to the table
``detector_elsewhere``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bagscan.detector.measures import measure
from bagscan.model_folder import SHIPPED
from bagscan.runtime.load import load_model
from experiments.detector import score_in_processes
from experiments.engine import Run, keep


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="name of the bundled model")
    parser.add_argument("sets", nargs="+", type=Path, help="datasets; their test scenes are used")
    arguments = parser.parse_args()
    folder = SHIPPED / arguments.name
    detector = load_model(folder)
    for dataset in arguments.sets:
        bags = score_in_processes(folder, [dataset], "test")
        for group in sorted({bag.about["group"] for bag in bags}):
            members = [bag for bag in bags if bag.about["group"] == group]
            result = measure(members, detector.thresholds)  # type: ignore[attr-defined]
            settings = {"model": arguments.name, "set": dataset.name, "group": group}
            data = {"name": dataset.name, "hash": detector.id, "counts": {"bags": len(members)}}
            keep(Run("detector_elsewhere", settings), result, data=data)


if __name__ == "__main__":
    main()
