"""The trivial baseline: what a whole-image score must beat before it means anything.

On SIXray, statistics that know nothing of threats separate positives from negatives with an AUROC
of 0.98, since the two were collected apart. It stands beside every whole-image score.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bagscan.evaluation.metrics import auroc

STATISTICS = ("height", "width", "mean", "std", "p05", "p95", "edges")


def image_statistics(pixels: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (7,) size, brightness and sharpness of a view; see ``STATISTICS``."""
    grey = pixels.mean(0)
    edges = np.abs(np.diff(grey, axis=1)).mean() if grey.shape[1] > 1 else 0.0
    return np.array(
        [*grey.shape, grey.mean(), grey.std(), *np.percentile(grey, [5, 95]), edges], np.float64
    )


def statistics_scores(train: np.ndarray, train_truth: np.ndarray, test: np.ndarray) -> np.ndarray:
    """(n,) probabilities of being anomalous, by logistic regression on image statistics; one and the same where training holds one class only.

    Args:
        train, test: (n, 7) from :func:`image_statistics`. train_truth: (n,) 1 or 0.
    """
    if len(np.unique(train_truth)) < 2:
        return np.full(len(test), 0.5)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(
        train, train_truth
    )
    return np.asarray(model.predict_proba(test)[:, 1])


def trivial_baseline(
    train: np.ndarray, train_truth: np.ndarray, test: np.ndarray, test_truth: np.ndarray
) -> dict[str, float]:
    """Logistic regression on image statistics.

    Args:
        train, test: (n, 7) from :func:`image_statistics`. *_truth: (n,) 1 or 0.

    Returns:
        ``auroc`` on test; NaN where a split holds one class only.
    """
    if len(np.unique(train_truth)) < 2:
        return {"auroc": float("nan")}
    return {"auroc": auroc(test_truth, statistics_scores(train, train_truth, test))}
