"""Softmax scorer: {benign, anomaly}, or benign against named classes (paper A, section II-B)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from bagscan.contracts import OddsScorer

CARD = {
    "paper": "Bhowmik & Breckon, section II-B",
    "channels": "any",
    "weights": "trained by the user; none shipped",
    "limits": "knows only anomalies like those it was trained on",
}


@dataclass(frozen=True)
class Config:
    """Softmax settings.

    Attributes:
        dim: length of a region's description. hidden: units of one hidden layer; 0 for none.
        dropout: behind the hidden layer.
        classes: the anomalous ones; benign is class 0.
    """

    dim: int = 192
    hidden: int = 128
    dropout: float = 0.1
    classes: tuple[str, ...] = ("anomaly",)


class SoftmaxScorer(OddsScorer):
    """A linear classifier, with a hidden layer where asked. See :class:`Config`."""

    is_exported = True

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
        """(n, dim) -> (n, 1 + classes) logits, benign first."""
        logits: Tensor = self.head(embeddings)
        return logits

    def log_odds(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,) of being anomalous: finite however sure it is."""
        logits = self(embeddings)
        found: Tensor = logits[:, 1:].logsumexp(1) - logits[:, 0]
        return found

    def score(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,) in [0, 1]: 1 less the probability of benign."""
        found: Tensor = 1 - self(embeddings).softmax(-1)[:, 0]
        return found


def build(config: Config) -> SoftmaxScorer:
    return SoftmaxScorer(config)


def tiny() -> Config:
    return Config(dim=8, hidden=4)
