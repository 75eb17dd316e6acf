"""Soft association of pixels with superpixels, the tensors shared by regioners and encoders.

A soft superpixel method divides the image into a regular grid of ``rows × cols`` cells. Every
cell starts one superpixel. A pixel can only belong to the superpixels of its own cell and of the
8 cells around it, so the association is dense and small::

    q       (B, rows, cols, 9, cell_h * cell_w)   >= 0, sums to 1 over the 9
    grid    Grid(height, width, cell_h, cell_w)   padding and cells of the image

Candidate ``j`` of a pixel in cell ``(r, c)`` is the superpixel ``(r + j // 3 - 1, c + j % 3 - 1)``.
If it is outside the grid, ``q`` is 0. Superpixel ``(r, c)`` has the index ``r * cols + c``. Padding
pixels have ``q = 0`` everywhere.

The functions only use methods of torch tensors, so this module does not import torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

NEIGHBOURS = tuple((dr, dc) for dr in (-1, 0, 1) for dc in (-1, 0, 1))


@dataclass(frozen=True)
class Grid:
    """Grid of cells over an image that is padded evenly on both sides.

    Attributes:
        height, width: size of the image in pixels.
        cell_h, cell_w: size of a cell in pixels.

    Raises:
        ValueError: a size is below 1.
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
        """Create a grid of about ``n_superpixels`` nearly square cells (SSN, section 4).

        Raises:
            ValueError: ``n_superpixels`` is below 1.
        """
        if n_superpixels < 1:
            raise ValueError(f"n_superpixels must be at least 1, got {n_superpixels}")
        cols = min(width, max(1, math.floor(math.sqrt(n_superpixels * width / height))))
        rows = min(height, max(1, math.floor(math.sqrt(n_superpixels * height / width))))
        return cls(height, width, math.ceil(height / rows), math.ceil(width / cols))

    @property
    def rows(self) -> int:
        """Number of rows of cells."""
        return math.ceil(self.height / self.cell_h)

    @property
    def cols(self) -> int:
        """Number of columns of cells."""
        return math.ceil(self.width / self.cell_w)

    @property
    def n(self) -> int:
        """Number of cells, each of which starts a superpixel."""
        return self.rows * self.cols

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """Padding (left, right, top, bottom) in pixels, as for ``torch.nn.functional.pad``."""
        spare_h = self.rows * self.cell_h - self.height
        spare_w = self.cols * self.cell_w - self.width
        return spare_w // 2, spare_w - spare_w // 2, spare_h // 2, spare_h - spare_h // 2


def to_cells(padded: Any, grid: Grid) -> Any:
    """Split a padded image into cells.

    Args:
        padded: (B, C, rows*cell_h, cols*cell_w).
        grid: the grid.

    Returns:
        (B, rows, cols, C, cell_h*cell_w).
    """
    b, c = padded.shape[:2]
    cells = padded.reshape(b, c, grid.rows, grid.cell_h, grid.cols, grid.cell_w)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(b, grid.rows, grid.cols, c, -1)


def from_cells(cells: Any, grid: Grid) -> Any:
    """Join cells to an image and remove the padding.

    Args:
        cells: (B, rows, cols, C, cell_h*cell_w).
        grid: the grid.

    Returns:
        (B, C, height, width).
    """
    b, rows, cols, c = cells.shape[:4]
    image = cells.reshape(b, rows, cols, c, grid.cell_h, grid.cell_w)
    image = image.permute(0, 3, 1, 4, 2, 5).reshape(b, c, rows * grid.cell_h, cols * grid.cell_w)
    left, _, top, _ = grid.padding
    return image[:, :, top : top + grid.height, left : left + grid.width]


def gather_neighbours(centres: Any) -> Any:
    """Gather the 9 candidates of each cell.

    Args:
        centres: (B, rows, cols, D) values of superpixels.

    Returns:
        (B, rows, cols, 9, D), 0 outside the grid.
    """
    b, rows, cols, d = centres.shape
    padded = centres.new_zeros(b, rows + 2, cols + 2, d)
    padded[:, 1:-1, 1:-1] = centres
    # Unfolding gathers all windows at once; each of nine slices would copy the entire gradient.
    return (
        padded.unfold(1, 3, 1)
        .unfold(2, 3, 1)
        .permute(0, 1, 2, 4, 5, 3)
        .reshape(b, rows, cols, 9, d)
    )


def scatter_neighbours(sums: Any) -> Any:
    """Add the shares of each cell to its candidates, the transpose of :func:`gather_neighbours`.

    Args:
        sums: (B, rows, cols, 9, D).

    Returns:
        (B, rows, cols, D).
    """
    b, rows, cols, _, d = sums.shape
    total = sums.new_zeros(b, rows + 2, cols + 2, d)
    for share, (dr, dc) in zip(sums.unbind(3), NEIGHBOURS, strict=True):
        # In-place addition to slices would copy the entire gradient, too.
        shifted = sums.new_zeros(b, rows + 2, cols + 2, d)
        shifted[:, 1 + dr : 1 + dr + rows, 1 + dc : 1 + dc + cols] = share
        total = total + shifted
    return total[:, 1:-1, 1:-1]


def pool(q: Any, cells: Any) -> Any:
    """Return the mean of ``cells`` in each superpixel, weighted by ``q``.

    Args:
        q: (B, rows, cols, 9, p) soft association.
        cells: (B, rows, cols, C, p) values of pixels, from :func:`to_cells`.

    Returns:
        (B, rows, cols, C); 0 for a superpixel without pixels.
    """
    total = scatter_neighbours(q @ cells.transpose(-1, -2))
    mass = scatter_neighbours(q.sum(-1, keepdim=True))
    return total / mass.clamp(min=1e-8)


def unpool(q: Any, centres: Any) -> Any:
    """Return the mean of the candidates' values at each pixel, weighted by ``q``.

    Args:
        q: (B, rows, cols, 9, p) soft association.
        centres: (B, rows, cols, C) values of superpixels.

    Returns:
        (B, rows, cols, C, p).
    """
    return gather_neighbours(centres).transpose(-1, -2) @ q


def hard_labels(q: Any, grid: Grid) -> Any:
    """Return the superpixel with the largest q at each pixel, (B, height, width) int64."""
    index = candidate_index(grid, q)[None, ..., None].expand(q.shape)
    return from_cells(index.gather(-2, q.argmax(-2, keepdim=True)), grid)[:, 0]


def candidate_index(grid: Grid, like: Any) -> Any:
    """Return the superpixel index of each candidate, (rows, cols, 9) int64, -1 outside the grid.

    Args:
        grid: the grid.
        like: tensor whose device is used.
    """
    index = like.new_zeros(grid.n).long()
    index += 1
    index = index.cumsum(0).reshape(1, grid.rows, grid.cols, 1)
    return gather_neighbours(index)[0, ..., 0] - 1
