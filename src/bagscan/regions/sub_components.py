"""Sub-components of items: an item detector says where to look, a superpixel regioner cuts that up (paper A, Fig. 1 B-D)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from bagscan.building import build_part
from bagscan.contracts import Finder, Regioner
from bagscan.core import Regions, View
from bagscan.core.errors import ConfigError
from bagscan.regions.superpixels import on_items

CARD = {
    "paper": "Bhowmik & Breckon, Fig. 1",
    "channels": "those of its two parts",
    "weights": "those of its two parts",
    "limits": "says nothing of what lies outside the items that were found",
}


@dataclass(frozen=True)
class Config:
    """Two regioners, each ``{name: ..., its own settings}``.

    Attributes:
        items: finds the items. parts: cuts them up, and is what joint training trains.
        channels: image channels of both.
    """

    items: dict[str, Any] = field(default_factory=lambda: {"name": "mask_rcnn"})
    parts: dict[str, Any] = field(default_factory=lambda: {"name": "ssn"})
    channels: int = 3


class SubComponents(Regioner):
    """Superpixels that lie on items. See :class:`Config`."""

    kind = "superpixel"

    def __init__(self, config: Config) -> None:
        super().__init__()
        items = build_part("regions", config.items, "regioner.items", channels=config.channels)
        if not isinstance(items, Finder):
            raise ConfigError(
                f"regioner.items: {config.items['name']!r} finds no items: use mask_rcnn or faster_rcnn"
            )
        self.items = items
        self.parts: Regioner = build_part(
            "regions", config.parts, "regioner.parts", channels=config.channels
        )
        self.items.requires_grad_(False)
        self.config = replace(
            config,
            items=_resolved(config.items, self.items),
            parts=_resolved(config.parts, self.parts),
        )

    @property
    def cutter(self) -> Regioner:
        """The superpixel regioner: training sees the items that the truth tells of."""
        return self.parts

    @property
    def finder(self) -> Finder:
        """The item detector."""
        return self.items

    @property
    def graphs(self) -> tuple[str, ...] | None:
        """Those of both."""
        items, parts = self.items.graphs, self.parts.graphs
        return None if items is None or parts is None else items + parts

    @torch.no_grad()
    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Superpixels of the view that lie on an item by half; -1 elsewhere."""
        return on_items(self.items.regions(view), self.parts.regions(view, n_superpixels))


def _resolved(settings: dict[str, Any], built: Regioner) -> dict[str, Any]:
    """Settings with every default filled in, as a model folder keeps them."""
    return {"name": settings["name"], **asdict(built.config)}


def build(config: Config) -> SubComponents:
    return SubComponents(config)


def tiny() -> Config:
    return Config(
        {
            "name": "faster_rcnn",
            "backbone": "test_resnet",
            "dim": 16,
            "stride": 1,
            "min_score": 0.0,
        },
        {"name": "ssn", "n_superpixels": 16, "width": 8, "n_features": 4},
    )
