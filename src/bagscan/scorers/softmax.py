"""Softmax scorer: classifies regions as benign or as one of several anomalous classes.

Source: Bhowmik & Breckon, section II-B.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from bagscan.contracts import OddsScorer

CARD = {
    "paper": "Bhowmik & Breckon, section II-B",
    "channels": "any",
    "weights": "trained by the user; not bundled",
    "limits": "detects only anomalies like those it was trained on",
}


@dataclass(frozen=True)
class Config:
    """Settings of the softmax scorer.

    Attributes:
        dim: length of a region's description.
        hidden: units of the hidden layer; 0 for a linear classifier.
        dropout: dropout rate after the hidden layer, in [0, 1).
        classes: names of the anomalous classes; benign is class 0.
    """

    dim: int = 192
    hidden: int = 128
    dropout: float = 0.1
    classes: tuple[str, ...] = ("anomaly",)


class SoftmaxScorer(OddsScorer):
    """Classifier with at most one hidden layer. See :class:`Config`."""

    is_exportable = True

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        n = 1 + len(config.classes)
        if config.hidden:
            self.head = nn.Sequential(
                nn.Linear(config.dim, config.hidden),
                nn.ReLU(inplace=True),
                nn.Dropout(config.dropout),
                nn.Linear(config.hidden, n),
            )
        else:
            self.head = nn.Sequential(nn.Linear(config.dim, n))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the (n, 1 + classes) logits of (n, dim) descriptions, benign first."""
        logits: Tensor = self.head(embeddings)
        return logits

    def log_odds(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) log-odds of an anomaly, which stay finite for probabilities near 1."""
        logits = self(embeddings)
        log_odds: Tensor = logits[:, 1:].logsumexp(1) - logits[:, 0]
        return log_odds

    def score(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) probabilities of an anomaly, 1 - P(benign)."""
        scores: Tensor = 1 - self(embeddings).softmax(-1)[:, 0]
        return scores


def build(config: Config) -> SoftmaxScorer:
    return SoftmaxScorer(config)


def tiny() -> Config:
    return Config(dim=8, hidden=4)
