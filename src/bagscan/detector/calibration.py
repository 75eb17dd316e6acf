"""Choice of a detector's thresholds on validation scenes. Does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from bagscan.core import OperatingPoint
from bagscan.core.errors import DataError
from bagscan.detector.deciding import agreement, devices_of
from bagscan.detector.inference import BagResult
from bagscan.detector.measures import bag_scores, device_scores, right_places
from bagscan.detector.scored_bags import ScoredBag
from bagscan.detector.thresholds import MAX_LOG_ODDS, SLOPES, Pairing, Thresholds
from bagscan.evaluation.metrics import auroc
from bagscan.evaluation.operating_point import clopper_pearson

MARGIN = 0.2  # added to the highest benign score if no benign bag may alarm
LONES = (0.0, -0.5, -1.0, -1.5, -2.0)  # candidates, see Pairing
SAME_SEPARATION = 0.002  # sums of two AUROCs that differ by less are as good
MARGINS, LESSERS = (0.1, 0.25, 0.5, 1.0), (0.5, 2.0)  # candidates, see Thresholds
OUTSIDE_SHARE = 0.05  # share of the allowed false alarms that regions outside devices may cause
ITEM_SHARE = 0.4  # the same for prohibited items, if the detector knows any


def calibrate_thresholds(
    bags: Sequence[ScoredBag], max_fpr: float, items_only: bool = False
) -> tuple[Thresholds, OperatingPoint]:
    """Choose thresholds and the operating point of a detector.

    Args:
        bags: scored bags of validation scenes, benign and anomalous, not used in training.
        max_fpr: maximum share of benign bags that alarm, in [0, 1].
        items_only: see :func:`choose_alarms`.

    Bags with prohibited items alarm rightly and are no false alarms.

    Raises:
        DataError: if either label is missing, no benign bag is given, or the detector separates the
            labels no better than chance.
    """
    together = all(bag.together is not None for bag in bags)
    slope, offset = _fit_log_odds(*(_bag_devices(bags) if together else _view_devices(bags)))
    thresholds = Thresholds(slope, offset)
    if together:
        thresholds = _choose_lone(bags, thresholds)
    else:
        thresholds = replace(thresholds, pairing=_fit_pairing(bags, thresholds))
    benign = [bag.seen for bag in bags if not bag.anomalous and not bag.prohibited]
    thresholds, point = choose_alarms(benign, thresholds, max_fpr, "val", items_only)
    return _choose_margins(bags, thresholds), point


def choose_alarms(
    benign: Sequence[BagResult],
    thresholds: Thresholds,
    max_fpr: float,
    part: str,
    items_only: bool = False,
) -> tuple[Thresholds, OperatingPoint]:
    """Choose the thresholds from which devices, other regions and prohibited items alarm.

    All classes of prohibited items share one threshold. Thresholds by class, from how high each
    reaches on benign bags, rank items on other scanners worse, since other things are mistaken for
    them there.

    Args:
        benign: results of bags without anomalies and prohibited items.
        thresholds: where the other values come from.
        max_fpr: maximum share of these bags that alarm, in [0, 1].
        part: name of the bags, for the operating point.
        items_only: if true, prohibited items alone alarm, up to the whole of ``max_fpr``.

    Raises:
        DataError: if there are no bags, or ``items_only`` without classes of items.
    """
    n_classes = max((view.prohibited.shape[1] for bag in benign for view in bag.views), default=0)
    if items_only and not n_classes:
        raise DataError("the detector knows no prohibited items, so nothing would alarm")
    shares = {"prohibited": 1.0}
    if not items_only:
        of_items = ITEM_SHARE if n_classes else 0.0
        of_devices = 1 - OUTSIDE_SHARE - of_items
        shares = {"device": of_devices, "outside": OUTSIDE_SHARE, "prohibited": of_items}
    scores = bag_scores(benign, thresholds)
    limits = dict.fromkeys(scores, MAX_LOG_ODDS) | {
        name: min(_threshold_above(scores[name], max_fpr * share), MAX_LOG_ODDS)
        for name, share in shares.items()
    }
    chosen = replace(
        thresholds,
        device=limits["device"],
        outside=limits["outside"],
        prohibited=(limits["prohibited"],) * n_classes,
    )
    alarms = int(np.any([scores[name] >= limit for name, limit in limits.items()], axis=0).sum())
    return chosen, OperatingPoint(
        0.5,
        f"max_fpr={max_fpr} per scan",
        part,
        alarms / len(benign),
        clopper_pearson(alarms, len(benign)),
    )


def _threshold_above(benign: np.ndarray, share: float) -> float:
    """Return a threshold that at most ``share`` of the benign scores reach.

    It lies midway between two scores, so that rounding in the sigmoid moves no score across it.
    """
    if not len(benign):
        raise DataError("calibration needs benign bags, and the validation scenes contain none")
    ordered = np.append(np.sort(benign), benign.max() + MARGIN)
    last_below = len(benign) - int(share * len(benign) + 1e-9) - 1
    higher = ordered[np.searchsorted(ordered, ordered[last_below], side="right")]
    return float((ordered[last_below] + higher) / 2)


def _choose_margins(bags: Sequence[ScoredBag], thresholds: Thresholds) -> Thresholds:
    """Choose ``margin`` and ``lesser`` so that as many alarms as possible are at the right place.

    They decide which regions of an alarming bag are flagged, not which bags alarm.
    """
    candidates = [
        replace(thresholds, margin=margin, lesser=lesser)
        for margin in MARGINS
        for lesser in LESSERS
    ]
    # max returns the first of equal candidates, which flags the fewest regions.
    return max(candidates, key=lambda candidate: right_places(bags, candidate))


def _choose_lone(bags: Sequence[ScoredBag], thresholds: Thresholds) -> Thresholds:
    """Choose ``lone`` of the pairing so that scores separate both bags and true devices.

    A large malus suits bags, since most of what is falsely taken for a device is shown once; a
    small one suits devices, some of which are found in one view only. Of equally good ones, take
    the smallest.
    """
    is_anomalous, seen = np.array([bag.anomalous for bag in bags]), [bag.seen for bag in bags]

    def separation(candidate: Thresholds) -> float:
        of_bags = auroc(is_anomalous, bag_scores(seen, candidate)["device"])
        return of_bags + auroc(*device_scores(bags, candidate))

    candidates = [replace(thresholds, pairing=Pairing(lone=lone)) for lone in LONES]
    separations = [separation(candidate) for candidate in candidates]
    enough = max(separations) - SAME_SEPARATION
    return next(c for c, s in zip(candidates, separations, strict=True) if s >= enough)


def _bag_devices(bags: Sequence[ScoredBag]) -> tuple[list[bool], list[float]]:
    """Return truth and logit over all views of every device that was found."""
    truth, logits = [], []
    for bag in bags:
        for numbers, logit in bag.together or ():
            true_devices = bag.true_devices(numbers)
            is_host = any(device.host for device in true_devices)
            if true_devices and (not is_host or any(view.visible for view in bag.views)):
                truth.append(is_host)
                logits.append(logit)
    return truth, logits


def _view_devices(bags: Sequence[ScoredBag]) -> tuple[list[bool], list[float]]:
    """Return truth and logit of every device that was found, in single views."""
    truth, logits = [], []
    for bag in bags:
        for view in bag.views:
            for device in view.devices:
                if device.found is not None and (view.visible or not device.host):
                    truth.append(device.host)
                    logits.append(float(view.seen.logits[device.found]))
    return truth, logits


def _fit_log_odds(truth: Sequence[bool], logits: Sequence[float]) -> tuple[float, float]:
    """Fit slope and offset of log-odds to logits (Platt 1999)."""
    if len(set(truth)) < 2:
        raise DataError(
            "the detector finds only devices with an anomaly, or only devices without; "
            "calibration needs both; train it longer, or add validation scenes"
        )
    regression = LogisticRegression(C=1e3, class_weight="balanced").fit(
        np.array(logits)[:, None], np.array(truth)
    )
    slope, offset = float(regression.coef_[0, 0]), float(regression.intercept_[0])
    if slope < SLOPES[0]:
        raise DataError(
            "verdicts on validation scenes are no better than chance; "
            "train the detector longer before calibrating it"
        )
    return slope, offset


def _fit_pairing(bags: Sequence[ScoredBag], thresholds: Thresholds) -> Pairing:
    """Fit the weights of the views' log-odds and of their agreement.

    Return the plain sum of the views if a weight is not positive, or if only one label occurs.
    """
    truth, rows = [], []
    for bag in bags:
        for device in devices_of(bag.seen, thresholds):
            in_views = [(v, k) for v, k in enumerate(device.numbers) if k is not None]
            true_devices = bag.true_devices(device.numbers)
            if not true_devices:
                continue
            truth.append(any(true_device.host for true_device in true_devices))
            consistency = agreement([(bag.views[v].seen, k) for v, k in in_views])
            rows.append((device.log_odds, consistency, float(len(in_views) == 1)))
    if len(set(truth)) < 2:
        return Pairing()
    regression = LogisticRegression(class_weight="balanced").fit(np.array(rows), np.array(truth))
    views, place, lone = (float(weight) for weight in regression.coef_[0])
    if views <= 0 or place <= 0:
        return Pairing()
    return Pairing(views, place, lone, float(regression.intercept_[0]))
