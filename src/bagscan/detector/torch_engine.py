"""Engine that runs a detector's networks in torch; the reference for all runtimes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from bagscan.detector.model import Detector
from bagscan.detector.together import GRAPH as BOTH_VIEWS


class TorchEngine:
    """Engine of a detector in torch, see :class:`bagscan.detector.engine.Engine`."""

    name = "torch"

    def __init__(self, detector: Detector) -> None:
        self.network = detector.network.eval()
        self.named = detector.numbers.of_items.stop

    @classmethod
    def load(cls, folder: Path) -> TorchEngine:
        """Load a model folder.

        Raises:
            ModelError: if a file is missing or altered, or the model is not a detector.
        """
        return cls(Detector.load(folder))

    @torch.inference_mode()
    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs of a network by name."""
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()
        }
        if graph == "verdict":
            names = ["anomaly", "fine", "coarse", "device"]
            logit = self.network.verdict(*(tensors[name] for name in names))
            return {"logit": logit.float().numpy()}
        if graph == BOTH_VIEWS:
            assert self.network.two_views is not None
            names = ["merged", "anomaly", "there", "device", "of_view"]
            changed, logits = self.network.two_views.together(*(tensors[name] for name in names))
            return {"changed": changed.float().numpy(), "logit": logits.float().numpy()}
        maps = self.network(tensors["features"])
        outputs = {"categories": maps.categories[:, : self.named]} | {
            name: getattr(maps, name) for name in ("anomaly", "contact", "fine", "coarse", "merged")
        }
        return {name: value.float().contiguous().numpy() for name, value in outputs.items()}
