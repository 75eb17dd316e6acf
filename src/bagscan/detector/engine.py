"""What runs a detector's networks: torch, or an exported graph's runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Engine(Protocol):
    """Runs the networks by name, as :class:`bagscan.runtime.engines.Engine` does.

    ``maps``: ``features`` (1, C, H, W) to ``categories``, ``anomaly``, ``contact``, ``fine``, ``coarse`` and, of a detector that looks at
    both views together, ``merged``. ``verdict``: ``anomaly``, ``fine``, ``coarse`` and ``device`` (D, 1, h, w) to ``logit`` (D,).
    ``both_views``: ``merged`` (2, n, h, w), ``anomaly`` and ``there`` (2, 1, h, w), ``device`` (D, 2, h, w) and ``of_view`` (D, 2) to
    ``changed`` (2, 1, h, w), the anomaly's maps, and ``logit`` (D,).
    """

    name: str

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name."""
