"""Where scores turn into findings: chosen on validation, with an interval, stored with the weights."""

from __future__ import annotations

import numpy as np
from scipy.stats import beta

from bagscan.core import OperatingPoint
from bagscan.core.errors import DataError


def choose_operating_point(
    truth: np.ndarray, scores: np.ndarray, max_fpr: float, split: str, level: str = "segment"
) -> OperatingPoint:
    """The lowest threshold whose false-positive rate on ``split`` is at most ``max_fpr``.

    Args:
        truth: (n,) 1 anomaly, 0 benign. scores: (n,). level: what was counted, for the record.

    Returns:
        The point with the rate that it has on the split and its 95 % Clopper-Pearson interval.

    Raises:
        DataError: no benign scores, or too few for the rate asked.
    """
    benign = np.sort(np.asarray(scores, np.float64)[np.asarray(truth) == 0])
    n = len(benign)
    if not 0 < max_fpr < 1:
        raise DataError(f"max_fpr must be between 0 and 1, got {max_fpr}")
    if n == 0:
        raise DataError(f"no benign {level}s on {split}: nothing to choose a threshold from")
    if max_fpr * n < 1:
        raise DataError(
            f"{n} benign {level}s on {split} are too few for max_fpr={max_fpr}: at least {int(np.ceil(1 / max_fpr))} are needed"
        )
    allowed = int(max_fpr * n + 1e-9)
    # Just above the first score that must not be called: ties with it stay below.
    threshold = float(np.nextafter(benign[n - allowed - 1], np.inf))
    false = int((benign >= threshold).sum())
    return OperatingPoint(
        threshold, f"max_fpr={max_fpr} per {level}", split, false / n, clopper_pearson(false, n)
    )


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """95 % interval of a share of k in n (Clopper & Pearson 1934); all of [0, 1] where n is 0."""
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return low, high
