"""Contours of regions as SVG paths, in the view's pixels."""

from __future__ import annotations

import numpy as np
from skimage.measure import approximate_polygon, find_contours


def anomalous_path(mask: np.ndarray) -> str:
    """SVG path of a mask's outlines."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y, x = rows[0], cols[0]
    window = np.pad(mask[y : rows[-1] + 1, x : cols[-1] + 1], 1).astype(np.float32)
    parts = []
    for contour in find_contours(window, 0.5):
        points = approximate_polygon(contour, 0.6)[:, ::-1] + [x - 0.5, y - 0.5]
        parts.append("M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in points) + "Z")
    return "".join(parts)


def benign_path(labels: np.ndarray, scores: np.ndarray, threshold: float) -> str:
    """All borders between two benign regions, as one path of pixel edges."""
    # Label -1 lies outside every region: it takes the last place, which is never flagged.
    flagged = np.append(scores >= threshold, False)[labels]
    parts = []
    rows, cols = np.nonzero((labels[:, 1:] != labels[:, :-1]) & ~(flagged[:, 1:] & flagged[:, :-1]))
    parts += [f"M{c + 1},{r}v1" for r, c in zip(rows, cols, strict=True)]
    rows, cols = np.nonzero((labels[1:] != labels[:-1]) & ~(flagged[1:] & flagged[:-1]))
    parts += [f"M{c},{r + 1}h1" for r, c in zip(rows, cols, strict=True)]
    return "".join(parts)
