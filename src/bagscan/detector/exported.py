"""A detector in use, whatever runs its networks. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from bagscan.core import OperatingPoint, View
from bagscan.detector.deciding import region_scores
from bagscan.detector.engine import Engine
from bagscan.detector.looking import SeenBag, SeenView, look
from bagscan.detector.thresholds import thresholds_of
from bagscan.model_config import InputConfig, ModelConfig
from bagscan.model_folder import operating_point_of

KIND = "detector"
FLAGGED = 0.5  # the operating point: thresholds are taken off before


def input_of(description: dict[str, Any]) -> InputConfig:
    """What a view must be for a detector, which looks at it at its own size and scales it by itself."""
    result = description["model"]["input"]
    channels = tuple(result["channels"])
    return InputConfig(
        result["quantity"],
        channels,
        working_side_px=0,
        mean=(0.0,) * len(channels),
        std=(1.0,) * len(channels),
    )


class UsableDetector:
    """As :class:`bagscan.runtime.exported.ExportedModel` in use, but all views of a bag are judged together.

    Args:
        description: of the model folder. identity: its id. engine: runs ``maps`` and ``verdict``.
    """

    kind = "superpixel"

    def __init__(self, description: dict[str, Any], identity: str, engine: Engine) -> None:
        self.id = identity
        self.config = ModelConfig(
            input_of(description), {"name": KIND}, {"name": KIND}, {"name": KIND}
        )
        self.operating_point: OperatingPoint | None = operating_point_of(description)
        self.about: dict[str, Any] = description["about"]
        self.n_kinds: int = description["model"]["kinds"]
        self.thresholds = thresholds_of(description)
        self.together: bool = (
            description["model"]["network"].get("two_views", {}).get("width", 0) > 0
        )
        self.engine = engine
        self.runtime = engine.name

    def judging(self) -> AbstractContextManager[None]:
        """Nothing to prepare: engines compute on one thread."""
        return nullcontext()

    def everywhere(self) -> UsableDetector:
        """Itself: it judges the whole view."""
        return self

    def look(self, views: Sequence[View]) -> SeenBag:
        """What the views of one bag show."""
        return look(
            [self.config.input.select(view) for view in views],
            self.engine,
            self.n_kinds,
            self.together,
        )

    def examine(self, views: Sequence[View]) -> list[tuple[np.ndarray, np.ndarray]]:
        """(H, W) int32 regions and (n,) scores of every view of one bag, judged together."""
        if not views:
            return []
        seen = self.look(views)
        scores = region_scores(seen, self.thresholds)
        return [_without_the_rest(one, own) for one, own in zip(seen.views, scores, strict=True)]


def _without_the_rest(seen: SeenView, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Regions and scores with all that lies on no device and is not pointed at as one last region, of the highest of their scores."""
    rest = (seen.device_of < 0) & (scores < FLAGGED)
    if not rest.any():
        return seen.regions.labels, scores
    number = np.where(rest, (~rest).sum(), np.cumsum(~rest) - 1).astype(np.int32)
    return number[seen.regions.labels], np.append(scores[~rest], scores[rest].max())
