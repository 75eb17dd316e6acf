"""Base class and helpers of scorers that are fitted to descriptions of benign regions."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bagscan.contracts import FittedScorer
from bagscan.core.files import atomic_write
from bagscan.core.messages import MessageRecorder, attach_handler

log = logging.getLogger(__name__)

MIN_ROWS = 6
ALARM_AT = 3.0  # spreads above the median of benign regions that score 0.5


class Fitted(FittedScorer):
    """Base class of scorers that rate the distance from benign regions.

    A subclass implements :meth:`distance` and ``fit(benign, anomalous, seed)``. At the end,
    ``fit`` calls :meth:`standardise` with the rows that :func:`held_out` kept apart.

    Scores are comparable between scorers: 0.5 is 3 spreads above the median of benign regions.
    ``fit`` holds out a fifth of its rows to find these; training calls :meth:`standardise` again
    with regions of scans that were not used to fit.

    Attributes:
        middle: scalar, median of :meth:`strangeness` of benign regions.
        spread: scalar, half the width of the central 68 % of :meth:`strangeness`.
        n_errors: columns of :meth:`errors`.
        keep_in: folder in which a fit in several phases stores finished phases; None to store none.
    """

    middle: Tensor
    spread: Tensor
    n_errors: int = 1
    keep_in: Path | None = None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    @abstractmethod
    def distance(self, embeddings: Tensor) -> Tensor:
        """Return (n,) distances of (n, dim) descriptions from benign regions, 0 or more."""

    def errors(self, embeddings: Tensor) -> Tensor:
        """Return (n, n_errors) errors, 0 or more, that a second classifier can learn from.

        Defaults to the distance alone.
        """
        return self.distance(embeddings)[:, None]

    def strangeness(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) values that are standardised; defaults to log(1 + distance)."""
        return self.distance(embeddings).clamp(min=0).log1p()

    @torch.no_grad()
    def standardise(self, benign: Tensor) -> None:
        """Set median and spread from benign rows (n, dim) that were not used to fit."""
        self.middle, self.spread = middle_and_spread(self.strangeness(benign))

    def standardised(self, embeddings: Tensor) -> Tensor:
        """Return (n,) strangeness in spreads above the median of benign regions."""
        return (self.strangeness(embeddings) - self.middle) / self.spread

    def score(self, embeddings: Tensor) -> Tensor:
        """Return (n,) scores in [0, 1] of (n, dim) descriptions."""
        return to_unit(self.standardised(embeddings))


def save_fitted(scorer: nn.Module, path: Path, messages: list[str]) -> None:
    """Save a fitted scorer and the messages of its fit, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().contiguous().clone() for name, tensor in scorer.state_dict().items()
    }
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, {"messages": json.dumps(messages)})


def load_fitted(scorer: nn.Module, path: Path) -> None:
    """Load a fitted scorer saved by :func:`save_fitted`, and replay the messages of its fit."""
    scorer.load_state_dict(load_file(path))
    with safe_open(path, "pt") as file:
        for text in json.loads(file.metadata().get("messages", "[]")):
            log.info(text)
    scorer.eval()


def fitted_once(
    scorer: Fitted,
    settings: Mapping[str, Any],
    benign: Tensor,
    anomalous: Tensor,
    seed: int,
    folder: Path | None,
) -> None:
    """Fit a scorer, or load the result of the same fit from a folder.

    Args:
        scorer: scorer to fit.
        settings: settings of the scorer.
        benign: (n, dim) rows.
        anomalous: (m, dim) rows.
        seed: random seed.
        folder: stores the result by a hash of rows, settings and seed, so that an interrupted run
            can continue; None always fits.

    Raises:
        ValueError: if there are too few rows.
    """
    if folder is None:
        scorer.fit(benign, anomalous, seed)
        return
    rows = [t.detach().contiguous().numpy().tobytes() for t in (benign, anomalous)]
    identity = hashlib.sha256(
        b"".join([json.dumps([settings, seed], sort_keys=True).encode(), *rows])
    ).hexdigest()[:12]
    path = folder / f"{settings['name']}_{identity}.safetensors"
    if path.exists():
        load_fitted(scorer, path)
        return
    with attach_handler(MessageRecorder(), logging.getLogger(__package__)) as recorder:
        scorer.fit(benign, anomalous, seed)
    save_fitted(scorer, path, recorder.messages)


def keep_phases(scorer: torch.nn.Module, folder: Path) -> None:
    """Make all scorers in a module store finished phases of their fit in a folder."""
    for module in scorer.modules():
        if isinstance(module, Fitted):
            module.keep_in = folder


def middle_and_spread(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the median of (n,) values, and half the width of their central 68 %.

    A few anomalies among the values change neither much.
    """
    low, middle, high = torch.quantile(values[:100_000], torch.tensor([0.159, 0.5, 0.841]))
    return middle, ((high - low) / 2).clamp(min=1e-6)


def to_unit(spreads: Tensor) -> Tensor:
    """Map (n,) spreads above the median to scores in [0, 1].

    The curve approaches 1 as 1/x. A logistic curve would round to 1, and so tie distant values.
    """
    z = spreads - ALARM_AT
    return 0.5 + z / (2 * (1 + z.abs()))


def draw_rows(rows: Tensor, max_rows: int, seed: int) -> Tensor:
    """Return a random sample of at most ``max_rows`` rows, in their order.

    The first rows would be a biased sample, since rows are ordered by scan.
    """
    if len(rows) <= max_rows:
        return rows
    chosen = np.sort(np.random.default_rng(seed).choice(len(rows), max_rows, replace=False))
    return rows[torch.from_numpy(chosen)]


def held_out(benign: Tensor, seed: int, share: float = 0.2) -> tuple[Tensor, Tensor]:
    """Split benign rows at random.

    Args:
        benign: (n, dim) rows.
        seed: random seed.
        share: share of held-out rows; at least 2 rows are held out.

    Returns:
        Rows to fit on, and held-out rows.

    Raises:
        ValueError: if there are fewer than 6 rows.
    """
    if len(benign) < MIN_ROWS:
        raise ValueError(
            f"{len(benign)} benign descriptions are too few to fit a scorer; "
            f"at least {MIN_ROWS} are needed"
        )
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(benign)))
    n_held_out = max(2, round(share * len(benign)))
    return benign[order[n_held_out:]], benign[order[:n_held_out]]


def scale_of(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column; 1 for a column that does not vary."""
    deviation = rows.std(0)
    return rows.mean(0), torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))
