"""From per-pixel labels to exactly the connected superpixels that were asked for.

SLIC and SSN leave thousands of fragments and mend them by size alone: under a limit, a piece joins
the neighbour with the longest border (Achanta et al. 2012, section III). Here pieces join by what
they hold: always the pair whose union adds least to the within-segment variance (Ward, "Hierarchical
grouping to optimize an objective function", 1963), first those that are too small to stand alone.
Fewer object borders are lost at the same count, and the count is the one asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    graph = _Graph.of(pieces, features)
    name = np.arange(len(graph.areas))
    while (joined := graph.joined(n_regions, min_size, max_size)) is not None:
        graph, renamed = joined
        name = renamed[name]
    return name.astype(np.int32)[pieces]


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


@dataclass(frozen=True)
class _Graph:
    """Pieces and who borders whom: areas (n,), feature sums (n, D), edges (2, E) with first < second, some of them twice."""

    areas: np.ndarray
    sums: np.ndarray
    edges: np.ndarray

    @classmethod
    def of(cls, pieces: np.ndarray, features: np.ndarray) -> _Graph:
        flat, n = pieces.ravel(), int(pieces.max()) + 1
        sums = np.stack([np.bincount(flat, channel.ravel(), n) for channel in features], 1)
        across = np.stack([pieces[:, :-1].ravel(), pieces[:, 1:].ravel()])
        down = np.stack([pieces[:-1].ravel(), pieces[1:].ravel()])
        return cls(np.bincount(flat, minlength=n), sums, _unique_edges(np.concatenate([across, down], 1), n))

    def joined(self, n_regions: int, min_size: int, max_size: int) -> tuple[_Graph, np.ndarray] | None:
        """One round of joins and the new number of every piece; None where nothing is left to do.

        A round joins the pairs that are each other's cheapest, as many as a count halfway to
        ``n_regions`` takes, so that rounds are few and the order is nearly that of one at a time.
        """
        small = self.areas < min_size
        first, second = self.edges
        allowed, surplus = small[first] | small[second], len(self.areas) - n_regions
        limit = len(allowed)
        if not allowed.any() and surplus > 0:
            allowed, limit = self.areas[first] + self.areas[second] <= max_size, (surplus + 1) // 2
        if not allowed.any():
            return None
        chosen, cost = _each_others_cheapest(first, second, allowed, self.areas, self.sums)
        if not len(chosen):
            return None
        chosen = chosen[np.argsort(cost, kind="stable")[:limit]]
        keeper = np.arange(len(self.areas))
        keeper[second[chosen]] = first[chosen]
        return self._renamed(keeper)

    def _renamed(self, keeper: np.ndarray) -> tuple[_Graph, np.ndarray]:
        stays = keeper == np.arange(len(keeper))
        renamed = (np.cumsum(stays) - 1)[keeper]
        n = int(stays.sum())
        areas = np.bincount(renamed, self.areas, n).astype(np.int64)
        sums = self.sums[stays].copy()
        np.add.at(sums, renamed[~stays], self.sums[~stays])
        # Pieces that now border twice do no harm, and finding them would cost more than all else.
        first, second = renamed[self.edges]
        edges = np.stack([np.minimum(first, second), np.maximum(first, second)])
        return _Graph(areas, sums, edges[:, first != second]), renamed


@njit(cache=True)  # type: ignore[untyped-decorator]
def _each_others_cheapest(first, second, allowed, areas, sums):  # type: ignore[no-untyped-def]
    """Edges between pieces that are each other's cheapest by Ward's cost, and these costs; of equal ones the first counts."""
    n_edges, n, dim = len(first), len(areas), sums.shape[1]
    cost = np.empty(n_edges)
    best, at = np.full(n, np.inf), np.full(n, -1)
    for e in range(n_edges):
        if not allowed[e]:
            continue
        a, b = first[e], second[e]
        apart = 0.0
        for d in range(dim):
            gap = sums[a, d] / areas[a] - sums[b, d] / areas[b]
            apart += gap * gap
        cost[e] = areas[a] * areas[b] / (areas[a] + areas[b]) * apart
        for piece in (a, b):
            if cost[e] < best[piece]:
                best[piece], at[piece] = cost[e], e
    chosen = np.array([at[a] for a in range(n) if at[a] >= 0 and first[at[a]] == a and at[second[at[a]]] == at[a]], np.int64)
    return chosen, cost[chosen]


def _unique_edges(pairs: np.ndarray, n: int) -> np.ndarray:
    """(2, E) pairs of pieces, sorted, each once and none with itself."""
    pairs = pairs[:, pairs[0] != pairs[1]].astype(np.int64)
    keys = np.unique(pairs.min(0) * n + pairs.max(0))
    return np.stack([keys // n, keys % n])
