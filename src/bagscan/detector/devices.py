"""Extraction of devices from a view's maps, and matching of devices between views.

Does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

INSIDE, SURE = 0.3, 0.5  # hysteresis thresholds on the probability of a device class
MIN_CELLS = 8  # cells above SURE that a device needs; smaller spots are noise
SAME_PLACE = 0.6  # IoU above which two findings of different classes are one device
MIN_COMMON_ROWS = 0.4  # share of belt rows that two views of one device must have in common
OTHER_CLASS = 0.3  # penalty for matching devices of different classes


@dataclass(frozen=True)
class FoundDevice:
    """Device in one view.

    Attributes:
        category: index of its class among the device classes.
        mask: (h, w) bool, cells of the device.
        confidence: mean probability of its class, in [0, 1].
    """

    category: int
    mask: np.ndarray
    confidence: float

    @property
    def rows(self) -> tuple[int, int]:
        """First row of cells along the belt, and the row after the last."""
        rows = np.flatnonzero(self.mask.any(1))
        return int(rows[0]), int(rows[-1]) + 1


def find_devices(chances: np.ndarray, contact: np.ndarray) -> list[FoundDevice]:
    """Find the devices of one view as connected cells of one class.

    Hysteresis (Canny 1986) keeps a large device in one piece: all its cells exceed the low
    threshold, and at least eight of them the high threshold.

    Args:
        chances: (n, h, w) probabilities of the device classes, in [0, 1].
        contact: (h, w) probability that two devices of one class touch, in [0, 1].
    """
    separate = contact < 0.5
    devices = []
    for category, probability in enumerate(chances):
        inside = probability > INSIDE
        labels, n = ndimage.label(inside & separate, np.ones((3, 3), int))
        if n > 1 or (inside & ~separate).any():
            labels = _fill_contacts(labels, inside)
        for k in range(1, n + 1):
            mask = labels == k
            if (probability[mask] > SURE).sum() >= MIN_CELLS:
                devices.append(FoundDevice(category, mask, float(probability[mask].mean())))
    return _suppress_duplicates(devices)


def _fill_contacts(labels: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Give every contact cell the label of the nearest device."""
    nearest = ndimage.distance_transform_edt(
        labels == 0, return_distances=False, return_indices=True
    )
    return np.where(inside, labels[tuple(nearest)], 0)


def _suppress_duplicates(devices: list[FoundDevice]) -> list[FoundDevice]:
    """Keep the most confident of devices that cover the same cells under different classes."""
    kept: list[FoundDevice] = []
    for device in sorted(devices, key=lambda d: -d.confidence * d.mask.sum()):
        if not any(_is_duplicate(device, other) for other in kept):
            kept.append(device)
    return kept


def _is_duplicate(device: FoundDevice, other: FoundDevice) -> bool:
    intersection = (device.mask & other.mask).sum()
    iou = intersection / (device.mask | other.mask).sum()
    cover = intersection / min(device.mask.sum(), other.mask.sum())
    return bool(iou > SAME_PLACE or (cover > 0.9 and device.confidence < 0.7))


def match_views(
    first: Sequence[FoundDevice], second: Sequence[FoundDevice]
) -> list[tuple[int | None, int | None]]:
    """Match the devices of two views by their position along the belt.

    A row is the same belt position in both views, so a device spans the same rows in each.

    Returns:
        Pairs of indices into ``first`` and ``second``; None for a device without a partner.
    """
    similarity = np.array([[_similarity(a, b) for b in second] for a in first]).reshape(
        len(first), len(second)
    )
    rows, columns = linear_sum_assignment(-similarity) if similarity.size else ((), ())
    pairs: list[tuple[int | None, int | None]] = [
        (int(i), int(j))
        for i, j in zip(rows, columns, strict=True)
        if similarity[i, j] >= MIN_COMMON_ROWS
    ]
    matched_first, matched_second = {i for i, _ in pairs}, {j for _, j in pairs}
    pairs += [(i, None) for i in range(len(first)) if i not in matched_first]
    return pairs + [(None, j) for j in range(len(second)) if j not in matched_second]


def _similarity(a: FoundDevice, b: FoundDevice) -> float:
    """Return the IoU of the row spans, less a penalty if the classes differ."""
    common = min(a.rows[1], b.rows[1]) - max(a.rows[0], b.rows[0])
    union = max(a.rows[1], b.rows[1]) - min(a.rows[0], b.rows[0])
    return max(0, common) / union - OTHER_CLASS * (a.category != b.category)
