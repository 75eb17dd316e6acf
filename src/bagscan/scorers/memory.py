"""kNN memory: the distance to the nearest of a bounded number of benign descriptions.

Source: Roth et al., "Towards total recall in industrial anomaly detection" (PatchCore, CVPR 2022):
a greedy coreset keeps the cover of the descriptions, not their density.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bagscan.contracts import Report
from bagscan.scorers.fitted import Fitted, held_out, scale_of

CARD = {
    "paper": "Roth et al., PatchCore, CVPR 2022",
    "channels": "any",
    "weights": "fitted by the user; none shipped",
    "limits": "a memory of benign descriptions goes with the model: mind what data it was fitted on",
}
PROJECTED = 32  # dimensions that the coreset is chosen in (Johnson-Lindenstrauss, as PatchCore)
CANDIDATES = 20_000
BYTES = 4


@dataclass(frozen=True)
class Config:
    """Memory settings.

    Attributes:
        dim: length of a region's description. cap_mb: of the memory, at most; told before fitting.
        neighbours: whose mean distance counts.
    """

    dim: int = 192
    cap_mb: float = 2.0
    neighbours: int = 3

    def __post_init__(self) -> None:
        if self.rows < self.neighbours or self.neighbours < 1:
            raise ValueError(
                f"cap_mb={self.cap_mb} holds {self.rows} descriptions of {self.dim} numbers: fewer than neighbours={self.neighbours}"
            )

    @property
    def rows(self) -> int:
        """Descriptions that the cap has room for."""
        return int(self.cap_mb * 1e6 / (BYTES * self.dim))


class Memory(Fitted):
    """A coreset and its distances. See :class:`Config`."""

    mean: Tensor
    deviation: Tensor
    bank: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.dim))
        self.register_buffer("deviation", torch.ones(config.dim))
        self.register_buffer("bank", torch.zeros(config.neighbours, config.dim))

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0, report: Report = print) -> None:
        """Fit to benign rows (n, dim); anomalous ones are not looked at.

        Raises:
            ValueError: too few rows.
        """
        rows, rest = held_out(benign, seed)
        kept = min(self.config.rows, len(rows))
        report(
            f"memory: {kept} of {len(rows)} benign descriptions, {kept * self.config.dim * BYTES / 1e6:.2f} MB of at most {self.config.cap_mb} MB"
        )
        self.mean, self.deviation = scale_of(rows)
        scaled = (rows - self.mean) / self.deviation
        self.bank = scaled[_coreset(scaled, kept, seed)]
        self.standardise(rest)

    def distance(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,) mean distance to the nearest."""
        k = min(self.config.neighbours, len(self.bank))
        scaled = (embeddings - self.mean) / self.deviation
        # Blocks bound the table of distances.
        parts = [
            torch.cdist(block, self.bank).topk(k, largest=False).values.mean(1)
            for block in scaled.split(4096)
        ]
        return torch.cat(parts) if parts else scaled.new_zeros(0)


def _coreset(rows: Tensor, kept: int, seed: int) -> Tensor:
    """Indices of rows that lie far from one another, each the farthest from those before it."""
    rng = np.random.default_rng(seed)
    candidates = torch.from_numpy(
        rng.choice(len(rows), min(len(rows), max(CANDIDATES, kept)), replace=False)
    )
    if kept >= len(candidates):
        return candidates
    directions = torch.from_numpy(
        rng.standard_normal((rows.shape[1], min(PROJECTED, rows.shape[1])))
    ).float()
    small = rows[candidates] @ directions
    chosen = torch.zeros(kept, dtype=torch.long)
    nearest = (small - small[0]).square().sum(1)
    for i in range(1, kept):
        chosen[i] = nearest.argmax()
        nearest = torch.minimum(nearest, (small - small[chosen[i]]).square().sum(1))
    return candidates[chosen]


def build(config: Config) -> Memory:
    return Memory(config)


def tiny() -> Config:
    return Config(dim=8, cap_mb=0.001)
