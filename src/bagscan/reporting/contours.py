"""Contours of regions as SVG paths, in the view's pixels."""

from __future__ import annotations

import numpy as np
from skimage.measure import find_contours

TOLERANCE_PX = 0.6


def outline_path(mask: np.ndarray) -> str:
    """Return the outlines of a mask as an SVG path.

    Args:
        mask: (H, W) bool, with at least one true pixel.
    """
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y, x = rows[0], cols[0]
    window = np.pad(mask[y : rows[-1] + 1, x : cols[-1] + 1], 1).astype(np.float32)
    parts = []
    for contour in find_contours(window, 0.5):
        points = simplify(contour, TOLERANCE_PX)[:, ::-1] + [x - 0.5, y - 0.5]
        parts.append("M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in points) + "Z")
    return "".join(parts)


def simplify(points: np.ndarray, tolerance: float) -> np.ndarray:
    """Simplify a polyline (Douglas and Peucker 1973).

    scikit-image's ``approximate_polygon`` does the same, but its import loads large parts of
    SciPy and delays short commands.

    Args:
        points: (N, 2) vertices.
        tolerance: largest distance of a dropped vertex from the simplified line.

    Returns:
        (M, 2) vertices that remain, first and last included.
    """
    kept = np.zeros(len(points), bool)
    kept[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        chord, offsets = points[last] - points[first], points[first + 1 : last] - points[first]
        length = np.hypot(*chord)
        if length:
            distances = np.abs(offsets[:, 0] * chord[1] - offsets[:, 1] * chord[0]) / length
        else:
            distances = np.hypot(offsets[:, 0], offsets[:, 1])
        farthest = int(distances.argmax())
        if distances[farthest] > tolerance:
            kept[first + 1 + farthest] = True
            spans += [(first, first + 1 + farthest), (first + 1 + farthest, last)]
    return points[kept]


def benign_path(labels: np.ndarray, scores: np.ndarray, threshold: float) -> str:
    """Return the borders between regions of which at most one is flagged, as an SVG path.

    Args:
        labels: (H, W) int, region of every pixel; -1 outside all regions.
        scores: (K,) score of every region.
        threshold: score at and above which a region is flagged.
    """
    # Label -1 indexes the appended last entry, which is never flagged.
    flagged = np.append(scores >= threshold, False)[labels]
    vertical = (labels[:, 1:] != labels[:, :-1]) & ~(flagged[:, 1:] & flagged[:, :-1])
    horizontal = (labels[1:] != labels[:-1]) & ~(flagged[1:] & flagged[:-1])
    vertical_lines = [f"M{c + 1},{r}v{n}" for c, r, n in zip(*_runs(vertical.T), strict=True)]
    horizontal_lines = [f"M{c},{r + 1}h{n}" for r, c, n in zip(*_runs(horizontal), strict=True)]
    return "".join(vertical_lines + horizontal_lines)


def _runs(lines: np.ndarray) -> tuple[list[int], list[int], list[int]]:
    """Return row, start and length of every run of true values along the rows."""
    edges = np.diff(np.pad(lines, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    return rows.tolist(), starts.tolist(), (ends - starts).tolist()
