"""What scorers share that are fitted to benign descriptions in place of being trained with the encoder."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bagscan.contracts import FittedScorer, Report
from bagscan.core.files import atomic_write

MIN_ROWS = 6
ALARM_AT = 3.0


class Fitted(FittedScorer):
    """Buffers whose length follows from the data, and distances brought to [0, 1].

    A subclass registers its buffers with any length, has ``distance(embeddings) -> (n,)``, 0 or more and the
    larger the stranger, and ``fit(benign, anomalous, seed, report)``. Scores are comparable between
    scorers: 0.5 is ``ALARM_AT`` spreads above the middle of benign regions. ``fit`` takes a fifth of its own rows for
    that; training does it again on scans that nothing was fitted on (:meth:`standardise`).
    """

    middle: Tensor
    spread: Tensor
    n_errors: int = 1  # columns of :meth:`errors`
    keep_in: Path | None = None  # folder where a fit in several phases keeps those that are done

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

    @abstractmethod
    def distance(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,), 0 or more."""

    def errors(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n, k), 0 or more: what a second classifier learns from; the distance, unless a scorer has several."""
        return self.distance(embeddings)[:, None]

    def strangeness(self, embeddings: Tensor) -> Tensor:
        """(n,) what is standardised: the logarithm of the distance, unless a scorer has a better scale."""
        return self.distance(embeddings).clamp(min=0).log1p()

    @torch.no_grad()
    def standardise(self, benign: Tensor) -> None:
        """Take middle and spread from benign rows (n, dim) that nothing was fitted on."""
        self.middle, self.spread = middle_and_spread(self.strangeness(benign))

    def standardised(self, embeddings: Tensor) -> Tensor:
        """(n,) spreads above the middle of benign ones."""
        return (self.strangeness(embeddings) - self.middle) / self.spread

    def score(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,) in [0, 1]."""
        return to_unit(self.standardised(embeddings))


class RecordingLog(list[str]):
    """Progress callback that also keeps every line."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report

    def __call__(self, text: str) -> None:
        self.append(text)
        self.report(text)


def save_fitted(scorer: nn.Module, path: Path, told: list[str]) -> None:
    """Save a fitted scorer and its log of the fit, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part_of:
        save_file(
            {k: v.detach().contiguous().clone() for k, v in scorer.state_dict().items()},
            part_of,
            {"told": json.dumps(told)},
        )


def load_fitted(scorer: nn.Module, path: Path, report: Report) -> None:
    """Load a scorer that :func:`save_fitted` wrote and replay its log of the fit."""
    scorer.load_state_dict(load_file(path))
    with safe_open(path, "pt") as file:
        for text in json.loads(file.metadata()["told"]):
            report(text)
    scorer.eval()


def fitted_once(
    scorer: Fitted,
    settings: Mapping[str, Any],
    benign: Tensor,
    anomalous: Tensor,
    seed: int,
    report: Report,
    folder: Path | None,
) -> None:
    """Fit a scorer, or take what a run that was stopped later has kept in ``folder``: of the same rows, settings and seed."""
    if folder is None:
        scorer.fit(benign, anomalous, seed, report)
        return
    rows = [t.detach().contiguous().numpy().tobytes() for t in (benign, anomalous)]
    identity = hashlib.sha256(
        b"".join([json.dumps([settings, seed], sort_keys=True).encode(), *rows])
    ).hexdigest()[:12]
    path = folder / f"{settings['name']}_{identity}.safetensors"
    if path.exists():
        load_fitted(scorer, path, report)
        return
    result = RecordingLog(report)
    scorer.fit(benign, anomalous, seed, result)
    save_fitted(scorer, path, result)


def keep_phases(scorer: torch.nn.Module, folder: Path) -> None:
    """Let what is fitted in several phases keep those that are done in ``folder``."""
    for module in scorer.modules():
        if isinstance(module, Fitted):
            module.keep_in = folder


def middle_and_spread(values: Tensor) -> tuple[Tensor, Tensor]:
    """Median, and half the width of the middle two thirds: a few anomalies among them move neither."""
    low, middle, high = torch.quantile(values[:100_000], torch.tensor([0.159, 0.5, 0.841]))
    return middle, ((high - low) / 2).clamp(min=1e-6)


def to_unit(spreads: Tensor) -> Tensor:
    """(n,) spreads above the middle -> [0, 1]. Falls off as 1/x: a logistic curve would round to 1 and tie what lies far out."""
    z = spreads - ALARM_AT
    return 0.5 + z / (2 * (1 + z.abs()))


def drawn(rows: Tensor, most: int, seed: int) -> Tensor:
    """At most so many rows, drawn at random: the first ones are those of the first scans."""
    if len(rows) <= most:
        return rows
    return rows[
        torch.from_numpy(
            np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))
        )
    ]


def held_out(benign: Tensor, seed: int, share: float = 0.2) -> tuple[Tensor, Tensor]:
    """Rows to fit on, and rows to standardise by.

    Raises:
        ValueError: too few rows for both.
    """
    if len(benign) < MIN_ROWS:
        raise ValueError(
            f"{len(benign)} benign descriptions are too few to fit a scorer on; at least {MIN_ROWS} are needed"
        )
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(benign)))
    cut = max(2, round(share * len(benign)))
    return benign[order[cut:]], benign[order[:cut]]


def scale_of(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every column; what never varies is left as it is."""
    deviation = rows.std(0)
    return rows.mean(0), torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))
