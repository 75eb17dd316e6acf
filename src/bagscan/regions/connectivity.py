"""From per-pixel labels to exactly the connected superpixels that were asked for.

SLIC and SSN leave thousands of fragments and mend them by size alone: under a limit, a piece joins
the neighbour with the longest border (Achanta et al. 2012, section III). Here pieces join by what
they hold: always the pair whose union adds least to the within-segment variance (Ward, "Hierarchical
grouping to optimize an objective function", 1963), first those that are too small to stand alone.
Fewer object borders are lost at the same count, and the count is the one asked for.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy import ndimage
from skimage.measure import label as label_components


def enforce_connectivity(labels: np.ndarray, features: np.ndarray, n_regions: int, min_size: int, max_size: int) -> np.ndarray:
    """Split labels into connected pieces, quarter those over ``max_size``, join the rest to ``n_regions``.

    Args:
        labels: (H, W) integers.
        features: (D, H, W) in which differences count, position among them for compact regions.
        n_regions: most regions to leave.
        min_size, max_size: pixels. Pieces under the first always join one; the second is exceeded
            only by joining such a piece.

    Returns:
        (H, W) int32 labels 0..n-1 without gaps, n ≤ ``n_regions`` where ``max_size`` allows it,
        every one 4-connected; none under ``min_size`` unless the whole image is.
    """
    pieces = _pieces(labels)
    for _ in range(4):  # each round quarters a piece at least; 9 cells need two
        sizes = np.bincount(pieces.ravel())
        if sizes.max() <= max_size:
            break
        pieces = _pieces(pieces * 4 + _quadrant(pieces, sizes > max_size))
    areas = np.bincount(pieces.ravel())
    first, second = _borders(pieces)
    name = _joined(areas, _sums(pieces, features, len(areas)), first, second, n_regions, min_size, max_size)
    return name[pieces]


def _pieces(labels: np.ndarray) -> np.ndarray:
    """Connected components of equal label, numbered from 0."""
    return np.asarray(label_components(labels, background=-1, connectivity=1)) - 1


def _quadrant(pieces: np.ndarray, oversized: np.ndarray) -> np.ndarray:
    """0-3 by the side of its piece's centroid that a pixel lies on; 0 where not oversized."""
    index = np.arange(len(oversized))
    centres = np.array(ndimage.center_of_mass(np.ones_like(pieces), pieces, index))
    rows, cols = np.arange(pieces.shape[0])[:, None], np.arange(pieces.shape[1])[None]
    quadrant = 2 * (rows > centres[pieces, 0]) + (cols > centres[pieces, 1])
    return np.where(oversized[pieces], quadrant, 0)


def _borders(pieces: np.ndarray) -> np.ndarray:
    """(2, E) pieces that touch, the smaller number first, each pair once."""
    pairs = [(pieces[:, :-1], pieces[:, 1:]), (pieces[:-1], pieces[1:])]
    one, other = (np.concatenate([pair[k][pair[0] != pair[1]] for pair in pairs]).astype(np.int64) for k in (0, 1))
    n = int(pieces.max()) + 1
    keys = np.unique(np.minimum(one, other) * n + np.maximum(one, other))
    return np.stack([keys // n, keys % n])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _sums(pieces, features, n):  # type: ignore[no-untyped-def]
    """(n, D) sums of (D, H, W) features over every piece."""
    sums = np.zeros((n, len(features)))
    for d in range(len(features)):
        for row in range(pieces.shape[0]):
            for col in range(pieces.shape[1]):
                sums[pieces[row, col], d] += features[d, row, col]
    return sums


@njit(cache=True)  # type: ignore[untyped-decorator]
def _joined(areas, sums, first, second, n_regions, min_size, max_size):  # type: ignore[no-untyped-def]
    """(n,) int32 region of every piece.

    A round joins the pairs that are each other's cheapest, as many as a count halfway to ``n_regions`` takes,
    so that rounds are few and the order is nearly that of one at a time. What is too small to stand alone goes first.

    Args:
        areas: (n,). sums: (n, D) of features. first, second: (E,) pieces that touch, some pairs twice.
    """
    name = np.arange(len(areas)).astype(np.int32)
    while True:
        n = len(areas)
        small, surplus, limit = areas < min_size, n - n_regions, len(first)
        allowed = small[first] | small[second]
        if not allowed.any() and surplus > 0:
            allowed, limit = areas[first] + areas[second] <= max_size, (surplus + 1) // 2
        if not allowed.any():
            return name
        chosen, cost = _each_others_cheapest(first, second, allowed, areas, sums)
        if not len(chosen):
            return name
        chosen = chosen[np.argsort(cost, kind="mergesort")[:limit]]  # stable: of equal costs the first
        keeper = np.arange(n)
        keeper[second[chosen]] = first[chosen]
        stays = keeper == np.arange(n)
        renamed = (np.cumsum(stays) - 1)[keeper]
        merged_areas, merged_sums = areas[stays], sums[stays]
        for piece in np.flatnonzero(~stays):
            merged_areas[renamed[piece]] += areas[piece]
            merged_sums[renamed[piece]] += sums[piece]
        # Pieces that now border twice do no harm, and finding them would cost more than all else.
        one, other = renamed[first], renamed[second]
        apart = one != other
        areas, sums, first, second = merged_areas, merged_sums, np.minimum(one, other)[apart], np.maximum(one, other)[apart]
        name = renamed[name].astype(np.int32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _each_others_cheapest(first, second, allowed, areas, sums):  # type: ignore[no-untyped-def]
    """Edges between pieces that are each other's cheapest by Ward's cost, and these costs; of equal ones the first counts."""
    n_edges, n, dim = len(first), len(areas), sums.shape[1]
    cost, means = np.empty(n_edges), np.empty((n, dim))
    for piece in range(n):
        for d in range(dim):
            means[piece, d] = sums[piece, d] / areas[piece]
    best, at = np.full(n, np.inf), np.full(n, -1)
    for e in range(n_edges):
        if not allowed[e]:
            continue
        a, b = first[e], second[e]
        apart = 0.0
        for d in range(dim):
            gap = means[a, d] - means[b, d]
            apart += gap * gap
        cost[e] = areas[a] * areas[b] / (areas[a] + areas[b]) * apart
        for piece in (a, b):
            if cost[e] < best[piece]:
                best[piece], at[piece] = cost[e], e
    chosen = np.array([at[a] for a in range(n) if at[a] >= 0 and first[at[a]] == a and at[second[at[a]]] == at[a]], np.int64)
    return chosen, cost[chosen]
