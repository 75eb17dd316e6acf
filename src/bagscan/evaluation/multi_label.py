"""Several classes in one image: AP per class over the ranking of all images, and precision, recall, F1 at a threshold.

AP is the mean precision at each positive (methods page, 3), over all images: those of other classes and
those of none. Sources: Miao et al., SIXray (CVPR 2019); report B for micro and macro averages.
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
    """Scores of a multi-label classifier.

    Args:
        truth: (n, classes) 1, 0 or ``UNKNOWN``, which is left out. scores: (n, classes) in [0, 1].
        threshold: of precision, recall and F1.

    Returns:
        ``ap`` per class (NaN without positives), ``map``, and micro and macro ``precision``, ``recall``, ``f1``.
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
        np.array([(part & known)[:, k].sum() for k in range(len(classes))])
        for part in (called & (truth == 1), called & (truth == 0), ~called & (truth == 1))
    )
    there = np.array([(truth[:, k] == 1).any() for k in range(len(classes))], bool)
    finite = [v for v in ap.values() if np.isfinite(v)]
    macro = (
        np.array([_rates(a, b, c) for a, b, c in zip(tp[there], fp[there], fn[there], strict=True)])
        .reshape(-1, 3)
        .mean(0)
        if there.any()
        else np.zeros(3)
    )
    micro = _rates(tp.sum(), fp.sum(), fn.sum())
    result = {"ap": ap, "map": float(np.mean(finite)) if finite else float("nan")}
    for name, values in (("micro", micro), ("macro", macro)):
        result |= {
            f"{name}_{what}": float(v)
            for what, v in zip(("precision", "recall", "f1"), values, strict=True)
        }
    return result


def map_interval(
    truth: np.ndarray, scores: np.ndarray, n: int = 200, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mAP over images drawn with replacement."""
    rng = np.random.default_rng(seed)
    names = [str(k) for k in range(truth.shape[1])]
    draws = [rng.integers(len(truth), size=len(truth)) for _ in range(n)]
    values = np.array([ranking_table(truth[d], scores[d], names)["map"] for d in draws])
    values = values[np.isfinite(values)]
    return (
        (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975)))
        if len(values)
        else (float("nan"), float("nan"))
    )


def _rates(tp: float, fp: float, fn: float) -> tuple[float, float, float]:
    """Precision, recall, F1; 0 where nothing was called."""
    precision, recall = tp / max(tp + fp, 1), tp / max(tp + fn, 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)
