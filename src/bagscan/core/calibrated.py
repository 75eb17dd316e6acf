"""Scores as probabilities: a line through their log-odds (Platt 1999, "Probabilistic outputs for support vector machines")."""

from __future__ import annotations

import numpy as np

LEAST = 1e-6
UNCALIBRATED = (1.0, 0.0)


def log_odds(scores: np.ndarray) -> np.ndarray:
    """(n,) scores in [0, 1] -> their log-odds, finite."""
    p = np.clip(np.asarray(scores, np.float64), LEAST, 1 - LEAST)
    return np.asarray(np.log(p) - np.log1p(-p))


def platt(scores: np.ndarray, parameters: tuple[float, float]) -> np.ndarray:
    """(n,) calibrated probabilities.

    Args:
        parameters: slope and offset of the line; ``UNCALIBRATED`` gives back the very scores.
    """
    if parameters == UNCALIBRATED:
        return scores
    slope, offset = parameters
    return np.asarray(1 / (1 + np.exp(-(slope * log_odds(scores) + offset))))
