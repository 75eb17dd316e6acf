"""What turns a detector's maps into scores; chosen on validation scenes and kept beside the weights. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from bagscan.config import fill
from bagscan.core.errors import ConfigError, ModelError

MAX_LOG_ODDS = 15.0  # a chance of a millionth: beyond it nothing would ever alarm, or everything
SLOPES = (1e-4, 1e4)


@dataclass(frozen=True)
class Pairing:
    """How a device's log-odds come about from what its views show.

    Attributes:
        views: weight of the sum of the views' log-odds. place: weight of what both show at the same place of the belt. lone: added
            where one view alone shows the device. offset: added always.
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
                f"weights must be finite, those of views and place from 0 to {SLOPES[1]:g} and not both nothing, got {self}"
            )
        if max(abs(self.lone), abs(self.offset)) > MAX_LOG_ODDS:
            raise ValueError(
                f"log-odds must lie within {MAX_LOG_ODDS:g}: nothing would ever alarm; got {self}"
            )


@dataclass(frozen=True)
class Thresholds:
    """How scores come about; chosen on validation scenes (see :mod:`bagscan.detector.calibration`).

    Attributes:
        slope, offset: of a view's log-odds. device: log-odds over both views from which on a device alarms.
        outside: logit of the map, averaged over a region on no device, from which on that alarms.
        margin: by how much a region may fall behind its device's best and still be pointed at.
        lesser: by how much the weaker view of an alarming device may fall behind the stronger and still be pointed at.
        pairing: see :class:`Pairing`.
    """

    slope: float = 1.0
    offset: float = 0.0
    device: float = 0.0
    outside: float = 4.0
    margin: float = 0.5
    lesser: float = 2.0
    pairing: Pairing = Pairing()

    def __post_init__(self) -> None:
        values = (self.slope, self.offset, self.device, self.outside, self.margin, self.lesser)
        if not all(map(math.isfinite, values)) or not SLOPES[0] <= self.slope <= SLOPES[1]:
            raise ValueError(
                f"thresholds must be finite, the slope from {SLOPES[0]:g} to {SLOPES[1]:g}, got {values}"
            )
        if max(self.device, self.outside, abs(self.offset)) > MAX_LOG_ODDS:
            raise ValueError(
                f"log-odds above {MAX_LOG_ODDS:g} are reached by nothing: nothing would ever alarm; got {values}"
            )


def thresholds_of(description: Mapping[str, Any]) -> Thresholds:
    """The thresholds that a model folder's description tells of.

    Raises:
        ModelError: they are none.
    """
    try:
        return fill(
            Thresholds, description["model"].get("thresholds", {}), "model.json: thresholds"
        )
    except (ConfigError, AttributeError, KeyError) as error:
        raise ModelError(str(error)) from error
