"""What a detector's results on a simulated set are worth: devices, places and bags. No torch.

A view of a device counts as anomalous where the anomaly is visible in that view; a device over both views where
it is visible in one. What is visible in none is reported apart. A device that was not found scores lowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bagscan.detector.deciding import devices_of, region_scores
from bagscan.detector.judging import JudgedBag, JudgedView
from bagscan.detector.thresholds import Thresholds
from bagscan.evaluation.metrics import auroc, fpr_at_tpr, tpr_at_fpr

NOT_FOUND = -20.0
PAPER_FP, PAPER_TP = 0.0454, 0.9899  # paper A's result
ANOMALOUS_FROM, BENIGN_TO = 0.5, 0.1  # share of a segment on the anomaly
MAX_FALSE_REGIONS = 2
FLAGGED = 0.5


def measure(bags: Sequence[JudgedBag], thresholds: Thresholds) -> dict[str, Any]:
    """All figures of some bags: of one group, or of several together."""
    hidden = [bag for bag in bags if bag.anomalous]
    seen = [bag for bag in hidden if any(view.visible for view in bag.views)]
    summary: dict[str, Any] = {
        "bags": len(bags),
        "scenes": len({bag.scene for bag in bags}),
        "anomalous": len(hidden),
        "visible": len(seen),
    }
    summary |= {"device_recall": _recall(bags)}
    summary |= {f"view_{k}": v for k, v in _rates(*_by_view(bags)).items()}
    summary |= {f"device_{k}": v for k, v in _rates(*_by_device(bags, thresholds)).items()}
    summary |= _within(bags) | _segments(bags) | _bags(bags, thresholds)
    return summary


def _rates(truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    return {
        "auroc": auroc(truth, scores),
        "fpr_at_95": fpr_at_tpr(truth, scores, 0.95),
        "tp_at_10": tpr_at_fpr(truth, scores, 0.10),
    }


def _recall(bags: Sequence[JudgedBag]) -> float:
    devices = [device for bag in bags for view in bag.views for device in view.devices]
    return (
        float(np.mean([device.found is not None for device in devices]))
        if devices
        else float("nan")
    )


def _score(view: JudgedView, found: int | None) -> float:
    return NOT_FOUND if found is None else float(view.seen.logits[found])


def _by_view(bags: Sequence[JudgedBag]) -> tuple[np.ndarray, np.ndarray]:
    truth, scores = [], []
    for bag in bags:
        for view in bag.views:
            for device in view.devices:
                if device.host and not view.visible:
                    continue
                truth.append(device.host)
                scores.append(_score(view, device.found))
    return np.array(truth, bool), np.array(scores)


def _by_device(bags: Sequence[JudgedBag], thresholds: Thresholds) -> tuple[np.ndarray, np.ndarray]:
    """Devices over all views; of the bag's devices those that no true one stands for are left out, unless they hold the only view of one."""
    truth, scores = [], []
    for bag in bags:
        if bag.anomalous and not any(view.visible for view in bag.views):
            continue
        host_found = False
        for device in devices_of(bag.seen, thresholds):
            stands_for = bag.true_devices(device.numbers)
            if not stands_for:
                continue
            is_host = any(d.host for d in stands_for)
            host_found |= is_host
            truth.append(is_host)
            scores.append(device.log_odds)
        if bag.anomalous and not host_found:
            truth.append(True)
            scores.append(NOT_FOUND)
    return np.array(truth, bool), np.array(scores)


def _within(bags: Sequence[JudgedBag]) -> dict[str, float]:
    """Regions of a host device in one view: AUROC, and how often the best one lies on the anomaly."""
    areas, dark, hits = [], [], []
    for bag in bags:
        for view in bag.views:
            host = next((d for d in view.devices if d.host), None)
            if not bag.anomalous or not view.visible or host is None or host.found is None:
                continue
            own = view.seen.device_of == host.found
            truth = view.on[own] >= ANOMALOUS_FROM
            counted = truth | (view.on[own] < BENIGN_TO)
            if truth.any() and not truth.all():
                areas.append(auroc(truth[counted], view.seen.heights[own][counted]))
                dark.append(auroc(truth[counted], view.darkness[own][counted]))
            if own.any():
                best = np.flatnonzero(own)[np.argmax(view.seen.heights[own])]
                hits.append(view.near[best] >= ANOMALOUS_FROM)
    return {"within_auroc": _mean(areas), "within_darkness": _mean(dark), "hit_at_1": _mean(hits)}


def _segments(bags: Sequence[JudgedBag]) -> dict[str, float]:
    """Segments of devices as paper A counts them, and darkness alone beside it."""
    truth, scores, dark = [], [], []
    for bag in bags:
        for view in bag.views:
            own = (view.seen.device_of >= 0) & ((view.on >= ANOMALOUS_FROM) | (view.on < BENIGN_TO))
            truth.append(view.on[own] >= ANOMALOUS_FROM)
            scores.append(view.seen.heights[own])
            dark.append(view.darkness[own])
    labels, score, control = (
        np.concatenate(x) if x else np.zeros(0) for x in (truth, scores, dark)
    )
    if not labels.any() or labels.all():
        return {}
    return {
        "segments": len(labels),
        "segment_auroc": auroc(labels, score),
        "segment_darkness": auroc(labels, control),
        "segment_tp_at_paper_fp": tpr_at_fpr(labels, score, PAPER_FP),
        "segment_fp_at_paper_tp": fpr_at_tpr(labels, score, PAPER_TP),
    }


def _bags(bags: Sequence[JudgedBag], thresholds: Thresholds) -> dict[str, float]:
    """Bags as they are screened: alarms, and of those on something hidden, how many point at it."""
    alarms: dict[bool, list[bool]] = {True: [], False: []}
    for bag in bags:
        alarms[bag.anomalous].append(
            any((scores >= FLAGGED).any() for scores in region_scores(bag.seen, thresholds))
        )
    return {
        "bag_tp": _mean(alarms[True]),
        "bag_fp": _mean(alarms[False]),
        "on_the_anomaly": right_places(bags, thresholds),
    }


def right_places(bags: Sequence[JudgedBag], thresholds: Thresholds) -> float:
    """Share of anomalous bags with a flagged region on what is hidden, and at most two that are not."""
    right = []
    for bag in bags:
        if bag.anomalous:
            flagged = [scores >= FLAGGED for scores in region_scores(bag.seen, thresholds)]
            on = [
                view.near[f] >= ANOMALOUS_FROM for view, f in zip(bag.views, flagged, strict=True)
            ]
            hits, false = sum(int(o.sum()) for o in on), sum(int((~o).sum()) for o in on)
            right.append(hits > 0 and false <= MAX_FALSE_REGIONS)
    return _mean(right)


def bag_scores(bags: Sequence[JudgedBag], thresholds: Thresholds) -> tuple[np.ndarray, np.ndarray]:
    """(n,) of each bag: its most suspicious device's log-odds, and its highest region on no device."""
    devices = [
        max((d.log_odds for d in devices_of(bag.seen, thresholds)), default=NOT_FOUND)
        for bag in bags
    ]
    outside = [
        max(
            (float(v.seen.heights[v.seen.device_of < 0].max(initial=NOT_FOUND)) for v in bag.views),
            default=NOT_FOUND,
        )
        for bag in bags
    ]
    return np.array(devices), np.array(outside)


def _mean(values: Sequence[Any]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
