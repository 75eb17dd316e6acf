"""Metrics of binary classification, with bootstrap intervals.

Sources: Fawcett, "An introduction to ROC analysis" (2006); AP as the mean precision at each
positive (PASCAL VOC 2010 onwards, without interpolation). Undefined values are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata


def _check(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) bool truth and (n,) float64 scores.

    Raises:
        ValueError: the shapes differ or are not (n,), or a score is not finite.
    """
    truth, scores = np.asarray(truth), np.asarray(scores, np.float64)
    if truth.shape != scores.shape or truth.ndim != 1:
        raise ValueError(f"truth and scores must be (n,), got {truth.shape} and {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("scores contain NaN or infinity; expected finite values")
    return truth.astype(bool), scores


def auroc(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve; ties count half. NaN with only one class.

    Args:
        truth: (n,) 1 anomaly, 0 benign.
        scores: (n,), higher is more anomalous.
    """
    truth, scores = _check(truth, scores)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean precision at the rank of each positive; NaN without positives.

    Tied scores all have the last rank of their group.
    """
    truth, scores = _check(truth, scores)
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = truth[order].cumsum()
    last_of_tie = np.searchsorted(-scores[order], -scores[order], side="right") - 1
    precision = hits[last_of_tie] / (last_of_tie + 1)
    return float(precision[truth[order]].mean())


def roc_curve(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ROC curve as false-positive rates, true-positive rates and falling thresholds.

    It has a point at every distinct score, from (0, 0) to (1, 1).
    """
    truth, scores = _check(truth, scores)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = _last_of_ties(ranked)
    tp, fp = truth[order].cumsum()[ends], (~truth[order]).cumsum()[ends]
    tpr = np.append(0.0, tp / max(1, truth.sum()))
    fpr = np.append(0.0, fp / max(1, (~truth).sum()))
    return fpr, tpr, np.append(np.inf, ranked[ends])


def _last_of_ties(ranked: np.ndarray) -> np.ndarray:
    """Return the last index of each group of equal values in a sorted array."""
    if not len(ranked):
        return np.array([], int)
    return np.flatnonzero(np.append(np.diff(ranked) != 0, True))


def fpr_at_tpr(truth: np.ndarray, scores: np.ndarray, tpr: float) -> float:
    """Return the smallest false-positive rate of a threshold with a true-positive rate of ``tpr``.

    Thresholds with a higher true-positive rate are included. NaN with only one class.
    """
    truth, scores = _check(truth, scores)
    if truth.all() or not truth.any():
        return float("nan")
    fprs, tprs, _ = roc_curve(truth, scores)
    return float(fprs[np.searchsorted(tprs, tpr - 1e-12)])


def tpr_at_fpr(truth: np.ndarray, scores: np.ndarray, fpr: float) -> float:
    """Return the largest true-positive rate of a threshold with a false-positive rate of ``fpr``.

    Thresholds with a lower false-positive rate are included. NaN with only one class.
    """
    truth, scores = _check(truth, scores)
    if truth.all() or not truth.any():
        return float("nan")
    fprs, tprs, _ = roc_curve(truth, scores)
    return float(tprs[np.searchsorted(fprs, fpr + 1e-12, side="right") - 1])


@dataclass(frozen=True)
class Confusion:
    """Confusion matrix.

    Attributes:
        tp: number of true positives.
        fp: number of false positives.
        tn: number of true negatives.
        fn: number of false negatives.
    """

    tp: int
    fp: int
    tn: int
    fn: int

    @classmethod
    def at(cls, truth: np.ndarray, scores: np.ndarray, threshold: float) -> Confusion:
        """Count cases; a score at or above the threshold counts as positive."""
        truth, scores = _check(truth, scores)
        flagged = scores >= threshold
        return cls(
            int((flagged & truth).sum()),
            int((flagged & ~truth).sum()),
            int((~flagged & ~truth).sum()),
            int((~flagged & truth).sum()),
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
    """Return the 95 % bootstrap percentile interval of a mean (Efron 1979).

    Args:
        values: (n,); NaN values are left out.
        groups: (n,) integers; values of a group, such as the views of a scan, are resampled
            together. By default, each value is a group.
        n: number of resamples.
        seed: random seed.

    Returns:
        Lower and upper end; NaN if there are no finite values.
    """
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return [float("nan"), float("nan")]
    if groups is None:
        member = np.arange(finite.sum())
    else:
        member = np.unique(np.asarray(groups)[finite], return_inverse=True)[1]
    values = values[finite]
    total, count = np.bincount(member, values), np.bincount(member)
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    sample = rng.integers(len(total), size=(n, len(total)))
    return _interval(total[sample].sum(1) / count[sample].sum(1))


class Ranked:
    """Truth and scores in falling order of score.

    They are sorted only once, so that bootstrap resampling of groups is fast.

    Attributes:
        truth: (n,) bool.
        scores: (n,) float64, falling.
        groups: (n,) indices of groups, without gaps.
        last_of_tie: index of the last entry of each group of equal scores.
    """

    def __init__(self, truth: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> None:
        truth, scores = _check(truth, scores)
        order = np.argsort(-scores, kind="stable")
        self.truth, self.scores = truth[order], scores[order]
        self.groups = np.unique(groups, return_inverse=True)[1][order]
        self.last_of_tie = _last_of_ties(self.scores)

    def measure(self, weight: np.ndarray, threshold: float) -> dict[str, float]:
        """Compute the metrics with every group counted ``weight[group]`` times.

        Args:
            weight: (n_groups,).
            threshold: score from which an entry counts as positive, for the rates in percent.
        """
        weights = weight[self.groups]
        tp = np.cumsum(weights * self.truth)
        fp = np.cumsum(weights * ~self.truth)
        last_flagged = np.searchsorted(-self.scores, -threshold, side="right") - 1
        positives, negatives = (float(c[-1]) if len(c) else 0.0 for c in (tp, fp))
        tp_flagged, fp_flagged = (
            float(c[last_flagged]) if last_flagged >= 0 else 0.0 for c in (tp, fp)
        )
        tp, fp = tp[self.last_of_tie], fp[self.last_of_tie]
        tp_step, fp_step = np.diff(tp, prepend=0), np.diff(fp, prepend=0)

        def fpr_at(tpr: float) -> float:
            if not positives:
                return float("nan")
            first = int(np.searchsorted(tp, tpr * positives - 1e-9))
            return _ratio(float(fp[min(first, len(fp) - 1)]), negatives)

        area = float((fp_step * (tp - 0.5 * tp_step)).sum())
        precision = tp / np.maximum(tp + fp, 1)
        return {
            "auroc": _ratio(area, positives * negatives),
            "average_precision": _ratio(float((tp_step * precision).sum()), positives),
            "tp_percent": 100 * _ratio(tp_flagged, positives),
            "fp_percent": 100 * _ratio(fp_flagged, negatives),
            "fpr_at_95_tpr": fpr_at(0.95),
            "fpr_at_99_tpr": fpr_at(0.99),
        }


def bootstrap_groups(
    ranked: Ranked, threshold: float, n: int = 500, seed: int = 0
) -> dict[str, list[float]]:
    """Return 95 % bootstrap intervals of :meth:`Ranked.measure` over groups.

    Args:
        ranked: truth and scores.
        threshold: see :meth:`Ranked.measure`.
        n: number of resamples.
        seed: random seed.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    count = int(ranked.groups.max(initial=-1)) + 1
    weights: np.ndarray = np.zeros((0, 0))
    if count:
        weights = rng.multinomial(count, np.full(count, 1 / count), size=n)
    rows = [ranked.measure(weight, threshold) for weight in weights]
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
    if not len(finite):
        return [float("nan"), float("nan")]
    return [float(v) for v in np.quantile(finite, [0.025, 0.975])]


def score_table(
    truth: np.ndarray, scores: np.ndarray, threshold: float, groups: np.ndarray | None = None
) -> dict[str, object]:
    """Return all metrics of one level (segments, objects or scans), with bootstrap intervals.

    Args:
        truth: (n,) 1 anomaly, 0 benign.
        scores: (n,).
        threshold: score from which an entry is flagged.
        groups: (n,) scan of each entry; intervals resample scans. By default, entries are
            resampled.
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
