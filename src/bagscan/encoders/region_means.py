"""Feature maps averaged inside regions, in use: the fixed kernel that torch, ONNX Runtime and OpenVINO share. No torch.

The same arithmetic as :func:`bagscan.encoders.pooling.pool_hard`, which passes gradients; a test holds them together.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bagscan.core import Regions

PIXEL_STRIDE = 4  # label pixels sampled; features are no finer


def region_means(features: np.ndarray, regions: Regions) -> np.ndarray:
    """Average features inside every region.

    Args:
        features: (h, w, D) float32, of the view that was cut.
        regions: of that view, a partition or overlapping instances.

    Returns:
        (n, D) float32; a region too thin for the sampling raster is described at one of its own pixels, an empty one by zeros.
    """
    h, w, dim = features.shape
    height, width = regions.shape
    rows, cols = np.arange(height) * h // height, np.arange(width) * w // width
    place = rows[:, None] * w + cols[None]
    target, source = _samples(
        regions.labels[..., ::PIXEL_STRIDE, ::PIXEL_STRIDE], place[::PIXEL_STRIDE, ::PIXEL_STRIDE]
    )
    mass = np.bincount(target, minlength=regions.n)
    missed = np.flatnonzero(mass == 0)
    if len(missed):
        last = np.full(regions.n, -1)
        everywhere, at = _samples(regions.labels, place)
        of_missed = np.isin(everywhere, missed)
        np.maximum.at(last, everywhere[of_missed], at[of_missed])
        missed = missed[last[missed] >= 0]
        target, source = np.concatenate([target, missed]), np.concatenate([source, last[missed]])
        mass[missed] = 1
    total = np.zeros((regions.n, dim), np.float32)
    _add(np.ascontiguousarray(features, np.float32).reshape(-1, dim), target, source, total)
    return np.asarray(total / np.maximum(mass, 1)[:, None].astype(np.float32))


@njit(cache=True)
def _add(cells, target, source, total):  # type: ignore[no-untyped-def]
    """Add cell ``source[k]`` to region ``target[k]``, for every k."""
    for k in range(len(target)):
        row, cell = total[target[k]], cells[source[k]]
        for d in range(cell.size):
            row[d] += cell[d]


def _samples(labels: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Region and feature cell of every pixel that lies in a region."""
    if labels.ndim == 3:
        which, row, col = np.nonzero(labels)
        return which, place[row, col]
    inside = labels >= 0
    return labels[inside], place[inside]
