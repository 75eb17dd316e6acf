"""What scorers share that are fitted to benign descriptions in place of being trained with the encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Report = Callable[[str], None]
LEAST_ROWS = 6


class Fitted(nn.Module):
    """Buffers whose length follows from the data, and distances brought to [0, 1].

    A subclass registers its buffers with any length, has ``distance(embeddings) -> (n,)``, 0 or more and the
    larger the stranger, and ``fit(benign, anomalous, seed, report)``. Scores are comparable between
    scorers: 0.5 is three spreads above the middle of benign distances that nothing was fitted on.
    """

    middle: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        # What was fitted decides the lengths, not the configuration.
        for name, buffer in list(self._buffers.items()):
            stored = state_dict.get(prefix + name)
            if stored is not None and buffer is not None and stored.shape != buffer.shape:
                self._buffers[name] = torch.empty_like(stored, device=buffer.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def distance(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,), 0 or more."""
        raise NotImplementedError

    @torch.no_grad()
    def standardise(self, benign: Tensor) -> None:
        """Middle and spread of log distances of benign rows (n, dim) that nothing was fitted on."""
        logs = self.distance(benign).clamp(min=0).log1p()
        low, middle, high = torch.quantile(logs[:100_000], torch.tensor([0.159, 0.5, 0.841]))
        self.middle, self.spread = middle, ((high - low) / 2).clamp(min=1e-6)

    def standardised(self, embeddings: Tensor) -> Tensor:
        """(n,) spreads above the middle of benign ones."""
        return (self.distance(embeddings).clamp(min=0).log1p() - self.middle) / self.spread

    def score(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,) in [0, 1]."""
        return torch.sigmoid(self.standardised(embeddings) - 3)


def held_out(benign: Tensor, seed: int, share: float = 0.2) -> tuple[Tensor, Tensor]:
    """Rows to fit on, and rows to standardise by.

    Raises:
        ValueError: too few rows for both.
    """
    if len(benign) < LEAST_ROWS:
        raise ValueError(f"{len(benign)} benign descriptions are too few to fit a scorer on; at least {LEAST_ROWS} are needed")
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(benign)))
    cut = max(2, round(share * len(benign)))
    return benign[order[cut:]], benign[order[:cut]]


def scale_of(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every column; what never varies is left as it is."""
    deviation = rows.std(0)
    return rows.mean(0), torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))
