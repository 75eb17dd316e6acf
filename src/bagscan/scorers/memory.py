"""Nearest-neighbour scorer: distance from a bounded number of stored benign descriptions.

Source: Roth et al., "Towards total recall in industrial anomaly detection" (PatchCore, CVPR 2022).
A greedy coreset preserves the coverage of the descriptions, not their density.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bagscan.scorers.fitted import Fitted, held_out, scale_of

log = logging.getLogger(__name__)

CARD = {
    "paper": "Roth et al., PatchCore, CVPR 2022",
    "channels": "any",
    "weights": "fitted by the user; not bundled",
    "limits": "the model contains descriptions of its data: consider this before you share it",
}
PROJECTED = 32  # dimensions in which the coreset is chosen (Johnson-Lindenstrauss, as PatchCore)
CANDIDATES = 20_000  # maximum number of rows that the coreset is chosen from
BYTES = 4  # of a number


@dataclass(frozen=True)
class Config:
    """Settings of the memory.

    Raises:
        ValueError: if the memory holds fewer descriptions than neighbours.

    Attributes:
        dim: length of a region's description.
        cap_mb: maximum size of the memory, in MB.
        neighbours: number of nearest neighbours whose mean distance is the result.
    """

    dim: int = 192
    cap_mb: float = 2.0
    neighbours: int = 3

    def __post_init__(self) -> None:
        if self.rows < self.neighbours or self.neighbours < 1:
            raise ValueError(
                f"cap_mb={self.cap_mb} holds {self.rows} descriptions of {self.dim} numbers; "
                f"expected at least neighbours={self.neighbours}, and neighbours above 0"
            )

    @property
    def rows(self) -> int:
        """Return the maximum number of descriptions."""
        return int(self.cap_mb * 1e6 / (BYTES * self.dim))


class Memory(Fitted):
    """Scorer with a coreset of benign descriptions. See :class:`Config`."""

    mean: Tensor
    deviation: Tensor
    bank: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.dim))
        self.register_buffer("deviation", torch.ones(config.dim))
        self.register_buffer("bank", torch.zeros(config.neighbours, config.dim))

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0) -> None:
        """Fit to benign rows (n, dim); anomalous rows are ignored.

        Raises:
            ValueError: if there are too few rows.
        """
        rows, rest = held_out(benign, seed)
        n_kept = min(self.config.rows, len(rows))
        size_mb = n_kept * self.config.dim * BYTES / 1e6
        log.info(
            f"memory: {n_kept} of {len(rows)} benign descriptions, {size_mb:.2f} MB of at most "
            f"{self.config.cap_mb} MB"
        )
        self.mean, self.deviation = scale_of(rows)
        scaled = (rows - self.mean) / self.deviation
        self.bank = scaled[_choose_coreset(scaled, n_kept, seed)]
        self.standardise(rest)

    def distance(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) mean distances from the nearest neighbours, in scaled columns."""
        k = min(self.config.neighbours, len(self.bank))
        scaled = (embeddings - self.mean) / self.deviation
        # Blocks limit the size of the distance matrix.
        blocks = [
            torch.cdist(block, self.bank).topk(k, largest=False).values.mean(1)
            for block in scaled.split(4096)
        ]
        return torch.cat(blocks) if blocks else scaled.new_zeros(0)


def _choose_coreset(rows: Tensor, n_kept: int, seed: int) -> Tensor:
    """Return indices of rows, each of which is the farthest from all rows chosen before it."""
    rng = np.random.default_rng(seed)
    n_candidates = min(len(rows), max(CANDIDATES, n_kept))
    candidates = torch.from_numpy(rng.choice(len(rows), n_candidates, replace=False))
    if n_kept >= len(candidates):
        return candidates
    directions = rng.standard_normal((rows.shape[1], min(PROJECTED, rows.shape[1])))
    projected = rows[candidates] @ torch.from_numpy(directions).float()
    chosen = torch.zeros(n_kept, dtype=torch.long)
    nearest = (projected - projected[0]).square().sum(1)
    for i in range(1, n_kept):
        chosen[i] = nearest.argmax()
        nearest = torch.minimum(nearest, (projected - projected[chosen[i]]).square().sum(1))
    return candidates[chosen]


def build(config: Config) -> Memory:
    return Memory(config)


def tiny() -> Config:
    return Config(dim=8, cap_mb=0.001)
