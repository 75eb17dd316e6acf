"""Detector for inference, independent of the runtime. Does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from bagscan.core import OperatingPoint, View
from bagscan.detector.deciding import decide_regions
from bagscan.detector.engine import Engine
from bagscan.detector.inference import BagResult, Categories, Options, run_detector
from bagscan.detector.thresholds import thresholds_of
from bagscan.examining import ANOMALY, Examined
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
        self.prohibited: tuple[str, ...] = tuple(
            settings["network"]["categories"][self.categories.of_items]
        )
        self.thresholds = thresholds_of(description)
        self.options = Options.of(settings)
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
            self.options,
        )

    def examine(self, views: Sequence[View]) -> list[Examined]:
        """Score the views of one bag together.

        Raises:
            ModelError: if a view has other channels than the detector, or a network fails.
        """
        if not views:
            return []
        seen = self.run_views(views)
        decided = decide_regions(seen, self.thresholds)
        return [
            _merge_background(
                Examined(view.regions.labels, scores, self._names(items)), view.device_of
            )
            for view, (scores, items) in zip(seen.views, decided, strict=True)
        ]

    def _names(self, items: np.ndarray) -> tuple[str, ...]:
        """Return the name of every region; -1 is an anomaly. Empty without prohibited items."""
        if not self.prohibited:
            return ()
        return tuple(self.prohibited[k] if k >= 0 else ANOMALY for k in items)


def _merge_background(examined: Examined, device_of: np.ndarray) -> Examined:
    """Merge all regions that are neither on a device nor flagged.

    They become the last region, with the highest of their scores.
    """
    labels, scores, names = examined
    background = (device_of < 0) & (scores < FLAGGED)
    if not background.any():
        return examined
    n_kept = (~background).sum()
    number = np.where(background, n_kept, np.cumsum(~background) - 1).astype(np.int32)
    kept = [
        name for name, is_background in zip(names, background, strict=False) if not is_background
    ]
    return Examined(
        number[labels],
        np.append(scores[~background], scores[background].max()),
        (*kept, ANOMALY) if names else (),
    )
