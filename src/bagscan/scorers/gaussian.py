"""Mahalanobis distance from benign descriptions, a control for the other one-class scorers."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from bagscan.scorers.fitted import Fitted, draw_rows, held_out

log = logging.getLogger(__name__)

CARD = {
    "paper": (
        "Lee et al., A simple unified framework for detecting out-of-distribution samples "
        "(NeurIPS 2018); Ledoit & Wolf 2004 for the covariance"
    ),
    "channels": "any",
    "weights": "fitted by the user; not bundled",
    "limits": "a single Gaussian also covers the gaps between different kinds of benign regions",
}


@dataclass(frozen=True)
class Config:
    """Settings of the Gaussian.

    Attributes:
        dim: length of a region's description.
        max_rows: maximum number of benign rows; a random sample is used of more.
    """

    dim: int = 192
    max_rows: int = 50_000


class Gaussian(Fitted):
    """Scorer with mean and precision of benign descriptions. See :class:`Config`."""

    mean: Tensor
    root: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.dim))
        self.register_buffer("root", torch.eye(config.dim))

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0) -> None:
        """Fit to benign rows (n, dim); anomalous rows are ignored.

        Raises:
            ValueError: if there are too few rows.
        """
        rows, rest = held_out(draw_rows(benign, self.config.max_rows, seed), seed)
        covariance, shrinkage = ledoit_wolf(rows.double().numpy())
        # A root of the precision gives distances by a single matrix product.
        values, vectors = torch.linalg.eigh(torch.from_numpy(covariance))
        self.mean = rows.mean(0)
        self.root = (vectors / values.clamp(min=1e-9).sqrt()).float()
        self.standardise(rest)
        log.info(f"gaussian: {len(rows)} rows, shrinkage {shrinkage:.3f}")

    def distance(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) Mahalanobis distances of (n, dim) descriptions."""
        distances: Tensor = torch.linalg.vector_norm((embeddings - self.mean) @ self.root, dim=1)
        return distances


def build(config: Config) -> Gaussian:
    return Gaussian(config)


def tiny() -> Config:
    return Config(dim=8)
