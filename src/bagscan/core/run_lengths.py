"""A mask as lengths of its runs: some hundred bytes where the pixels of it would be a megabyte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bagscan.core.checks import require


@dataclass(frozen=True)
class RunLengths:
    """A (H, W) bool mask, column by column from the top left, as COCO keeps it: pixels off, on, off and so on.

    Attributes:
        height, width: of the picture. packed: lengths of the runs, little-endian uint32; they sum to the picture.
    """

    height: int
    width: int
    packed: bytes

    def __post_init__(self) -> None:
        total = int(self.runs.sum(dtype=np.int64))
        require(
            total == self.height * self.width,
            f"runs make up {total} pixels, the picture has {self.height * self.width}",
        )

    @classmethod
    def of(cls, mask: np.ndarray) -> RunLengths:
        """The runs of a (H, W) bool mask."""
        require(mask.ndim == 2 and mask.dtype == bool, "mask must be (H, W) bool")
        column_by_column = mask.ravel(order="F")
        changes = np.flatnonzero(column_by_column[1:] != column_by_column[:-1]) + 1
        starts = [0, 0] if column_by_column.size and column_by_column[0] else [0]
        edges = np.concatenate([starts, changes, [column_by_column.size]])
        return cls.of_runs(np.diff(edges), *mask.shape)

    @classmethod
    def of_runs(cls, runs: Sequence[int] | np.ndarray, height: int, width: int) -> RunLengths:
        """Runs in pixels, beginning with those that are off."""
        return cls(height, width, np.asarray(runs, "<u4").tobytes())

    @property
    def runs(self) -> np.ndarray:
        """(n,) uint32."""
        return np.frombuffer(self.packed, "<u4")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def area(self) -> int:
        """Pixels that are on."""
        return int(self.runs[1::2].sum(dtype=np.int64))

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        """Half-open box around the pixels that are on, of which there must be some; rows of a run that goes over several columns are all."""
        ends = self.runs.cumsum(dtype=np.int64)
        first, last = ends[:-1:2], ends[1::2] - 1
        there = last >= first
        first, last = first[there], last[there]
        left, right = first // self.height, last // self.height
        whole = left != right
        top = np.where(whole, 0, first % self.height)
        bottom = np.where(whole, self.height - 1, last % self.height)
        return float(left.min()), float(top.min()), float(right.max() + 1), float(bottom.max() + 1)

    def pixels(self) -> np.ndarray:
        """(H, W) bool."""
        on = np.arange(len(self.runs)) % 2 == 1
        return np.repeat(on, self.runs).reshape(self.width, self.height).T
