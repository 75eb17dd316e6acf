"""Mahalanobis distance to benign descriptions: the control that every other one-class scorer must beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from bagscan.contracts import Report
from bagscan.scorers.fitted import Fitted, drawn, held_out

CARD = {
    "paper": "Lee et al., A simple unified framework for detecting out-of-distribution samples (NeurIPS 2018); Ledoit & Wolf 2004 for the covariance",
    "channels": "any",
    "weights": "fitted by the user; none shipped",
    "limits": "one Gaussian: benign parts of many kinds fill its middle with what is none of them",
}


@dataclass(frozen=True)
class Config:
    """Gaussian settings.

    Attributes:
        dim: length of a region's description. max_rows: benign rows used at most.
    """

    dim: int = 192
    max_rows: int = 50_000


class Gaussian(Fitted):
    """Mean and precision of benign descriptions. See :class:`Config`."""

    mean: Tensor
    root: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.dim))
        self.register_buffer("root", torch.eye(config.dim))

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0, report: Report = print) -> None:
        """Fit to benign rows (n, dim); anomalous ones are not looked at.

        Raises:
            ValueError: too few rows.
        """
        rows, rest = held_out(drawn(benign, self.config.max_rows, seed), seed)
        covariance, shrinkage = ledoit_wolf(rows.double().numpy())
        # Distances by one product with a root of the precision.
        values, vectors = torch.linalg.eigh(torch.from_numpy(covariance))
        self.mean = rows.mean(0)
        self.root = (vectors / values.clamp(min=1e-9).sqrt()).float()
        self.standardise(rest)
        report(f"gaussian: {len(rows)} rows, shrinkage {shrinkage:.3f}")

    def distance(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,) Mahalanobis distances."""
        found: Tensor = torch.linalg.vector_norm((embeddings - self.mean) @ self.root, dim=1)
        return found


def build(config: Config) -> Gaussian:
    return Gaussian(config)


def tiny() -> Config:
    return Config(dim=8)
