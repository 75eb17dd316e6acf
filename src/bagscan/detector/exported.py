"""Detector for inference, independent of the runtime. Does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from bagscan.core import OperatingPoint, View
from bagscan.detector.deciding import region_scores
from bagscan.detector.engine import Engine
from bagscan.detector.inference import BagResult, Categories, ViewResult, run_detector
from bagscan.detector.thresholds import thresholds_of
from bagscan.model_config import InputConfig, ModelConfig
from bagscan.model_folder import operating_point_of

KIND = "detector"
FLAGGED = 0.5  # operating point: scores are relative to the thresholds


def input_of(description: dict[str, Any]) -> InputConfig:
    """Return the input settings of a detector.

    A detector takes views at their full size and normalises them itself.
    """
    settings = description["model"]["input"]
    channels = tuple(settings["channels"])
    return InputConfig(
        settings["quantity"],
        channels,
        working_side_px=0,
        mean=(0.0,) * len(channels),
        std=(1.0,) * len(channels),
    )


class UsableDetector:
    """Detector with the interface of :class:`bagscan.runtime.exported.ExportedModel`.

    It scores all views of a bag together.

    Args:
        description: content of ``model.json``.
        identity: id of the model folder.
        engine: runs the networks.
    """

    kind = "superpixel"

    def __init__(self, description: dict[str, Any], identity: str, engine: Engine) -> None:
        self.id = identity
        self.config = ModelConfig(
            input_of(description), {"name": KIND}, {"name": KIND}, {"name": KIND}
        )
        self.operating_point: OperatingPoint | None = operating_point_of(description)
        self.about: dict[str, Any] = description["about"]
        settings = description["model"]
        self.categories = Categories(
            settings["kinds"], settings["devices"], settings.get("prohibited", 0)
        )
        self.thresholds = thresholds_of(description)
        self.together: bool = (
            description["model"]["network"].get("two_views", {}).get("width", 0) > 0
        )
        self.engine = engine
        self.runtime = engine.name

    def inference_mode(self) -> AbstractContextManager[None]:
        """Return an empty context: engines compute on one thread and need no preparation."""
        return nullcontext()

    def everywhere(self) -> UsableDetector:
        """Return the detector itself: it scores the whole view anyway."""
        return self

    def run_views(self, views: Sequence[View]) -> BagResult:
        """Return maps, devices and regions of the views of one bag.

        Raises:
            ModelError: if a view has other channels than the detector, or a network fails.
        """
        return run_detector(
            [self.config.input.select(view) for view in views],
            self.engine,
            self.categories,
            self.together,
        )

    def examine(self, views: Sequence[View]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Score the views of one bag together.

        Returns:
            (H, W) int32 regions and (n,) float64 scores in [0, 1] of every view.

        Raises:
            ModelError: if a view has other channels than the detector, or a network fails.
        """
        if not views:
            return []
        seen = self.run_views(views)
        scores = region_scores(seen, self.thresholds)
        return [
            _merge_background(view, view_scores)
            for view, view_scores in zip(seen.views, scores, strict=True)
        ]


def _merge_background(seen: ViewResult, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge all regions that are neither on a device nor flagged.

    They become the last region, with the highest of their scores.
    """
    background = (seen.device_of < 0) & (scores < FLAGGED)
    if not background.any():
        return seen.regions.labels, scores
    n_kept = (~background).sum()
    number = np.where(background, n_kept, np.cumsum(~background) - 1).astype(np.int32)
    return number[seen.regions.labels], np.append(scores[~background], scores[background].max())
