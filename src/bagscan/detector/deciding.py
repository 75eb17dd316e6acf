"""Scores of a bag's regions from the detector's findings; shared by all runtimes.

The verdict on a device combines the log-odds of its views with their agreement along the belt. The
best region of a device gets the score of the device; other regions score less, the lower they are
on the anomaly map. Regions outside devices are scored by the anomaly map alone, against a
threshold of their own. Prohibited items are scored region by region. Does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation

from bagscan.detector.inference import BagResult, ViewResult, sigmoid
from bagscan.detector.thresholds import Thresholds
from bagscan.detector.together import Numbers, match_devices

ITEM_THRESHOLD = 4.0  # threshold of prohibited items before calibration
LOWEST = -12.0  # of regions without evidence
MIN_LOGIT = -6.0  # lower logits of the anomaly map carry no information


@dataclass(frozen=True)
class BagDevice:
    """Device of a bag.

    Attributes:
        numbers: index among the found devices of each view, None where a view does not show it.
        log_odds: calibrated log-odds of an anomaly, over all views that show the device.
    """

    numbers: Numbers
    log_odds: float


def devices_of(bag: BagResult, thresholds: Thresholds) -> list[BagDevice]:
    """Return the devices of a bag with their log-odds.

    If the detector does not evaluate views together, devices are matched between the first two
    views; a device of any further view stands alone.
    """
    if bag.together is not None:
        return [
            BagDevice(
                numbers,
                thresholds.slope * logit
                + thresholds.offset
                + (thresholds.pairing.lone if is_lone(numbers) else 0.0),
            )
            for numbers, logit in bag.together
        ]
    return [
        _combine_views(numbers, bag.views, thresholds)
        for numbers in match_devices([seen.devices for seen in bag.views])
    ]


def is_lone(numbers: Numbers) -> bool:
    """Return True if a single view shows the device; it is often none, or a part of one."""
    return sum(number is not None for number in numbers) == 1


def _combine_views(
    numbers: Numbers, views: Sequence[ViewResult], thresholds: Thresholds
) -> BagDevice:
    shown = [(view, k) for view, k in zip(views, numbers, strict=True) if k is not None]
    total = sum(thresholds.slope * float(view.logits[k]) + thresholds.offset for view, k in shown)
    pairing = thresholds.pairing
    log_odds = pairing.views * total + pairing.offset + (pairing.lone if is_lone(numbers) else 0.0)
    if pairing.place:
        log_odds += pairing.place * agreement(shown)
    return BagDevice(numbers, log_odds)


def agreement(shown: Sequence[tuple[ViewResult, int]]) -> float:
    """Return how strongly a device's views show an anomaly at the same belt position.

    Each row of cells is one belt position in every view. For each row, take the maximum of the
    anomaly map (logits, at least -6) on and next to the device, and average it over the views. The
    result is twice the maximum over the rows. A true anomaly lies on the same rows in every view, a
    false one usually does not.

    Args:
        shown: each view that shows the device, with the device's index in it.
    """
    profiles = []
    for view, k in shown:
        mask = view.devices[k].mask
        near = binary_dilation(mask, np.ones((3, 3), bool))
        highest = np.where(near, view.anomaly[: mask.shape[0], : mask.shape[1]], -np.inf).max(1)
        profiles.append(highest.clip(min=MIN_LOGIT))
    n_rows = min(map(len, profiles))
    return float(np.mean([profile[:n_rows] for profile in profiles], 0).max()) * 2


def region_scores(bag: BagResult, thresholds: Thresholds) -> list[np.ndarray]:
    """Return the (n,) float64 region scores of every view, in [0, 1]; 0.5 and above is flagged."""
    return [scores for scores, _ in decide_regions(bag, thresholds)]


def decide_regions(bag: BagResult, thresholds: Thresholds) -> list[tuple[np.ndarray, np.ndarray]]:
    """Score the regions of every view as anomalies and as prohibited items.

    Returns:
        For each view, the higher of both scores, (n,) float64 in [0, 1]; and (n,) the number of the
        class of prohibited item, or -1 where the score as an anomaly is higher.
    """
    decided = []
    for view, anomaly in zip(bag.views, _anomaly_log_odds(bag, thresholds), strict=True):
        number = np.full(len(anomaly), -1)
        if view.prohibited.shape[1]:
            items = item_log_odds(view, thresholds)
            item = any_item(items)
            number = np.where(item > anomaly, items.argmax(1), -1)
            anomaly = np.maximum(anomaly, item)
        decided.append((sigmoid(anomaly).astype(np.float64), number))
    return decided


def item_log_odds(view: ViewResult, thresholds: Thresholds) -> np.ndarray:
    """Return the (n, p) logits of regions as prohibited items, relative to their thresholds."""
    return np.asarray(view.prohibited - np.array(thresholds.prohibited or ITEM_THRESHOLD))


def any_item(log_odds: np.ndarray) -> np.ndarray:
    """Return the (n,) logarithm of the sum of odds over classes, from (n, p) log-odds.

    Similar classes share the probability of an item: of a knife, three have a part.
    """
    return np.asarray(np.logaddexp.reduce(log_odds, axis=1))


def _anomaly_log_odds(bag: BagResult, thresholds: Thresholds) -> list[np.ndarray]:
    """Return the (n,) log-odds of every view's regions as anomalies, relative to the thresholds."""
    views = bag.views
    logits = [
        np.where(view.device_of < 0, view.region_logits - thresholds.outside, -np.inf)
        for view in views
    ]
    for device in devices_of(bag, thresholds):
        excess = device.log_odds - thresholds.device
        evidence = {
            v: _view_evidence(bag, v, k, thresholds)
            for v, k in enumerate(device.numbers)
            if k is not None
        }
        for v, view_evidence in evidence.items():
            view_gap = max(evidence.values()) - view_evidence
            regions = np.flatnonzero(views[v].device_of == device.numbers[v])
            if not len(regions):
                continue
            gap = views[v].region_logits[regions].max() - views[v].region_logits[regions]
            penalty = np.where(gap > thresholds.margin, gap + max(0.0, excess), 0.0)
            view_penalty = max(0.0, excess) + view_gap if view_gap > thresholds.lesser else 0.0
            logits[v][regions] = excess - penalty - view_penalty
    return [np.nan_to_num(view_logits, neginf=LOWEST) for view_logits in logits]


def _view_evidence(bag: BagResult, v: int, device: int, thresholds: Thresholds) -> float:
    """Return the evidence of one view for an anomaly in a device, to compare with other views.

    It is the view's own verdict, or the device's highest region if views are evaluated together.
    """
    view = bag.views[v]
    if bag.together is None:
        return thresholds.slope * float(view.logits[device])
    return float(view.region_logits[view.device_of == device].max(initial=MIN_LOGIT))
