"""Loss of the detector in single views."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bagscan.detector.inference import Categories
from bagscan.detector.network import DetectorNetwork, Maps
from bagscan.training.detector_targets import (
    MIN_CELL,
    CropBatch,
    Targets,
    item_loss,
    map_loss,
    verdict_loss,
)

WEIGHTS = {"map": 1.0, "contact": 0.2, "items": 1.0}


class SingleViewLoss:
    """Weighted sum of the losses of the maps and verdicts of single views.

    Args:
        network: network whose verdicts are trained.
        numbers: numbers of categories of each sort.
        verdict_weight: weight of the loss of verdicts.
        category_weight: weight of the loss of all categories.
        boxes: True to fill the bounding boxes of prohibited items.
    """

    def __init__(
        self,
        network: DetectorNetwork,
        numbers: Categories,
        verdict_weight: float,
        category_weight: float = 0.5,
        boxes: bool = False,
    ) -> None:
        self.network, self.numbers, self.boxes = network, numbers, boxes
        self.weights = WEIGHTS | {"verdict": verdict_weight, "categories": category_weight}

    def __call__(self, maps: Maps, batch: CropBatch) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted sum of the losses, and each loss."""
        target = Targets.of(batch, self.network.config.categories, self.numbers, self.boxes)
        has_device = batch.device >= 0
        verdict = self.network.verdict(maps.anomaly, maps.fine, maps.coarse, target.host)
        is_anomalous = (target.anomaly * (target.ignored < 0.5)).sum((1, 2, 3)) > MIN_CELL
        of_verdicts, accuracy = verdict_loss(verdict[has_device], is_anomalous[has_device])
        terms = {
            "map": map_loss(maps.anomaly.float(), target.anomaly, target.devices, target.ignored),
            "categories": self._category_loss(maps, target),
            "contact": F.binary_cross_entropy_with_logits(
                maps.contact.float(), target.contact, pos_weight=target.contact.new_tensor(5.0)
            ),
            "verdict": of_verdicts,
        }
        if self.numbers.prohibited:
            own = self.numbers.of_items
            terms["items"] = item_loss(maps.categories[:, own].float(), target.categories[:, own])
        loss = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return loss, {name: float(term.detach()) for name, term in terms.items()} | {
            "right": accuracy
        }

    def _category_loss(self, maps: Maps, target: Targets) -> Tensor:
        """Return the cross-entropy of categories over all cells; rare ones weigh more."""
        shares = target.categories
        cross_entropy = F.binary_cross_entropy_with_logits(
            maps.categories.float(), shares, reduction="none"
        )
        rarity = (shares.mean((0, 2, 3)) + 1e-3).rsqrt()
        rarity = 3 * rarity / rarity.mean()
        return (cross_entropy * (1 + shares * (rarity[:, None, None] - 1).clamp(min=0))).mean() * 10
