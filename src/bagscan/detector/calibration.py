"""A detector's thresholds, chosen on validation scenes that it was not trained on. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from bagscan.core import OperatingPoint
from bagscan.core.errors import DataError
from bagscan.detector.deciding import agreement, devices_of
from bagscan.detector.judging import JudgedBag
from bagscan.detector.measures import bag_scores, right_places
from bagscan.detector.thresholds import SLOPES, Pairing, Thresholds
from bagscan.evaluation.operating_point import clopper_pearson

MARGIN = 0.2  # above the highest benign score, where none may alarm
MARGINS, LESSERS = (0.1, 0.25, 0.5, 1.0), (0.5, 2.0)  # of pointing, see Thresholds
OUTSIDE_SHARE = 0.1  # of the false alarms that may come from what lies on no device


def calibrated(bags: Sequence[JudgedBag], max_fpr: float) -> tuple[Thresholds, OperatingPoint]:
    """Log-odds of a view, and where devices and other regions alarm.

    Args:
        bags: of validation scenes. max_fpr: share of benign bags that may alarm.

    Raises:
        DataError: no bags of one of the two labels, or too few benign ones.
    """
    together = all(bag.together is not None for bag in bags)
    slope, offset = _fitted(*(_together(bags) if together else _by_view(bags)))
    thresholds = Thresholds(slope, offset)
    if not together:
        thresholds = replace(thresholds, pairing=_pairing(bags, thresholds))
    truth = np.array([bag.anomalous for bag in bags])
    devices, outside = bag_scores(bags, thresholds)
    device = _above(devices[~truth], max_fpr * (1 - OUTSIDE_SHARE))
    beyond = _above(outside[~truth], max_fpr * OUTSIDE_SHARE)
    thresholds = _pointing(bags, replace(thresholds, device=device, outside=beyond))
    false = int(((devices >= device) | (outside >= beyond))[~truth].sum())
    n = int((~truth).sum())
    return thresholds, OperatingPoint(
        0.5, f"max_fpr={max_fpr} per scan", "val", false / n, clopper_pearson(false, n)
    )


def _above(benign: np.ndarray, share: float) -> float:
    """A threshold that at most a share of benign scores reach, midway between two of them: scores pass through a sigmoid."""
    if not len(benign):
        raise DataError("calibration needs benign bags")
    ordered = np.append(np.sort(benign), benign.max() + MARGIN)
    last_below = len(benign) - int(share * len(benign) + 1e-9) - 1
    higher = ordered[np.searchsorted(ordered, ordered[last_below], side="right")]
    return float((ordered[last_below] + higher) / 2)


def _pointing(bags: Sequence[JudgedBag], thresholds: Thresholds) -> Thresholds:
    """How far behind the best region others are pointed at, so that most alarms are at the right place with few false regions; which bags alarm stays."""
    tried = [
        replace(thresholds, margin=margin, lesser=lesser)
        for margin in MARGINS
        for lesser in LESSERS
    ]
    return max(
        tried, key=lambda one: right_places(bags, one)
    )  # of equal ones the first, which points at least


def _together(bags: Sequence[JudgedBag]) -> tuple[list[bool], list[float]]:
    """Truth and logit of every device over all views, of those that were found."""
    truth, logits = [], []
    for bag in bags:
        for numbers, logit in bag.together or ():
            stands_for = bag.true_devices(numbers)
            is_host = any(d.host for d in stands_for)
            if stands_for and (not is_host or any(view.visible for view in bag.views)):
                truth.append(is_host)
                logits.append(logit)
    return truth, logits


def _by_view(bags: Sequence[JudgedBag]) -> tuple[list[bool], list[float]]:
    """Truth and logit of every device in single views, of those that were found."""
    truth, logits = [], []
    for bag in bags:
        for view in bag.views:
            for device in view.devices:
                if device.found is not None and (view.visible or not device.host):
                    truth.append(device.host)
                    logits.append(float(view.seen.logits[device.found]))
    return truth, logits


def _fitted(truth: Sequence[bool], logits: Sequence[float]) -> tuple[float, float]:
    """Slope and offset of log-odds over logits (Platt 1999)."""
    if len(set(truth)) < 2:
        raise DataError(
            "calibration needs devices with and without something hidden that the detector finds: train it longer, or take more scenes"
        )
    line = LogisticRegression(C=1e3, class_weight="balanced").fit(
        np.array(logits)[:, None], np.array(truth)
    )
    slope, offset = float(line.coef_[0, 0]), float(line.intercept_[0])
    if slope < SLOPES[0]:
        raise DataError(
            "verdicts on validation scenes are no better than chance: train the detector longer before it is calibrated"
        )
    return slope, offset


def _pairing(bags: Sequence[JudgedBag], thresholds: Thresholds) -> Pairing:
    """Weights of what a device's views show each, and of where they agree; as a sum alone where these would be below 0."""
    truth, rows = [], []
    for bag in bags:
        for device in devices_of(bag.seen, thresholds):
            shown = [(v, k) for v, k in enumerate(device.numbers) if k is not None]
            stands_for = bag.true_devices(device.numbers)
            if stands_for:
                truth.append(any(d.host for d in stands_for))
                rows.append(
                    (
                        device.log_odds,
                        agreement([(bag.views[v].seen, k) for v, k in shown]),
                        float(len(shown) == 1),
                    )
                )
    if len(set(truth)) < 2:
        return Pairing()
    line = LogisticRegression(class_weight="balanced").fit(np.array(rows), np.array(truth))
    of_views, place, lone = (float(weight) for weight in line.coef_[0])
    if of_views <= 0 or place <= 0:
        return Pairing()
    return Pairing(of_views, place, lone, float(line.intercept_[0]))
