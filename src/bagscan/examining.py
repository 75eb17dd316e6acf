"""What a model in use gives, whatever runs it, and views judged one by one at their own size. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from bagscan.core import OperatingPoint, Regions, View
from bagscan.model_config import ModelConfig


class UsableModel(Protocol):
    """A model that screens: of three parts, in torch or exported, or a detector.

    Attributes:
        id: hash of all that runs. kind: of its regions, as in :class:`bagscan.core.Regions`. runtime: what computes.
        about: what its training told of it.
    """

    id: str
    config: ModelConfig
    operating_point: OperatingPoint | None
    about: dict[str, Any]

    @property
    def kind(self) -> str: ...

    @property
    def runtime(self) -> str: ...

    def judging(self) -> AbstractContextManager[None]:
        """What surrounds its use."""

    def examine(self, views: Sequence[View]) -> list[tuple[np.ndarray, np.ndarray]]:
        """(H, W) int32 regions, -1 for none, and (n,) scores in [0, 1] of every view of one bag, at its own size.

        Raises:
            ModelError: a view has other channels. RuntimeError, MemoryError: of the runtime.
        """

    def everywhere(self) -> UsableModel:
        """The model, judging the whole view where it would look on items alone."""


class OfOneView(Protocol):
    """A model that judges a view by itself, already at its working size."""

    config: ModelConfig

    def judge(self, view: View, n_superpixels: int | None = None) -> tuple[Regions, np.ndarray]:
        """Regions and their scores (n,)."""


def examine_one(model: OfOneView, view: View) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) int32 regions at the view's own size, and (n,) float64 scores; of overlapping instances the worst lies on top."""
    regions, scores = model.judge(model.config.input.working_view(model.config.input.select(view)))
    labels = regions.labels
    if labels.ndim == 3:
        flat = np.full(regions.shape, -1, np.int32)
        for index in np.argsort(scores, kind="stable"):
            flat[labels[index]] = index
        labels = flat
    # A threshold may lie a float64's step above a benign score: compared in float32 it would be that score.
    return upsample_labels(labels, *view.shape), np.asarray(scores, np.float64)


def upsample_labels(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w) labels -> (height, width) by nearest pixel centre."""
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(int)
    cols = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(int)
    return np.ascontiguousarray(labels[np.ix_(rows, cols)])
