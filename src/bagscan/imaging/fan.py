"""Fan-beam geometry of a view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bagscan.core.errors import DataError


@dataclass(frozen=True)
class Fan:
    """Rays from a source to detector channels, in the plane of a belt line.

    Attributes:
        source_mm: (x, z) of the source.
        direction: (U, 2) unit vectors (x, z) towards the channels, ordered by angle.
        distance_mm: (U,) distance from source to channel.
        y_mm: (J,) ascending positions of the lines.
    """

    source_mm: np.ndarray
    direction: np.ndarray
    distance_mm: np.ndarray
    y_mm: np.ndarray

    @property
    def frame(self) -> np.ndarray:
        """(2, 2) unit vectors across and along the middle of the fan, as rows.

        Every ray has a positive component along the middle.
        """
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
        """Return the fan from a source to channels.

        Args:
            source_mm: (x, z) of the source.
            channels_mm: (U, 2) positions (x, z) of the channels.
            y_mm: (J,) ascending positions of the lines.

        Raises:
            DataError: the channels are not ordered by angle within 180° around the source.
        """
        offset = np.asarray(channels_mm, float) - np.asarray(source_mm, float)
        distance = np.linalg.norm(offset, axis=1)
        fan = cls(
            np.asarray(source_mm, float),
            offset / distance[:, None],
            distance,
            np.asarray(y_mm, float),
        )
        across, along = fan.frame @ fan.direction.T
        if along.min() <= 0 or not (np.diff(across / along) > 0).all():
            raise DataError("channels must be ordered by angle around the source, within 180°")
        return fan
