"""Kind ``multi_label``: training of whole-image classifiers (Dumagpi, Jung & Jeong 2020, phase I).

Other losses and ways to draw batches handle the imbalance of classes.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bagscan.contracts import ClassScorer
from bagscan.core.errors import ConfigError, DataError
from bagscan.datasets.config import DataConfig
from bagscan.evaluation.multi_label import UNKNOWN, ranking_table
from bagscan.model import Model
from bagscan.model_config import ModelConfig
from bagscan.training.compute import compute
from bagscan.training.experiment import LoopExperiment, Scores
from bagscan.training.keeping import model_keeper
from bagscan.training.parts import read_parts
from bagscan.training.samples import Sample, subsample_evenly

log = logging.getLogger(__name__)

DRAW_SEED = 0  # of the negative images that are kept; the same for all runs
LOSSES = ("bce", "weighted", "focal")
CURVES = (
    "map",
    "micro_precision",
    "micro_recall",
    "micro_f1",
    "macro_precision",
    "macro_recall",
    "macro_f1",
)
FOCUS = 2.0  # gamma of Lin et al., "Focal loss for dense object detection" (ICCV 2017)


@dataclass(frozen=True)
class MultiLabelConfig:
    """Settings of the training of a whole-image classifier.

    Attributes:
        negatives: negative images for each positive one, drawn once; 1 is the
            ideal set of Dumagpi et al., 0 takes all.
        positives: largest number of positive images; 0 for all.
        balance: share of each batch that is drawn from positive images, however few there are; 0
            draws from all images with equal chances.
        loss: ``bce``, ``weighted`` (classes by the inverse of their share) or ``focal``.
        batch_size: images per step; the input of the model must be square.
        turn: largest rotation in degrees, in training only.
        zoom: largest relative change of scale, in training only.
        shift: largest shift as a share of the side, in training only.
        validation_scans: largest number of images for validation.
    """

    negatives: float = 1.0
    positives: int = 0
    balance: float = 0.0
    loss: str = "bce"
    batch_size: int = 16
    turn: float = 10.0
    zoom: float = 0.1
    shift: float = 0.05
    validation_scans: int = 400

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        if (
            self.negatives < 0
            or self.positives < 0
            or min(self.batch_size, self.validation_scans) < 1
            or not 0 <= self.balance <= 1
        ):
            raise ValueError(
                "negatives and positives must be at least 0, "
                "batch_size and validation_scans at least 1, balance in [0, 1]"
            )


def label_vector(labels: Mapping[str, int], classes: Sequence[str]) -> np.ndarray:
    """Return (classes,) int labels: 1 present, 0 absent, ``UNKNOWN`` if not annotated."""
    values = [labels.get(name, -1) for name in classes]
    return np.array([1 if v == 1 else UNKNOWN if v == 0 else 0 for v in values])


def label_matrix(samples: Sequence[Sample], classes: Sequence[str]) -> np.ndarray:
    """Return the (n, classes) int labels of samples; see :func:`label_vector`."""
    if not samples:
        return np.zeros((0, len(classes)), int)
    return np.stack([label_vector(s.record.labels, classes) for s in samples])


def ideal_set(labels: np.ndarray, negatives: float, seed: int, positives: int = 0) -> np.ndarray:
    """Choose positive images, and a number of negative ones in proportion.

    Args:
        labels: (n, classes) int, see :func:`label_vector`.
        negatives: negative images for each positive one; 0 takes all.
        seed: seed of the choice.
        positives: largest number of positive images; 0 for all.

    Returns:
        Indices of images in ascending order.

    Raises:
        DataError: no image is positive.
    """
    rng = np.random.default_rng(seed)
    is_positive = (labels == 1).any(1)
    positive, negative = (
        np.flatnonzero(is_positive),
        np.flatnonzero(~is_positive & (labels != UNKNOWN).all(1)),
    )
    if not len(positive):
        raise DataError(
            "no image holds any of the classes; check the labels and the classes of the scorer"
        )
    if positives:
        positive = rng.permutation(positive)[:positives]
    count = len(negative) if not negatives else min(len(negative), round(negatives * len(positive)))
    return np.sort(np.concatenate([positive, rng.permutation(negative)[:count]]))


class MultiLabelTask:
    """Training on augmented images with binary cross-entropy, validated by mean average precision.

    Raises:
        ConfigError: the scorer has no classes, or the input of the model is not square.
        DataError: no training image is positive.
    """

    def __init__(
        self, model: Model, train: Sequence[Sample], val: Sequence[Sample], config: MultiLabelConfig
    ) -> None:
        if not isinstance(model.scorer, ClassScorer):
            raise ConfigError(
                "kind multi_label needs a scorer with classes; use multi_label or gbad"
            )
        if not model.config.input.square:
            raise ConfigError(
                "kind multi_label needs images of one shape; set model.input.square=true"
            )
        self.model, self.config = model.to(compute().device), config
        self.classes = tuple(model.scorer.config.classes)
        indices = ideal_set(
            label_matrix(train, self.classes), config.negatives, DRAW_SEED, config.positives
        )
        self.train = [train[i] for i in indices]
        self.labels = label_matrix(self.train, self.classes)
        self.positive = np.flatnonzero((self.labels == 1).any(1))
        # Keep all positive images: an even subsample of an imbalanced set might have none.
        is_positive = (label_matrix(val, self.classes) == 1).any(1)
        positive = [s for s, has_class in zip(val, is_positive, strict=True) if has_class]
        negative = [s for s, has_class in zip(val, is_positive, strict=True) if not has_class]
        n_negative = max(0, config.validation_scans - len(positive))
        self.val = positive + subsample_evenly(negative, n_negative)
        self.modules: dict[str, nn.Module] = {
            "encoder": model.encoder,
            "scorer": model.scorer.trainable_head,
        }
        share = (self.labels == 1).mean(0).clip(1e-3, 1 - 1e-3)
        self.weight = torch.tensor(
            (1 - share) / share if config.loss == "weighted" else np.ones(len(share)),
            dtype=torch.float32,
            device=model.device,
        )

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        indices = rng.integers(len(self.train), size=self.config.batch_size)
        from_positive = rng.random(len(indices)) < self.config.balance
        indices[from_positive] = self.positive[
            rng.integers(len(self.positive), size=int(from_positive.sum()))
        ]
        squares = torch.stack([augment(self.train[i].pixels(), self.config, rng) for i in indices])
        return squares, torch.from_numpy(self.labels[indices])

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
        pixels, labels = batch
        logits = logits_of(self.model, pixels)
        is_known = (labels != UNKNOWN).float()
        target = (labels == 1).float()
        cross_entropy = F.binary_cross_entropy_with_logits(
            logits, target, pos_weight=self.weight, reduction="none"
        )
        if self.config.loss == "focal":
            probability = torch.exp(-cross_entropy)  # of the true label
            cross_entropy = (1 - probability) ** FOCUS * cross_entropy
        return (cross_entropy * is_known).sum() / is_known.sum().clamp(min=1), {}

    def validate(self) -> dict[str, float]:
        truth, scores = label_matrix(self.val, self.classes), class_scores(self.model, self.val)
        result = ranking_table(truth, scores, self.classes)
        # Training images without augmentation: both curves together show overfitting.
        train = subsample_evenly(self.train, len(self.val))
        train_result = ranking_table(
            label_matrix(train, self.classes), class_scores(self.model, train), self.classes
        )
        curves = {k: float(result[k]) for k in CURVES} | {
            f"train_{k}": float(train_result[k]) for k in CURVES
        }
        return {"monitor": curves["map"] if np.isfinite(curves["map"]) else 0.0, **curves}


def logits_of(model: Model, pixels: Tensor) -> Tensor:
    """Return (B, classes) logits of (B, C, s, s) whole images."""
    logits: Tensor = model.scorer(embed(model, pixels))
    return logits


def embed(model: Model, pixels: Tensor) -> Tensor:
    """Return (B, dim) descriptions of (B, C, s, s) whole images."""
    rows = torch.arange(len(pixels), device=model.device)
    regions = torch.stack([rows, torch.zeros_like(rows)], 1)
    labels = rows.new_zeros(len(pixels), *pixels.shape[-2:])
    embeddings: Tensor = model.encoder(model.normalise(pixels), labels, regions)
    return embeddings


def augment(pixels: np.ndarray, config: MultiLabelConfig, rng: np.random.Generator) -> Tensor:
    """Flip, rotate, zoom and shift an image at random.

    Args:
        pixels: (C, s, s) float32.
        config: strengths.

    Returns:
        (C, s, s) float32; beyond the border, the pixels of the border are repeated.
    """
    angle = np.deg2rad(rng.uniform(-config.turn, config.turn))
    zoom = np.exp(rng.uniform(-config.zoom, config.zoom))
    flip = -1 if rng.random() < 0.5 else 1
    matrix = (
        zoom
        * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        @ np.diag([flip, 1])
    )
    theta = torch.tensor(
        np.column_stack([matrix, rng.uniform(-2 * config.shift, 2 * config.shift, 2)]),
        dtype=torch.float32,
    )
    grid = F.affine_grid(theta[None], [1, 1, *pixels.shape[-2:]], align_corners=False)
    return F.grid_sample(
        torch.from_numpy(pixels)[None], grid, padding_mode="border", align_corners=False
    )[0]


@torch.no_grad()
def embeddings_of(model: Model, samples: Sequence[Sample], batch: int = 32) -> Tensor:
    """Return (n, dim) descriptions of whole images, without augmentation."""
    model.eval()
    parts = [
        embed(model, torch.stack([torch.from_numpy(s.pixels()) for s in samples[i : i + batch]]))
        for i in range(0, len(samples), batch)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, model.encoder.dim, device=model.device)


@torch.no_grad()
def class_scores(model: Model, samples: Sequence[Sample]) -> np.ndarray:
    """Return (n, classes) scores in [0, 1]."""
    assert isinstance(model.scorer, ClassScorer)
    return np.asarray(model.scorer.class_scores(embeddings_of(model, samples)).cpu().numpy())


@dataclass(frozen=True, kw_only=True)
class MultiLabelExperiment(LoopExperiment):
    """Training of a classifier of whole images.

    Attributes:
        data: datasets with labels.
        model: regioner ``whole_image``, encoder ``fpn``, scorer ``multi_label`` with its classes.
        training: see :class:`MultiLabelConfig`.
    """

    kind = "multi_label"
    figures = "The best step has the highest monitor: the mean average precision over classes."
    data: DataConfig
    model: ModelConfig
    training: MultiLabelConfig = field(default_factory=MultiLabelConfig)

    def prepare(self, out: Path) -> tuple[MultiLabelTask, Callable[[Scores], None]]:
        """Prepare the task; see :meth:`LoopExperiment.prepare`."""
        model = Model(self.model)
        parts = read_parts(
            dataclasses.replace(self, model=model.config), self.data, model.config.input, out
        )
        task = MultiLabelTask(model, parts.train, parts.val, self.training)
        positive = int((task.labels == 1).any(1).sum())
        log.info(
            f"{positive} positive and {len(task.labels) - positive} negative training images, "
            f"{len(task.val)} validation images"
        )
        return task, model_keeper(model, parts.split, out)
