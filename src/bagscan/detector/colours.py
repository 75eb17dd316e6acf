"""Colours of a scanner's display, mapped to those that a detector was trained on. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Quantiles = tuple[tuple[float, ...], ...]  # (colours, n), rising; features in [0, 1.5]
N_QUANTILES = 65
SOLID = 0.12  # mean feature from which a pixel is mapped in full; towards air ever less
PIXELS_PER_VIEW = 4000


@dataclass(frozen=True)
class Colours:
    """Distribution of the colours of all that is not air, in training and on a scanner.

    Displays of scanners show the same material in other colours. Each colour gets a curve of its
    own, with which its quantiles become those of training (histogram matching).

    Attributes:
        training: quantiles of the features in training; empty if they are not known.
        scanner: quantiles on the scanner; empty if colours stay as they are.
    """

    training: Quantiles = ()
    scanner: Quantiles = ()

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Colours:
        """Return the colours in ``model.json``."""
        return cls(**{name: tuple(map(tuple, rows)) for name, rows in stored.items()})

    def mapped(self, features: np.ndarray) -> np.ndarray:
        """Return (C, H, W) features in the colours of training."""
        if not self.scanner:
            return features
        curves = [
            np.interp(channel, own, wanted)
            for channel, own, wanted in zip(features, self.scanner, self.training, strict=True)
        ]
        share = np.clip(features.mean(0) / SOLID, 0, 1)
        return np.asarray(features + share * (np.stack(curves) - features), np.float32)


def quantiles_of(views: Iterable[np.ndarray]) -> Quantiles:
    """Return the quantiles of the features of all that is not air.

    Args:
        views: (C, H, W) features of views.
    """
    solid = [_solid(features) for features in views]
    points = np.quantile(np.concatenate(solid, 1), np.linspace(0, 1, N_QUANTILES), axis=1)
    return tuple(tuple(round(float(value), 4) for value in row) for row in points.T)


def _solid(features: np.ndarray) -> np.ndarray:
    """Return (C, n) features of pixels at even steps that are not air."""
    found = features[:, features.mean(0) > SOLID]
    return found[:, :: max(1, found.shape[1] // PIXELS_PER_VIEW)]
