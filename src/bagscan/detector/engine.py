"""Interface of the engines that run a detector's networks: torch, or a runtime of graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Engine(Protocol):
    """Runner of networks by name, as :class:`bagscan.runtime.engines.Engine`.

    - ``maps``: from ``features`` (1, C, H, W) to ``categories``, ``anomaly``, ``contact``, ``fine``
      and ``coarse``; also to ``merged`` if the detector evaluates both views together.
    - ``verdict``: from ``anomaly``, ``fine``, ``coarse`` and ``device`` (D, 1, h, w) to ``logit``
      (D,).
    - ``both_views``: from ``merged`` (2, n, h, w), ``anomaly`` and ``there`` (2, 1, h, w),
      ``device`` (D, 2, h, w) and ``of_view`` (D, 2) to ``changed``, the (2, 1, h, w) anomaly maps,
      and ``logit`` (D,).
    """

    name: str

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs of a network by name."""
