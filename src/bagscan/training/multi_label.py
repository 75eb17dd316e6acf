"""Multi-label training of a whole-image classifier: phase I of GBAD (report B), and the ways to meet imbalance beside it."""

from __future__ import annotations

import dataclasses
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
from bagscan.training.experiment import LoopExperiment, Report, Scores
from bagscan.training.keeping import model_keeper
from bagscan.training.parts import read_parts
from bagscan.training.samples import Sample, subsample_evenly

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
    """How a whole-image classifier is trained.

    Attributes:
        negatives: for each positive image, drawn once with ``draw_seed``: 1 is the ideal set of report B; 0 takes all.
        positives: images at most, 0 for all. draw_seed: of that choice.
        balance: share of every batch drawn from positive images, whatever their number; 0 draws all alike.
        loss: ``bce``, ``weighted`` (classes by the inverse of their share) or ``focal``.
        batch_size: images a step; the model's input must be square.
        turn, zoom, shift: largest rotation in degrees, relative change of scale, and shift as a share of the side; training only.
        validation_scans: at most.
    """

    negatives: float = 1.0
    positives: int = 0
    draw_seed: int = 0
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
                "negatives and positives must be 0 or more, batch_size and validation_scans 1 or more, balance a share"
            )


def label_vector(labels: Mapping[str, int], classes: Sequence[str]) -> np.ndarray:
    """(classes,) 1 where there is one, 0 where there is none, ``UNKNOWN`` where nobody knows."""
    result = [labels.get(name, -1) for name in classes]
    return np.array([1 if v == 1 else UNKNOWN if v == 0 else 0 for v in result])


def label_matrix(samples: Sequence[Sample], classes: Sequence[str]) -> np.ndarray:
    """(n, classes) of :func:`label_vector`."""
    return (
        np.stack([label_vector(s.record.labels, classes) for s in samples])
        if samples
        else np.zeros((0, len(classes)), int)
    )


def ideal_set(labels: np.ndarray, negatives: float, seed: int, positives: int = 0) -> np.ndarray:
    """Indices of images: those with any class, and so many times as many without; in their order.

    Args:
        labels: (n, classes). negatives: for each positive; 0 takes all. positives: at most; 0 for all.

    Raises:
        DataError: no positive image.
    """
    rng = np.random.default_rng(seed)
    has = (labels == 1).any(1)
    with_any, without = np.flatnonzero(has), np.flatnonzero(~has & (labels != UNKNOWN).all(1))
    if not len(with_any):
        raise DataError("no image holds any of the classes")
    if positives:
        with_any = rng.permutation(with_any)[:positives]
    wanted = len(without) if not negatives else min(len(without), round(negatives * len(with_any)))
    return np.sort(np.concatenate([with_any, rng.permutation(without)[:wanted]]))


