"""Kind ``ssn``: training of superpixel sampling networks on segmented images (SSN, section 4.2)."""

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
from bagscan.datasets.record import locate
from bagscan.evaluation.superpixels import superpixel_scores
from bagscan.regions.ssn import SSN
from bagscan.regions.superpixels import Config as SSNConfig
from bagscan.training.compute import compute
from bagscan.training.experiment import LoopExperiment, Scores
from bagscan.training.keeping import weights_keeper
from bagscan.training.losses import compactness_loss, label_reconstruction_loss
from bagscan.training.resolved import save_resolved

ANNOTATORS = 2  # segmentations averaged per patch; Jampani et al. draw a single one


@dataclass(frozen=True)
class SSNTrainingConfig:
    """Settings of the training of SSN on segmented images.

    Attributes:
        batch_size: patches per step (6 in SSN).
        patch_px: side of a patch (201 in SSN).
        cell_px: smallest and largest side of superpixels, drawn per step so that one network
            serves many counts.
        scale: lowest and highest factor of resizing.
        compactness: weight lambda of the compactness loss (1e-5 in SSN, 1e-4 in Bhowmik & Breckon).
        validation_counts: numbers of superpixels in validation.
        validation_images: largest number of images in validation.
    """

    batch_size: int = 4
    patch_px: int = 200
    cell_px: tuple[int, int] = (12, 26)
    scale: tuple[float, float] = (0.75, 1.5)
    compactness: float = 1e-5
    validation_counts: tuple[int, ...] = (235,)
    validation_images: int = 25


class SSNTask:
    """Training of SSN on patches, with reconstruction and compactness losses."""

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
        """Draw patches.

        Returns:
            (B, 3, P, P) float32 rgb in [0, 1], (B, A, P, P) int64 labels, number of superpixels.
        """
        config = self.config
        patches = [
            self._patch(self.train[int(rng.integers(len(self.train)))], rng)
            for _ in range(config.batch_size)
        ]
        cell = rng.uniform(*config.cell_px)
        rgb, labels = (torch.stack(part) for part in zip(*patches, strict=True))
        return rgb, labels, max(4, round((config.patch_px / cell) ** 2))

    def _patch(self, image: SegmentedImage, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        size = self.config.patch_px
        low, high = self.config.scale
        height, width = image.rgb.shape[:2]
        scale = max(rng.uniform(low, high), size / height, size / width)
        side = min(int(size / scale), height, width)
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        window = np.s_[top : top + side, left : left + side]
        annotators = rng.choice(
            len(image.segmentations),
            ANNOTATORS,
            replace=len(image.segmentations) < ANNOTATORS,
        )
        rgb = torch.from_numpy(image.rgb[window].copy()).permute(2, 0, 1)[None].float() / 255
        labels = torch.from_numpy(np.stack([image.segmentations[i][window] for i in annotators]))[
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
        # The network works at 1/stride.
        labels = F.interpolate(
            labels.float(), size=(grid.height, grid.width), mode="nearest"
        ).long()
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
        images = self.val[: self.config.validation_images]
        scores = {
            f"asa_{k}": evaluate_superpixels(self.ssn.regions, images, k)
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
    """Return mean superpixel scores of ``segment(view, n_superpixels)`` over images."""
    rows = []
    for image in images:
        pixels = np.ascontiguousarray(image.rgb.transpose(2, 0, 1), dtype=np.float32) / 255
        regions = segment(View(pixels, ("red", "green", "blue"), "pseudo_colour"), n_superpixels)
        rows.append(superpixel_scores(regions.labels, image.segmentations))
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


@dataclass(frozen=True, kw_only=True)
class SegmentationExperiment(LoopExperiment):
    """Training of an SSN on segmented images.

    Its best weights are written to ``regioner.safetensors``, which ``init_regioner`` reads.

    Attributes:
        root: directory with ``images`` and ``groundTruth`` of BSDS500, in the data directory.
        regioner: see :class:`bagscan.regions.ssn.Config`.
        training: see :class:`SSNTrainingConfig`.
    """

    kind = "ssn"
    figures = (
        "The best step has the highest monitor: "
        "the mean achievable segmentation accuracy (ASA) of superpixels."
    )
    written = "regioner.safetensors"
    root: str
    regioner: SSNConfig = field(default_factory=SSNConfig)
    training: SSNTrainingConfig = field(default_factory=SSNTrainingConfig)

    def prepare(self, out: Path) -> tuple[SSNTask, Callable[[Scores], None]]:
        """Prepare the task; see :meth:`LoopExperiment.prepare`."""
        ssn = SSN(self.regioner)
        save_resolved(self, self.kind, out)
        root = locate(self.root)
        train, val = bsds500.load(root, "train"), bsds500.load(root, "val")
        return SSNTask(ssn, train, val, self.training), weights_keeper(ssn, out / self.written)
