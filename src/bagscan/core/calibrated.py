"""Calibration of scores to probabilities.

Source: Platt 1999, "Probabilistic outputs for support vector machines".
"""

from __future__ import annotations

import numpy as np

MIN_PROBABILITY = 1e-6
UNCALIBRATED = (1.0, 0.0)


def log_odds(scores: np.ndarray) -> np.ndarray:
    """Return the finite log-odds, (n,) float64, of (n,) scores in [0, 1]."""
    p = np.clip(np.asarray(scores, np.float64), MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    return np.asarray(np.log(p) - np.log1p(-p))


def platt(scores: np.ndarray, parameters: tuple[float, float]) -> np.ndarray:
    """Return (n,) calibrated probabilities.

    Args:
        scores: (n,) scores in [0, 1].
        parameters: slope and offset applied to the log-odds; ``UNCALIBRATED`` returns ``scores``.
    """
    if parameters == UNCALIBRATED:
        return scores
    slope, offset = parameters
    return np.asarray(1 / (1 + np.exp(-(slope * log_odds(scores) + offset))))
