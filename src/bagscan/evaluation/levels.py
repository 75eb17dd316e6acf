"""Results of a model per segment, per object, per scan and per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bagscan.evaluation.metrics import bootstrap_mean, score_table
from bagscan.evaluation.within_bag import (
    ScoredView,
    bag_values,
    only_class,
    scan_numbers,
    segment_arrays,
    summarise,
    value_scans,
    view_arrays,
)


def object_arrays(bags: Sequence[ScoredView]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, scores and scan numbers of objects.

    Positives are the objects; the score is that of the object's highest-scoring segment. Negatives
    are the bags; the score is that of the bag's highest-scoring benign segment.

    Returns:
        Truth (n,) 1 or 0, scores (n,) and scan numbers (n,).
    """
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
            # An object without a foreground segment cannot be found, so it ranks below all scores.
            scores.append(float(bag.scores[own].max()) if own.any() else -1.0)
            number.append(i)
    return np.array(truth), np.array(scores), np.array(number)


def evaluate_levels(bags: Sequence[ScoredView], threshold: float) -> dict[str, Any]:
    """Evaluate all levels at one threshold, and by the within-bag protocol.

    Intervals are bootstrapped over scans. ``per_scan`` has a row per record: a scan, or a view or
    item if the records are views or items.
    """
    truth, scores, number = segment_arrays(bags)
    results: dict[str, Any] = {"per_segment": score_table(truth, scores, threshold, number)}
    truth, scores, number = object_arrays(bags)
    results["per_object"] = score_table(truth, scores, threshold, number)
    truth, scores, number = view_arrays(bags)
    results["per_scan"] = score_table(truth, scores, threshold, number)
    has_object = np.array([bool(bag.labels) for bag in bags], bool)
    ious = np.array([bag.pixel_iou(threshold) for bag in bags if bag.labels])
    results["per_pixel"] = {
        "iou": float(ious.mean()) if len(ious) else float("nan"),
        "interval": bootstrap_mean(ious, scan_numbers(bags)[has_object]),
        "n": len(ious),
    }
    results["within_bag"] = within_bag_table(bags)
    return results


def within_bag_table(bags: Sequence[ScoredView]) -> dict[str, Any]:
    """Evaluate the within-bag protocol over all bags, per group and per class.

    A group is a scanner, or for simulated scans a class of device. Each row has the model and the
    control, attenuation alone.
    """
    groups: dict[str, list[ScoredView]] = {"all": list(bags)}
    for bag in bags:
        groups.setdefault(f"group:{bag.group}", []).append(bag)
    for label in sorted({name for bag in bags for name in bag.labels}):
        reduced = [only_class(bag, label) for bag in bags]
        groups[f"class:{label}"] = [bag for bag in reduced if bag is not None]
    table = {name: _row(members) for name, members in sorted(groups.items())}
    others = [bag for bag in bags if bag.group != "sixray"]
    if others and len(others) < len(bags):
        table["group:other than sixray"] = _row(others)
    return table


def _row(bags: Sequence[ScoredView]) -> dict[str, Any]:
    row: dict[str, Any] = {"model": summarise(bags), "darkness": summarise(bags, control=True)}
    scans = value_scans(bags)
    row["intervals"] = {
        key: bootstrap_mean(values, scans[key]) for key, values in bag_values(bags).items()
    }
    return row
