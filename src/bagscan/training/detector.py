"""Training the detector on packed scenes: crops around anomalies beside the same crops of their benign twins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bagscan.datasets.packed import FIRST_DEVICE, IGNORED, LABEL_STRIDE, MAX_DEVICES, PackedScene
from bagscan.detector.depthwise import quicken
from bagscan.detector.features import CELL_PX, N_FEATURES, as_seen
from bagscan.detector.network import DetectorNetwork, Maps
from bagscan.detector.sampling import N_BITS, cut, draw_pose, whole_view
from bagscan.evaluation.metrics import auroc
from bagscan.training.compute import autocast_bf16, compute
from bagscan.training.hard_places import HardPlaces
from bagscan.training.samples import subsample_evenly

MIN_CELL = 0.5  # of anomaly, in cells, for a crop to count as one
PIXELS_A_CELL = 16
NOISE = np.random.default_rng(0).standard_normal(1 << 21, np.float32)


@dataclass(frozen=True)
class DetectorTaskConfig:
    """Attributes:
    crop_px: side of a crop in pixels of the view, a multiple of 64. batch: crops a step.
    large_px, large: side of larger crops, which hold whole devices, and share of the steps that show these: as
        many as make up the area of a batch.
    twins: share of a batch that is pairs of twins. alone: of anomalous crops without their twin; the rest is
        benign. clutter: share of benign crops that lie anywhere. hard: share of the others that lie around places which the
        detector that training starts with takes for an anomaly. scale: log of the largest change of size.
    noise: largest standard deviation added to the features.
    map_weight, dice, category_weight, contact_weight, verdict_weight: of the losses.
    anomaly_weight: of anomalous cells in the map. outside_weight: of cells away from any device.
    val_views: whole views that are validated on.
    """

    crop_px: int = 192
    batch: int = 48
    large_px: int = 320
    large: float = 0.0
    twins: float = 0.5
    alone: float = 0.25
    clutter: float = 0.2
    hard: float = 0.0
    scale: float = 0.12
    noise: float = 0.03
    map_weight: float = 1.0
    dice: float = 0.3
    category_weight: float = 0.5
    contact_weight: float = 0.2
    verdict_weight: float = 0.1
    anomaly_weight: float = 4.0
    outside_weight: float = 0.25
    val_views: int = 400


@dataclass(frozen=True)
class CropBatch:
    """Attributes: features: (B, C, side, side). counts: (B, 128, side / 8, side / 8) uint8. device: (B,) of whose
    verdict is asked for, -1 for none."""

    features: Tensor
    counts: Tensor
    device: Tensor


@dataclass(frozen=True)
class Targets:
    """What the maps of a batch should be: shares of cells in [0, 1], each (B, n, h, w)."""

    categories: Tensor
    anomaly: Tensor
    contact: Tensor
    devices: Tensor
    ignored: Tensor
    host: Tensor

    @classmethod
    def of(
        cls, batch: CropBatch, categories: Sequence[str], kinds: int, device_classes: int
    ) -> Targets:
        """Args: kinds, device_classes: how many of the first categories are of anomalies, and then of devices."""
        shares = batch.counts.float() / PIXELS_A_CELL
        instances = shares[:, FIRST_DEVICE : FIRST_DEVICE + MAX_DEVICES]
        host = instances[torch.arange(len(shares)), batch.device.clamp(min=0)][:, None]
        near = (F.max_pool2d(instances, 3, 1, 1) > 0.5).float().sum(1, keepdim=True)
        # Two instances of different classes may overlap: only where fewer classes than devices are near do devices of one class touch.
        classes = (
            (F.max_pool2d(shares[:, kinds : kinds + device_classes], 3, 1, 1) > 0.5)
            .float()
            .sum(1, keepdim=True)
        )
        return cls(
            shares[:, : len(categories)],
            shares[:, :kinds].amax(1, keepdim=True),
            ((near >= 2) & (near > classes)).float(),
            instances.amax(1, keepdim=True),
            shares[:, IGNORED : IGNORED + 1],
            host,
        )


class DetectorTask:
    """The task that :func:`bagscan.training.loop.run` trains. See :class:`DetectorTaskConfig`.

    Args:
        train, val: packed scenes. kinds, devices: how many of the first categories are those.
        images: ``raw`` or ``colour``; colours are made of the raw crop.
    """

    def __init__(
        self,
        network: DetectorNetwork,
        config: DetectorTaskConfig,
        train: Sequence[PackedScene],
        val: Sequence[PackedScene],
        kinds: int,
        devices: int,
        images: str = "raw",
    ) -> None:
        self.config, self.kinds, self.devices, self.images = config, kinds, devices, images
        self.network = network.to(memory_format=torch.channels_last)
        quicken(self.network)
        self.modules: dict[str, nn.Module] = {"network": network}
        self.views = [view for scene in train for view in scene.views]
        self.anomalous = [
            view for view in self.views if len(view.anomaly_points) and view.host >= 0
        ]
        self.with_devices = [
            (view, k)
            for view in self.views
            for k, points in enumerate(view.device_points)
            if len(points)
        ]
        self.hard: HardPlaces | None = None
        self.val = subsample_evenly(
            [view for scene in val for view in scene.views if view.host >= 0], config.val_views
        )  # of every set alike

    def batch(self, rng: np.random.Generator) -> CropBatch:
        """Crops in the order twins, anomalous alone, benign."""
        config = self.config
        side, n = config.crop_px, config.batch
        if rng.random() < config.large:
            side, n = config.large_px, max(round(n * (side / config.large_px) ** 2), 2)
        features = np.empty((n, N_FEATURES, side, side), np.float32)
        counts = np.empty((n, N_BITS, side // CELL_PX, side // CELL_PX), np.uint8)
        device = np.full(n, -1)
        pairs, alone = round(n * config.twins / 2), round(n * config.alone)
        for k in range(pairs + alone):
            view = self.anomalous[int(rng.integers(len(self.anomalous)))]
            pose = draw_pose(self._place(view.anomaly_points, rng), side, rng, config.scale)
            rows = (2 * k, 2 * k + 1) if k < pairs else (pairs + k,)
            for row, is_anomalous in zip(rows, (True, False), strict=False):
                cut(view, is_anomalous, pose, features[row], counts[row])
                device[row] = view.host
        for row in range(2 * pairs + alone, n):
            view, k = self.with_devices[int(rng.integers(len(self.with_devices)))]
            if rng.random() < config.clutter:
                place, k = rng.random(2) * view.pixels.shape[1:], -1
            elif self.hard and rng.random() < config.hard:
                hard = self.hard.draw(rng)
                view, k, place = hard.view, hard.device, hard.at
            else:
                place = self._place(view.device_points[k], rng)
            cut(view, False, draw_pose(place, side, rng, config.scale), features[row], counts[row])
            device[row] = k
        degrade(features, config.noise, rng)
        features = as_seen(features, self.images)
        return CropBatch(
            torch.from_numpy(features), torch.from_numpy(counts), torch.from_numpy(device)
        )

    @staticmethod
    def _place(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(points[int(rng.integers(len(points)))].astype(float) * LABEL_STRIDE)

    def loss(self, batch: CropBatch) -> tuple[Tensor, dict[str, float]]:
        """The sum of all losses and its parts."""
        with autocast_bf16(compute().device, True):
            maps = self.network(batch.features)
        return self.loss_of(maps, batch)

    def loss_of(self, maps: Maps, batch: CropBatch) -> tuple[Tensor, dict[str, float]]:
        """The same of maps that are there."""
        config = self.config
        target = Targets.of(batch, self.network.config.categories, self.kinds, self.devices)
        has_device = batch.device >= 0
        verdict = self.network.verdict(maps.anomaly, maps.fine, maps.coarse, target.host)
        holds = (target.anomaly * (target.ignored < 0.5)).sum((1, 2, 3)) > MIN_CELL
        verdict_loss = F.binary_cross_entropy_with_logits(
            verdict[has_device], holds[has_device].float()
        )
        where, dice = map_losses(
            maps.anomaly.float(),
            target.anomaly,
            target.devices,
            target.ignored,
            config.anomaly_weight,
            config.outside_weight,
        )
        parts = {
            "map": where + config.dice * dice,
            "categories": self._category_loss(maps, target),
            "contact": F.binary_cross_entropy_with_logits(
                maps.contact.float(), target.contact, pos_weight=torch.tensor(5.0)
            ),
            "verdict": verdict_loss,
        }
        weights = {
            "map": config.map_weight,
            "categories": config.category_weight,
            "contact": config.contact_weight,
            "verdict": config.verdict_weight,
        }
        loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        right = ((verdict[has_device] > 0) == holds[has_device]).float().mean()
        return loss, {name: float(part.detach()) for name, part in parts.items()} | {
            "right": float(right)
        }

    def _category_loss(self, maps: Maps, target: Targets) -> Tensor:
        """Cross-entropy of every category in every cell, what is rare weighted up."""
        shares = target.categories
        cross = F.binary_cross_entropy_with_logits(
            maps.categories.float(), shares, reduction="none"
        )
        rarity = (shares.mean((0, 2, 3)) + 1e-3).rsqrt()
        rarity = 3 * rarity / rarity.mean()
        return (cross * (1 + shares * (rarity[:, None, None] - 1).clamp(min=0))).mean() * 10

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Of whole views with true device masks: AUROC of devices, within the device, and how often its best place is right."""
        self.network.eval()
        truth: list[bool] = []
        scores: list[float] = []
        within: list[float] = []
        hits: list[float] = []
        for view in self.val:
            for is_anomalous in (False, True):
                features, counts = whole_view(view, is_anomalous)
                batch = CropBatch(
                    torch.from_numpy(as_seen(features[None], self.images)),
                    torch.from_numpy(counts.copy())[None],
                    torch.tensor([view.host]),
                )
                target = Targets.of(batch, self.network.config.categories, self.kinds, self.devices)
                with autocast_bf16(compute().device, True):
                    maps = self.network(batch.features)
                if is_anomalous and not view.about["visible"]:
                    continue
                truth.append(is_anomalous)
                scores.append(
                    float(
                        self.network.verdict(maps.anomaly, maps.fine, maps.coarse, target.host)[0]
                    )
                )
                if is_anomalous:
                    self._within(maps.anomaly.float()[0, 0].numpy(), target, within, hits)
        by_view = auroc(np.array(truth), np.array(scores))
        return {"monitor": by_view, "within": float(np.mean(within)), "hit": float(np.mean(hits))}

    @staticmethod
    def _within(
        logits: np.ndarray, target: Targets, within: list[float], hits: list[float]
    ) -> None:
        anomaly, host = target.anomaly[0, 0].numpy(), target.host[0, 0].numpy()
        positive, negative = logits[anomaly > 0.5], logits[(anomaly < 0.1) & (host > 0.5)]
        if len(positive) and len(negative):
            within.append(
                auroc(
                    np.r_[np.ones(len(positive), bool), np.zeros(len(negative), bool)],
                    np.r_[positive, negative],
                )
            )
            hits.append(float(positive.max() >= negative.max()))


