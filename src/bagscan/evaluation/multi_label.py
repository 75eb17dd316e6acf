"""Scores of multi-label classifiers: AP per class, and precision, recall and F1 at a threshold.

AP is the mean precision at each positive in the ranking of all images, as for SIXray (Miao et al.,
CVPR 2019). Negatives are images with other classes only, and images without any class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bagscan.evaluation.metrics import average_precision

UNKNOWN = -1


def ranking_table(
    truth: np.ndarray, scores: np.ndarray, classes: Sequence[str], threshold: float = 0.5
) -> dict[str, Any]:
    """Evaluate a multi-label classifier.

    Args:
        truth: (n, classes) 1, 0 or ``UNKNOWN``; unknown entries are left out.
        scores: (n, classes) in [0, 1].
        classes: names of the classes.
        threshold: score from which a class counts as predicted, for precision, recall and F1.

    Returns:
        ``ap`` per class (NaN without positives), their mean ``map``, and micro- and macro-averaged
        ``precision``, ``recall`` and ``f1``. Macro averages are over the classes with positives.
    """
    known = truth != UNKNOWN
    ap = {
        name: float(average_precision(truth[known[:, k], k], scores[known[:, k], k]))
        if (truth[:, k] == 1).any()
        else float("nan")
        for k, name in enumerate(classes)
    }
    called = scores >= threshold
    tp, fp, fn = (
        (case & known).sum(0)
        for case in (called & (truth == 1), called & (truth == 0), ~called & (truth == 1))
    )
    present = (truth == 1).any(0)
    finite = [v for v in ap.values() if np.isfinite(v)]
    micro = _rates(tp.sum(), fp.sum(), fn.sum())
    per_class = [_rates(tp[k], fp[k], fn[k]) for k in np.flatnonzero(present)]
    macro = np.mean(per_class, axis=0) if per_class else np.zeros(3)
    result = {"ap": ap, "map": float(np.mean(finite)) if finite else float("nan")}
    for average, values in (("micro", micro), ("macro", macro)):
        for rate, value in zip(("precision", "recall", "f1"), values, strict=True):
            result[f"{average}_{rate}"] = float(value)
    return result


def map_interval(
    truth: np.ndarray, scores: np.ndarray, n: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of the mAP over images; NaN if the mAP is undefined.

    Args:
        truth, scores: as for :func:`ranking_table`.
        n: number of resamples.
        seed: random seed.
    """
    rng = np.random.default_rng(seed)
    names = [str(k) for k in range(truth.shape[1])]
    samples = [rng.integers(len(truth), size=len(truth)) for _ in range(n)]
    values = np.array([ranking_table(truth[s], scores[s], names)["map"] for s in samples])
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


def _rates(tp: float, fp: float, fn: float) -> tuple[float, float, float]:
    """Return precision, recall and F1; 0 if nothing was predicted."""
    precision, recall = tp / max(tp + fp, 1), tp / max(tp + fn, 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)
