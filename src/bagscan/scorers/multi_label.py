"""Multi-label scorer: a sigmoid for every class, so that an image can show several threats.

Source: Dumagpi, Jung & Jeong 2020, phase I (layer FC5).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bagscan.contracts import ClassScorer, OddsScorer

CARD = {
    "paper": "Dumagpi, Jung & Jeong 2020, phase I",
    "channels": "any",
    "weights": "trained by the user; not bundled",
    "limits": "detects only the classes that it was trained on",
}


@dataclass(frozen=True)
class Config:
    """Settings of the multi-label scorer.

    Attributes:
        dim: length of a region's description.
        classes: names of the threat classes.
    """

    dim: int = 1024
    classes: tuple[str, ...] = ("anomaly",)


class MultiLabel(OddsScorer, ClassScorer):
    """Scorer with a linear layer. See :class:`Config`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.head = nn.Linear(config.dim, len(config.classes))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the (n, classes) logits of (n, dim) descriptions."""
        logits: Tensor = self.head(embeddings)
        return logits

    def class_scores(self, embeddings: Tensor) -> Tensor:
        """Return (n, classes) scores in [0, 1] of (n, dim) descriptions."""
        return torch.sigmoid(self(embeddings))

    def log_odds(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) log-odds of the most likely class."""
        log_odds: Tensor = self(embeddings).amax(1)
        return log_odds

    def score(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) scores of the most likely class, in [0, 1]."""
        return self.class_scores(embeddings).amax(1)


def build(config: Config) -> MultiLabel:
    return MultiLabel(config)


def tiny() -> Config:
    return Config(dim=8, classes=("Gun", "Knife"))
