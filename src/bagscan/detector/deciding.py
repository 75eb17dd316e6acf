"""From what the views of a bag show to scores of its regions: the same code for every runtime. No torch.

A device's verdict is made of its views' log-odds and of what both show at one place of the belt. A region of a device scores as
its device does where it is the device's best, and less the further it falls behind; what lies on no device is judged by the map
alone, against a threshold of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation

from bagscan.detector.looking import SeenBag, SeenView, sigmoid
from bagscan.detector.thresholds import Thresholds
from bagscan.detector.together import Numbers, matched

MIN_LOGIT = -6.0  # of the map: below, one nothing is like another


@dataclass(frozen=True)
class BagDevice:
    """One device of a bag: its number in every view that shows it, and its log-odds over all of them."""

    numbers: Numbers
    log_odds: float


def devices_of(bag: SeenBag, thresholds: Thresholds) -> list[BagDevice]:
    """The devices of a bag: judged over both views together, or matched between its first two views; more views stand alone."""
    if bag.together is not None:
        return [
            BagDevice(numbers, thresholds.slope * logit + thresholds.offset)
            for numbers, logit in bag.together
        ]
    return [
        _judged(numbers, bag.views, thresholds)
        for numbers in matched([seen.devices for seen in bag.views])
    ]


def _judged(numbers: Numbers, views: Sequence[SeenView], thresholds: Thresholds) -> BagDevice:
    shown = [(seen, k) for seen, k in zip(views, numbers, strict=True) if k is not None]
    summed = sum(thresholds.slope * float(seen.logits[k]) + thresholds.offset for seen, k in shown)
    pairing = thresholds.pairing
    log_odds = pairing.views * summed + pairing.offset + (pairing.lone if len(shown) == 1 else 0.0)
    if pairing.place:
        log_odds += pairing.place * agreement(shown)
    return BagDevice(numbers, log_odds)


def agreement(shown: Sequence[tuple[SeenView, int]]) -> float:
    """Highest sum over a device's views of what each shows at one place of the belt, in logits of the map; of one view, twice its own.

    An anomaly lies on the same lines of the belt in every view, what is taken for one mostly does not.

    Args:
        shown: each view with the device's number in it.
    """
    profiles = []
    for seen, k in shown:
        mask = seen.devices[k].mask
        near = binary_dilation(mask, np.ones((3, 3), bool))
        highest = np.where(near, seen.anomaly[: mask.shape[0], : mask.shape[1]], -np.inf).max(1)
        profiles.append(highest.clip(min=MIN_LOGIT))
    lines = min(map(len, profiles))
    return float(np.mean([profile[:lines] for profile in profiles], 0).max()) * 2


def region_scores(bag: SeenBag, thresholds: Thresholds) -> list[np.ndarray]:
    """(n,) scores of the regions of every view, in [0, 1]; from 0.5 on a region is pointed at."""
    views = bag.views
    logits = [
        np.where(seen.device_of < 0, seen.heights - thresholds.outside, -np.inf) for seen in views
    ]
    for device in devices_of(bag, thresholds):
        beyond = device.log_odds - thresholds.device
        own = {
            v: _in_view(bag, v, k, thresholds)
            for v, k in enumerate(device.numbers)
            if k is not None
        }
        for v, height in own.items():
            behind_view = max(own.values()) - height
            of_device = np.flatnonzero(views[v].device_of == device.numbers[v])
            if not len(of_device):
                continue
            behind = views[v].heights[of_device].max() - views[v].heights[of_device]
            behind = np.where(behind > thresholds.margin, behind + max(0.0, beyond), 0.0)
            lesser = max(0.0, beyond) + behind_view if behind_view > thresholds.lesser else 0.0
            logits[v][of_device] = beyond - behind - lesser
    return [sigmoid(np.nan_to_num(of_view, neginf=-12.0)).astype(np.float64) for of_view in logits]


def _in_view(bag: SeenBag, v: int, device: int, thresholds: Thresholds) -> float:
    """How much one view speaks for something hidden in a device, against other views: its verdict, or its highest region where views are judged together."""
    seen = bag.views[v]
    if bag.together is None:
        return thresholds.slope * float(seen.logits[device])
    return float(seen.heights[seen.device_of == device].max(initial=MIN_LOGIT))
