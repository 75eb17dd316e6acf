"""Choice of the operating point, the score at and above which a region is flagged."""

from __future__ import annotations

import numpy as np
from scipy.stats import beta

from bagscan.core import OperatingPoint
from bagscan.core.errors import DataError


def choose_operating_point(
    truth: np.ndarray, scores: np.ndarray, max_fpr: float, split: str, level: str = "segment"
) -> OperatingPoint:
    """Choose the lowest threshold whose false-positive rate is at most ``max_fpr``.

    Args:
        truth: (n,) 1 anomaly, 0 benign.
        scores: (n,).
        max_fpr: largest false-positive rate, in (0, 1).
        split: name of the split of the scores, for the record.
        level: unit of a score, for example ``segment``, for the record.

    Returns:
        The operating point, with its false-positive rate on the split and the 95 %
        Clopper-Pearson interval of that rate.

    Raises:
        DataError: ``max_fpr`` is out of range, or there are too few benign scores for it.
    """
    benign = np.sort(np.asarray(scores, np.float64)[np.asarray(truth) == 0])
    n = len(benign)
    if not 0 < max_fpr < 1:
        raise DataError(f"max_fpr is {max_fpr}; it must be between 0 and 1")
    if n == 0:
        raise DataError(f"there are no benign {level}s on {split} to choose a threshold from")
    if max_fpr * n < 1:
        raise DataError(
            f"{n} benign {level}s on {split} are too few for max_fpr={max_fpr}; "
            f"at least {int(np.ceil(1 / max_fpr))} are needed"
        )
    allowed = int(max_fpr * n + 1e-9)
    # Just above the highest score that must not be flagged, so that ties stay below.
    threshold = float(np.nextafter(benign[n - allowed - 1], np.inf))
    n_flagged = int((benign >= threshold).sum())
    return OperatingPoint(
        threshold,
        f"max_fpr={max_fpr} per {level}",
        split,
        n_flagged / n,
        clopper_pearson(n_flagged, n),
    )


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion k / n (Clopper & Pearson 1934); (0, 1) if n is 0."""
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return low, high
