"""Target maps of the detector, and the losses of its maps and verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bagscan.datasets.packed import FIRST_DEVICE, IGNORED, MAX_DEVICES
from bagscan.detector.inference import Categories
from bagscan.detector.sampling import LABEL_PIXELS_PER_CELL

MIN_CELL = 0.5  # area of the anomaly, in cells, above which a crop is anomalous
ANOMALY_WEIGHT = 4.0  # additional weight of anomalous cells in the anomaly map
OUTSIDE_WEIGHT = 0.25  # weight of cells away from any device; cells near one have weight 1
DICE_WEIGHT = 0.3
ITEM_WEIGHT = 4.0  # additional weight of the cells of a prohibited item


@dataclass(frozen=True)
class CropBatch:
    """Batch of crops or windows.

    Attributes:
        features: (B, C, H, W) float32.
        counts: (B, 128, H / 8, W / 8) uint8, label pixels per cell of each label.
        device: (B,) number of the device that needs a verdict, -1 for none.
    """

    features: Tensor
    counts: Tensor
    device: Tensor


@dataclass(frozen=True)
class Targets:
    """Targets of the maps of a batch, as shares of cells in [0, 1].

    Attributes:
        categories: (B, n, h, w), each category.
        anomaly: (B, 1, h, w), the anomaly of any kind.
        contact: (B, 1, h, w), 1 where devices of the same class touch.
        devices: (B, 1, h, w), any device.
        ignored: (B, 1, h, w), pixels without truth.
        host: (B, 1, h, w), the device that needs a verdict.
    """

    categories: Tensor
    anomaly: Tensor
    contact: Tensor
    devices: Tensor
    ignored: Tensor
    host: Tensor

    @classmethod
    def of(
        cls, batch: CropBatch, categories: Sequence[str], numbers: Categories, boxes: bool = False
    ) -> Targets:
        """Compute the targets of a batch.

        Args:
            batch: crops.
            categories: names of all categories.
            numbers: numbers of categories of each sort.
            boxes: True to fill the bounding boxes of prohibited items.
        """
        shares = batch.counts.float() / LABEL_PIXELS_PER_CELL
        instances = shares[:, FIRST_DEVICE : FIRST_DEVICE + MAX_DEVICES]
        crop = torch.arange(len(shares), device=shares.device)
        host = instances[crop, batch.device.clamp(min=0)][:, None]
        near = (F.max_pool2d(instances, 3, 1, 1) > 0.5).float().sum(1, keepdim=True)
        # Devices of different classes may overlap. Devices of the same class touch only where
        # fewer classes than devices are near.
        classes = (
            (F.max_pool2d(shares[:, numbers.kinds : numbers.of_items.start], 3, 1, 1) > 0.5)
            .float()
            .sum(1, keepdim=True)
        )
        of_categories = shares[:, : len(categories)]
        if boxes:
            of_categories = of_categories.clone()
            of_categories[:, numbers.of_items] = fill_boxes(of_categories[:, numbers.of_items])
        return cls(
            of_categories,
            shares[:, : numbers.kinds].amax(1, keepdim=True),
            ((near >= 2) & (near > classes)).float(),
            instances.amax(1, keepdim=True),
            shares[:, IGNORED : IGNORED + 1],
            host,
        )


def fill_boxes(shares: Tensor) -> Tensor:
    """Return 1 in the bounding box of the cells of each (h, w) map, 0 elsewhere."""
    shown = shares > 0
    return (_span(shown.any(-1)).unsqueeze(-1) & _span(shown.any(-2)).unsqueeze(-2)).to(
        shares.dtype
    )


def _span(shown: Tensor) -> Tensor:
    """Return True from the first to the last True along the last axis."""
    before = shown.int().cummax(-1).values
    after = shown.flip(-1).int().cummax(-1).values.flip(-1)
    return (before & after).bool()


def map_loss(logits: Tensor, anomaly: Tensor, devices: Tensor, ignored: Tensor) -> Tensor:
    """Return the loss of anomaly maps: cross-entropy, and Dice for anomalous crops.

    Anomalous cells weigh more in the cross-entropy, and cells away from any device less.

    Args:
        logits: (B, 1, h, w) anomaly map.
        anomaly: (B, 1, h, w) share of the anomaly in each cell.
        devices: (B, 1, h, w) share of devices in each cell.
        ignored: (B, 1, h, w) share of each cell without truth.
    """
    near = (F.max_pool2d(devices, 5, 1, 2) > 0.1).float()
    weight = torch.maximum(near, torch.full_like(near, OUTSIDE_WEIGHT)) * (ignored < 0.25)
    weight = torch.maximum(weight, (anomaly > 0.1).float())
    cross_entropy = F.binary_cross_entropy_with_logits(logits, anomaly, reduction="none")
    area = weight.sum((1, 2, 3)).clamp(min=20)
    cross_entropy = (cross_entropy * weight * (1 + ANOMALY_WEIGHT * anomaly)).sum((1, 2, 3)) / area
    chance = logits.sigmoid() * weight
    overlap = 2 * (chance * anomaly).sum((1, 2, 3)) + 1
    total = chance.square().sum((1, 2, 3)) + anomaly.square().sum((1, 2, 3)) + 1
    is_anomalous = (anomaly.sum((1, 2, 3)) > MIN_CELL).float()
    dice = ((1 - overlap / total) * is_anomalous).sum() / is_anomalous.sum().clamp(min=1)
    return cross_entropy.mean() + DICE_WEIGHT * dice


def verdict_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, float]:
    """Return cross-entropy and accuracy of verdicts; 0 and 0.5 if a batch has none.

    Args:
        logits: (D,) log-odds of devices.
        labels: (D,) True or 1 for devices with an anomaly.
    """
    if not len(logits):
        return logits.new_zeros(()), 0.5
    accuracy = ((logits > 0) == (labels > 0)).float().mean()
    return F.binary_cross_entropy_with_logits(logits, labels.float()), float(accuracy)


def item_loss(logits: Tensor, shares: Tensor) -> Tensor:
    """Return the loss of maps of prohibited items: cross-entropy of all cells, and Dice.

    Each class is rare, so its own cells weigh more, and Dice is computed for each class in each
    crop that shows it.

    Args:
        logits: (B, p, h, w), a map for each class.
        shares: (B, p, h, w) share of each class in each cell.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, shares, reduction="none")
    cross_entropy = (cross_entropy * (1 + ITEM_WEIGHT * shares)).sum(1).mean()
    chance = logits.sigmoid()
    overlap = 2 * (chance * shares).sum((2, 3)) + 1
    total = chance.square().sum((2, 3)) + shares.square().sum((2, 3)) + 1
    is_shown = (shares.sum((2, 3)) > MIN_CELL).float()
    dice = ((1 - overlap / total) * is_shown).sum() / is_shown.sum().clamp(min=1)
    return cross_entropy + 0.5 * dice
