"""Train a superpixel sampling network on segmented images (SSN, section 4.2; paper A, section II-B)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bagscan.core import View
from bagscan.datasets import bsds500
from bagscan.datasets.bsds500 import SegmentedImage
from bagscan.datasets.record import located
from bagscan.evaluation.superpixels import superpixel_scores
from bagscan.regions.ssn import SSN
from bagscan.regions.superpixels import Config as SSNConfig
from bagscan.training.compute import compute
from bagscan.training.experiment import LoopExperiment, Report, Scores
from bagscan.training.keeping import weights_keeper
from bagscan.training.losses import compactness_loss, label_reconstruction_loss
from bagscan.training.resolved import save_resolved


@dataclass(frozen=True)
class SSNTrainingConfig:
    """How SSN is trained on segmented images.

    Attributes:
        batch_size, patch_px: patches per step and their side (6 and 201 in SSN).
        cell_px: range of superpixel sides drawn per step, so that one network serves many counts.
        scale: range of resizing.
        compactness: lambda (1e-5 in SSN, 1e-4 in paper A).
        annotators: segmentations averaged per patch; SSN draws one.
        validation_counts, validation_images: superpixels and images of the check while training.
    """

    batch_size: int = 4
    patch_px: int = 200
    cell_px: tuple[int, int] = (12, 26)
    scale: tuple[float, float] = (0.75, 1.5)
    compactness: float = 1e-5
    annotators: int = 2
    validation_counts: tuple[int, ...] = (235,)
    validation_images: int = 25


class SSNTask:
    """Patches of segmented images in, reconstruction and compactness losses out."""

    def __init__(
        self,
        ssn: SSN,
        train: Sequence[SegmentedImage],
        val: Sequence[SegmentedImage],
        config: SSNTrainingConfig,
    ) -> None:
        self.modules: dict[str, nn.Module] = {"ssn": ssn.to(compute().device)}
        self.ssn, self.train, self.val, self.config = ssn, train, val, config

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, int]:
        """rgb (B, 3, P, P) in [0, 1], labels (B, A, P, P) int64, number of superpixels."""
        config = self.config
        drawn = [
            self._patch(self.train[int(rng.integers(len(self.train)))], rng)
            for _ in range(config.batch_size)
        ]
        cell = rng.uniform(*config.cell_px)
        rgb, labels = (torch.stack(part) for part in zip(*drawn, strict=True))
        return rgb, labels, max(4, round((config.patch_px / cell) ** 2))

    def _patch(self, image: SegmentedImage, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        size = self.config.patch_px
        low, high = self.config.scale
        height, width = image.rgb.shape[:2]
        scale = max(rng.uniform(low, high), size / height, size / width)
        side = min(int(size / scale), height, width)
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        window = np.s_[top : top + side, left : left + side]
        chosen = rng.choice(
            len(image.segmentations),
            self.config.annotators,
            replace=len(image.segmentations) < self.config.annotators,
        )
        rgb = torch.from_numpy(image.rgb[window].copy()).permute(2, 0, 1)[None].float() / 255
        labels = torch.from_numpy(np.stack([image.segmentations[i][window] for i in chosen]))[
            None
        ].float()
        rgb = F.interpolate(rgb, size=(size, size), mode="bilinear", align_corners=False)
        labels = F.interpolate(labels, size=(size, size), mode="nearest")
        if rng.random() < 0.5:
            rgb, labels = rgb.flip(-1), labels.flip(-1)
        return rgb[0], labels[0].long()

    def loss(self, batch: tuple[Tensor, Tensor, int]) -> tuple[Tensor, dict[str, float]]:
        rgb, labels, n_superpixels = batch
        q, grid, features = self.ssn(
            self.ssn.prepare(rgb, "pseudo_colour", ("red", "green", "blue")), n_superpixels
        )
        labels = F.interpolate(
            labels.float(), size=(grid.height, grid.width), mode="nearest"
        ).long()  # of a network that works at 1/stride
        reconstruction = torch.stack(
            [label_reconstruction_loss(q, grid, labels[:, a]) for a in range(labels.shape[1])]
        ).mean()
        compact = compactness_loss(q, grid, features[:, :2])
        parts = {
            "reconstruction": float(reconstruction.detach()),
            "compactness": float(compact.detach()),
        }
        return reconstruction + self.config.compactness * compact, parts

    def validate(self) -> dict[str, float]:
        self.ssn.eval()
        chosen = self.val[: self.config.validation_images]
        scores = {
            f"asa_{k}": evaluate_superpixels(self.ssn.regions, chosen, k)
            for k in self.config.validation_counts
        }
        flat: dict[str, float] = {k: v["asa"] for k, v in scores.items()}
        return {
            "monitor": float(np.mean(list(flat.values()))),
            **flat,
            "count": next(iter(scores.values()))["count"],
        }


def evaluate_superpixels(
    segment: Callable[..., Any], images: Sequence[SegmentedImage], n_superpixels: int
) -> dict[str, float]:
    """Mean superpixel scores of ``segment(view, n_superpixels)`` over images."""
    rows = []
    for image in images:
        pixels = np.ascontiguousarray(image.rgb.transpose(2, 0, 1), dtype=np.float32) / 255
        regions = segment(View(pixels, ("red", "green", "blue"), "pseudo_colour"), n_superpixels)
        rows.append(superpixel_scores(regions.labels, image.segmentations))
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


@dataclass(frozen=True, kw_only=True)
class SegmentationExperiment(LoopExperiment):
    """An SSN trained on segmented images; its best weights are ``regioner.safetensors``, for ``init_regioner``.

    Attributes:
        root: holds BSDS500's ``images`` and ``groundTruth``; relative to the data folder.
        regioner, training, loop: see :class:`bagscan.regions.ssn.Config`, :class:`SSNTrainingConfig` and :class:`LoopConfig`.
        threads: of torch; 0 for this process's share of the cores.
    """

    kind = "ssn"
    figures = "The best step is the one with the highest monitor: the mean achievable segmentation accuracy (ASA) of its superpixels."
    written = "regioner.safetensors"
    root: str
    regioner: SSNConfig = field(default_factory=SSNConfig)
    training: SSNTrainingConfig = field(default_factory=SSNTrainingConfig)

    def prepare(self, out: Path, report: Report) -> tuple[SSNTask, Callable[[Scores], None]]:
        """See :meth:`LoopExperiment.prepare`."""
        ssn = SSN(self.regioner)
        save_resolved(self, self.kind, out)
        root = located(self.root)
        return SSNTask(
            ssn, bsds500.load(root, "train"), bsds500.load(root, "val"), self.training
        ), weights_keeper(ssn, out / self.written)
