"""Connected superpixels of a given number, from per-pixel labels.

SLIC and SSN produce thousands of fragments. The original post-processing joins each small fragment
to a neighbour (Achanta et al. 2012, section III). Here, the pair whose union adds least to the
within-region variance is joined (Ward, "Hierarchical grouping to optimize an objective function",
1963), beginning with pieces below the minimum size. This reaches the given number of superpixels,
and loses fewer object borders.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy import ndimage
from skimage.measure import label as label_components


def enforce_connectivity(
    labels: np.ndarray, features: np.ndarray, n_regions: int, min_size: int, max_size: int
) -> np.ndarray:
    """Split labels into connected pieces, then split large pieces and join small or similar ones.

    Args:
        labels: (H, W) integers.
        features: (D, H, W), by which similarity is measured. They include the position, so that
            regions are compact.
        n_regions: largest number of regions.
        min_size: in pixels; smaller pieces are always joined to a neighbour.
        max_size: in pixels; larger pieces are quartered. A region becomes larger only by joining a
            piece below ``min_size``.

    Returns:
        (H, W) int32 labels from 0 without gaps; at most ``n_regions`` if ``max_size`` permits it.
        All regions are 4-connected, and have ``min_size`` pixels unless the image is smaller.
    """
    pieces = _label_pieces(labels)
    for _ in range(4):  # each round quarters large pieces; a piece that covers 9 cells needs two
        sizes = np.bincount(pieces.ravel())
        if sizes.max() <= max_size:
            break
        pieces = _label_pieces(pieces * 4 + _quadrant(pieces, sizes > max_size))
    areas = np.bincount(pieces.ravel())
    first, second = _find_edges(pieces)
    region = _join(
        areas, _sums(pieces, features, len(areas)), first, second, n_regions, min_size, max_size
    )
    return np.asarray(region[pieces])


def _label_pieces(labels: np.ndarray) -> np.ndarray:
    """Return the connected components of equal label, numbered from 0."""
    return np.asarray(label_components(labels, background=-1, connectivity=1)) - 1


def _quadrant(pieces: np.ndarray, oversized: np.ndarray) -> np.ndarray:
    """Return 0 to 3 by the position relative to the centroid of the piece; 0 if not oversized."""
    index = np.arange(len(oversized))
    centres = np.array(ndimage.center_of_mass(np.ones_like(pieces), pieces, index))
    rows, cols = np.arange(pieces.shape[0])[:, None], np.arange(pieces.shape[1])[None]
    quadrant = 2 * (rows > centres[pieces, 0]) + (cols > centres[pieces, 1])
    return np.where(oversized[pieces], quadrant, 0)


def _find_edges(pieces: np.ndarray) -> np.ndarray:
    """Return (2, E) pairs of neighbouring pieces, sorted, each once, the smaller number first."""
    n = int(pieces.max()) + 1
    keys = np.sort(_edge_keys(pieces, n))  # np.unique is slower, since it hashes
    keys = keys[np.diff(keys, prepend=-1) > 0]
    return np.stack([keys // n, keys % n])


@njit(cache=True)
def _edge_keys(pieces, n):  # type: ignore[no-untyped-def]
    """Return ``smaller * n + larger`` for every two neighbouring pixels of different pieces."""
    height, width = pieces.shape
    keys, count = np.empty(2 * height * width, np.int64), 0
    for row in range(height):
        for col in range(width):
            piece = pieces[row, col]
            for down, right in ((1, 0), (0, 1)):
                if row + down < height and col + right < width:
                    neighbour = pieces[row + down, col + right]
                    if piece != neighbour:
                        keys[count] = min(piece, neighbour) * n + max(piece, neighbour)
                        count += 1
    return keys[:count]


@njit(cache=True)
def _sums(pieces, features, n):  # type: ignore[no-untyped-def]
    """Return (n, D) sums of (D, H, W) features over each piece."""
    sums = np.zeros((n, len(features)))
    for d in range(len(features)):
        for row in range(pieces.shape[0]):
            for col in range(pieces.shape[1]):
                sums[pieces[row, col], d] += features[d, row, col]
    return sums


@njit(cache=True)
def _join(areas, sums, first, second, n_regions, min_size, max_size):  # type: ignore[no-untyped-def]
    """Join pieces, and return the (n,) int32 region of each piece.

    First, pieces below ``min_size`` are joined. Then a round joins pairs that are each other's
    cheapest, but not more than halve the distance to ``n_regions``. The result is nearly that of
    joining a single pair per round, with few rounds.

    Args:
        areas: (n,) pixels of each piece; changed in place.
        sums: (n, D) sums of features; changed in place.
        first, second: (E,) pairs of neighbouring pieces, the smaller number first; changed in
            place.
        n_regions, min_size, max_size: see :func:`enforce_connectivity`.
    """
    remaining, parent = len(areas), np.arange(len(areas))
    cost, stale = np.empty(len(first)), np.ones(len(areas), np.bool_)
    means = sums / areas.reshape(-1, 1)
    while True:
        _update_costs(cost, stale, first, second, areas, means)
        small, limit = areas < min_size, len(first)
        allowed = small[first] | small[second]
        if not allowed.any() and remaining > n_regions:
            allowed = areas[first] + areas[second] <= max_size
            limit = (remaining - n_regions + 1) // 2
        chosen = _each_others_cheapest(first, second, allowed, cost, len(areas))
        if not len(chosen):
            return _number_regions(parent)
        if len(chosen) > limit:  # a stable sort, so that the result is deterministic
            chosen = chosen[np.argsort(cost[chosen], kind="mergesort")[:limit]]
        stale[:] = False
        for edge in chosen:
            a, b = first[edge], second[edge]
            areas[a] += areas[b]
            sums[a] += sums[b]
            means[a] = sums[a] / areas[a]
            parent[b], stale[a] = a, True
        remaining -= len(chosen)
        # Duplicate edges are kept: they do no harm, and finding them is slow.
        kept = 0
        for edge in range(len(first)):
            a, b = parent[first[edge]], parent[second[edge]]
            if a != b:
                first[kept], second[kept], cost[kept] = min(a, b), max(a, b), cost[edge]
                kept += 1
        first, second, cost = first[:kept], second[:kept], cost[:kept]


@njit(cache=True)
def _update_costs(cost, stale, first, second, areas, means):  # type: ignore[no-untyped-def]
    """Compute Ward's cost of joining, for each edge with a piece that has changed."""
    for edge in range(len(first)):
        a, b = first[edge], second[edge]
        if stale[a] or stale[b]:
            distance = 0.0
            for d in range(means.shape[1]):
                difference = means[a, d] - means[b, d]
                distance += difference * difference
            cost[edge] = areas[a] * areas[b] / (areas[a] + areas[b]) * distance


@njit(cache=True)
def _each_others_cheapest(first, second, allowed, cost, n):  # type: ignore[no-untyped-def]
    """Return edges that are the cheapest of both their pieces; of equal edges, the first counts."""
    lowest, cheapest = np.full(n, np.inf), np.full(n, -1)
    for edge in np.flatnonzero(allowed):
        for piece in (first[edge], second[edge]):
            if cost[edge] < lowest[piece]:
                lowest[piece], cheapest[piece] = cost[edge], edge
    chosen = []
    for piece in range(n):
        edge = cheapest[piece]
        if edge >= 0 and first[edge] == piece and cheapest[second[edge]] == edge:
            chosen.append(edge)
    return np.array(chosen, np.int64)


@njit(cache=True)
def _number_regions(parent):  # type: ignore[no-untyped-def]
    """Number regions from 0 without gaps; the parent of a piece is itself or a smaller number."""
    number, count = np.empty(len(parent), np.int32), 0
    for piece in range(len(parent)):
        if parent[piece] == piece:
            number[piece] = count
            count += 1
        else:
            number[piece] = number[parent[piece]]
    return number
