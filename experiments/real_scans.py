"""Rank the annotated objects of real scans with a detector that was trained on simulated scans.

    python -m experiments.real_scans MODEL [--limit 200] [--keep NAME]

The protocol is within-bag (:mod:`bagscan.evaluation.within_bag`): regions in an annotated box
against the other regions of the same scan, with attenuation alone as control. A region scores the
sum of the odds of the classes of prohibited items that the annotations name, relative to the
thresholds of these classes, where ``bagscan screen`` adds up all classes. Rows of a class use that
class alone. A model without such classes scores by its anomaly map.

What the annotations leave out counts as benign. Firearms in the pictures of five scanners are such
objects, and their places are not known, so a row of its own leaves out every benign region that the
model takes for a firearm rather than for anything else, for the model and for attenuation alike.
The real scans are in ``BAGSCAN_DATA``; their licences forbid training published weights on them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.core import View
from bagscan.core.errors import ReadError
from bagscan.datasets import sixray, yolo
from bagscan.datasets.record import Record, locate
from bagscan.detector.deciding import any_item, item_log_odds
from bagscan.detector.exported import UsableDetector
from bagscan.evaluation.metrics import bootstrap_mean
from bagscan.evaluation.within_bag import (
    ScoredView,
    attenuation_map,
    bag_values,
    only_class,
    score_bag,
    summarise,
    value_scans,
)
from bagscan.formats import read_view
from bagscan.runtime.load import load_detector
from experiments.engine import Run, keep

# Classes of the annotations, and the simulated classes of the same items.
SAME = {
    "Gun": ("pistol", "revolver"),
    "Knife": ("kitchen_knife", "folding_knife", "craft_knife"),
    "Wrench": ("wrench",),
    "lighter": ("lighter",),
    "pressure": ("pressure_can",),
    "knife": ("kitchen_knife", "folding_knife", "craft_knife"),
    "scissors": ("scissors",),
    "powerbank": ("power_pack", "batteries"),
    "zippooil": ("lighter_fluid",),
    "handcuffs": ("handcuffs",),
    "slingshot": ("slingshot",),
    "firecrackers": ("firecrackers",),
    "nailpolish": ("nail_polish",),
}
ScoredScan = tuple[ScoredView, np.ndarray]  # and (n, classes) scores relative to thresholds
FIREARMS = SAME["Gun"]
NO_FIREARMS = "without likely firearms"
LIKELY = -3.0  # log-odds, relative to the threshold, above which a region can be a firearm
FALSE_MARKS = (0.1, 0.25, 0.5, 1, 2, 4, 8)  # per scan, at which found objects are counted
REACH_PX = 48  # regions that are closer than this are one mark


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--limit", type=int, default=0, help="scans of each dataset; 0 for all")
    parser.add_argument("--keep", default="", help="name of the model in the table real_scans")
    arguments = parser.parse_args()
    detector = load_detector(arguments.model)
    for name, records in real_scans(arguments.limit).items():
        scored = score_records(records, detector)
        for group, views in groups_of(scored, detector.prohibited).items():
            result = measure(views)
            print(f"{name:13s} {group:14s} " + " ".join(f"{k} {v:.3f}" for k, v in result.items()))
            if arguments.keep:
                settings = {"model": arguments.keep, "scans": name, "group": group}
                data = {"name": name, "hash": detector.id, "counts": {"views": len(views)}}
                keep(Run("real_scans", settings), result, data=data)


def real_scans(limit: int) -> dict[str, list[Record]]:
    """Return the records with annotations of each dataset, at most ``limit`` at even steps."""
    collections = {
        "sixray": sixray.load(locate("sixray")),
        "multiscanner": yolo.load(locate("multiscanner"), scanner_digits=1),
    }
    chosen = {}
    for name, collection in collections.items():
        records = [record for record in collection.records if record.annotations]
        step = max(1, len(records) // limit) if limit else 1
        chosen[name] = records[::step][: limit or None]
    return chosen


def read_real(record: Record) -> View | None:
    """Read the view of a real scan; None, with a message, if its file cannot be read."""
    try:
        return read_view(record.path)
    except ReadError as error:
        print(error)
        return None


def score_record(record: Record, detector: UsableDetector) -> ScoredScan | None:
    """Score the regions of a real scan; None if its file cannot be read."""
    if (view := read_real(record)) is None:
        return None
    seen = detector.run_views([view]).views[0]
    compared = score_bag(
        seen.regions,
        seen.region_logits,
        attenuation_map(view.pixels, view.channels),
        record.annotations,
        record.scanner,
    )
    return compared, item_log_odds(seen, detector.thresholds)


def score_records(records: Sequence[Record], detector: UsableDetector) -> list[ScoredScan]:
    """Score the real scans whose files can be read."""
    return [scan for record in records if (scan := score_record(record, detector))]


def measure_all(records: Sequence[Record], detector: UsableDetector) -> dict[str, Any]:
    """Return the figures of :func:`measure` over all scanners and classes of some records."""
    return measure(groups_of(score_records(records, detector), detector.prohibited)["all"])


def measure_model(records: Sequence[Record], folder: Path) -> dict[str, Any]:
    """Return the figures of :func:`measure_all` of a model folder."""
    return measure_all(records, load_detector(folder))


def groups_of(scans: Sequence[ScoredScan], names: Sequence[str]) -> dict[str, list[ScoredView]]:
    """Return the views of all scans, of each scanner, and of each class with its objects only.

    Args:
        scans: scored scans of one dataset.
        names: classes of prohibited items that the detector knows.
    """
    labels = sorted({label for view, _ in scans for label in view.labels})
    groups: dict[str, list[ScoredView]] = defaultdict(list)
    views = [_rescored(scan, labels, names) for scan in scans]
    if "Gun" not in labels and set(FIREARMS) <= set(names):
        groups[NO_FIREARMS] = [
            _without_firearms(view, items, names)
            for view, (_, items) in zip(views, scans, strict=True)
        ]
    groups["all"] = views
    for view in views:
        groups[f"scanner {view.group}"].append(view)
    for label in labels:
        own = [only_class(_rescored(scan, [label], names), label) for scan in scans]
        groups[label] = [view for view in own if view]
    return groups


def _rescored(scan: ScoredScan, labels: Sequence[str], names: Sequence[str]) -> ScoredView:
    """Score the regions of a scan by the simulated classes of some annotated classes."""
    view, items = scan
    chosen = [names.index(name) for label in labels for name in SAME[label] if name in names]
    return replace(view, scores=any_item(items[:, chosen])) if chosen else view


def _without_firearms(view: ScoredView, items: np.ndarray, names: Sequence[str]) -> ScoredView:
    """Leave out the benign regions of a view whose most likely class is a firearm."""
    guns = [names.index(name) for name in FIREARMS]
    likely = np.isin(items.argmax(1), guns) & (items.max(1) > LIKELY) & (view.truth == 0)
    return replace(view, foreground=view.foreground & ~likely)


def measure(views: Sequence[ScoredView]) -> dict[str, Any]:
    """Return within-bag figures and FROC, of the model and of attenuation, with 95 % intervals."""
    own, control = summarise(views), summarise(views, control=True)
    values, scans = bag_values(views), value_scans(views)
    result: dict[str, Any] = {"objects": int(own["objects"])}
    for name in ("auroc", "hit_at_1", "hit_at_5"):
        low, high = bootstrap_mean(values[name], scans[name])
        result |= {name: own[name], f"{name}_low": low, f"{name}_high": high}
        result[f"attenuation_{name}"] = control[name]
    darkness = [replace(view, scores=view.attenuation) for view in views]
    for prefix, scored in (("", views), ("attenuation_", darkness)):
        found = count_found(scored, FALSE_MARKS)
        result |= {f"{prefix}found_at_{rate:g}": share for rate, share in found.items()}
    return result


def count_found(views: Sequence[ScoredView], rates: Sequence[float]) -> dict[float, float]:
    """Return the share of objects found at each number of false marks per scan, with one threshold.

    A mark is a region that no higher region lies close to. It is false if it is benign, and an
    object is found if it holds one.
    """
    false, highest = [], []
    for view in views:
        marks = view.marks(REACH_PX)
        false.append(view.scores[marks & (view.truth == 0)])
        highest += [
            view.scores[marks & view.segments_of(k)].max(initial=-np.inf)
            for k in range(len(view.labels))
        ]
    benign = np.sort(np.concatenate(false))[::-1]
    allowed = {rate: int(rate * len(views)) for rate in rates}
    thresholds = {
        rate: benign[count] if count < len(benign) else -np.inf for rate, count in allowed.items()
    }
    return {rate: float(np.mean(np.array(highest) > t)) for rate, t in thresholds.items()}


if __name__ == "__main__":
    main()
