"""Ensemble of GBAD: scores of threat classes, gated by the probability of an anomaly.

Source: Dumagpi, Jung & Jeong 2020. The score of a class is its sigmoid (phase I) times the
probability of an anomaly (phases II and III). The hard gate and each factor alone are ablations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bagscan.building import build_part
from bagscan.contracts import ClassScorer, FittedScorer
from bagscan.core.errors import ConfigError
from bagscan.scorers.fitted import Fitted

CARD = {
    "paper": "Dumagpi, Jung & Jeong 2020",
    "channels": "any",
    "weights": "trained and fitted by the user; not bundled",
    "limits": (
        "on public datasets, brightness alone can score whole images well: compare with the "
        "controls in the results"
    ),
}
MODES = ("product", "hard_gate", "cnn_alone", "gan_alone")


@dataclass(frozen=True)
class Config:
    """Settings of the ensemble.

    Raises:
        ValueError: if the mode is unknown.

    Attributes:
        dim: length of a region's description.
        classes: names of the threat classes.
        gate: settings of the scorer that estimates the probability of an anomaly, ``{name: svm,
            ...}``.
        mode: ``product``, ``hard_gate`` (0 if the probability of an anomaly is below 0.5),
            ``cnn_alone`` or ``gan_alone``.
    """

    dim: int = 1024
    classes: tuple[str, ...] = ("anomaly",)
    gate: dict[str, Any] = field(default_factory=lambda: {"name": "svm"})
    mode: str = "product"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")


class GBAD(Fitted, ClassScorer):
    """Scorer with class scores and a gate. See :class:`Config`.

    Raises:
        ConfigError: if the gate is not a fitted scorer.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        settings = {"name": "multi_label", "classes": config.classes}
        known = build_part("scorers", settings, "scorer", dim=config.dim)
        gate = build_part("scorers", config.gate, "scorer.gate", dim=config.dim)
        assert isinstance(known, ClassScorer)
        if not isinstance(gate, FittedScorer):
            raise ConfigError(
                f"scorer.gate: {config.gate.get('name')!r} is not fitted to benign regions; "
                "expected a fitted scorer, such as svm"
            )
        self.known, self.gate, self.config = known, gate, config

    @property
    def trainable_head(self) -> nn.Module:
        """Return the class scorer of phase I."""
        return self.known

    @property
    def trained(self) -> nn.Module:
        """Return the class scorer of phase I."""
        return self.known

    def standardise(self, benign: Tensor) -> None:
        """Set median and spread of the gate from benign rows (n, dim) that were not used to fit."""
        self.gate.standardise(benign)

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0) -> None:
        """Fit phases II and III to benign rows (n, dim) and anomalous rows (m, dim).

        Phase I does not change.

        Raises:
            ValueError: if there are too few rows.
        """
        self.gate.fit(benign, anomalous, seed)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the (n, classes) logits of phase I, for training."""
        logits: Tensor = self.known(embeddings)
        return logits

    def class_scores(self, embeddings: Tensor) -> Tensor:
        """Return (n, classes) scores in [0, 1] of (n, dim) descriptions."""
        classes: Tensor = self.known.class_scores(embeddings)
        if self.config.mode == "cnn_alone":
            return classes
        anomalous = self.gate.score(embeddings)[:, None]
        if self.config.mode == "hard_gate":
            return torch.where(anomalous >= 0.5, classes, torch.zeros_like(classes))
        if self.config.mode == "product":
            return classes * anomalous
        return anomalous.expand_as(classes)

    def distance(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) scores."""
        return self.score(embeddings)

    def score(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) scores of the most likely class, in [0, 1]."""
        return self.class_scores(embeddings).amax(1)


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
        "min_steps": 0,
    }
    return Config(dim=8, classes=("Gun", "Knife"), gate={"name": "svm", "errors": errors})
