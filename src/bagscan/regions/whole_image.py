"""The whole view as a single region, for image-level classifiers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bagscan.contracts import Regioner
from bagscan.core import Regions, View

CARD = {"paper": "none", "channels": "any", "weights": "none", "limits": "no localisation"}


@dataclass(frozen=True)
class Config:
    """Settings of the regioner: none."""


class WholeImage(Regioner):
    """Regioner with a single region that covers the view."""

    kind = "whole_image"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of the exported graphs: none."""
        return ()

    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Return a single region; ``n_superpixels`` is ignored."""
        return Regions(np.zeros(view.shape, np.int32), 1, self.kind)


def build(config: Config) -> WholeImage:
    return WholeImage(config)


def tiny() -> Config:
    return Config()
