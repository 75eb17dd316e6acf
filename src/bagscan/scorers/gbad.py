"""The ensemble of GBAD: a class counts as far as the image is one that normal images do not explain.

Source: Dumagpi, Jung & Jeong 2020: sigmoid of every class (phase I) times the probability of an
anomaly (phases II and III). The hard gate and each factor alone are ablations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bagscan.building import build_part
from bagscan.contracts import ClassScorer, FittedScorer, Report
from bagscan.core.errors import ConfigError
from bagscan.scorers.fitted import Fitted

CARD = {
    "paper": "Dumagpi, Jung & Jeong 2020",
    "channels": "any",
    "weights": "trained and fitted by the user; none shipped",
    "limits": "whole-image scores on public sets can be had from brightness alone: mind the baseline beside them",
}
MODES = ("product", "hard_gate", "cnn_alone", "gan_alone")


@dataclass(frozen=True)
class Config:
    """Ensemble settings.

    Attributes:
        dim: length of a region's description. classes: of threats. gate: scorer that says how likely an
            anomaly is, ``{name: svm, ...}``. mode: ``product``, ``hard_gate`` (classes of what is more likely normal
            are 0), ``cnn_alone`` or ``gan_alone``.
    """

    dim: int = 1024
    classes: tuple[str, ...] = ("anomaly",)
    gate: dict[str, Any] = field(default_factory=lambda: {"name": "svm"})
    mode: str = "product"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")


class GBAD(Fitted, ClassScorer):
    """Class scores and a gate. See :class:`Config`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        known, gate = (
            build_part(
                "scorers",
                {"name": "multi_label", "classes": config.classes},
                "scorer",
                dim=config.dim,
            ),
            build_part("scorers", config.gate, "scorer.gate", dim=config.dim),
        )
        assert isinstance(known, ClassScorer)
        if not isinstance(gate, FittedScorer):
            raise ConfigError(
                f"scorer.gate: {config.gate.get('name')!r} is not fitted to benign regions"
            )
        self.known, self.gate, self.config = known, gate, config

    @property
    def learnt(self) -> nn.Module:
        """Phase I."""
        return self.known

    @property
    def trained(self) -> nn.Module:
        """Phase I."""
        return self.known

    def standardise(self, benign: Tensor) -> None:
        """Of the gate."""
        self.gate.standardise(benign)

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0, report: Report = print) -> None:
        """Phases II and III on rows (n, dim) and (m, dim); phase I stays as it is.

        Raises:
            ValueError: too few rows.
        """
        self.gate.fit(benign, anomalous, seed, report)

    def forward(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n, classes) logits of phase I, which is what is trained."""
        logits: Tensor = self.known(embeddings)
        return logits

    def by_class(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n, classes) in [0, 1]."""
        classes: Tensor = self.known.by_class(embeddings)
        if self.config.mode == "cnn_alone":
            return classes
        anomalous = self.gate.score(embeddings)[:, None]
        if self.config.mode == "hard_gate":
            return torch.where(anomalous >= 0.5, classes, torch.zeros_like(classes))
        return (
            classes * anomalous if self.config.mode == "product" else anomalous.expand_as(classes)
        )

    def distance(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,): the score."""
        return self.score(embeddings)

    def score(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,): of the most likely class."""
        return self.by_class(embeddings).amax(1)


def build(config: Config) -> GBAD:
    return GBAD(config)


def tiny() -> Config:
    errors = {
        "name": "bigan",
        "widths": (16, 8),
        "latent": 4,
        "matched": 8,
        "epochs": 2,
        "batch_size": 16,
        "least_steps": 0,
    }
    return Config(dim=8, classes=("Gun", "Knife"), gate={"name": "svm", "errors": errors})
