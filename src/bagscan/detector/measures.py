"""Metrics of a detector on a simulated dataset, for devices, regions and bags.

In a single view, a device counts as anomalous if its anomaly is visible in that view; over all
views, if it is visible in at least one. Anomalies that are visible in no view are left out of the
device metrics. A device that was not found gets the lowest score. Does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bagscan.detector.deciding import any_item, decide_regions, devices_of, region_scores
from bagscan.detector.inference import BagResult
from bagscan.detector.scored_bags import ScoredBag, ScoredView
from bagscan.detector.thresholds import Thresholds
from bagscan.evaluation.metrics import auroc, fpr_at_tpr, tpr_at_fpr
from bagscan.formats.truth import MAX_FALSE_REGIONS

NOT_FOUND = -20.0
PAPER_FP, PAPER_TP = 0.0454, 0.9899  # rates reported by Bhowmik & Breckon
ANOMALOUS_FROM, BENIGN_TO = 0.5, 0.1  # share on the anomaly that makes a region anomalous or benign
FLAGGED = 0.5


def measure(bags: Sequence[ScoredBag], thresholds: Thresholds) -> dict[str, Any]:
    """Compute all metrics of a set of bags.

    Returns:
        Counts and metrics by name; NaN for a metric that the bags do not define.
    """
    anomalous = [bag for bag in bags if bag.anomalous]
    visible = [bag for bag in anomalous if any(view.visible for view in bag.views)]
    summary: dict[str, Any] = {
        "bags": len(bags),
        "scenes": len({bag.scene for bag in bags}),
        "anomalous": len(anomalous),
        "visible": len(visible),
    }
    summary |= {"device_recall": _device_recall(bags), "host_recall": _host_recall(visible)}
    summary |= {f"view_{k}": v for k, v in _rates(*_view_scores(bags)).items()}
    summary |= {f"device_{k}": v for k, v in _rates(*device_scores(bags, thresholds)).items()}
    summary |= _host_metrics(bags) | _region_metrics(bags) | _bag_metrics(bags, thresholds)
    return summary | _item_metrics(bags, thresholds)


def _rates(truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    return {
        "auroc": auroc(truth, scores),
        "fpr_at_95": fpr_at_tpr(truth, scores, 0.95),
        "tp_at_10": tpr_at_fpr(truth, scores, 0.10),
    }


def _device_recall(bags: Sequence[ScoredBag]) -> float:
    devices = [device for bag in bags for view in bag.views for device in view.devices]
    return _mean([device.found is not None for device in devices])


def _host_recall(bags: Sequence[ScoredBag]) -> float:
    """Return the share of devices with an anomaly that are found in at least one view."""
    hosts = [[d for view in bag.views for d in view.devices if d.host] for bag in bags]
    return _mean([any(device.found is not None for device in shown) for shown in hosts])


def _score(view: ScoredView, found: int | None) -> float:
    return NOT_FOUND if found is None else float(view.seen.logits[found])


def _view_scores(bags: Sequence[ScoredBag]) -> tuple[np.ndarray, np.ndarray]:
    truth, scores = [], []
    for bag in bags:
        for view in bag.views:
            for device in view.devices:
                if device.host and not view.visible:
                    continue
                truth.append(device.host)
                scores.append(_score(view, device.found))
    return np.array(truth, bool), np.array(scores)


def device_scores(
    bags: Sequence[ScoredBag], thresholds: Thresholds
) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and log-odds of devices over all views, without false detections."""
    truth, scores = [], []
    for bag in bags:
        if bag.anomalous and not any(view.visible for view in bag.views):
            continue
        host_found = False
        for device in devices_of(bag.seen, thresholds):
            true_devices = bag.true_devices(device.numbers)
            if not true_devices:
                continue
            is_host = any(true_device.host for true_device in true_devices)
            host_found |= is_host
            truth.append(is_host)
            scores.append(device.log_odds)
        if bag.anomalous and not host_found:
            truth.append(True)
            scores.append(NOT_FOUND)
    return np.array(truth, bool), np.array(scores)


def _host_metrics(bags: Sequence[ScoredBag]) -> dict[str, float]:
    """Compare the regions of a host device in a single view.

    Returns:
        AUROC of the anomaly map and of attenuation alone, and how often the best region is near the
        anomaly.
    """
    aurocs, control_aurocs, hits = [], [], []
    for bag in bags:
        for view in bag.views:
            host = next((d for d in view.devices if d.host), None)
            if not bag.anomalous or not view.visible or host is None or host.found is None:
                continue
            on_host = view.seen.device_of == host.found
            truth = view.on[on_host] >= ANOMALOUS_FROM
            counted = truth | (view.on[on_host] < BENIGN_TO)
            if truth.any() and not truth.all():
                aurocs.append(auroc(truth[counted], view.seen.region_logits[on_host][counted]))
                control_aurocs.append(auroc(truth[counted], view.attenuation[on_host][counted]))
            if on_host.any():
                best = np.flatnonzero(on_host)[np.argmax(view.seen.region_logits[on_host])]
                hits.append(view.near[best] >= ANOMALOUS_FROM)
    return {
        "within_auroc": _mean(aurocs),
        "within_darkness": _mean(control_aurocs),
        "hit_at_1": _mean(hits),
    }


