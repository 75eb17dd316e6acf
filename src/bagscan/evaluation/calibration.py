"""Scores that mean the same in every scan: Platt scaling, reliability, and a threshold by split conformal.

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
    """(slope, offset) of the log-odds that fit the truth best, for :func:`bagscan.core.calibrated.platt`.

    (1, 0), which changes nothing, where there is one class only, or where scores do not rise with
    the truth: calibration must not turn an order round, nor make all scores one.
    """
    if len(np.unique(truth)) < 2:
        return UNCALIBRATED
    x = log_odds(scores)[:, None]
    fitted = LogisticRegression(C=1e3, class_weight=None, max_iter=1000).fit(x, truth)
    slope = float(fitted.coef_[0, 0])
    return (slope, float(fitted.intercept_[0])) if slope >= MIN_SLOPE else UNCALIBRATED


def reliability(truth: np.ndarray, probability: np.ndarray, bins: int = 10) -> dict[str, Any]:
    """Mean probability and share of anomalies in bins of equal count, and the expected calibration error."""
    order = np.argsort(probability, kind="stable")
    groups = [g for g in np.array_split(order, bins) if len(g)]
    score = [float(probability[g].mean()) for g in groups]
    share = [float(np.mean(truth[g])) for g in groups]
    gaps = [len(g) * abs(a - b) for g, a, b in zip(groups, score, share, strict=True)]
    return {
        "score": score,
        "anomalous": share,
        "n": [len(g) for g in groups],
        "ece": sum(gaps) / max(1, len(order)),
    }


def conformal_point(benign: np.ndarray, max_fpr: float, split: str, level: str) -> OperatingPoint:
    """The threshold that a new benign scan passes with a chance of at most ``max_fpr``, whatever the scores' distribution.

    Args:
        benign: (n,) scores of benign scans that nothing was trained on. level: what was counted.

    Returns:
        The point with the rate to be expected, k / (n + 1), and the 95 % interval of the rate that a
        calibration set of this size leaves open: Beta(k, n + 1 - k).

    Raises:
        DataError: too few scans for the rate asked.
    """
    scores = np.sort(np.asarray(benign, np.float64))
    n = len(scores)
    if not 0 < max_fpr < 1:
        raise DataError(f"max_fpr must be between 0 and 1, got {max_fpr}")
    allowed = math.floor(max_fpr * (n + 1) + 1e-9)
    if allowed < 1:
        raise DataError(
            f"{n} benign {level}s on {split} are too few for max_fpr={max_fpr}: at least {math.ceil(1 / max_fpr) - 1} are needed"
        )
    threshold = float(np.nextafter(scores[n - allowed], np.inf))
    # Ties at the threshold stay below it, so the rate can only be lower than k / (n + 1).
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
