"""Count the alarms of a detector on real scans with and without prohibited items.

    python -m experiments.real_alarms MODEL [--max-fpr 0.1] [--limit 0] [--keep NAME]

First with the thresholds of the model, which come from simulated bags; then with thresholds from
half of the benign scans of SIXray, as ``bagscan adapt --benign --max-fpr`` chooses them, on the
other half. SIXray's scans with and without items differ in size, brightness and compression, so
their difference is not that of the items alone. The five other scanners have no benign scans.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.datasets.record import Record, locate
from bagscan.datasets.splits import make_split
from bagscan.detector.calibration import choose_alarms
from bagscan.detector.deciding import decide_regions
from bagscan.detector.exported import FLAGGED, UsableDetector
from bagscan.detector.inference import BagResult
from bagscan.detector.thresholds import Thresholds
from bagscan.evaluation.operating_point import clopper_pearson
from bagscan.evaluation.within_bag import POSITIVE_FROM
from bagscan.runtime.load import load_detector
from experiments.engine import Run, keep
from experiments.real_scans import read_real, real_scans

HALVES = {"thresholds": 0.5, "compared": 0.5}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="detector with classes of prohibited items")
    parser.add_argument("--max-fpr", type=float, default=0.1)
    parser.add_argument("--limit", type=int, default=0, help="scans of each dataset; 0 for all")
    parser.add_argument("--keep", default="", help="name of the model in the table real_alarms")
    arguments = parser.parse_args()
    detector = load_detector(arguments.model)
    for settings, figures in measure(detector, arguments.max_fpr, arguments.limit):
        print(settings, {name: round(float(value), 3) for name, value in figures.items()})
        if arguments.keep:
            run = Run("real_alarms", {"model": arguments.keep} | settings)
            data = {"name": settings["scans"], "hash": detector.id, "counts": {}}
            keep(run, figures, data=data)


def measure(
    detector: UsableDetector, max_fpr: float, limit: int
) -> Iterator[tuple[dict[str, str], dict[str, float]]]:
    """Yield settings and figures of every group of scans."""
    paths = sorted((locate("sixray") / "JPEGImage").glob("N*.jpg"))
    benign = [Record(path.stem, path) for path in paths[: limit or None]]
    seen = list(run_all(benign, detector))
    split = make_split(benign, HALVES)
    of_thresholds = {record.id for record in split.select(benign, "thresholds")}
    results = [result for record, result in seen if record.id in of_thresholds]
    compared = [(record, result) for record, result in seen if record.id not in of_thresholds]
    own, _ = choose_alarms(results, detector.thresholds, max_fpr, "benign scans of SIXray", True)
    simulated = {"thresholds": "simulated bags"}
    others = {"thresholds": f"half of SIXray's benign scans, {max_fpr:g}"}
    yield simulated | {"scans": "sixray, benign"}, count(seen, [detector.thresholds])[0]
    yield others | {"scans": "sixray, benign, other half"}, count(compared, [own])[0]
    for name, records in real_scans(limit).items():
        points = [detector.thresholds, own] if name == "sixray" else [detector.thresholds]
        figures_of = count(run_all(records, detector), points)
        for settings, figures in zip((simulated, others), figures_of, strict=False):
            yield settings | {"scans": f"{name}, with items"}, figures


def run_all(
    records: Sequence[Record], detector: UsableDetector
) -> Iterator[tuple[Record, BagResult]]:
    """Run the detector on every scan whose file can be read."""
    for record in records:
        if (view := read_real(record)) is not None:
            yield record, detector.run_views([view])


def count(
    seen: Iterable[tuple[Record, BagResult]], points: Sequence[Thresholds]
) -> list[dict[str, Any]]:
    """Return the share of scans that alarm, and of objects flagged, for each set of thresholds."""
    alarms: list[list[bool]] = [[] for _ in points]
    objects: list[list[bool]] = [[] for _ in points]
    for record, result in seen:
        regions = result.views[0].regions
        inside = [
            regions.overlap(annotation.region(*regions.shape)) >= POSITIVE_FROM
            for annotation in record.annotations
        ]
        for thresholds, raised, hit in zip(points, alarms, objects, strict=True):
            flagged = decide_regions(result, thresholds)[0][0] >= FLAGGED
            raised.append(bool(flagged.any()))
            hit += [bool(flagged[of_object].any()) for of_object in inside]
    return [shares(raised, hit) for raised, hit in zip(alarms, objects, strict=True)]


def shares(alarms: Sequence[bool], objects: Sequence[bool]) -> dict[str, Any]:
    """Return figures with 95 % intervals; those of objects only if there are any."""
    figures: dict[str, Any] = {"scans": len(alarms)}
    for name, counted in (("alarms", alarms), ("objects", objects)):
        if counted:
            low, high = clopper_pearson(sum(counted), len(counted))
            figures |= {name: float(np.mean(counted)), f"{name}_low": low, f"{name}_high": high}
    return figures


if __name__ == "__main__":
    main()
