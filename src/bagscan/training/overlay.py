"""Augmentation: the contents of another scan on top of a scan, as if both bags lay on the belt.

Log attenuations add up along a ray (Beer-Lambert law), so the sum of two views is a view of both
bags. Both views of a scan share the rows of the belt, so the same rows of the other scan match in
both views.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bagscan.datasets.packed import FIRST_DEVICE, PackedView
from bagscan.detector.features import (
    HIGH_SCALE,
    LOW_SCALE,
    MIN_TRANSMISSION,
    RATIO_OF_AIR,
    RATIO_SCALE,
    ratio_of,
)
from bagscan.detector.sampling import LABEL_PIXELS_PER_CELL, Pose, cut

MIN_ADDED = 0.01  # minimum added low-energy feature for which effective Z is computed anew
SCALES = np.array([LOW_SCALE, HIGH_SCALE], np.float32)[:, None, None]


def overlay(features: np.ndarray, counts: np.ndarray, view: PackedView, pose: Pose) -> None:
    """Add the benign contents of another view, in place.

    Devices of the other view become clutter: they have categories but no verdict.

    Args:
        features: (4, H, W) features, see :mod:`bagscan.detector.features`.
        counts: (128, H / 8, W / 8) label counts.
        view: the other view.
        pose: rows and orientation of the other view.
    """
    added, added_counts = np.zeros_like(features), np.zeros_like(counts)
    cut(view, False, pose, added, added_counts)
    superpose(features, added[:2], added[0] * added[3] ** 3)
    total = counts[:FIRST_DEVICE].astype(np.int32) + added_counts[:FIRST_DEVICE]
    counts[:FIRST_DEVICE] = np.minimum(total, LABEL_PIXELS_PER_CELL)


def superpose(features: np.ndarray, added: np.ndarray, added_z3: np.ndarray) -> None:
    """Add log attenuation to features, in place.

    Args:
        features: (4, H, W) features.
        added: (2, H, W) features of low and high log attenuation to add, 0 or more.
        added_z3: (H, W) cube of the effective Z feature of what is added, times its low feature.
    """
    changed = added[0] > MIN_ADDED
    # Effective Z of both is the cubic mean, weighted by low attenuation.
    z3 = features[0] * features[3] ** 3 + added_z3
    mixed = np.cbrt(z3 / np.maximum(features[0] + added[0], 1e-6))
    features[3] = np.where(changed, mixed, features[3])
    features[:2] = np.minimum(features[:2] + added, -np.log(MIN_TRANSMISSION) * SCALES)
    features[2] = np.where(changed, _compute_ratio(*(features[:2] / SCALES)), features[2])


@njit(cache=True, nogil=True)
def _compute_ratio(low, high):  # type: ignore[no-untyped-def]
    """Return the ratio feature of (H, W) log attenuations."""
    ratio = np.empty_like(low)
    for i in range(low.shape[0]):
        for j in range(low.shape[1]):
            ratio[i, j] = (ratio_of(low[i, j], high[i, j]) - RATIO_OF_AIR) * RATIO_SCALE
    return ratio