def _region_metrics(bags: Sequence[ScoredBag]) -> dict[str, float]:
    """Evaluate regions on devices as Bhowmik & Breckon do, with attenuation alone as control."""
    truth, scores, attenuations = [], [], []
    for bag in bags:
        for view in bag.views:
            is_clear = (view.on >= ANOMALOUS_FROM) | (view.on < BENIGN_TO)
            counted = (view.seen.device_of >= 0) & is_clear
            truth.append(view.on[counted] >= ANOMALOUS_FROM)
            scores.append(view.seen.region_logits[counted])
            attenuations.append(view.attenuation[counted])
    labels, score, control = (
        np.concatenate(x) if x else np.zeros(0) for x in (truth, scores, attenuations)
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


def _bag_metrics(bags: Sequence[ScoredBag], thresholds: Thresholds) -> dict[str, float]:
    """Return the alarm rates of anomalous and benign bags, and the share of right places."""
    alarms: dict[bool, list[bool]] = {True: [], False: []}
    right = []
    for bag in bags:
        scores = region_scores(bag.seen, thresholds)
        if bag.anomalous or not bag.prohibited:  # an alarm for a prohibited item is no false alarm
            alarms[bag.anomalous].append(any((of_view >= FLAGGED).any() for of_view in scores))
        if bag.anomalous:
            right.append(_points_at_anomaly(bag, scores))
    return {
        "bag_tp": _mean(alarms[True]),
        "bag_fp": _mean(alarms[False]),
        "on_the_anomaly": _mean(right),
    }


def _item_metrics(bags: Sequence[ScoredBag], thresholds: Thresholds) -> dict[str, float]:
    """Return the share of prohibited items that are flagged in a view, and of these rightly named.

    An item is flagged if at least half of a flagged region is on it.
    """
    found, named = [], []
    for bag in bags:
        decided = decide_regions(bag.seen, thresholds)
        for view, (scores, numbers) in zip(bag.views, decided, strict=True):
            for item in view.items:
                on_it = (item.on >= ANOMALOUS_FROM) & (scores >= FLAGGED)
                found.append(bool(on_it.any()))
                if on_it.any():
                    best = np.flatnonzero(on_it)[scores[on_it].argmax()]
                    named.append(numbers[best] == item.number)
    if not found:
        return {}
    return {"items": len(found), "item_found": _mean(found), "item_named": _mean(named)}


def right_places(bags: Sequence[ScoredBag], thresholds: Thresholds) -> float:
    """Return the share of anomalous bags whose flagged regions point at the anomaly.

    At least one flagged region must be near the anomaly, and at most two may be elsewhere. NaN
    without anomalous bags.
    """
    return _mean(
        [
            _points_at_anomaly(bag, region_scores(bag.seen, thresholds))
            for bag in bags
            if bag.anomalous
        ]
    )


def _points_at_anomaly(bag: ScoredBag, scores: Sequence[np.ndarray]) -> bool:
    is_near = [
        view.near[view_scores >= FLAGGED] >= ANOMALOUS_FROM
        for view, view_scores in zip(bag.views, scores, strict=True)
    ]
    n_hits = sum(int(flags.sum()) for flags in is_near)
    n_false = sum(int((~flags).sum()) for flags in is_near)
    return n_hits > 0 and n_false <= MAX_FALSE_REGIONS


def bag_scores(bags: Sequence[BagResult], thresholds: Thresholds) -> dict[str, np.ndarray]:
    """Return the highest scores of each bag, by the name of their threshold.

    Returns:
        ``device``: (n,) log-odds of the most suspicious device; ``outside``: (n,) mean logits of
        the anomaly map in the highest region outside devices; ``prohibited``: (n,) logarithm of the
        sum of odds over all classes in the highest region. -20 if there is nothing to score.
    """
    scores: dict[str, list[float]] = {"device": [], "outside": [], "prohibited": []}
    for bag in bags:
        log_odds = (device.log_odds for device in devices_of(bag, thresholds))
        scores["device"].append(max(log_odds, default=NOT_FOUND))
        outside = [view.region_logits[view.device_of < 0] for view in bag.views]
        scores["outside"].append(_highest(outside))
        items = [any_item(view.prohibited) for view in bag.views if view.prohibited.shape[1]]
        scores["prohibited"].append(_highest(items))
    return {name: np.array(values) for name, values in scores.items()}


def _highest(logits: Sequence[np.ndarray]) -> float:
    return max((float(values.max(initial=NOT_FOUND)) for values in logits), default=NOT_FOUND)


def _mean(values: Sequence[Any]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
