"""The whole view as one region: what a whole-image classifier judges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bagscan.contracts import Regioner
from bagscan.core import Regions, View

CARD = {"paper": "none", "channels": "any", "weights": "none", "limits": "says nothing about where"}


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class WholeImage(Regioner):
    """One region that covers the view."""

    kind = "whole_image"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    @property
    def graphs(self) -> tuple[str, ...]:
        """None is needed."""
        return ()

    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """One region; ``n_superpixels`` is not used."""
        return Regions(np.zeros(view.shape, np.int32), 1, self.kind)


def build(config: Config) -> WholeImage:
    return WholeImage(config)


def tiny() -> Config:
    return Config()
