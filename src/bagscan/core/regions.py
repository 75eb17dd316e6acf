"""Regions of a view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bagscan.core.checks import require


@dataclass(frozen=True)
class Regions:
    """Regions of a view, either a partition or overlapping instances.

    Attributes:
        labels: (H, W) int32, region index of every pixel, -1 outside all regions; or, for
            overlapping instances, a mask stack (n, H, W) bool.
        n: number of regions; labels are in 0 .. n - 1.
        kind: ``whole_image``, ``superpixel`` or ``instance``.

    Raises:
        ValueError: an unknown kind, a wrong shape or type, or a label out of range.
    """

    labels: np.ndarray
    n: int
    kind: str

    def __post_init__(self) -> None:
        require(
            self.kind in ("whole_image", "superpixel", "instance"),
            f"unknown region kind {self.kind!r}",
        )
        if self.labels.ndim == 3:
            require(
                self.labels.dtype == bool, f"a mask stack must be bool, got {self.labels.dtype}"
            )
            require(len(self.labels) == self.n, f"{len(self.labels)} masks for n={self.n} regions")
            return
        require(
            self.labels.ndim == 2, f"labels must be (H, W) or (n, H, W), got {self.labels.shape}"
        )
        require(self.labels.dtype == np.int32, f"labels must be int32, got {self.labels.dtype}")
        top = int(self.labels.max(initial=-1))
        require(top < self.n, f"label {top} but only n={self.n} regions")
        require(int(self.labels.min(initial=0)) >= -1, "labels below -1")

    @classmethod
    def from_labels(cls, labels: np.ndarray, kind: str) -> Regions:
        """Create regions from a (H, W) label map with labels from 0 without gaps."""
        return cls(labels.astype(np.int32, copy=False), int(labels.max(initial=-1)) + 1, kind)

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the view, (H, W) in pixels."""
        return (int(self.labels.shape[-2]), int(self.labels.shape[-1]))

    def mask(self, index: int) -> np.ndarray:
        """Return the (H, W) bool mask of one region."""
        return np.asarray(self.labels[index] if self.labels.ndim == 3 else self.labels == index)

    def areas(self) -> np.ndarray:
        """Return the number of pixels of each region, (n,)."""
        if self.labels.ndim == 3:
            return np.asarray(self.labels.sum((1, 2)))
        return np.bincount(self.labels.ravel() + 1, minlength=self.n + 1)[1:]

    def overlap(self, mask: np.ndarray) -> np.ndarray:
        """Return the fraction of each region's area inside a (H, W) bool mask, (n,)."""
        if self.labels.ndim == 3:
            inside = (self.labels & mask).sum((1, 2))
        else:
            inside = np.bincount(self.labels[mask & (self.labels >= 0)], minlength=self.n)
        return np.asarray(inside / np.maximum(self.areas(), 1))
