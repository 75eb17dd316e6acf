"""Scores of scores: confusion, AUROC, AP, false-positive rates, with bootstrap intervals.

Sources: Fawcett, "An introduction to ROC analysis" (2006); AP as the mean precision at each
positive (PASCAL VOC 2010 onwards, without interpolation). Undefined values are NaN, never a
number that could be mistaken for a result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata


def _checked(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, scores = np.asarray(truth), np.asarray(scores, np.float64)
    if truth.shape != scores.shape or truth.ndim != 1:
        raise ValueError(f"truth and scores must be (n,), got {truth.shape} and {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinity")
    return truth.astype(bool), scores


def auroc(truth: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half; NaN with one class only.

    Args:
        truth: (n,) 1 anomaly, 0 benign. scores: (n,).
    """
    truth, scores = _checked(truth, scores)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Mean precision at the rank of every positive; ties take their group's last rank. NaN without positives."""
    truth, scores = _checked(truth, scores)
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = truth[order].cumsum()
    last_of_tie = np.searchsorted(-scores[order], -scores[order], side="right") - 1
    precision = hits[last_of_tie] / (last_of_tie + 1)
    return float(precision[truth[order]].mean())


def roc_curve(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(fpr, tpr, thresholds) at every distinct score, from (0, 0) to (1, 1), thresholds falling."""
    truth, scores = _checked(truth, scores)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = (
        np.flatnonzero(np.append(np.diff(ranked) != 0, True)) if len(ranked) else np.array([], int)
    )
    tp, fp = truth[order].cumsum()[ends], (~truth[order]).cumsum()[ends]
    tpr = np.append(0.0, tp / max(1, truth.sum()))
    fpr = np.append(0.0, fp / max(1, (~truth).sum()))
    return fpr, tpr, np.append(np.inf, ranked[ends])


def fpr_at_tpr(truth: np.ndarray, scores: np.ndarray, tpr: float) -> float:
    """The smallest false-positive rate of any threshold that reaches ``tpr``; NaN with one class."""
    truth, scores = _checked(truth, scores)
    if truth.all() or not truth.any():
        return float("nan")
    fprs, tprs, _ = roc_curve(truth, scores)
    return float(fprs[np.searchsorted(tprs, tpr - 1e-12)])


def tpr_at_fpr(truth: np.ndarray, scores: np.ndarray, fpr: float) -> float:
    """The largest true-positive rate of any threshold that keeps to ``fpr``; NaN with one class."""
    truth, scores = _checked(truth, scores)
    if truth.all() or not truth.any():
        return float("nan")
    fprs, tprs, _ = roc_curve(truth, scores)
    return float(tprs[np.searchsorted(fprs, fpr + 1e-12, side="right") - 1])


@dataclass(frozen=True)
class Confusion:
    """Counts at one threshold; a score at or above it is called anomalous."""

    tp: int
    fp: int
    tn: int
    fn: int

    @classmethod
    def at(cls, truth: np.ndarray, scores: np.ndarray, threshold: float) -> Confusion:
        truth, scores = _checked(truth, scores)
        called = scores >= threshold
        return cls(
            int((called & truth).sum()),
            int((called & ~truth).sum()),
            int((~called & ~truth).sum()),
            int((~called & truth).sum()),
        )

    @property
    def accuracy(self) -> float:
        return _ratio(self.tp + self.tn, self.tp + self.tn + self.fp + self.fn)

    @property
    def precision(self) -> float:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def tp_percent(self) -> float:
        """True-positive rate (recall) in percent."""
        return 100 * _ratio(self.tp, self.tp + self.fn)

    @property
    def fp_percent(self) -> float:
        """False-positive rate in percent."""
        return 100 * _ratio(self.fp, self.fp + self.tn)

    @property
    def f1(self) -> float:
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def bootstrap_mean(
    values: np.ndarray, groups: np.ndarray | None = None, n: int = 500, seed: int = 0
) -> list[float]:
    """95 % percentile interval of the mean of (n,) values (Efron 1979); NaN values are left out.

    Args:
        groups: (n,) integers: values of one group, such as the views of a scan, are drawn together. Each by itself where None.
    """
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return [float("nan"), float("nan")]
    member = (
        np.arange(finite.sum())
        if groups is None
        else np.unique(np.asarray(groups)[finite], return_inverse=True)[1]
    )
    values = values[finite]
    total, count = np.bincount(member, values), np.bincount(member)
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    drawn = rng.integers(len(total), size=(n, len(total)))
    return _interval(total[drawn].sum(1) / count[drawn].sum(1))


class Ranked:
    """Truth and scores sorted once, so that resampling whole bags costs a few cumulative sums."""

    def __init__(self, truth: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> None:
        truth, scores = _checked(truth, scores)
        order = np.argsort(-scores, kind="stable")
        self.truth, self.scores, self.groups = (
            truth[order],
            scores[order],
            np.unique(groups, return_inverse=True)[1][order],
        )
        self.last_of_tie = (
            np.flatnonzero(np.append(np.diff(self.scores) != 0, True))
            if len(scores)
            else np.array([], int)
        )

    def measure(self, weight: np.ndarray, threshold: float) -> dict[str, float]:
        """AUROC, AP, TP %, FP % and FPR at 95 and 99 % TPR with every group counted ``weight[group]`` times."""
        each = weight[self.groups]
        tp = np.cumsum(each * self.truth)
        fp = np.cumsum(each * ~self.truth)
        called = np.searchsorted(-self.scores, -threshold, side="right") - 1
        positives, negatives = (float(c[-1]) if len(c) else 0.0 for c in (tp, fp))
        tp_called, fp_called = (float(c[called]) if called >= 0 else 0.0 for c in (tp, fp))
        tp, fp = tp[self.last_of_tie], fp[self.last_of_tie]
        gained, cost = np.diff(tp, prepend=0), np.diff(fp, prepend=0)
        at = {
            t: float(fp[min(int(np.searchsorted(tp, t * positives - 1e-9)), len(fp) - 1)])
            if positives
            else 0.0
            for t in (0.95, 0.99)
        }
        above = float((cost * (tp - 0.5 * gained)).sum())
        precision = tp / np.maximum(tp + fp, 1)
        return {
            "auroc": _ratio(above, positives * negatives),
            "average_precision": _ratio(float((gained * precision).sum()), positives),
            "tp_percent": 100 * _ratio(tp_called, positives),
            "fp_percent": 100 * _ratio(fp_called, negatives),
            "fpr_at_95_tpr": _ratio(at[0.95], negatives) if positives else float("nan"),
            "fpr_at_99_tpr": _ratio(at[0.99], negatives) if positives else float("nan"),
        }


def bootstrap_groups(
    ranked: Ranked, threshold: float, n: int = 500, seed: int = 0
) -> dict[str, list[float]]:
    """95 % intervals of :meth:`Ranked.measure` over resampled groups."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    count = int(ranked.groups.max(initial=-1)) + 1
    draws = rng.multinomial(count, np.full(count, 1 / count), size=n) if count else np.zeros((0, 0))
    rows = [ranked.measure(weight, threshold) for weight in draws]
    names = (
        "auroc",
        "average_precision",
        "tp_percent",
        "fp_percent",
        "fpr_at_95_tpr",
        "fpr_at_99_tpr",
    )
    return {key: _interval(np.array([row[key] for row in rows])) for key in names}


def _interval(values: np.ndarray) -> list[float]:
    finite = values[np.isfinite(values)]
    return (
        [float(v) for v in np.quantile(finite, [0.025, 0.975])]
        if len(finite)
        else [float("nan")] * 2
    )


def score_table(
    truth: np.ndarray, scores: np.ndarray, threshold: float, groups: np.ndarray | None = None
) -> dict[str, object]:
    """Every score of one level (segments, objects or scans) at one threshold, with intervals.

    Args:
        groups: (n,) bag of every row; intervals resample whole bags. Each row its own where absent.
    """
    truth, scores = np.asarray(truth), np.asarray(scores)
    confusion = Confusion.at(truth, scores, threshold)
    ranked = Ranked(truth, scores, np.arange(len(truth)) if groups is None else groups)
    return {
        "n": len(truth),
        "positives": int(np.sum(truth)),
        "confusion": {
            "tp": confusion.tp,
            "fp": confusion.fp,
            "tn": confusion.tn,
            "fn": confusion.fn,
        },
        "accuracy": confusion.accuracy,
        "precision": confusion.precision,
        "f1": confusion.f1,
        "tp_percent": confusion.tp_percent,
        "fp_percent": confusion.fp_percent,
        "auroc": auroc(truth, scores),
        "average_precision": average_precision(truth, scores),
        "fpr_at_95_tpr": fpr_at_tpr(truth, scores, 0.95),
        "fpr_at_99_tpr": fpr_at_tpr(truth, scores, 0.99),
        "intervals": bootstrap_groups(ranked, threshold),
    }
