"""What turns a detector's maps into scores; chosen on validation scenes and kept beside the weights. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from bagscan.config import fill
from bagscan.core.errors import ConfigError, ModelError

MOST_LOG_ODDS = 50.0


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
        if not all(map(math.isfinite, astuple(self))) or self.views < 0 or self.place < 0:
            raise ValueError(f"weights must be finite and those of views and place 0 or more, got {self}")


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
        if not all(map(math.isfinite, values)) or self.slope <= 0 or max(abs(self.device), abs(self.outside)) > MOST_LOG_ODDS:
            raise ValueError(f"thresholds must be finite, the slope above 0, and log-odds within {MOST_LOG_ODDS}: nothing would ever alarm; got {values}")


def thresholds_of(description: Mapping[str, Any]) -> Thresholds:
    """The thresholds that a model folder's description tells of.

    Raises:
        ModelError: they are none.
    """
    try:
        return fill(Thresholds, description["model"].get("thresholds", {}), "model.json: thresholds")
    except (ConfigError, AttributeError, KeyError) as error:
        raise ModelError(str(error)) from error
