"""Evaluation of views at another size than their own. Does not import torch.

Fewer pixels take less time. On scanners that a network was not trained on, fine detail is often
misleading, and a smaller view ranks as well.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from bagscan.detector.engine import Engine
from bagscan.detector.features import round_up


class ScaledEngine:
    """Engine whose network ``maps`` sees views reduced or enlarged.

    Its maps have the size that they would have without.

    Args:
        engine: runs the networks.
        scale: size that the network sees, relative to the view.
    """

    def __init__(self, engine: Engine, scale: float) -> None:
        self.engine, self.scale = engine, scale
        self.name = engine.name

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs of a network by name."""
        if graph != "maps":
            return self.engine.run(graph, inputs)
        features = inputs["features"]
        height, width = features.shape[-2:]
        seen = _reduce(features[0], round(height * self.scale), round(width * self.scale))
        outputs = self.engine.run(graph, {"features": _pad(seen)[None]})
        return {
            name: _interpolate(
                maps[0],
                (height // (stride := round_up(seen.shape[1]) // maps.shape[-2]), width // stride),
                (seen.shape[1] / stride, seen.shape[2] / stride),
            )[None]
            for name, maps in outputs.items()
        }


def _reduce(features: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (C, H, W) features; every pixel of a smaller view is a mean of all that it covers."""
    size = (max(width, 1), max(height, 1))
    channels = [Image.fromarray(f).resize(size, Image.Resampling.BILINEAR) for f in features]
    return np.stack([np.asarray(channel) for channel in channels])


def _pad(features: np.ndarray) -> np.ndarray:
    """Pad (C, H, W) features with air to multiples of 64 pixels."""
    height, width = features.shape[1:]
    missing = ((0, 0), (0, round_up(height) - height), (0, round_up(width) - width))
    return np.pad(features, missing)


def _interpolate(
    maps: np.ndarray, shape: tuple[int, int], shown: tuple[float, float]
) -> np.ndarray:
    """Resize maps bilinearly, between the centres of cells.

    Args:
        maps: (n, h, w).
        shape: rows and columns of the result.
        shown: rows and columns of the maps that show the view, the others are beside it.
    """
    rows, columns = (
        _weights(count, new, length)
        for count, new, length in zip(maps.shape[1:], shape, shown, strict=True)
    )
    return np.asarray(rows @ maps @ columns.T, np.float32)


def _weights(count: int, new: int, length: float) -> np.ndarray:
    """Return the (new, count) weights of old cells in new ones, which divide ``length`` cells."""
    position = np.clip((np.arange(new) + 0.5) * length / new - 0.5, 0, count - 1)
    distance = np.abs(position[:, None] - np.arange(count))
    return np.asarray(np.maximum(1 - distance, 0), np.float32)
