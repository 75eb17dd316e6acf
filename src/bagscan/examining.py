"""Interface of models for screening, independent of the runtime. Does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from bagscan.core import OperatingPoint, Regions, View
from bagscan.model_config import ModelConfig


class UsableModel(Protocol):
    """Model for screening: regioner, encoder and scorer in any runtime, or a detector.

    Attributes:
        id: hash of weights, description and graphs.
        config: configuration of the model.
        operating_point: the operating point, or None if not chosen yet.
        about: metadata that training stored with the model.
    """

    id: str
    config: ModelConfig
    operating_point: OperatingPoint | None
    about: dict[str, Any]

    @property
    def kind(self) -> str:
        """Kind of the regions, as in :class:`bagscan.core.Regions`."""

    @property
    def runtime(self) -> str:
        """Name of the runtime."""

    def inference_mode(self) -> AbstractContextManager[None]:
        """Return the context manager for inference."""

    def examine(self, views: Sequence[View]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Score the views of one bag.

        Returns:
            For each view, (H, W) int32 labels at its original size, with -1 outside all regions,
            and (n,) scores in [0, 1].

        Raises:
            ModelError: a view has other channels than the model.
            RuntimeError, MemoryError: the runtime fails.
        """

    def everywhere(self) -> UsableModel:
        """Return the model without its limitation to found items, for the entire view."""


class SingleViewModel(Protocol):
    """Model that scores a single view at working size."""

    config: ModelConfig

    def score_view(
        self, view: View, n_superpixels: int | None = None
    ) -> tuple[Regions, np.ndarray]:
        """Return the regions of a view and their (n,) scores."""


def examine_view(model: SingleViewModel, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Score a view at its original size.

    Returns:
        (H, W) int32 labels, with -1 outside all regions, and (n,) float64 scores. Overlapping
        instances are drawn in order of increasing score.
    """
    regions, scores = model.score_view(
        model.config.input.working_view(model.config.input.select(view))
    )
    labels = regions.labels
    if labels.ndim == 3:
        flat = np.full(regions.shape, -1, np.int32)
        for index in np.argsort(scores, kind="stable"):
            flat[labels[index]] = index
        labels = flat
    # A threshold can be the next float64 above a benign score; in float32 they would be equal.
    return upsample_labels(labels, *view.shape), np.asarray(scores, np.float64)


def upsample_labels(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (h, w) labels to (height, width) by the nearest pixel centre."""
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(int)
    cols = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(int)
    return np.ascontiguousarray(labels[np.ix_(rows, cols)])
