"""Fusion of a trained and a one-class scorer, for known and for unseen kinds of anomaly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bagscan.building import build_part
from bagscan.contracts import OddsScorer
from bagscan.core.errors import ConfigError
from bagscan.scorers.fitted import Fitted, held_out, middle_and_spread

CARD = {
    "paper": "ours",
    "channels": "any",
    "weights": "fitted by the user; not bundled",
    "limits": "rare benign regions alarm just as new kinds of anomaly do",
}
RULES = ("sum", "max")


@dataclass(frozen=True)
class Config:
    """Settings of the fusion.

    Raises:
        ValueError: if the rule is unknown, or the weight is negative.

    Attributes:
        dim: length of a region's description.
        known: settings of the trained scorer, ``{name: softmax, ...}``.
        unseen: settings of the one-class scorer, ``{name: memory, ...}``.
        rule: ``sum`` or ``max`` of both results, in spreads above the median of benign regions.
        weight: factor on the result of the one-class scorer, 0 or more.
    """

    dim: int = 192
    known: dict[str, Any] = field(default_factory=lambda: {"name": "softmax"})
    unseen: dict[str, Any] = field(default_factory=lambda: {"name": "memory"})
    rule: str = "sum"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, got {self.rule!r}")
        if self.weight < 0:
            raise ValueError(f"weight must be 0 or more, got {self.weight}")


class Fused(Fitted):
    """Scorer that combines two scorers on a common scale. See :class:`Config`.

    Raises:
        ConfigError: if ``known`` is not a trained scorer, or ``unseen`` not a fitted scorer.
    """

    known_middle: Tensor
    known_spread: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        known = build_part("scorers", config.known, "scorer.known", dim=config.dim)
        unseen = build_part("scorers", config.unseen, "scorer.unseen", dim=config.dim)
        if (
            not isinstance(known, OddsScorer)
            or isinstance(known, Fitted)
            or not isinstance(unseen, Fitted)
        ):
            raise ConfigError(
                "scorer.known must be a trained scorer (softmax), and scorer.unseen a subclass of "
                "bagscan.scorers.fitted.Fitted (such as memory)"
            )
        self.known, self.unseen, self.config = known, unseen, config
        self.register_buffer("known_middle", torch.zeros(()))
        self.register_buffer("known_spread", torch.ones(()))

    @property
    def trained(self) -> nn.Module:
        """Return the trained scorer."""
        return self.known

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0) -> None:
        """Fit the one-class scorer and both scales to benign rows (n, dim).

        The trained scorer does not change.

        Raises:
            ValueError: if there are too few rows.
        """
        self.unseen.fit(benign, anomalous, seed)
        self.standardise(held_out(benign, seed)[1])

    @torch.no_grad()
    def standardise(self, benign: Tensor) -> None:
        """Set the scales of both scorers and of their combination from benign rows (n, dim).

        The rows must not have been used to fit.
        """
        self.eval()
        self.unseen.standardise(benign)
        self.known_middle, self.known_spread = middle_and_spread(self.known.log_odds(benign))
        super().standardise(benign)

    def both(self, embeddings: Tensor) -> Tensor:
        """Return (n, 2) results of the trained and the one-class scorer, in spreads."""
        known = (self.known.log_odds(embeddings) - self.known_middle) / self.known_spread
        return torch.stack([known, self.config.weight * self.unseen.standardised(embeddings)], 1)

    def strangeness(self, embeddings: Tensor) -> Tensor:
        """Return (n,) combinations of both results, in spreads."""
        both = self.both(embeddings)
        return both.amax(1) if self.config.rule == "max" else both.sum(1)

    def distance(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) softplus of :meth:`strangeness`, above 0."""
        return torch.nn.functional.softplus(self.strangeness(embeddings))


def build(config: Config) -> Fused:
    return Fused(config)


def tiny() -> Config:
    return Config(
        dim=8, known={"name": "softmax", "hidden": 4}, unseen={"name": "memory", "cap_mb": 0.001}
    )
