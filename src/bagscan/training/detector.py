"""Training of the detector on packed scenes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bagscan.datasets.packed import PackedScene
from bagscan.detector.depthwise import use_fast_depthwise
from bagscan.detector.features import CELL_PX, convert_features
from bagscan.detector.inference import Categories
from bagscan.detector.network import DetectorNetwork, Maps
from bagscan.detector.sampling import whole_view
from bagscan.evaluation.metrics import auroc
from bagscan.training.compute import autocast_bf16, compute, move_batch
from bagscan.training.detector_config import DetectorTaskConfig
from bagscan.training.detector_crops import CropSampler
from bagscan.training.detector_loss import SingleViewLoss
from bagscan.training.detector_targets import CropBatch, Targets
from bagscan.training.normalisation import estimating
from bagscan.training.samples import subsample_evenly

MIN_FEATURE = 0.05  # mean first feature of a cell above which it is not air


class DetectorTask:
    """Detector training for :func:`bagscan.training.loop.run`; see :class:`DetectorTaskConfig`.

    Args:
        network: network to train.
        config: settings.
        train: packed scenes for training.
        val: packed scenes for validation.
        numbers: numbers of categories of each sort.
        images: ``raw`` or ``colour``; colours are computed from the raw crop.
    """

    def __init__(
        self,
        network: DetectorNetwork,
        config: DetectorTaskConfig,
        train: Sequence[PackedScene],
        val: Sequence[PackedScene],
        numbers: Categories,
        images: str = "raw",
    ) -> None:
        self.config, self.numbers, self.images = config, numbers, images
        self.network = network.to(compute().device).to(memory_format=torch.channels_last)
        use_fast_depthwise(self.network)
        if config.backbone == "frozen":
            self.network.backbone.requires_grad_(False)
        self.losses = SingleViewLoss(
            network,
            numbers,
            config.verdict_weight,
            config.category_weight,
            boxes=config.item_labels == "boxes",
        )
        self.modules: dict[str, nn.Module] = {"network": network}
        items = range(numbers.of_items.start, numbers.of_items.stop)
        self.crops = CropSampler(config, train, items, images)
        self.val = subsample_evenly(
            [view for scene in val for view in scene.views if view.host >= 0], config.val_views
        )

    def batch(self, rng: np.random.Generator) -> CropBatch:
        """Draw crops, see :meth:`CropSampler.draw`."""
        return self.crops.draw(rng)

    def loss(self, batch: CropBatch) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted sum of the losses, and each loss."""
        if self.config.backbone != "trained":
            self.network.backbone.eval()  # the loop switches all modules to training
        with autocast_bf16(compute().device):
            maps = self.network(batch.features)
        return self.losses(maps, batch)

    def estimate_statistics(self, batches: int = 12) -> None:
        """Estimate the statistics of the backbone's batch normalisation on crops."""
        rng = np.random.default_rng(1)
        with estimating(self.network.backbone):
            for _ in range(batches):
                self.network(move_batch(self.batch(rng), compute().device).features)

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Validate on whole views with true device masks.

        Returns:
            ``devices``: AUROC of devices. ``within``: mean AUROC of cells within a device.
            ``hit``: share of views in which the highest cell of the device is anomalous.
            ``prohibited``: mean over classes of prohibited items of the AUROC of cells, absent
            without such items. ``monitor``: AUROC of devices, or its mean with ``prohibited``.
        """
        self.network.eval()
        truth: list[bool] = []
        scores: list[float] = []
        within: list[float] = []
        hits: list[float] = []
        items: list[tuple[np.ndarray, np.ndarray]] = []
        for view in self.val:
            for is_anomalous in (False, True):
                features, counts = whole_view(view, is_anomalous)
                batch = move_batch(
                    CropBatch(
                        torch.from_numpy(convert_features(features[None], self.images)),
                        torch.from_numpy(counts.copy())[None],
                        torch.tensor([view.host]),
                    ),
                    compute().device,
                )
                target = Targets.of(batch, self.network.config.categories, self.numbers)
                with autocast_bf16(compute().device):
                    maps = self.network(batch.features)
                if not is_anomalous and self.numbers.prohibited:
                    items.append(self._foreground_cells(batch, maps, target))
                if is_anomalous and not view.about["visible"]:
                    continue
                truth.append(is_anomalous)
                scores.append(
                    float(
                        self.network.verdict(maps.anomaly, maps.fine, maps.coarse, target.host)[0]
                    )
                )
                if is_anomalous:
                    self._within(maps.anomaly.float()[0, 0].cpu().numpy(), target, within, hits)
        parts = {"devices": auroc(np.array(truth), np.array(scores))}
        if math.isfinite(prohibited := mean_class_auroc(items)):
            parts["prohibited"] = prohibited
        return {
            "monitor": float(np.mean(list(parts.values()))),
            **parts,
            "within": float(np.mean(within)),
            "hit": float(np.mean(hits)),
        }

    def _foreground_cells(
        self, batch: CropBatch, maps: Maps, target: Targets
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (cells, classes) shares and logits of prohibited items in cells without air."""
        foreground = F.avg_pool2d(batch.features[:, :1], CELL_PX)[0, 0] > MIN_FEATURE
        own = self.numbers.of_items
        shares, logits = target.categories[0, own], maps.categories[0, own].float()
        return shares[:, foreground].T.cpu().numpy(), logits[:, foreground].T.cpu().numpy()

    @staticmethod
    def _within(
        logits: np.ndarray, target: Targets, within: list[float], hits: list[float]
    ) -> None:
        anomaly, host = target.anomaly[0, 0].cpu().numpy(), target.host[0, 0].cpu().numpy()
        positive, negative = logits[anomaly > 0.5], logits[(anomaly < 0.1) & (host > 0.5)]
        if len(positive) and len(negative):
            within.append(
                auroc(
                    np.r_[np.ones(len(positive), bool), np.zeros(len(negative), bool)],
                    np.r_[positive, negative],
                )
            )
            hits.append(float(positive.max() >= negative.max()))


def mean_class_auroc(cells: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the mean over classes of the AUROC of cells; NaN without a class in them.

    Args:
        cells: (n, classes) shares and logits of the cells of each view. A cell is positive if at
            least half belongs to the class, negative if at most a tenth does.
    """
    if not cells:
        return float("nan")
    shares, logits = (np.concatenate(arrays) for arrays in zip(*cells, strict=True))
    of_class = []
    for share, logit in zip(shares.T, logits.T, strict=True):
        counted = (share >= 0.5) | (share <= 0.1)
        if (share >= 0.5).any():
            of_class.append(auroc(share[counted] >= 0.5, logit[counted]))
    return float(np.mean(of_class)) if of_class else float("nan")
