"""Run-length encoded masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bagscan.core.checks import require


@dataclass(frozen=True)
class RunLengths:
    """Run lengths of a (H, W) bool mask in the order of COCO.

    Runs go column by column from the top left, alternately False and True, starting with False.

    Attributes:
        height, width: size of the image in pixels.
        packed: run lengths as little-endian uint32; their sum is height * width.

    Raises:
        ValueError: the runs do not sum to height * width.
    """

    height: int
    width: int
    packed: bytes

    def __post_init__(self) -> None:
        total = int(self.runs.sum(dtype=np.int64))
        require(
            total == self.height * self.width,
            f"run lengths sum to {total} pixels, expected {self.height * self.width}",
        )

    @classmethod
    def of(cls, mask: np.ndarray) -> RunLengths:
        """Encode a (H, W) bool mask.

        Raises:
            ValueError: the mask has another shape or type.
        """
        require(mask.ndim == 2 and mask.dtype == bool, "mask must be (H, W) bool")
        column_by_column = mask.ravel(order="F")
        changes = np.flatnonzero(column_by_column[1:] != column_by_column[:-1]) + 1
        starts = [0, 0] if column_by_column.size and column_by_column[0] else [0]
        edges = np.concatenate([starts, changes, [column_by_column.size]])
        return cls.of_runs(np.diff(edges), *mask.shape)

    @classmethod
    def of_runs(cls, runs: Sequence[int] | np.ndarray, height: int, width: int) -> RunLengths:
        """Create a mask from run lengths in pixels. The first run is False."""
        return cls(height, width, np.asarray(runs, "<u4").tobytes())

    @property
    def runs(self) -> np.ndarray:
        """Run lengths, (n,) uint32."""
        return np.frombuffer(self.packed, "<u4")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def area(self) -> int:
        """Number of True pixels."""
        return int(self.runs[1::2].sum(dtype=np.int64))

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        """Half-open bounding box of the True pixels; the mask must not be empty."""
        ends = self.runs.cumsum(dtype=np.int64)
        first, last = ends[:-1:2], ends[1::2] - 1
        is_filled = last >= first
        first, last = first[is_filled], last[is_filled]
        left, right = first // self.height, last // self.height
        # A run over several columns reaches the bottom of one column and the top of the next.
        spans_columns = left != right
        top = np.where(spans_columns, 0, first % self.height)
        bottom = np.where(spans_columns, self.height - 1, last % self.height)
        return float(left.min()), float(top.min()), float(right.max() + 1), float(bottom.max() + 1)

    def pixels(self) -> np.ndarray:
        """Decode the mask to (H, W) bool."""
        values = np.arange(len(self.runs)) % 2 == 1
        return np.repeat(values, self.runs).reshape(self.width, self.height).T
