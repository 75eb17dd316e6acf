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


def enforce_connectivity(
    labels: np.ndarray, features: np.ndarray, n_regions: int, min_size: int, max_size: int
) -> np.ndarray:
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
    name = _joined(
        areas, _sums(pieces, features, len(areas)), first, second, n_regions, min_size, max_size
    )
    return np.asarray(name[pieces])


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
    """(2, E) pieces that touch, the smaller number first, each pair once, in order."""
    n = int(pieces.max()) + 1
    keys = np.sort(_border_keys(pieces, n))  # np.unique hashes, which takes three times as long
    keys = keys[np.diff(keys, prepend=-1) > 0]
    return np.stack([keys // n, keys % n])


@njit(cache=True)
def _border_keys(pieces, n):  # type: ignore[no-untyped-def]
    """``smaller * n + larger`` of every two pixels that touch and differ."""
    height, width = pieces.shape
    keys, found = np.empty(2 * height * width, np.int64), 0
    for row in range(height):
        for col in range(width):
            one = pieces[row, col]
            for down, right in ((1, 0), (0, 1)):
                if row + down < height and col + right < width:
                    other = pieces[row + down, col + right]
                    if one != other:
                        keys[found] = min(one, other) * n + max(one, other)
                        found += 1
    return keys[:found]


@njit(cache=True)
def _sums(pieces, features, n):  # type: ignore[no-untyped-def]
    """(n, D) sums of (D, H, W) features over every piece."""
    sums = np.zeros((n, len(features)))
    for d in range(len(features)):
        for row in range(pieces.shape[0]):
            for col in range(pieces.shape[1]):
                sums[pieces[row, col], d] += features[d, row, col]
    return sums


@njit(cache=True)
def _joined(areas, sums, first, second, n_regions, min_size, max_size):  # type: ignore[no-untyped-def]
    """(n,) int32 region of every piece.

    A round joins the pairs that are each other's cheapest, as many as a count halfway to ``n_regions`` takes,
    so that rounds are few and the order is nearly that of one at a time. What is too small to stand alone goes first.

    Args:
        areas: (n,). sums: (n, D) of features. first, second: (E,) pieces that touch, the smaller number first. All are worked on in place.
    """
    left, keeper = len(areas), np.arange(len(areas))
    cost, stale, means = (
        np.empty(len(first)),
        np.ones(len(areas), np.bool_),
        sums / areas.reshape(-1, 1),
    )
    while True:
        _update(cost, stale, first, second, areas, means)
        small, limit = areas < min_size, len(first)
        allowed = small[first] | small[second]
        if not allowed.any() and left > n_regions:
            allowed, limit = areas[first] + areas[second] <= max_size, (left - n_regions + 1) // 2
        chosen = _each_others_cheapest(first, second, allowed, cost, len(areas))
        if not len(chosen):
            return _numbered(keeper)
        if len(chosen) > limit:
            chosen = chosen[
                np.argsort(cost[chosen], kind="mergesort")[:limit]
            ]  # stable: of equal costs the first
        stale[:] = False
        for edge in chosen:
            one, other = first[edge], second[edge]
            areas[one] += areas[other]
            sums[one] += sums[other]
            means[one] = sums[one] / areas[one]
            keeper[other], stale[one] = one, True
        left -= len(chosen)
        kept = 0
        for edge in range(len(first)):
            one, other = keeper[first[edge]], keeper[second[edge]]
            if (
                one != other
            ):  # pieces that now border twice do no harm, and finding them would cost more than all else
                first[kept], second[kept], cost[kept] = min(one, other), max(one, other), cost[edge]
                kept += 1
        first, second, cost = first[:kept], second[:kept], cost[:kept]


@njit(cache=True)
def _update(cost, stale, first, second, areas, means):  # type: ignore[no-untyped-def]
    """Ward's cost of joining two pieces, of every edge of which one has changed."""
    for edge in range(len(first)):
        one, other = first[edge], second[edge]
        if stale[one] or stale[other]:
            apart = 0.0
            for d in range(means.shape[1]):
                gap = means[one, d] - means[other, d]
                apart += gap * gap
            cost[edge] = areas[one] * areas[other] / (areas[one] + areas[other]) * apart


@njit(cache=True)
def _each_others_cheapest(first, second, allowed, cost, n):  # type: ignore[no-untyped-def]
    """Edges between pieces that are each other's cheapest; of equal ones the first counts."""
    best, at = np.full(n, np.inf), np.full(n, -1)
    for edge in np.flatnonzero(allowed):
        for piece in (first[edge], second[edge]):
            if cost[edge] < best[piece]:
                best[piece], at[piece] = cost[edge], edge
    return np.array(
        [
            at[a]
            for a in range(n)
            if at[a] >= 0 and first[at[a]] == a and at[second[at[a]]] == at[a]
        ],
        np.int64,
    )


@njit(cache=True)
def _numbered(keeper):  # type: ignore[no-untyped-def]
    """Numbers from 0 without gaps, given what each piece was joined to: itself, or a smaller number."""
    number, found = np.empty(len(keeper), np.int32), 0
    for piece in range(len(keeper)):
        if keeper[piece] == piece:
            number[piece] = found
            found += 1
        else:
            number[piece] = number[keeper[piece]]
    return number
