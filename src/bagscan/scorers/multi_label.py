"""A sigmoid for every class: several threats in one image, or none (report B, phase I: FC5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bagscan.contracts import ClassScorer, OddsScorer

CARD = {
    "paper": "Dumagpi, Jung & Jeong 2020, phase I",
    "channels": "any",
    "weights": "trained by the user; none shipped",
    "limits": "knows only the classes that it was trained on",
}


@dataclass(frozen=True)
class Config:
    """Multi-label settings.

    Attributes:
        dim: length of a region's description. classes: of threats.
    """

    dim: int = 1024
    classes: tuple[str, ...] = ("anomaly",)


class MultiLabel(OddsScorer, ClassScorer):
    """One linear layer. See :class:`Config`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.head = nn.Linear(config.dim, len(config.classes))

    def forward(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n, classes) logits."""
        logits: Tensor = self.head(embeddings)
        return logits

    def by_class(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n, classes) in [0, 1]."""
        return torch.sigmoid(self(embeddings))

    def log_odds(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,): of the most likely class."""
        found: Tensor = self(embeddings).amax(1)
        return found

    def score(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,): of the most likely class."""
        return self.by_class(embeddings).amax(1)


def build(config: Config) -> MultiLabel:
    return MultiLabel(config)


def tiny() -> Config:
    return Config(dim=8, classes=("Gun", "Knife"))
