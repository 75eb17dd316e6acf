"""Grid of square cells that ignores the image, as a control for superpixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bagscan.association import Grid
from bagscan.contracts import Regioner
from bagscan.core import Regions, View

CARD = {
    "paper": "the plain grid that SLIC and SSN start from",
    "channels": "any",
    "weights": "none",
    "limits": "borders do not follow the image",
}


@dataclass(frozen=True)
class Config:
    """Grid settings.

    Attributes:
        n_superpixels: approximate number of cells.
        cell_px: side of a cell in pixels, in place of the number; 0 to use the number.
    """

    n_superpixels: int = 100
    cell_px: int = 0


class Cells(Regioner):
    """Regioner of square cells, from the top left corner of the view. See :class:`Config`."""

    kind = "superpixel"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Split a view into cells; those of the last row and column can be smaller."""
        height, width = view.shape
        cell_h = cell_w = self.config.cell_px
        if not cell_h:
            grid = Grid.for_count(height, width, n_superpixels or self.config.n_superpixels)
            cell_h, cell_w = grid.cell_h, grid.cell_w
        rows, cols = np.arange(height) // cell_h, np.arange(width) // cell_w
        return Regions.from_labels(rows[:, None] * (cols[-1] + 1) + cols, self.kind)


def build(config: Config) -> Cells:
    return Cells(config)


def tiny() -> Config:
    return Config(n_superpixels=16)
