"""One run of a model, scored per segment, per object and per scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bagscan.evaluation.metrics import bootstrap_mean, score_table
from bagscan.evaluation.within_bag import (
    JudgedView,
    bag_values,
    only_class,
    scan_numbers,
    segment_arrays,
    summarise,
    value_scans,
    view_arrays,
)


def object_arrays(bags: Sequence[JudgedView]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(truth, scores, number of the scan): every object by its best segment, every bag's best benign one."""
    truth, scores, number = [], [], []
    for i, bag in zip(scan_numbers(bags), bags, strict=True):
        benign = bag.truth == 0
        if benign.any():
            truth.append(0)
            scores.append(float(bag.scores[benign].max()))
            number.append(i)
        for k in range(bag.overlap.shape[1]):
            own = bag.segments_of(k)
            truth.append(1)
            # An object without a foreground segment cannot be found: below every real score.
            scores.append(float(bag.scores[own].max()) if own.any() else -1.0)
            number.append(i)
    return np.array(truth), np.array(scores), np.array(number)


def evaluate_levels(bags: Sequence[JudgedView], threshold: float) -> dict[str, Any]:
    """Scores at every level at one threshold, and the within-bag protocol with its control; intervals resample whole scans.

    ``per_scan`` counts what was judged at a time: a view, or an item in one, where the data are those.
    """
    truth, scores, number = segment_arrays(bags)
    results: dict[str, Any] = {"per_segment": score_table(truth, scores, threshold, number)}
    truth, scores, number = object_arrays(bags)
    results["per_object"] = score_table(truth, scores, threshold, number)
    truth, scores, number = view_arrays(bags)
    results["per_scan"] = score_table(truth, scores, threshold, number)
    holding = np.array([bool(bag.labels) for bag in bags], bool)
    ious = np.array([bag.pixel_iou(threshold) for bag in bags if bag.labels])
    results["per_pixel"] = {
        "iou": float(ious.mean()) if len(ious) else float("nan"),
        "interval": bootstrap_mean(ious, scan_numbers(bags)[holding]),
        "n": len(ious),
    }
    results["within_bag"] = within_bag_table(bags)
    return results


def within_bag_table(bags: Sequence[JudgedView]) -> dict[str, Any]:
    """The protocol over all bags, per group (the scanner, or of simulated scans the device) and per class, each with the darkness control."""
    groups: dict[str, list[JudgedView]] = {"all": list(bags)}
    for bag in bags:
        groups.setdefault(f"group:{bag.group}", []).append(bag)
    for label in sorted({name for bag in bags for name in bag.labels}):
        groups[f"class:{label}"] = [
            only for bag in bags if (only := only_class(bag, label)) is not None
        ]
    table = {name: _row(members) for name, members in sorted(groups.items())}
    others = [bag for bag in bags if bag.group != "sixray"]
    if others and len(others) < len(bags):
        table["group:other than sixray"] = _row(others)
    return table


def _row(bags: Sequence[JudgedView]) -> dict[str, Any]:
    row: dict[str, Any] = {"model": summarise(bags), "darkness": summarise(bags, control=True)}
    scans = value_scans(bags)
    row["intervals"] = {
        key: bootstrap_mean(values, scans[key]) for key, values in bag_values(bags).items()
    }
    return row
