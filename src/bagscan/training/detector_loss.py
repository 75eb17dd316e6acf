"""Loss of the detector in single views."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bagscan.detector.network import DetectorNetwork, Maps
from bagscan.training.detector_targets import (
    MIN_CELL,
    CropBatch,
    Targets,
    item_loss,
    map_loss,
    verdict_loss,
)

WEIGHTS = {"map": 1.0, "categories": 0.5, "contact": 0.2, "items": 1.0}


class SingleViewLoss:
    """Weighted sum of the losses of the maps and verdicts of single views.

    Args:
        network: network whose verdicts are trained.
        verdict_weight: weight of the loss of verdicts.
        kinds: number of kinds of anomalies, the first categories.
        devices: number of device classes, which follow.
        prohibited: number of classes of prohibited items, the categories after the devices.
    """

    def __init__(
        self,
        network: DetectorNetwork,
        verdict_weight: float,
        kinds: int,
        devices: int,
        prohibited: int = 0,
    ) -> None:
        self.network, self.weights = network, WEIGHTS | {"verdict": verdict_weight}
        self.kinds, self.devices, self.prohibited = kinds, devices, prohibited

    def __call__(self, maps: Maps, batch: CropBatch) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted sum of the losses, and each loss."""
        target = Targets.of(batch, self.network.config.categories, self.kinds, self.devices)
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
        if self.prohibited:
            first = self.kinds + self.devices
            own = slice(first, first + self.prohibited)
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
