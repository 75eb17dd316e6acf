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
    return np.array([*grey.shape, grey.mean(), grey.std(), *np.percentile(grey, [5, 95]), edges], np.float64)


def trivial_baseline(train: np.ndarray, train_truth: np.ndarray, test: np.ndarray, test_truth: np.ndarray) -> dict[str, float]:
    """Logistic regression on image statistics.

    Args:
        train, test: (n, 7) from :func:`image_statistics`. *_truth: (n,) 1 or 0.

    Returns:
        ``auroc`` on test; NaN where a split holds one class only.
    """
    if len(np.unique(train_truth)) < 2:
        return {"auroc": float("nan")}
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, train_truth)
    return {"auroc": auroc(test_truth, model.predict_proba(test)[:, 1])}
