"""The soft association: the one tensor contract that regioners and encoders share.

A soft superpixel method divides the image into a regular grid of ``rows × cols`` cells. Every
cell starts one superpixel, and a pixel may belong only to the superpixels of its own cell and
the 8 around it, so the association is dense and small::

    q       (B, rows, cols, 9, cell_h * cell_w)   >= 0, sums to 1 over the 9
    grid    Grid(height, width, cell_h, cell_w)   how the image was padded and cut

Candidate ``j`` of a pixel in cell ``(r, c)`` is the superpixel ``(r + j // 3 - 1, c + j % 3 - 1)``;
where that lies outside the grid, ``q`` is 0. Superpixel ``(r, c)`` has the index ``r * cols + c``.
Padding pixels carry ``q = 0`` everywhere.

The functions below only reshape, slice and add, through methods that torch tensors have, so this
module states and implements the contract without importing torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

NEIGHBOURS = tuple((dr, dc) for dr in (-1, 0, 1) for dc in (-1, 0, 1))


@dataclass(frozen=True)
class Grid:
    """A ``height × width`` image padded evenly on both sides to whole cells.

    Attributes:
        height, width: the image in pixels.
        cell_h, cell_w: one cell in pixels.
    """

    height: int
    width: int
    cell_h: int
    cell_w: int

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.cell_h, self.cell_w) < 1:
            raise ValueError(f"grid sizes must be at least 1 pixel, got {self}")

    @classmethod
    def for_count(cls, height: int, width: int, n_superpixels: int) -> Grid:
        """The grid of about ``n_superpixels`` nearly square cells (SSN, section 4)."""
        if n_superpixels < 1:
            raise ValueError(f"n_superpixels must be at least 1, got {n_superpixels}")
        cols = min(width, max(1, math.floor(math.sqrt(n_superpixels * width / height))))
        rows = min(height, max(1, math.floor(math.sqrt(n_superpixels * height / width))))
        return cls(height, width, math.ceil(height / rows), math.ceil(width / cols))

    @property
    def rows(self) -> int:
        return math.ceil(self.height / self.cell_h)

    @property
    def cols(self) -> int:
        return math.ceil(self.width / self.cell_w)

    @property
    def n(self) -> int:
        """Number of superpixels that the grid starts."""
        return self.rows * self.cols

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """(left, right, top, bottom) in pixels, the order of ``torch.nn.functional.pad``."""
        spare_h = self.rows * self.cell_h - self.height
        spare_w = self.cols * self.cell_w - self.width
        return spare_w // 2, spare_w - spare_w // 2, spare_h // 2, spare_h - spare_h // 2


def to_cells(padded: Any, grid: Grid) -> Any:
    """(B, C, rows*cell_h, cols*cell_w) -> (B, rows, cols, C, cell_h*cell_w)."""
    b, c = padded.shape[:2]
    cells = padded.reshape(b, c, grid.rows, grid.cell_h, grid.cols, grid.cell_w)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(b, grid.rows, grid.cols, c, -1)


def from_cells(cells: Any, grid: Grid) -> Any:
    """(B, rows, cols, C, cell_h*cell_w) -> (B, C, height, width), the padding cut off."""
    b, rows, cols, c = cells.shape[:4]
    image = cells.reshape(b, rows, cols, c, grid.cell_h, grid.cell_w)
    image = image.permute(0, 3, 1, 4, 2, 5).reshape(b, c, rows * grid.cell_h, cols * grid.cell_w)
    left, _, top, _ = grid.padding
    return image[:, :, top : top + grid.height, left : left + grid.width]


def gather_neighbours(centres: Any) -> Any:
    """(B, rows, cols, D) -> (B, rows, cols, 9, D): each cell's candidates, 0 outside the grid."""
    b, rows, cols, d = centres.shape
    framed = centres.new_zeros(b, rows + 2, cols + 2, d)
    framed[:, 1:-1, 1:-1] = centres
    # Windows of 3 x 3 cells, all at once: nine slices put in one by one would each copy the whole gradient.
    return (
        framed.unfold(1, 3, 1)
        .unfold(2, 3, 1)
        .permute(0, 1, 2, 4, 5, 3)
        .reshape(b, rows, cols, 9, d)
    )


def scatter_neighbours(sums: Any) -> Any:
    """(B, rows, cols, 9, D) -> (B, rows, cols, D): add each cell's shares to its candidates."""
    b, rows, cols, _, d = sums.shape
    total = sums.new_zeros(b, rows + 2, cols + 2, d)
    for share, (dr, dc) in zip(sums.unbind(3), NEIGHBOURS, strict=True):
        # Each into a frame of its own, for the same reason.
        moved = sums.new_zeros(b, rows + 2, cols + 2, d)
        moved[:, 1 + dr : 1 + dr + rows, 1 + dc : 1 + dc + cols] = share
        total = total + moved
    return total[:, 1:-1, 1:-1]


def pool(q: Any, cells: Any) -> Any:
    """Mean of ``cells`` in every superpixel, weighted by ``q``.

    Args:
        q: (B, rows, cols, 9, p) soft association.
        cells: (B, rows, cols, C, p) values per pixel, from :func:`to_cells`.

    Returns:
        (B, rows, cols, C). A superpixel that owns nothing is 0.
    """
    total = scatter_neighbours(q @ cells.transpose(-1, -2))
    mass = scatter_neighbours(q.sum(-1, keepdim=True))
    return total / mass.clamp(min=1e-8)


def unpool(q: Any, centres: Any) -> Any:
    """Give each pixel the ``q``-weighted mean of its candidates' values.

    Args:
        q: (B, rows, cols, 9, p). centres: (B, rows, cols, C).

    Returns:
        (B, rows, cols, C, p).
    """
    return gather_neighbours(centres).transpose(-1, -2) @ q


def hard_labels(q: Any, grid: Grid) -> Any:
    """(B, height, width) int64: the candidate with the largest q, as a superpixel index."""
    index = candidate_index(grid, q)[None, ..., None].expand(q.shape)
    return from_cells(index.gather(-2, q.argmax(-2, keepdim=True)), grid)[:, 0]


def candidate_index(grid: Grid, like: Any) -> Any:
    """(rows, cols, 9) superpixel index of each candidate, -1 outside; int64 on ``like``'s device."""
    index = like.new_zeros(grid.n).long()
    index += 1
    index = index.cumsum(0).reshape(1, grid.rows, grid.cols, 1)
    return gather_neighbours(index)[0, ..., 0] - 1