class MultiLabelTask:
    """Augmented squares in, mean binary cross-entropy out; validated by mAP."""

    def __init__(
        self, model: Model, train: Sequence[Sample], val: Sequence[Sample], config: MultiLabelConfig
    ) -> None:
        if not isinstance(model.scorer, ClassScorer):
            raise ConfigError("kind multi_label needs a scorer of classes: multi_label or gbad")
        if not model.config.input.square:
            raise ConfigError(
                "kind multi_label needs model.input.square=true: images of a batch are of one shape, in training as in use"
            )
        self.model, self.config = model.to(compute().device), config
        self.classes = tuple(model.scorer.config.classes)
        chosen = ideal_set(
            label_matrix(train, self.classes), config.negatives, config.draw_seed, config.positives
        )
        self.train = [train[i] for i in chosen]
        self.labels = label_matrix(self.train, self.classes)
        self.positive = np.flatnonzero((self.labels == 1).any(1))
        # All positives, and of the others as many as there is room for: a plain draw from a skewed set would hold none.
        has = (label_matrix(val, self.classes) == 1).any(1)
        room = max(0, config.validation_scans - int(has.sum()))
        self.val = [s for s, one in zip(val, has, strict=True) if one] + subsample_evenly(
            [s for s, one in zip(val, has, strict=True) if not one], room
        )
        self.modules: dict[str, nn.Module] = {
            "encoder": model.encoder,
            "scorer": model.scorer.learnt,
        }
        share = (self.labels == 1).mean(0).clip(1e-3, 1 - 1e-3)
        self.weight = torch.tensor(
            (1 - share) / share if config.loss == "weighted" else np.ones(len(share)),
            dtype=torch.float32,
            device=model.device,
        )

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        chosen = rng.integers(len(self.train), size=self.config.batch_size)
        from_positive = rng.random(len(chosen)) < self.config.balance
        chosen[from_positive] = self.positive[
            rng.integers(len(self.positive), size=int(from_positive.sum()))
        ]
        squares = torch.stack([augmented(self.train[i].pixels(), self.config, rng) for i in chosen])
        return squares, torch.from_numpy(self.labels[chosen])

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
        pixels, labels = batch
        logits = logits_of(self.model, pixels)
        known = (labels != UNKNOWN).float()
        target = (labels == 1).float()
        each = F.binary_cross_entropy_with_logits(
            logits, target, pos_weight=self.weight, reduction="none"
        )
        if self.config.loss == "focal":
            right = torch.exp(-each)  # probability of the truth
            each = (1 - right) ** FOCUS * each
        return (each * known).sum() / known.sum().clamp(min=1), {}

    def validate(self) -> dict[str, float]:
        truth, scores = label_matrix(self.val, self.classes), class_scores(self.model, self.val)
        result = ranking_table(truth, scores, self.classes)
        # Beside them training images as they are, so that curves show where one leaves the other (report B).
        seen = subsample_evenly(self.train, len(self.val))
        own = ranking_table(
            label_matrix(seen, self.classes), class_scores(self.model, seen), self.classes
        )
        keep = {k: float(result[k]) for k in CURVES} | {f"train_{k}": float(own[k]) for k in CURVES}
        return {"monitor": keep["map"] if np.isfinite(keep["map"]) else 0.0, **keep}


def logits_of(model: Model, pixels: Tensor) -> Tensor:
    """(B, C, s, s) whole images -> (B, classes) logits."""
    logits: Tensor = model.scorer(embed(model, pixels))
    return logits


def embed(model: Model, pixels: Tensor) -> Tensor:
    """(B, C, s, s) whole images -> (B, dim)."""
    rows = torch.arange(len(pixels), device=model.device)
    chosen = torch.stack([rows, torch.zeros_like(rows)], 1)
    whole = rows.new_zeros(len(pixels), *pixels.shape[-2:])
    found: Tensor = model.encoder(model.normalise(pixels), whole, chosen)
    return found


def augmented(pixels: np.ndarray, config: MultiLabelConfig, rng: np.random.Generator) -> Tensor:
    """(C, s, s) flipped, and a little turned, zoomed and shifted; what comes in at the border is as what is there."""
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
    """(n, dim) descriptions of whole images, as they are: nothing is augmented in use."""
    model.eval()
    parts = [
        embed(model, torch.stack([torch.from_numpy(s.pixels()) for s in samples[i : i + batch]]))
        for i in range(0, len(samples), batch)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, model.encoder.dim, device=model.device)


@torch.no_grad()
def class_scores(model: Model, samples: Sequence[Sample]) -> np.ndarray:
    """(n, classes) in [0, 1]."""
    assert isinstance(model.scorer, ClassScorer)
    return np.asarray(model.scorer.by_class(embeddings_of(model, samples)).cpu().numpy())


@dataclass(frozen=True, kw_only=True)
class MultiLabelExperiment(LoopExperiment):
    """Phase I.

    Attributes:
        data: scans with labels. model: regioner ``whole_image``, encoder ``fpn``, scorer ``multi_label`` with its classes.
        training, loop: see :class:`MultiLabelConfig` and :class:`LoopConfig`. threads: of torch; 0 for this process's share of the cores.
    """

    kind = "multi_label"
    figures = "The best step is the one with the highest monitor: the mean average precision over classes."
    data: DataConfig
    model: ModelConfig
    training: MultiLabelConfig = field(default_factory=MultiLabelConfig)

    def prepare(self, out: Path, report: Report) -> tuple[MultiLabelTask, Callable[[Scores], None]]:
        """See :meth:`LoopExperiment.prepare`."""
        model = Model(self.model)
        parts = read_parts(
            dataclasses.replace(self, model=model.config), self.data, model, out, report
        )
        task = MultiLabelTask(model, parts.train, parts.val, self.training)
        positive = int((task.labels == 1).any(1).sum())
        report(
            f"{positive} positive and {len(task.labels) - positive} negative images to train on, {len(task.val)} for validation"
        )
        return task, model_keeper(model, parts.split, out)