def degrade(features: np.ndarray, noise: float, rng: np.random.Generator) -> None:
    """Add up to so much noise to (B, C, H, W) crops: stretches of one long field, since drawing it anew would cost as much as all else."""
    for crop in features:
        start = int(rng.integers(len(NOISE) - crop[:3].size))
        crop[:3] += NOISE[start : start + crop[:3].size].reshape(crop[:3].shape) * np.float32(
            rng.uniform(0, noise)
        )


def map_losses(
    logits: Tensor,
    anomaly: Tensor,
    devices: Tensor,
    ignored: Tensor,
    anomaly_weight: float,
    outside_weight: float,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy by cell, mostly on devices and around, and Dice of anomalous crops.

    Args:
        logits: (B, 1, h, w), as all others. anomaly, devices, ignored: shares of cells. anomaly_weight: of anomalous cells. outside_weight: of cells away from any device.
    """
    near = (F.max_pool2d(devices, 5, 1, 2) > 0.1).float()
    weight = torch.maximum(near, torch.full_like(near, outside_weight)) * (ignored < 0.25)
    weight = torch.maximum(weight, (anomaly > 0.1).float())
    cross = F.binary_cross_entropy_with_logits(logits, anomaly, reduction="none")
    cross = (cross * weight * (1 + anomaly_weight * anomaly)).sum((1, 2, 3)) / weight.sum(
        (1, 2, 3)
    ).clamp(min=20)
    chance = logits.sigmoid() * weight
    overlap = 2 * (chance * anomaly).sum((1, 2, 3)) + 1
    both = chance.square().sum((1, 2, 3)) + anomaly.square().sum((1, 2, 3)) + 1
    holds = (anomaly.sum((1, 2, 3)) > MIN_CELL).float()
    return cross.mean(), ((1 - overlap / both) * holds).sum() / holds.sum().clamp(min=1)
