"""Training and evaluation of item detectors (Bhowmik & Breckon, section II-A).

Mask R-CNN predicts boxes and masks, Faster R-CNN boxes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bagscan.contracts import Finder
from bagscan.core.errors import ConfigError
from bagscan.datasets.config import DataConfig, load_or_make_split, load_records, part_records
from bagscan.evaluation.detection import coco_scores
from bagscan.model import Model
from bagscan.model_config import InputConfig, ModelConfig
from bagscan.training.compute import compute
from bagscan.training.experiment import LoopExperiment, Scores
from bagscan.training.joint_experiment import load_regioner
from bagscan.training.keeping import weights_keeper
from bagscan.training.parts import read_parts
from bagscan.training.samples import Sample, load_samples, subsample_evenly

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DetectionTrainingConfig:
    """Settings of the training of an item detector.

    Attributes:
        batch_size: views per step; each is turned and flipped at random.
        gain: largest relative change of brightness.
        validation_scans: largest number of views that are evaluated during training.
    """

    batch_size: int = 4
    gain: float = 0.05
    validation_scans: int = 40

    def __post_init__(self) -> None:
        if min(self.batch_size, self.validation_scans) < 1 or self.gain < 0:
            raise ValueError("batch_size and validation_scans must be at least 1, gain at least 0")


class DetectionTask:
    """Training of an item detector with its own losses, validated by COCO average precision.

    Raises:
        ConfigError: the regioner of the model is not a detector.
    """

    def __init__(
        self,
        model: Model,
        train: Sequence[Sample],
        val: Sequence[Sample],
        config: DetectionTrainingConfig,
    ) -> None:
        if not isinstance(model.regioner, Finder):
            raise ConfigError(
                f"regioner {model.config.regioner['name']!r} is not a detector; "
                "use mask_rcnn or faster_rcnn"
            )
        model.to(compute().device)
        self.regioner, self.model, self.config = model.regioner, model, config
        self.modules: dict[str, nn.Module] = {"regioner": model.regioner}
        self.train = [s for s in train if s.annotations]
        self.val = subsample_evenly(val, config.validation_scans)
        self.classes = list(model.regioner.config.classes)

    def batch(self, rng: np.random.Generator) -> list[tuple[Tensor, dict[str, Tensor]]]:
        """Draw prepared views (C, h, w), each with boxes, labels and masks of its items."""
        return [
            self._draw(self.train[int(rng.integers(len(self.train)))], rng)
            for _ in range(self.config.batch_size)
        ]

    def _draw(self, sample: Sample, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        stride, turn, flip = self.regioner.config.stride, int(rng.integers(4)), rng.random() < 0.5
        gain = 1 + self.config.gain * rng.uniform(-1, 1)
        pixels = self.regioner.prepare(
            torch.from_numpy(sample.pixels())[None] * gain, sample.view.channels
        )[0]
        masks = F.max_pool2d(
            torch.from_numpy(sample.masks()).float()[None], stride, ceil_mode=True
        )[0]
        planes = torch.cat([pixels, masks]).rot90(turn, (1, 2))
        planes = planes.flip(2) if flip else planes
        pixels, masks = planes[: len(pixels)].contiguous(), planes[len(pixels) :].bool()
        labels = torch.tensor(
            [
                1 + (self.classes.index(a.label) if a.label in self.classes else 0)
                for a in sample.annotations
            ]
        )
        boxes = torch.stack([_box(mask) for mask in masks])
        # No anchor matches a thinner box.
        wide = (boxes[:, 2:] - boxes[:, :2]).amin(1) >= 2
        return pixels, {
            "boxes": boxes[wide],
            "labels": labels[wide],
            "masks": masks[wide].to(torch.uint8),
        }

    def loss(
        self, batch: list[tuple[Tensor, dict[str, Tensor]]]
    ) -> tuple[Tensor, dict[str, float]]:
        images, targets = zip(*batch, strict=True)
        parts: dict[str, Tensor] = self.regioner.detector(list(images), list(targets))
        return torch.stack(list(parts.values())).sum(), {
            name.removeprefix("loss_"): float(value.detach()) for name, value in parts.items()
        }

    def validate(self) -> dict[str, float]:
        scores = evaluate_detections(self.model, self.val)
        flat = {f"{kind}_{name}": scores[kind][name] for kind in scores for name in ("ap", "ap_50")}
        kind = "mask" if self.regioner.config.masks else "box"
        return {"monitor": scores.get(kind, scores["box"])["ap"], **flat}


def _box(mask: Tensor) -> Tensor:
    """Return the (4,) float xyxy box of a (H, W) bool mask; zeros if the mask is empty."""
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    if not len(rows):
        return torch.zeros(4)
    return torch.stack([columns[0, 0], rows[0, 0], columns[-1, 0] + 1, rows[-1, 0] + 1]).float()


def evaluate_detections(model: Model, samples: Sequence[Sample]) -> dict[str, Any]:
    """Return the COCO average precision of boxes and masks of a model's item detector."""
    detections, finder = [], model.regioner
    assert isinstance(finder, Finder)
    for number, sample in enumerate(samples, 1):
        detections.append(finder.detect(sample.full_view()))
        if number % 25 == 0:
            log.info(f"searched {number} of {len(samples)} views")
    return coco_scores(
        [s.annotations for s in samples], detections, [s.counts.shape[-2:] for s in samples]
    )


@dataclass(frozen=True, kw_only=True)
class DetectionExperiment(LoopExperiment):
    """Training of an item detector, Mask R-CNN or Faster R-CNN.

    Its best weights are written to ``regioner.safetensors``, which ``init_regioner`` reads.

    Attributes:
        data: datasets; the detector learns to find their annotated items.
        input: what views the model takes, see :class:`InputConfig`.
        regioner: name and settings of the detector, ``{name: mask_rcnn, ...}``.
        training: see :class:`DetectionTrainingConfig`.
    """

    kind = "detection"
    figures = (
        "The best step has the highest monitor: COCO's average precision of masks, "
        "or of boxes if there are no masks."
    )
    written = "regioner.safetensors"
    data: DataConfig
    input: InputConfig = field(default_factory=InputConfig)
    regioner: dict[str, Any] = field(default_factory=lambda: {"name": "mask_rcnn"})
    training: DetectionTrainingConfig = field(default_factory=DetectionTrainingConfig)

    def model(self) -> Model:
        """Return a model with the detector as its regioner, and a minimal encoder and scorer."""
        return Model(
            ModelConfig(
                self.input,
                self.regioner,
                {"name": "crop", "backbone": "test_resnet", "size_px": 32},
            )
        )

    def prepare(self, out: Path) -> tuple[DetectionTask, Callable[[Scores], None]]:
        """Prepare the task; see :meth:`LoopExperiment.prepare`."""
        model = self.model()
        parts = read_parts(self, self.data, model.config.input, out)
        return DetectionTask(model, parts.train, parts.val, self.training), weights_keeper(
            model.regioner, out / self.written
        )


def detection_samples(
    experiment: DetectionExperiment, run_folder: Path, part: str
) -> tuple[Model, list[Sample]]:
    """Load a trained detector and the views of one split."""
    model = experiment.model()
    load_regioner(model, run_folder / experiment.written)
    records = load_records(experiment.data)
    split = load_or_make_split(experiment.data, records, run_folder)
    return model, load_samples(
        part_records(experiment.data, records, split, part), model.config.input, split.sha256
    )
