"""The detector's networks run by torch, in place of its exported graphs; what the others are held against."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from bagscan.detector.model import Detector
from bagscan.detector.together import GRAPH as BOTH_VIEWS


class TorchEngine:
    """Runs ``maps`` and ``verdict`` of a trained detector."""

    name = "torch"

    def __init__(self, detector: Detector) -> None:
        self.network, self.named = detector.network.eval(), detector.kinds + detector.devices

    @classmethod
    def load(cls, folder: Path) -> TorchEngine:
        """Of a model folder."""
        return cls(Detector.load(folder))

    @torch.inference_mode()
    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {
            name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()
        }
        if graph == "verdict":
            logit = self.network.verdict(
                given["anomaly"], given["fine"], given["coarse"], given["device"]
            )
            return {"logit": logit.float().numpy()}
        if graph == BOTH_VIEWS:
            assert self.network.two_views is not None
            changed, logits = self.network.two_views.together(
                given["merged"], given["anomaly"], given["there"], given["device"], given["of_view"]
            )
            return {"changed": changed.float().numpy(), "logit": logits.float().numpy()}
        maps = self.network(given["features"])
        found = {"categories": maps.categories[:, : self.named]} | {
            n: getattr(maps, n) for n in ("anomaly", "contact", "fine", "coarse", "merged")
        }
        return {name: value.float().contiguous().numpy() for name, value in found.items()}
