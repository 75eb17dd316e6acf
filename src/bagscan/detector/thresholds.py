"""Thresholds that turn a detector's maps into scores, stored with the model. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from bagscan.config import fill
from bagscan.core.errors import ConfigError, ModelError

MAX_LOG_ODDS = 15.0  # with thresholds beyond this, no bag would ever alarm, or every bag would
SLOPES = (1e-4, 1e4)  # allowed range


@dataclass(frozen=True)
class Pairing:
    """Weights that combine the views of a device into its log-odds.

    Attributes:
        views: weight of the sum of the views' log-odds.
        place: weight of :func:`bagscan.detector.deciding.agreement`.
        lone: added if a single view shows the device; the only value that a detector uses which
            evaluates both views together.
        offset: always added.

    Raises:
        ValueError: if a value is not finite or out of range, or both weights are 0.
    """

    views: float = 1.0
    place: float = 0.0
    lone: float = 0.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, astuple(self))) or not (
            0 <= self.views <= SLOPES[1]
            and 0 <= self.place <= SLOPES[1]
            and max(self.views, self.place) >= SLOPES[0]
        ):
            raise ValueError(
                "all values must be finite, and views and place in "
                f"[0, {SLOPES[1]:g}] and not both 0, got {self}"
            )
        if max(abs(self.lone), abs(self.offset)) > MAX_LOG_ODDS:
            raise ValueError(f"lone and offset must be within ±{MAX_LOG_ODDS:g}, got {self}")


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of a detector, chosen by :mod:`bagscan.detector.calibration`.

    Attributes:
        slope: factor from logits to log-odds.
        offset: added to the log-odds.
        device: log-odds over all views from which a device alarms.
        outside: mean logit of the anomaly map from which a region outside devices alarms.
        prohibited: for each class of prohibited item, the mean logit from which a region alarms
            by this class alone; the odds of all classes add up. Empty before calibration.
        margin: largest difference in mean logit between a device's best region and another flagged
            region of the device.
        lesser: largest difference in evidence between the stronger and the weaker view of an
            alarming device at which the weaker view is flagged too.
        pairing: see :class:`Pairing`.

    Raises:
        ValueError: if a value is not finite or out of range.
    """

    slope: float = 1.0
    offset: float = 0.0
    device: float = 0.0
    outside: float = 4.0
    prohibited: tuple[float, ...] = ()
    margin: float = 0.5
    lesser: float = 2.0
    pairing: Pairing = Pairing()

    def __post_init__(self) -> None:
        alarms = (self.device, self.outside, *self.prohibited)
        values = (self.slope, self.offset, *alarms, self.margin, self.lesser)
        if not all(map(math.isfinite, values)) or not SLOPES[0] <= self.slope <= SLOPES[1]:
            raise ValueError(
                f"all thresholds must be finite, and slope in [{SLOPES[0]:g}, {SLOPES[1]:g}], "
                f"got {self}"
            )
        if max(*alarms, abs(self.offset)) > MAX_LOG_ODDS:
            raise ValueError(
                f"device, outside and prohibited must be at most {MAX_LOG_ODDS:g}, and offset "
                f"within ±{MAX_LOG_ODDS:g}, or no bag would ever alarm; got {self}"
            )


def thresholds_of(description: Mapping[str, Any]) -> Thresholds:
    """Return the thresholds in the description of a model folder.

    Raises:
        ModelError: if they are malformed or out of range.
    """
    try:
        return fill(
            Thresholds, description["model"].get("thresholds", {}), "model.json: thresholds"
        )
    except (ConfigError, AttributeError, KeyError) as error:
        raise ModelError(str(error)) from error
