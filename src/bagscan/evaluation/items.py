"""Items told benign or anomalous: per segment, per item and per scan, with everything that a table must not hide.

The levels of paper A: a segment has its own verdict, an item that of its worst segment, a scan that
of its worst item in any view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bagscan.evaluation.calibration import reliability
from bagscan.evaluation.metrics import auroc, fpr_at_tpr, score_table
from bagscan.evaluation.operating_point import clopper_pearson
from bagscan.evaluation.within_bag import JudgedView, segment_arrays, view_arrays

STRATA = ("below 5", "5-50", "50-500", "above 500")
FUSIONS: dict[str, Callable[[np.ndarray], float]] = {
    "maximum": lambda s: float(s.max()),
    "mean": lambda s: float(s.mean()),
}


def fused(
    items: Sequence[JudgedView], how: str = "maximum", views: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(truth, scores) of scans: their items' scores, per view the worst, over views fused.

    A scan is anomalous where its bag is, whether or not the views that are looked at show it.

    Args:
        how: one of ``FUSIONS``. views: only these.
    """
    scans: dict[str, dict[str, float]] = {}
    truth: dict[str, bool] = {}
    for item in items:
        if views is None or item.view in views:
            worst = scans.setdefault(item.scan, {})
            worst[item.view] = max(worst.get(item.view, -np.inf), item.score)
            truth[item.scan] = truth.get(item.scan, False) or item.of_anomalous_scan
    names = list(scans)
    return np.array([int(truth[n]) for n in names]), np.array(
        [FUSIONS[how](np.array(list(scans[n].values()))) for n in names]
    )


def evaluate_items(items: Sequence[JudgedView], threshold: float) -> dict[str, Any]:
    """Every level at one threshold, as in use, and what a single figure would hide."""
    truth, scores, number = view_arrays(items)
    segments, segment_scores, segment_number = segment_arrays(items)
    darkness = np.concatenate(
        [i.darkness[i.truth >= 0] for i in items]
    )  # what segments' scores must beat before they mean anything
    results: dict[str, Any] = {
        "per_segment": score_table(segments, segment_scores, threshold, segment_number)
        | {"darkness": auroc(segments, darkness)},
        "per_item": score_table(truth, scores, threshold, number),
        "per_scan": score_table(*fused(items), threshold),
        "views": view_table(items),
        "strata": stratum_table(items, threshold),
        "groups": {
            name: _group(list(members), threshold) for name, members in _groups(items).items()
        },
        "reliability": reliability(truth, scores),
    }
    return results


def _groups(items: Sequence[JudgedView]) -> dict[str, list[JudgedView]]:
    """Subsets that a table shows beside the whole."""
    hiding = {i.scan for i in items if i.of_anomalous_scan}
    tests: dict[str, Callable[[JudgedView], bool]] = {
        "no clutter wholly inside a device": lambda i: i.about.ambiguous is False,
        "clutter wholly inside a device (ambiguous)": lambda i: i.about.ambiguous is True,
        "bags with look-alikes": lambda i: i.about.look_alike is True,
        "benign bags with look-alikes": lambda i: (
            i.about.look_alike is True and i.scan not in hiding
        ),
        "benign bags without look-alikes": lambda i: (
            i.about.look_alike is False and i.scan not in hiding
        ),
    }
    return {
        name: chosen for name, test in tests.items() if (chosen := [i for i in items if test(i)])
    }


def _group(items: Sequence[JudgedView], threshold: float) -> dict[str, Any]:
    truth, scores, _ = view_arrays(items)
    called = scores >= threshold
    return {
        "n": len(items),
        "auroc": auroc(truth, scores),
        "tp": rate(called[truth == 1]),
        "fp": rate(called[truth == 0]),
    }


def rate(called: np.ndarray) -> dict[str, Any]:
    """Percentage of (n,) bool with its 95 % Clopper-Pearson interval."""
    n, k = len(called), int(called.sum())
    low, high = clopper_pearson(k, n)
    return {
        "percent": 100 * k / n if n else float("nan"),
        "interval": [100 * low, 100 * high],
        "n": n,
    }


def stratum_table(items: Sequence[JudgedView], threshold: float) -> dict[str, Any]:
    """TP % of items by contrast to noise of their anomaly; AUROC, and FPR at 95 and 99 % TPR, against all benign items.

    ``50 and above`` is the two upper strata together.
    """
    benign = np.array([i.score for i in items if not i.anomalous])
    table = {}
    for name, members in {**{s: (s,) for s in STRATA}, "50 and above": STRATA[2:]}.items():
        own = np.array([i.score for i in items if i.anomalous and i.about.stratum in members])
        both = np.concatenate([own, benign])
        truth = np.arange(len(both)) < len(own)
        table[name] = {"tp": rate(own >= threshold), "auroc": auroc(truth, both)}
        table[name] |= {
            f"fpr_at_{int(100 * t)}_tpr": fpr_at_tpr(truth, both, t) for t in (0.95, 0.99)
        }
    return table


def view_table(items: Sequence[JudgedView]) -> dict[str, Any]:
    """AUROC of scans by each view alone and by both, for every fusion."""
    views = sorted({i.view for i in items})
    table: dict[str, Any] = {f"{view} alone": auroc(*fused(items, views=[view])) for view in views}
    return table | (
        {f"both, {how}": auroc(*fused(items, how)) for how in FUSIONS} if len(views) > 1 else {}
    )
