"""Devices from the maps of a view, and which devices of two views are the same one. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

INSIDE, SURE = (
    0.3,
    0.5,
)  # chance of a class from which cells belong to a device, and from which they make one
MIN_CELLS = 8  # sure ones of a device: smaller spots are noise
SAME_PLACE = 0.6  # overlap of two finds of different classes above which they are one device
MIN_COMMON_ROWS = 0.4  # of the belt that two views of one device must share
OTHER_CLASS = 0.3  # what it costs to match devices of different classes


@dataclass(frozen=True)
class FoundDevice:
    """A device in one view.

    Attributes:
        category: number of its class among the devices. mask: (h, w) bool, cells of the maps. confidence: mean chance of its class.
    """

    category: int
    mask: np.ndarray
    confidence: float

    @property
    def rows(self) -> tuple[int, int]:
        """First and last row of cells, along the belt."""
        there = np.flatnonzero(self.mask.any(1))
        return int(there[0]), int(there[-1]) + 1


def find_devices(chances: np.ndarray, contact: np.ndarray) -> list[FoundDevice]:
    """Devices of one view: connected cells of a class, enough of them sure (hysteresis, Canny 1986), so that a large device stays in one piece.

    Args:
        chances: (n, h, w) of every device class, in [0, 1]. contact: (h, w) chance that two of one class touch here.
    """
    apart = contact < 0.5
    found = []
    for category, chance in enumerate(chances):
        inside = chance > INSIDE
        parts, n = ndimage.label(inside & apart, np.ones((3, 3), int))
        if n > 1 or (inside & ~apart).any():
            parts = _grown_back(parts, inside)
        for k in range(1, n + 1):
            mask = parts == k
            if (chance[mask] > SURE).sum() >= MIN_CELLS:
                found.append(FoundDevice(category, mask, float(chance[mask].mean())))
    return _one_of_each(found)


def _grown_back(parts: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Every cell that two parts share goes to the nearest of them."""
    nearest = ndimage.distance_transform_edt(
        parts == 0, return_distances=False, return_indices=True
    )
    return np.where(inside, parts[tuple(nearest)], 0)


def _one_of_each(found: list[FoundDevice]) -> list[FoundDevice]:
    """Of finds that lie at the same place under different classes, the surest."""
    kept: list[FoundDevice] = []
    for device in sorted(found, key=lambda d: -d.confidence * d.mask.sum()):
        overlaps = [
            (device.mask & other.mask).sum() / min(device.mask.sum(), other.mask.sum())
            for other in kept
        ]
        union = [
            (device.mask & other.mask).sum() / (device.mask | other.mask).sum() for other in kept
        ]
        if not any(u > SAME_PLACE for u in union) and not any(
            o > 0.9 and device.confidence < 0.7 for o in overlaps
        ):
            kept.append(device)
    return kept


def match_views(
    first: Sequence[FoundDevice], second: Sequence[FoundDevice]
) -> list[tuple[int | None, int | None]]:
    """Pairs of numbers of the same device in two views, by where it lies along the belt; None where a view has no partner.

    Rows of both views are lines of the same belt, so that a device spans the same ones in each.
    """
    alike = np.array([[_alike(a, b) for b in second] for a in first]).reshape(
        len(first), len(second)
    )
    rows, columns = linear_sum_assignment(-alike) if alike.size else ((), ())
    pairs: list[tuple[int | None, int | None]] = [
        (int(i), int(j))
        for i, j in zip(rows, columns, strict=True)
        if alike[i, j] >= MIN_COMMON_ROWS
    ]
    of_first, of_second = {i for i, _ in pairs}, {j for _, j in pairs}
    pairs += [(i, None) for i in range(len(first)) if i not in of_first]
    return pairs + [(None, j) for j in range(len(second)) if j not in of_second]


def _alike(a: FoundDevice, b: FoundDevice) -> float:
    """Share of the belt in common, less where the classes differ."""
    common = min(a.rows[1], b.rows[1]) - max(a.rows[0], b.rows[0])
    both = max(a.rows[1], b.rows[1]) - min(a.rows[0], b.rows[0])
    return max(0, common) / both - OTHER_CLASS * (a.category != b.category)
