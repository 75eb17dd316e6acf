"""Sub-components of items: an item detector says where to look, a superpixel regioner cuts that up (paper A, Fig. 1 B-D)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from bagscan.association import Grid
from bagscan.config import fill
from bagscan.core import Regions, View
from bagscan.regions.superpixels import on_items
from bagscan.registry import part

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
        channels: image channels of both. trainable: whether ``parts`` can be trained.
    """

    items: dict[str, Any] = field(default_factory=lambda: {"name": "mask_rcnn"})
    parts: dict[str, Any] = field(default_factory=lambda: {"name": "ssn"})
    channels: int = 3
    trainable: bool = True


class SubComponents(nn.Module):
    """Superpixels that lie on items. See :class:`Config`."""

    kind = "superpixel"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.items: Any = _regioner(config.items, config.channels, "regioner.items")
        self.parts: Any = _regioner(config.parts, config.channels, "regioner.parts")
        self.items.requires_grad_(False)
        self.config = replace(config, items=_resolved(config.items, self.items), parts=_resolved(config.parts, self.parts))

    def prepare(self, pixels: Tensor, quantity: str, channels: tuple[str, ...]) -> Tensor:
        """As the superpixel regioner's."""
        prepared: Tensor = self.parts.prepare(pixels, quantity, channels)
        return prepared

    def forward(self, prepared: Tensor, n_superpixels: int | None = None) -> tuple[Tensor, Grid, Tensor]:
        """As the superpixel regioner's: training sees the items that the truth tells of."""
        found: tuple[Tensor, Grid, Tensor] = self.parts(prepared, n_superpixels)
        return found

    @torch.no_grad()
    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Superpixels of the view that lie on an item by half; -1 elsewhere."""
        return on_items(self.items.regions(view), self.parts.regions(view, n_superpixels))


def _resolved(settings: dict[str, Any], built: Any) -> dict[str, Any]:
    """Settings with every default filled in, as a model folder keeps them."""
    return {"name": settings["name"], **asdict(built.config)}


def _regioner(settings: dict[str, Any], channels: int, where: str) -> Any:
    module = part("regions", settings["name"])
    own = {k: v for k, v in settings.items() if k != "name"}
    return module.build(fill(module.Config, own | ({"channels": channels} if "channels" in module.Config.__dataclass_fields__ else {}), where))


def build(config: Config) -> SubComponents:
    return SubComponents(config)


def tiny() -> Config:
    return Config(
        {"name": "faster_rcnn", "backbone": "test_resnet", "dim": 16, "stride": 1, "min_score": 0.0},
        {"name": "ssn", "n_superpixels": 16, "width": 8, "n_features": 4},
    )
