"""Calibration of scores: Platt scaling, reliability, and thresholds by split conformal prediction.

Sources: Platt, "Probabilistic outputs for support vector machines" (1999); Guo et al., "On
calibration of modern neural networks" (ICML 2017); Vovk et al., "Algorithmic learning in a random
world" (2005), chapter 2, for the split conformal bound.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression

from bagscan.core import OperatingPoint
from bagscan.core.calibrated import UNCALIBRATED, log_odds
from bagscan.core.errors import DataError

MIN_SLOPE = 0.02


def fit_platt(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Fit the parameters of :func:`bagscan.core.calibrated.platt`.

    Args:
        truth: (n,) 1 anomaly, 0 benign.
        scores: (n,) in [0, 1].

    Returns:
        Slope and offset of the log-odds. They are (1, 0), the identity, if there is only one class
        or if the slope is below ``MIN_SLOPE``: calibration must neither reverse the order of
        scores nor make all scores equal.
    """
    if len(np.unique(truth)) < 2:
        return UNCALIBRATED
    x = log_odds(scores)[:, None]
    model = LogisticRegression(C=1e3, class_weight=None, max_iter=1000).fit(x, truth)
    slope = float(model.coef_[0, 0])
    return (slope, float(model.intercept_[0])) if slope >= MIN_SLOPE else UNCALIBRATED


def reliability(truth: np.ndarray, probability: np.ndarray, bins: int = 10) -> dict[str, Any]:
    """Return a reliability table with bins of equal count.

    Args:
        truth: (n,) 1 anomaly, 0 benign.
        probability: (n,) in [0, 1].
        bins: number of bins.

    Returns:
        Per bin the mean probability ``score``, the share of anomalies ``anomalous`` and the count
        ``n``; and ``ece``, the expected calibration error.
    """
    order = np.argsort(probability, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    score = [float(probability[group].mean()) for group in groups]
    share = [float(np.mean(truth[group])) for group in groups]
    gaps = [len(group) * abs(a - b) for group, a, b in zip(groups, score, share, strict=True)]
    return {
        "score": score,
        "anomalous": share,
        "n": [len(group) for group in groups],
        "ece": sum(gaps) / max(1, len(order)),
    }


def conformal_point(benign: np.ndarray, max_fpr: float, split: str, level: str) -> OperatingPoint:
    """Choose a threshold by split conformal prediction.

    A new benign scan scores at or above it with a probability of at most ``max_fpr``, for any
    distribution of scores.

    Args:
        benign: (n,) scores of benign scans that were not used in training.
        max_fpr: largest false-positive rate, in (0, 1).
        split: name of the split of the scans, for the record.
        level: unit of a score, for example ``scan``, for the record.

    Returns:
        The operating point, with its expected false-positive rate k / (n + 1) and the 95 %
        interval of that rate for a calibration set of this size, from Beta(k, n + 1 - k).

    Raises:
        DataError: ``max_fpr`` is out of range, or there are too few scans for it.
    """
    scores = np.sort(np.asarray(benign, np.float64))
    n = len(scores)
    if not 0 < max_fpr < 1:
        raise DataError(f"max_fpr is {max_fpr}; it must be between 0 and 1")
    allowed = math.floor(max_fpr * (n + 1) + 1e-9)
    if allowed < 1:
        raise DataError(
            f"{n} benign {level}s on {split} are too few for max_fpr={max_fpr}; "
            f"at least {math.ceil(1 / max_fpr) - 1} are needed"
        )
    threshold = float(np.nextafter(scores[n - allowed], np.inf))
    # Ties stay below the threshold, so they can only lower the rate.
    interval = (
        float(beta.ppf(0.025, allowed, n + 1 - allowed)),
        float(beta.ppf(0.975, allowed, n + 1 - allowed)),
    )
    return OperatingPoint(
        threshold,
        f"max_fpr={max_fpr} per {level}, split conformal",
        split,
        allowed / (n + 1),
        interval,
    )
