"""Training of the detector on packed scenes.

Crops around anomalies are paired with the same crops of their benign twins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bagscan.datasets.packed import LABEL_STRIDE, PackedScene
from bagscan.detector.depthwise import use_fast_depthwise
from bagscan.detector.features import CELL_PX, N_FEATURES, convert_features
from bagscan.detector.network import DetectorNetwork, Maps
from bagscan.detector.sampling import N_BITS, cut, draw_pose, whole_view
from bagscan.evaluation.metrics import auroc
from bagscan.imaging.display import Display, draw_display
from bagscan.training.compute import autocast_bf16, compute
from bagscan.training.detector_targets import MIN_CELL, CropBatch, Targets, map_losses
from bagscan.training.hard_places import HardPlaces
from bagscan.training.samples import subsample_evenly

NOISE = np.random.default_rng(0).standard_normal(1 << 21, np.float32)


@dataclass(frozen=True)
class DetectorTaskConfig:
    """Settings of detector training.

    Attributes:
        crop_px: side of a crop in pixels of the view, a multiple of 64.
        batch: crops per step.
        large_px: side of larger crops, which hold whole devices.
        large: share of steps that use larger crops; fewer of them, so that the area of a batch
            stays the same.
        twins: share of a batch that consists of pairs of twins.
        alone: share of a batch that consists of anomalous crops without their twin; the rest of
            the batch is benign.
        clutter: share of benign crops at random places of the view.
        hard: share of the other benign crops around places that the starting detector takes for
            an anomaly.
        scale: logarithm of the largest change of size.
        noise: largest standard deviation of noise on the features.
        displays: share of crops in pseudo-colour that are shown as other scanners show them; a crop
            and its twin are shown alike.
        map_weight: weight of the loss of the anomaly map.
        dice: weight of the Dice loss within that loss.
        category_weight: weight of the loss of categories.
        contact_weight: weight of the loss of contacts.
        verdict_weight: weight of the loss of verdicts.
        anomaly_weight: additional weight of anomalous cells in the map.
        outside_weight: weight of cells away from any device.
        val_views: largest number of whole views for validation.
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
    displays: float = 0.0
    map_weight: float = 1.0
    dice: float = 0.3
    category_weight: float = 0.5
    contact_weight: float = 0.2
    verdict_weight: float = 0.1
    anomaly_weight: float = 4.0
    outside_weight: float = 0.25
    val_views: int = 400


class DetectorTask:
    """Detector training for :func:`bagscan.training.loop.run`; see :class:`DetectorTaskConfig`.

    Args:
        network: network to train.
        config: settings.
        train: packed scenes for training.
        val: packed scenes for validation.
        kinds: number of kinds of anomalies, the first categories.
        devices: number of device classes, which follow.
        images: ``raw`` or ``colour``; colours are computed from the raw crop.
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
        use_fast_depthwise(self.network)
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
        )

    def batch(self, rng: np.random.Generator) -> CropBatch:
        """Draw crops in the order twins, anomalous crops without their twin, benign crops."""
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
            pose = draw_pose(self._draw_place(view.anomaly_points, rng), side, rng, config.scale)
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
                place = self._draw_place(view.device_points[k], rng)
            cut(view, False, draw_pose(place, side, rng, config.scale), features[row], counts[row])
            device[row] = k
        degrade(features, config.noise, rng)
        displays = self._draw_displays(n, pairs, rng) if self.images == "colour" else None
        features = convert_features(features, self.images, displays)
        return CropBatch(
            torch.from_numpy(features), torch.from_numpy(counts), torch.from_numpy(device)
        )

    def _draw_displays(
        self, n: int, pairs: int, rng: np.random.Generator
    ) -> list[Display | None] | None:
        """Draw a display for some of ``n`` crops, the first of which are ``pairs`` of twins."""
        if not self.config.displays:
            return None
        drawn = [
            draw_display(rng) if rng.random() < self.config.displays else None
            for _ in range(n - pairs)
        ]
        return [display for display in drawn[:pairs] for _ in range(2)] + drawn[pairs:]

    @staticmethod
    def _draw_place(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Pick one of (n, 2) label points and return its row and column in pixels."""
        return np.asarray(points[int(rng.integers(len(points)))].astype(float) * LABEL_STRIDE)

    def loss(self, batch: CropBatch) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted sum of the losses, and each loss."""
        with autocast_bf16(compute().device, True):
            maps = self.network(batch.features)
        return self.loss_of(maps, batch)

    def loss_of(self, maps: Maps, batch: CropBatch) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted sum of the losses of given maps, and each loss."""
        config = self.config
        target = Targets.of(batch, self.network.config.categories, self.kinds, self.devices)
        has_device = batch.device >= 0
        verdict = self.network.verdict(maps.anomaly, maps.fine, maps.coarse, target.host)
        is_anomalous = (target.anomaly * (target.ignored < 0.5)).sum((1, 2, 3)) > MIN_CELL
        verdict_loss = F.binary_cross_entropy_with_logits(
            verdict[has_device], is_anomalous[has_device].float()
        )
        cross_entropy, dice = map_losses(
            maps.anomaly.float(),
            target.anomaly,
            target.devices,
            target.ignored,
            config.anomaly_weight,
            config.outside_weight,
        )
        terms = {
            "map": cross_entropy + config.dice * dice,
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
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        accuracy = ((verdict[has_device] > 0) == is_anomalous[has_device]).float().mean()
        return loss, {name: float(term.detach()) for name, term in terms.items()} | {
            "right": float(accuracy)
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

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Validate on whole views with true device masks.

        Returns:
            ``monitor``: AUROC of devices. ``within``: mean AUROC of cells within a device. ``hit``:
            share of views in which the highest cell of the device is anomalous.
        """
        self.network.eval()
        truth: list[bool] = []
        scores: list[float] = []
        within: list[float] = []
        hits: list[float] = []
        for view in self.val:
            for is_anomalous in (False, True):
                features, counts = whole_view(view, is_anomalous)
                batch = CropBatch(
                    torch.from_numpy(convert_features(features[None], self.images)),
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
    """Add noise to (B, C, H, W) crops in place, with a random standard deviation up to ``noise``.

    The noise is a random stretch of one fixed field, since drawing a new field is slow. Only the
    first three features get noise.
    """
    for crop in features:
        start = int(rng.integers(len(NOISE) - crop[:3].size))
        crop[:3] += NOISE[start : start + crop[:3].size].reshape(crop[:3].shape) * np.float32(
            rng.uniform(0, noise)
        )
