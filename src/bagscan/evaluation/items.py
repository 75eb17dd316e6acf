"""Items told benign or anomalous: per segment, per item and per scan, with everything that a table must not hide.

The levels of paper A: a segment has its own verdict, an item that of its worst segment, a scan that
of its worst item in any view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bagscan.core.about import About
from bagscan.evaluation.calibration import reliability
from bagscan.evaluation.metrics import auroc, fpr_at_tpr, score_table
from bagscan.evaluation.operating_point import clopper_pearson

MISSED = -1.0  # a score below every threshold
STRATA = ("below 5", "5-50", "50-500", "above 500")
FUSIONS: dict[str, Callable[[np.ndarray], float]] = {"maximum": lambda s: float(s.max()), "mean": lambda s: float(s.mean())}


@dataclass(frozen=True)
class Judged:
    """One item in one view.

    Attributes:
        id, scan, view: of the item; scans have several. anomalous: whether it hides an anomaly.
        score: of the item. about: what is known of the item and its bag.
        segment_truth, segment_scores: (n,) of the segments on it; truth is 1, 0, or -1 for left out.
        found: whether the item was detected; a missed one cannot raise an alarm.
        segment_darkness: (n,) of the same segments, the control that their scores stand beside; none where it is not known.
    """

    id: str
    scan: str
    view: str
    anomalous: bool
    score: float
    about: About
    segment_truth: np.ndarray
    segment_scores: np.ndarray
    found: bool = True
    segment_darkness: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def of_anomalous_scan(self) -> bool:
        return self.anomalous or bool(self.about.holds)


def arrays(items: Sequence[Judged]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(truth, scores, scan number) of items."""
    scans = {name: k for k, name in enumerate(dict.fromkeys(i.scan for i in items))}
    return np.array([int(i.anomalous) for i in items]), np.array([i.score for i in items]), np.array([scans[i.scan] for i in items])


def segment_arrays(items: Sequence[Judged]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(truth, scores, scan number) of all segments that count."""
    _, _, numbers = arrays(items)
    truth, scores, number = [np.zeros(0, int)], [np.zeros(0)], [np.zeros(0, int)]
    for item, n in zip(items, numbers, strict=True):
        counted = item.segment_truth >= 0
        truth.append(item.segment_truth[counted])
        scores.append(item.segment_scores[counted])
        number.append(np.full(int(counted.sum()), n))
    return np.concatenate(truth), np.concatenate(scores), np.concatenate(number)


def darkness_of_segments(items: Sequence[Judged]) -> float:
    """AUROC of how dark a segment is, on all that count: what segments' scores must beat before they mean anything. NaN where it is not known."""
    if any(len(i.segment_darkness) != len(i.segment_truth) for i in items):
        return float("nan")
    return auroc(*segment_arrays([replace(i, segment_scores=i.segment_darkness) for i in items])[:2])


def fused(items: Sequence[Judged], how: str = "maximum", views: Sequence[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
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
    return np.array([int(truth[n]) for n in names]), np.array([FUSIONS[how](np.array(list(scans[n].values()))) for n in names])


def evaluate_items(items: Sequence[Judged], threshold: float) -> dict[str, Any]:
    """Every level at one threshold, as in use, and what a single figure would hide."""
    truth, scores, number = arrays(items)
    segments, segment_scores, segment_number = segment_arrays(items)
    results: dict[str, Any] = {
        "per_segment": score_table(segments, segment_scores, threshold, segment_number) | {"darkness": darkness_of_segments(items)},
        "per_item": score_table(truth, scores, threshold, number),
        "per_scan": score_table(*fused(items), threshold),
        "views": view_table(items),
        "strata": stratum_table(items, threshold),
        "groups": {name: _group(list(members), threshold) for name, members in _groups(items).items()},
        "reliability": reliability(truth, scores),
    }
    return results


def _groups(items: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Subsets that a table shows beside the whole."""
    hiding = {i.scan for i in items if i.of_anomalous_scan}
    tests: dict[str, Callable[[Judged], bool]] = {
        "no clutter wholly inside a device": lambda i: i.about.ambiguous is False,
        "clutter wholly inside a device (ambiguous)": lambda i: i.about.ambiguous is True,
        "bags with look-alikes": lambda i: i.about.look_alike is True,
        "benign bags with look-alikes": lambda i: i.about.look_alike is True and i.scan not in hiding,
        "benign bags without look-alikes": lambda i: i.about.look_alike is False and i.scan not in hiding,
    }
    return {name: chosen for name, test in tests.items() if (chosen := [i for i in items if test(i)])}


def _group(items: Sequence[Judged], threshold: float) -> dict[str, Any]:
    truth, scores, _ = arrays(items)
    called = scores >= threshold
    return {"n": len(items), "auroc": auroc(truth, scores), "tp": rate(called[truth == 1]), "fp": rate(called[truth == 0])}


def rate(called: np.ndarray) -> dict[str, Any]:
    """Percentage of (n,) bool with its 95 % Clopper-Pearson interval."""
    n, k = len(called), int(called.sum())
    low, high = clopper_pearson(k, n)
    return {"percent": 100 * k / n if n else float("nan"), "interval": [100 * low, 100 * high], "n": n}


def stratum_table(items: Sequence[Judged], threshold: float) -> dict[str, Any]:
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
        table[name] |= {f"fpr_at_{int(100 * t)}_tpr": fpr_at_tpr(truth, both, t) for t in (0.95, 0.99)}
    return table


def view_table(items: Sequence[Judged]) -> dict[str, Any]:
    """AUROC of scans by each view alone and by both, for every fusion."""
    views = sorted({i.view for i in items})
    table: dict[str, Any] = {f"{view} alone": auroc(*fused(items, views=[view])) for view in views}
    return table | ({f"both, {how}": auroc(*fused(items, how)) for how in FUSIONS} if len(views) > 1 else {})
