"""Contours of regions as SVG paths, in the view's pixels."""

from __future__ import annotations

import numpy as np
from skimage.measure import find_contours

TOLERANCE_PX = 0.6


def anomalous_path(mask: np.ndarray) -> str:
    """SVG path of a mask's outlines."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y, x = rows[0], cols[0]
    window = np.pad(mask[y : rows[-1] + 1, x : cols[-1] + 1], 1).astype(np.float32)
    parts = []
    for contour in find_contours(window, 0.5):
        points = simplified(contour, TOLERANCE_PX)[:, ::-1] + [x - 0.5, y - 0.5]
        parts.append("M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in points) + "Z")
    return "".join(parts)


def simplified(points: np.ndarray, tolerance: float) -> np.ndarray:
    """(N, 2) polyline without the points that lie within ``tolerance`` of what is left (Douglas and Peucker 1973).

    scikit-image has the same, and loads half of SciPy for it: a second for a command that draws one contour.
    """
    kept = np.zeros(len(points), bool)
    kept[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        along, to = points[last] - points[first], points[first + 1 : last] - points[first]
        length = np.hypot(*along)
        away = (
            np.abs(to[:, 0] * along[1] - to[:, 1] * along[0]) / length
            if length
            else np.hypot(to[:, 0], to[:, 1])
        )
        farthest = int(away.argmax())
        if away[farthest] > tolerance:
            kept[first + 1 + farthest] = True
            spans += [(first, first + 1 + farthest), (first + 1 + farthest, last)]
    return points[kept]


def benign_path(labels: np.ndarray, scores: np.ndarray, threshold: float) -> str:
    """All borders between two benign regions, as one path of pixel edges."""
    # Label -1 lies outside every region: it takes the last place, which is never flagged.
    flagged = np.append(scores >= threshold, False)[labels]
    beside = (labels[:, 1:] != labels[:, :-1]) & ~(flagged[:, 1:] & flagged[:, :-1])
    below = (labels[1:] != labels[:-1]) & ~(flagged[1:] & flagged[:-1])
    down = [f"M{c + 1},{r}v{n}" for c, r, n in zip(*_runs(beside.T), strict=True)]
    across = [f"M{c},{r + 1}h{n}" for r, c, n in zip(*_runs(below), strict=True)]
    return "".join(down + across)


def _runs(lines: np.ndarray) -> tuple[list[int], list[int], list[int]]:
    """Row, start and length of every run of true values along the rows."""
    edges = np.diff(np.pad(lines, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    return rows.tolist(), starts.tolist(), (ends - starts).tolist()
