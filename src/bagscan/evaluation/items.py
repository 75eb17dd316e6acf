"""Results of item-level models: per segment, per item and per scan, and by subset.

Scores are combined as in Bhowmik & Breckon: the score of an item is that of its highest-scoring
segment, and the score of a scan that of its highest-scoring item in any view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bagscan.evaluation.calibration import reliability
from bagscan.evaluation.metrics import auroc, fpr_at_tpr, score_table
from bagscan.evaluation.operating_point import clopper_pearson
from bagscan.evaluation.within_bag import ScoredView, segment_arrays, view_arrays

STRATA = ("below 5", "5-50", "50-500", "above 500")
FUSIONS: dict[str, Callable[[np.ndarray], float]] = {
    "maximum": lambda s: float(s.max()),
    "mean": lambda s: float(s.mean()),
}


def fuse_views(
    items: Sequence[ScoredView], how: str = "maximum", views: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and scores of scans.

    The score of a view is the highest score of its items. The scores of the views are then fused.
    A scan counts as anomalous if its bag holds an anomaly, even if no selected view shows it.

    Args:
        items: items of all scans.
        how: one of ``FUSIONS``.
        views: names of the views to use; all by default.

    Returns:
        Truth (n,) 0 or 1, and scores (n,).
    """
    scans: dict[str, dict[str, float]] = {}
    truth: dict[str, bool] = {}
    for item in items:
        if views is None or item.view in views:
            highest = scans.setdefault(item.scan, {})
            highest[item.view] = max(highest.get(item.view, -np.inf), item.score)
            truth[item.scan] = truth.get(item.scan, False) or item.of_anomalous_scan
    scores = [FUSIONS[how](np.array(list(of_views.values()))) for of_views in scans.values()]
    return np.array([int(truth[scan]) for scan in scans]), np.array(scores)


def evaluate_items(items: Sequence[ScoredView], threshold: float) -> dict[str, Any]:
    """Evaluate segments, items and scans at one threshold, and by view, contrast and subset.

    ``per_segment`` also has ``darkness``, the AUROC of attenuation alone, as a control.
    """
    truth, scores, number = view_arrays(items)
    segments, segment_scores, segment_number = segment_arrays(items)
    attenuation = np.concatenate([item.attenuation[item.truth >= 0] for item in items])
    results: dict[str, Any] = {
        "per_segment": score_table(segments, segment_scores, threshold, segment_number)
        | {"darkness": auroc(segments, attenuation)},
        "per_item": score_table(truth, scores, threshold, number),
        "per_scan": score_table(*fuse_views(items), threshold),
        "views": view_table(items),
        "strata": stratum_table(items, threshold),
        "groups": {
            name: _subset_table(members, threshold) for name, members in _subsets(items).items()
        },
        "reliability": reliability(truth, scores),
    }
    return results


def _subsets(items: Sequence[ScoredView]) -> dict[str, list[ScoredView]]:
    """Return the subsets that are evaluated separately, without empty ones."""
    anomalous_scans = {i.scan for i in items if i.of_anomalous_scan}
    tests: dict[str, Callable[[ScoredView], bool]] = {
        "no clutter wholly inside a device": lambda i: i.about.ambiguous is False,
        "clutter wholly inside a device (ambiguous)": lambda i: i.about.ambiguous is True,
        "bags with look-alikes": lambda i: i.about.look_alike is True,
        "benign bags with look-alikes": lambda i: (
            i.about.look_alike is True and i.scan not in anomalous_scans
        ),
        "benign bags without look-alikes": lambda i: (
            i.about.look_alike is False and i.scan not in anomalous_scans
        ),
    }
    subsets = {name: [i for i in items if test(i)] for name, test in tests.items()}
    return {name: members for name, members in subsets.items() if members}


def _subset_table(items: Sequence[ScoredView], threshold: float) -> dict[str, Any]:
    truth, scores, _ = view_arrays(items)
    flagged = scores >= threshold
    return {
        "n": len(items),
        "auroc": auroc(truth, scores),
        "tp": rate(flagged[truth == 1]),
        "fp": rate(flagged[truth == 0]),
    }


def rate(called: np.ndarray) -> dict[str, Any]:
    """Return the percentage of true values in (n,) bool, with its 95 % Clopper-Pearson interval."""
    n, k = len(called), int(called.sum())
    low, high = clopper_pearson(k, n)
    return {
        "percent": 100 * k / n if n else float("nan"),
        "interval": [100 * low, 100 * high],
        "n": n,
    }


def stratum_table(items: Sequence[ScoredView], threshold: float) -> dict[str, Any]:
    """Evaluate items by the contrast-to-noise ratio of their anomaly.

    For each stratum, the table has the true-positive rate, and against all benign items the AUROC
    and the false-positive rate at 95 and 99 % true-positive rate. ``50 and above`` joins the two
    upper strata.
    """
    benign = np.array([i.score for i in items if not i.anomalous])
    table = {}
    for name, strata in {**{s: (s,) for s in STRATA}, "50 and above": STRATA[2:]}.items():
        anomalous = np.array([i.score for i in items if i.anomalous and i.about.stratum in strata])
        scores = np.concatenate([anomalous, benign])
        truth = np.arange(len(scores)) < len(anomalous)
        table[name] = {"tp": rate(anomalous >= threshold), "auroc": auroc(truth, scores)}
        table[name] |= {
            f"fpr_at_{int(100 * t)}_tpr": fpr_at_tpr(truth, scores, t) for t in (0.95, 0.99)
        }
    return table


def view_table(items: Sequence[ScoredView]) -> dict[str, Any]:
    """Return the AUROC of scans from each view alone, and from both views for each fusion."""
    views = sorted({i.view for i in items})
    table: dict[str, Any] = {
        f"{view} alone": auroc(*fuse_views(items, views=[view])) for view in views
    }
    if len(views) > 1:
        table |= {f"both, {how}": auroc(*fuse_views(items, how)) for how in FUSIONS}
    return table
