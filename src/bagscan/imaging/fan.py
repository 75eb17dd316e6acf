"""The rays of one view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bagscan.core.errors import DataError


@dataclass(frozen=True)
class Fan:
    """Rays of one view: a source and detector channels in the plane of a belt line.

    Attributes:
        source_mm: (x, z). direction: (U, 2) unit (x, z) towards every channel, turning one way.
        distance_mm: (U,) from source to channel. y_mm: (J,) ascending positions of the lines.
    """

    source_mm: np.ndarray
    direction: np.ndarray
    distance_mm: np.ndarray
    y_mm: np.ndarray

    @property
    def frame(self) -> np.ndarray:
        """(2, 2) rows: across and along the fan's middle, in which every ray has a positive second part."""
        middle = self.direction[0] + self.direction[-1]
        middle = middle / np.linalg.norm(middle)
        across = np.array([middle[1], -middle[0]])
        return np.stack(
            [
                across if self.direction[-1] @ across > self.direction[0] @ across else -across,
                middle,
            ]
        )

    @classmethod
    def towards(cls, source_mm: Sequence[float], channels_mm: np.ndarray, y_mm: np.ndarray) -> Fan:
        """From channel positions (U, 2) in (x, z).

        Raises:
            DataError: channels that do not turn one way around the source within 180°.
        """
        away = np.asarray(channels_mm, float) - np.asarray(source_mm, float)
        distance = np.linalg.norm(away, axis=1)
        fan = cls(
            np.asarray(source_mm, float),
            away / distance[:, None],
            distance,
            np.asarray(y_mm, float),
        )
        across, along = fan.frame @ fan.direction.T
        if along.min() <= 0 or not (np.diff(across / along) > 0).all():
            raise DataError("channels must turn one way around the source, within 180°")
        return fan
