"""A trained scorer and a one-class scorer together: what looks like a known anomaly, or like nothing benign."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bagscan.building import build_part
from bagscan.contracts import OddsScorer, Report
from bagscan.core.errors import ConfigError
from bagscan.scorers.fitted import Fitted, held_out, middle_and_spread

CARD = {
    "paper": "ours",
    "channels": "any",
    "weights": "fitted by the user; none shipped",
    "limits": "a part that is benign and rare alarms as one that is anomalous and new does",
}
RULES = ("sum", "max")


@dataclass(frozen=True)
class Config:
    """Fusion settings.

    Attributes:
        dim: length of a region's description. known: trained to tell anomalies, ``{name: softmax, ...}``.
            unseen: fitted to benign regions, ``{name: memory, ...}``. rule: ``sum`` or ``max`` of both, each
            in spreads above the middle of benign regions. weight: of the one-class scorer.
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
    """Two scorers on one scale. See :class:`Config`."""

    known_middle: Tensor
    known_spread: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        known, unseen = (
            build_part("scorers", config.known, "scorer.known", dim=config.dim),
            build_part("scorers", config.unseen, "scorer.unseen", dim=config.dim),
        )
        if (
            not isinstance(known, OddsScorer)
            or isinstance(known, Fitted)
            or not isinstance(unseen, Fitted)
        ):
            raise ConfigError(
                "scorer.known must be one that is trained (softmax), scorer.unseen one that is fitted (memory, gaussian, bigan, svm, isolation)"
            )
        self.known, self.unseen, self.config = known, unseen, config
        self.register_buffer("known_middle", torch.zeros(()))
        self.register_buffer("known_spread", torch.ones(()))

    @property
    def trained(self) -> nn.Module:
        """The scorer of known kinds."""
        return self.known

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0, report: Report = print) -> None:
        """Fit the one-class scorer to benign rows (n, dim), and both scales; the trained one stays as it is.

        Raises:
            ValueError: too few rows.
        """
        self.unseen.fit(benign, anomalous, seed, report)
        self.standardise(held_out(benign, seed)[1])

    @torch.no_grad()
    def standardise(self, benign: Tensor) -> None:
        """Both scales, and that of the two together, from benign rows (n, dim) that nothing was fitted on."""
        self.eval()
        self.unseen.standardise(benign)
        self.known_middle, self.known_spread = middle_and_spread(self.known.log_odds(benign))
        super().standardise(benign)

    def both(self, embeddings: Tensor) -> Tensor:
        """(n, 2): the trained and the one-class verdict, in spreads of benign regions."""
        known = (self.known.log_odds(embeddings) - self.known_middle) / self.known_spread
        return torch.stack([known, self.config.weight * self.unseen.standardised(embeddings)], 1)

    def strangeness(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,): the two verdicts together, in spreads."""
        both = self.both(embeddings)
        return both.amax(1) if self.config.rule == "max" else both.sum(1)

    def distance(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,) above 0: the same."""
        return torch.nn.functional.softplus(self.strangeness(embeddings))


def build(config: Config) -> Fused:
    return Fused(config)


def tiny() -> Config:
    return Config(
        dim=8, known={"name": "softmax", "hidden": 4}, unseen={"name": "memory", "cap_mb": 0.001}
    )
