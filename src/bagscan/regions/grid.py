"""Square cells: no look at the image at all. The control that superpixels are measured against."""

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
    "limits": "borders follow nothing in the image",
}


@dataclass(frozen=True)
class Config:
    """Grid settings.

    Attributes:
        n_superpixels: about how many cells. cell_px: their side instead; 0 to go by the count.
    """

    n_superpixels: int = 100
    cell_px: int = 0


class Cells(Regioner):
    """Square cells from the view's top left. See :class:`Config`."""

    kind = "superpixel"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Cut one view into cells; the last row and column may be smaller."""
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
