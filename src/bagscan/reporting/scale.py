"""Scores on a scale whose middle is the operating point: how many times its odds, in steps of three."""

from __future__ import annotations

import math

import numpy as np

STEPS = 4  # of threefold odds, to each side
STEP = math.log(3)
BINS = 32
RED, GREEN = "#ff5050", "#2fbf5f"
FAR = 1e-6  # from 0 and 1, where odds end


def steps_above(scores: np.ndarray, threshold: float) -> np.ndarray:
    """How often the odds of scores in [0, 1] are three times the operating point's; below 0 where they are less. Clipped at ``STEPS``."""
    odds = [
        np.log(np.clip(x, FAR, 1 - FAR) / (1 - np.clip(x, FAR, 1 - FAR)))
        for x in (np.asarray(scores, float), np.float64(threshold))
    ]
    return np.asarray(((odds[0] - odds[1]) / STEP).clip(-STEPS, STEPS))


def meter(score: float, threshold: float) -> str:
    """SVG of one score: a bar from the operating point in the middle to where it lies."""
    at = float(steps_above(np.array([score]), threshold)[0])
    right = 75 + 75 * at / STEPS
    left, wide = min(75.0, right), max(abs(right - 75), 1.5)
    ticks = "".join(
        f'<path d="M{75 + 75 * k / STEPS:.1f},4v8" stroke="#59636c"/>'
        for k in range(-STEPS, STEPS + 1)
    )
    colour = RED if score >= threshold else GREEN
    return (
        f'<svg class="meter" viewBox="0 0 150 16" role="img" aria-label="{at:+.1f} steps of threefold odds from the operating point">'
        f'<path d="M0,8h150" stroke="#59636c"/>{ticks}<rect x="{left:.1f}" y="4" width="{wide:.1f}" height="8" fill="{colour}"/>'
        '<path d="M75,0v16" stroke="#fff" stroke-width="2"/></svg>'
    )


def chart(scores: np.ndarray, threshold: float) -> str:
    """SVG of how many parts have which score; the height is the square root of the count, since a few high ones must be seen beside many low ones."""
    at, edges = steps_above(scores, threshold), np.linspace(-STEPS, STEPS, BINS + 1)
    over = np.asarray(scores) >= threshold
    counts = [np.histogram(at[side], edges)[0] for side in (~over, over)]
    top = math.sqrt(max(1, *(int(c.max()) for c in counts)))
    bars = []
    for of_side, colour in zip(counts, (GREEN, RED), strict=True):
        for left, n in zip(edges[:-1], of_side, strict=True):
            tall = 60 * math.sqrt(n) / top
            bars += (
                [
                    f'<rect x="{150 + 150 * left / STEPS:.1f}" y="{64 - tall:.1f}" width="{300 / BINS - 1:.1f}" height="{tall:.1f}" fill="{colour}"/>'
                ]
                if n
                else []
            )
    texts = "".join(
        f'<text x="{x}" y="78" fill="#a3adb6" font-size="11" text-anchor="{anchor}">{text}</text>'
        for x, anchor, text in (
            (0, "start", "far below"),
            (150, "middle", "operating point"),
            (300, "end", "far above"),
        )
    )
    return f'<svg viewBox="0 0 300 84" role="img" aria-label="how many parts have which score">{"".join(bars)}<path d="M150,0v66" stroke="#fff" stroke-dasharray="3 2"/>{texts}</svg>'
