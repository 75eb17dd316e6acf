"""Interface of models for screening, independent of the runtime. Does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from bagscan.core import OperatingPoint, Regions, View
from bagscan.model_config import ModelConfig

ANOMALY = "anomaly"  # name of a flagged region that is of no class of prohibited item


class Examined(NamedTuple):
    """Regions and scores of a view.

    Attributes:
        labels: (H, W) int32 regions at the original size, -1 outside all regions.
        scores: (n,) float64 scores in [0, 1].
        names: (n,) what each region shows if it is flagged, ``ANOMALY`` or a class of prohibited
            item; empty for a model without such classes.
    """

    labels: np.ndarray
    scores: np.ndarray
    names: tuple[str, ...] = ()


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

    def examine(self, views: Sequence[View]) -> list[Examined]:
        """Score the views of one bag.

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


def examine_view(model: SingleViewModel, view: View) -> Examined:
    """Score a view at its original size; overlapping instances are drawn by increasing score."""
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
    return Examined(upsample_labels(labels, *view.shape), np.asarray(scores, np.float64))


def upsample_labels(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (h, w) labels to (height, width) by the nearest pixel centre."""
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(int)
    cols = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(int)
    return np.ascontiguousarray(labels[np.ix_(rows, cols)])
