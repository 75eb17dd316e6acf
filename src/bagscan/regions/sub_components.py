"""Sub-components of items: the superpixels on detected items (Bhowmik & Breckon, Fig. 1 B-D)."""

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
    "limits": "no regions outside the detected items",
}


@dataclass(frozen=True)
class Config:
    """Settings of two regioners, each a mapping with ``name`` and its own settings.

    Attributes:
        items: regioner that detects items: ``mask_rcnn`` or ``faster_rcnn``.
        parts: regioner that splits the view into superpixels; joint training trains this one.
        channels: number of image channels, for both regioners.
    """

    items: dict[str, Any] = field(default_factory=lambda: {"name": "mask_rcnn"})
    parts: dict[str, Any] = field(default_factory=lambda: {"name": "ssn"})
    channels: int = 3


class SubComponents(Regioner):
    """Regioner of the superpixels on detected items. See :class:`Config`."""

    kind = "superpixel"

    def __init__(self, config: Config) -> None:
        super().__init__()
        items = build_part("regions", config.items, "regioner.items", channels=config.channels)
        if not isinstance(items, Finder):
            raise ConfigError(
                f"regioner.items: {config.items['name']!r} does not detect items; "
                "use mask_rcnn or faster_rcnn"
            )
        self.items = items
        self.parts: Regioner = build_part(
            "regions", config.parts, "regioner.parts", channels=config.channels
        )
        self.items.requires_grad_(False)
        self.config = replace(
            config,
            items=_fill_defaults(config.items, self.items),
            parts=_fill_defaults(config.parts, self.parts),
        )

    @property
    def segmenter(self) -> Regioner:
        """The superpixel regioner, which is trained; training uses the annotated items."""
        return self.parts

    @property
    def finder(self) -> Finder:
        """The item detector."""
        return self.items

    @property
    def graphs(self) -> tuple[str, ...] | None:
        """Names of the exported graphs of both regioners; None if either cannot be exported."""
        items, parts = self.items.graphs, self.parts.graphs
        return None if items is None or parts is None else items + parts

    @torch.no_grad()
    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Return the superpixels that lie at least half on an item."""
        return on_items(self.items.regions(view), self.parts.regions(view, n_superpixels))


def _fill_defaults(settings: dict[str, Any], regioner: Regioner) -> dict[str, Any]:
    """Return the settings with all defaults, as a model folder stores them."""
    return {"name": settings["name"], **asdict(regioner.config)}


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
