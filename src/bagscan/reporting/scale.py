"""Plots of scores on a log-odds scale centred on the operating point."""

from __future__ import annotations

import math

import numpy as np

STEPS = 4  # ticks on each side of the operating point
STEP = math.log(3)  # log-odds between ticks: each triples the odds
BINS = 32
RED, GREEN = "#ff5050", "#2fbf5f"
FAR = 1e-6  # scores are clipped to [FAR, 1 - FAR], where log-odds are finite


def steps_above(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the distance of scores from the operating point, in steps of threefold odds.

    Args:
        scores: scores in [0, 1], of any shape.
        threshold: the operating point.

    Returns:
        Array of the same shape, clipped to [-``STEPS``, ``STEPS``]; negative below the operating
        point.
    """
    distance = _log_odds(np.asarray(scores, float)) - _log_odds(np.float64(threshold))
    return np.asarray((distance / STEP).clip(-STEPS, STEPS))


def _log_odds(p: np.ndarray | np.float64) -> np.ndarray:
    clipped = np.clip(p, FAR, 1 - FAR)
    return np.asarray(np.log(clipped / (1 - clipped)))


def meter(score: float, threshold: float) -> str:
    """Return an SVG of one score: a bar from the operating point in the middle to the score."""
    steps = float(steps_above(np.array([score]), threshold)[0])
    end = 75 + 75 * steps / STEPS
    left, width = min(75.0, end), max(abs(end - 75), 1.5)
    ticks = "".join(
        f'<path d="M{75 + 75 * k / STEPS:.1f},4v8" stroke="#59636c"/>'
        for k in range(-STEPS, STEPS + 1)
    )
    colour = RED if score >= threshold else GREEN
    return (
        '<svg class="meter" viewBox="0 0 150 16" role="img" '
        f'aria-label="{steps:+.1f} steps of threefold odds from the operating point">'
        f'<path d="M0,8h150" stroke="#59636c"/>{ticks}'
        f'<rect x="{left:.1f}" y="4" width="{width:.1f}" height="8" fill="{colour}"/>'
        '<path d="M75,0v16" stroke="#fff" stroke-width="2"/></svg>'
    )


def chart(scores: np.ndarray, threshold: float) -> str:
    """Return an SVG histogram of region scores.

    The height of a bar is the square root of the count, so that a few high scores stay visible
    beside many low ones.

    Args:
        scores: (N,) scores in [0, 1].
        threshold: the operating point.
    """
    steps, edges = steps_above(scores, threshold), np.linspace(-STEPS, STEPS, BINS + 1)
    flagged = np.asarray(scores) >= threshold
    counts = [np.histogram(steps[side], edges)[0] for side in (~flagged, flagged)]
    top = math.sqrt(max(1, *(int(c.max()) for c in counts)))
    bars = []
    for side_counts, colour in zip(counts, (GREEN, RED), strict=True):
        for left, n in zip(edges[:-1], side_counts, strict=True):
            height = 60 * math.sqrt(n) / top
            if n:
                bars.append(
                    f'<rect x="{150 + 150 * left / STEPS:.1f}" y="{64 - height:.1f}" '
                    f'width="{300 / BINS - 1:.1f}" height="{height:.1f}" fill="{colour}"/>'
                )
    labels = "".join(
        f'<text x="{x}" y="78" fill="#a3adb6" font-size="11" text-anchor="{anchor}">{text}</text>'
        for x, anchor, text in (
            (0, "start", "far below"),
            (150, "middle", "operating point"),
            (300, "end", "far above"),
        )
    )
    return (
        '<svg viewBox="0 0 300 84" role="img" aria-label="number of regions by score">'
        f'{"".join(bars)}<path d="M150,0v66" stroke="#fff" stroke-dasharray="3 2"/>{labels}</svg>'
    )
