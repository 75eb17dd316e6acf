"""Averages of feature maps inside regions for inference, shared by all runtimes. No torch.

The arithmetic is the same as in :func:`bagscan.encoders.pooling.pool_hard`, which passes gradients.
A test compares the two.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bagscan.core import Regions

PIXEL_STRIDE = 4  # every fourth label pixel is sampled, since features are no finer


def region_means(features: np.ndarray, regions: Regions) -> np.ndarray:
    """Average features inside every region.

    Args:
        features: (h, w, D) float32 features of a view.
        regions: regions of the view, a partition or overlapping instances.

    Returns:
        (n, D) float32 means. A region too thin for the sampling grid gets the features at one of
        its own pixels, an empty region gets zeros.
    """
    h, w, dim = features.shape
    height, width = regions.shape
    rows, cols = np.arange(height) * h // height, np.arange(width) * w // width
    cells = rows[:, None] * w + cols[None]
    target, source = _list_samples(
        regions.labels[..., ::PIXEL_STRIDE, ::PIXEL_STRIDE], cells[::PIXEL_STRIDE, ::PIXEL_STRIDE]
    )
    mass = np.bincount(target, minlength=regions.n)
    missed = np.flatnonzero(mass == 0)
    if len(missed):
        last = np.full(regions.n, -1)
        all_targets, all_sources = _list_samples(regions.labels, cells)
        is_missed = np.isin(all_targets, missed)
        np.maximum.at(last, all_targets[is_missed], all_sources[is_missed])
        missed = missed[last[missed] >= 0]
        target, source = np.concatenate([target, missed]), np.concatenate([source, last[missed]])
        mass[missed] = 1
    total = np.zeros((regions.n, dim), np.float32)
    _add(np.ascontiguousarray(features, np.float32).reshape(-1, dim), target, source, total)
    return np.asarray(total / np.maximum(mass, 1)[:, None].astype(np.float32))


@njit(cache=True)
def _add(cells, target, source, total):  # type: ignore[no-untyped-def]
    """Add the features of cell ``source[k]`` to region ``target[k]``, for every k."""
    for k in range(len(target)):
        row, cell = total[target[k]], cells[source[k]]
        for d in range(cell.size):
            row[d] += cell[d]


def _list_samples(labels: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return region and feature cell of every pixel that lies in a region."""
    if labels.ndim == 3:
        region, row, col = np.nonzero(labels)
        return region, cells[row, col]
    inside = labels >= 0
    return labels[inside], cells[inside]
