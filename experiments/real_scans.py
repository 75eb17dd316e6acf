"""Rank the annotated objects of real scans with a detector that was trained on simulated scans.

    python -m experiments.real_scans MODEL [--limit 200] [--keep NAME]

The protocol is within-bag (:mod:`bagscan.evaluation.within_bag`): regions in an annotated box
against the other regions of the same scan, with attenuation alone as control. A region scores the
highest logit of any class of prohibited item, or the anomaly map if the model has no such classes.
The real scans are in ``BAGSCAN_DATA``; their licences forbid training published weights on them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.core.errors import ReadError
from bagscan.datasets import sixray, yolo
from bagscan.datasets.record import Record, located
from bagscan.detector.exported import UsableDetector
from bagscan.detector.inference import ViewResult
from bagscan.evaluation.within_bag import (
    ScoredView,
    attenuation_map,
    only_class,
    score_bag,
    segment_arrays,
    summarise,
)
from bagscan.formats import read_view
from bagscan.runtime.load import load_model
from experiments.engine import Run, keep

FALSE_REGIONS = (1, 4)  # per scan, at which the share of found objects is reported


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--limit", type=int, default=0, help="scans of each dataset; 0 for all")
    parser.add_argument("--keep", default="", help="name of the model in the table real_scans")
    arguments = parser.parse_args()
    detector = load_model(arguments.model)
    assert isinstance(detector, UsableDetector)
    for name, records in real_scans(arguments.limit).items():
        views = [view for record in records if (view := score_record(record, detector))]
        for group, members in groups_of(views).items():
            result = measure(members)
            print(f"{name:13s} {group:14s} " + " ".join(f"{k} {v:.3f}" for k, v in result.items()))
            if arguments.keep:
                settings = {"model": arguments.keep, "scans": name, "group": group}
                data = {"name": name, "hash": detector.id, "counts": {"views": len(members)}}
                keep(Run("real_scans", settings), result, data=data)


def real_scans(limit: int) -> dict[str, list[Record]]:
    """Return the records with annotations of each dataset, at most ``limit`` at even steps."""
    collections = {
        "sixray": sixray.load(located("sixray")),
        "multiscanner": yolo.load(located("multiscanner"), scanner_digits=1),
    }
    chosen = {}
    for name, collection in collections.items():
        records = [record for record in collection.records if record.annotations]
        step = max(1, len(records) // limit) if limit else 1
        chosen[name] = records[::step][: limit or None]
    return chosen


def score_record(record: Record, detector: UsableDetector) -> ScoredView | None:
    """Score the regions of a real scan; None if its file cannot be read."""
    try:
        view = read_view(record.path)
    except ReadError as error:
        print(error)
        return None
    seen = detector.run_views([view]).views[0]
    return score_bag(
        seen.regions,
        item_scores(seen),
        attenuation_map(view.pixels, view.channels),
        record.annotations,
        record.scanner,
    )


def item_scores(seen: ViewResult) -> np.ndarray:
    """Return the (n,) score of each region: the highest class of prohibited item, or the map."""
    return seen.prohibited.max(1) if seen.prohibited.shape[1] else seen.region_logits


def groups_of(views: Sequence[ScoredView]) -> dict[str, list[ScoredView]]:
    """Return all views, those of each scanner, and those of each class with its objects only."""
    groups: dict[str, list[ScoredView]] = defaultdict(list)
    groups["all"] = list(views)
    for view in views:
        groups[f"scanner {view.group}"].append(view)
    for label in sorted({label for view in views for label in view.labels}):
        groups[label] = [own for view in views if (own := only_class(view, label))]
    return groups


def measure(views: Sequence[ScoredView]) -> dict[str, Any]:
    """Return within-bag figures, those of attenuation, and hits at false regions per scan."""
    own, control = summarise(views), summarise(views, control=True)
    result: dict[str, Any] = {"objects": int(own["objects"])}
    for name in ("auroc", "hit_at_1", "hit_at_5"):
        result |= {name: own[name], f"attenuation_{name}": control[name]}
    truth, scores, _ = segment_arrays(views)
    benign = np.sort(scores[truth == 0])[::-1]
    highest = [
        view.scores[view.segments_of(k)].max(initial=-np.inf)
        for view in views
        for k in range(len(view.labels))
    ]
    for rate in FALSE_REGIONS:
        threshold = benign[min(rate * len(views), len(benign) - 1)]
        result[f"found_at_{rate}"] = float(np.mean(np.array(highest) > threshold))
    return result


if __name__ == "__main__":
    main()
