"""An experiment: data, model and training of one YAML file, and the folder it writes.

A run folder holds ``config.yaml`` (resolved), ``split.json``, ``log.jsonl``,
``checkpoint.safetensors`` and ``model/``. Starting it again with the same line resumes it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from bagscan.config import apply_settings, fill, read_yaml
from bagscan.core.errors import ConfigError
from bagscan.core.machine import usable_cores
from bagscan.datasets import bsds500
from bagscan.datasets.record import Record, data_folder
from bagscan.datasets.splits import Split
from bagscan.evaluation.items import Judged
from bagscan.evaluation.within_bag import BagResult
from bagscan.model import Model
from bagscan.model_config import InputConfig, ModelConfig
from bagscan.regions.ssn import SSN
from bagscan.regions.ssn import Config as SSNConfig
from bagscan.training.data import DataConfig, load_records, obtain_split, part_records
from bagscan.training.detection import DetectionTask, DetectionTrainingConfig
from bagscan.training.detector_experiment import DetectorExperiment, train_detector
from bagscan.training.joint import JointTask, judge_samples
from bagscan.training.joint_config import JointConfig
from bagscan.training.judging import verdicts
from bagscan.training.loop import run
from bagscan.training.multi_label import MultiLabelExperiment, train_multi_label
from bagscan.training.one_class import OneClassExperiment, train_one_class
from bagscan.training.resolved import save_resolved
from bagscan.training.samples import Sample, load_samples
from bagscan.training.ssn import SSNTrainingConfig, train_ssn

Report = Callable[[str], None]


@dataclass(frozen=True)
class Experiment:
    """A trained system.

    Attributes:
        data, model, training: see :class:`DataConfig`, :class:`ModelConfig` and :class:`JointConfig`.
        init: model folder whose weights to start from. init_regioner: safetensors of a regioner.
        threads: of torch; 0 for all cores.
    """

    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    training: JointConfig = field(default_factory=JointConfig)
    init: str | None = None
    init_regioner: str | None = None
    threads: int = 0

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.training.loop.seed


@dataclass(frozen=True)
class SegmentationExperiment:
    """An SSN trained on segmented images.

    Attributes:
        root: holds BSDS500's ``images`` and ``groundTruth``; relative to the data folder.
        regioner, training: see :class:`bagscan.regions.ssn.Config` and :class:`SSNTrainingConfig`.
        threads: of torch; 0 for all cores.
    """

    root: str
    regioner: SSNConfig = field(default_factory=SSNConfig)
    training: SSNTrainingConfig = field(default_factory=SSNTrainingConfig)
    threads: int = 0


@dataclass(frozen=True)
class DetectionExperiment:
    """A detector of items, Mask R-CNN or Faster R-CNN.

    Attributes:
        data: annotations are what it learns to find. input: what a view must be.
        regioner: ``{name: mask_rcnn, ...}``. training: see :class:`DetectionTrainingConfig`.
        threads: of torch; 0 for all cores.
    """

    data: DataConfig
    input: InputConfig = field(default_factory=InputConfig)
    regioner: dict[str, Any] = field(default_factory=lambda: {"name": "mask_rcnn"})
    training: DetectionTrainingConfig = field(default_factory=DetectionTrainingConfig)
    threads: int = 0

    def model(self) -> Model:
        """The detector as the regioner of a model; its encoder and scorer are the least there is."""
        return Model(ModelConfig(self.input, self.regioner, {"name": "crop", "backbone": "test_resnet", "size_px": 32}))


AnyExperiment = Experiment | SegmentationExperiment | DetectionExperiment | OneClassExperiment | MultiLabelExperiment | DetectorExperiment
JUDGED = (Experiment, OneClassExperiment, MultiLabelExperiment)  # kinds whose result is a model


def read_experiment(path: str | Path, settings: list[str] | None = None) -> AnyExperiment:
    """The experiment of a YAML file whose ``kind`` is ``joint``, ``ssn``, ``detection``, ``detector``, ``multi_label`` or ``one_class``, with ``--set`` applied.

    Raises:
        ConfigError: an unknown kind, key or value.
    """
    data, lines = read_yaml(path)
    apply_settings(data, settings or [])
    kind = data.pop("kind", "joint")
    kinds: dict[str, Any] = {"joint": Experiment, "ssn": SegmentationExperiment, "detection": DetectionExperiment}
    kinds |= {"one_class": OneClassExperiment, "multi_label": MultiLabelExperiment, "detector": DetectorExperiment}
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigError(f"{path}: kind must be one of {', '.join(kinds)}, got {kind!r}")
    experiment: AnyExperiment = fill(kinds[kind], data, str(path), lines)
    return experiment


def train_any(experiment: AnyExperiment, out: Path, report: Report = print) -> tuple[dict[str, float], Path]:
    """Train whatever a configuration asks for; its best scores, and what was written."""
    if isinstance(experiment, SegmentationExperiment):
        return train_segmentation(experiment, out, report), out / "regioner.safetensors"
    if isinstance(experiment, DetectionExperiment):
        return train_detection(experiment, out, report), out / "regioner.safetensors"
    if isinstance(experiment, OneClassExperiment):
        return train_one_class(experiment, out, report), out / "model"
    if isinstance(experiment, DetectorExperiment):
        _set_threads(experiment.threads)
        return train_detector(experiment, out, report), out / "model"
    if isinstance(experiment, MultiLabelExperiment):
        return train_multi_label(experiment, out, report), out / "model"
    return train(experiment, out, report), out / "model"


def train(experiment: Experiment, out: Path, report: Report = print) -> dict[str, float]:
    """Train the parts of one experiment; the best model so far is always in ``out/model``."""
    _set_threads(experiment.threads)
    torch.manual_seed(experiment.training.loop.seed)
    model = Model(experiment.model)
    _initialise(model, experiment)
    records = load_records(experiment.data, report)
    split = obtain_split(experiment.data, records, out, report)
    resolved = dataclasses.replace(experiment, model=model.config)
    save_resolved(resolved, "joint", out, split)
    samples = {part: load_samples(part_records(experiment.data, records, split, part), model, report, split.sha256) for part in ("train", "val")}
    report(", ".join(f"{len(s)} {part}" for part, s in samples.items()) + f"; data hash {split.data_hash[:12]}")

    def keep(scores: dict[str, float]) -> None:
        model.about = {"training data": split.data_hash, "validation": {k: round(v, 4) for k, v in scores.items()}}
        model.save(out / "model")

    return run(JointTask(model, samples["train"], samples["val"], experiment.training), experiment.training.loop, out, keep, report)


def _initialise(model: Model, experiment: Experiment) -> None:
    if experiment.init:
        start = Model.load(experiment.init)
        try:
            model.load_state_dict((start if hasattr(model.regioner, "parts") else start.everywhere()).state_dict())
        except RuntimeError as error:
            raise ConfigError(f"init {experiment.init}: its parts are not those of this configuration: {str(error).splitlines()[0]}") from error
    if experiment.init_regioner:
        load_regioner(model, experiment.init_regioner)


def load_regioner(model: Model, path: str | Path) -> None:
    """Weights of a regioner from a file; an item detector's go to the part that finds the items."""
    try:
        weights = load_file(path)
        part = getattr(model.regioner, "items", None)
        (model.regioner if part is None or not all(k.startswith("detector.") for k in weights) else part).load_state_dict(weights)
    except FileNotFoundError as error:
        raise ConfigError(
            f"init_regioner {path}: no such file; train it first, as the head of the configuration says (bagscan train configs/{Path(path).parent.name}.yaml)"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"regioner weights {path}: {error}") from error


def train_detection(experiment: DetectionExperiment, out: Path, report: Report = print) -> dict[str, float]:
    """Train a detector; its best weights are ``out/regioner.safetensors``, for ``init_regioner``."""
    _set_threads(experiment.threads)
    torch.manual_seed(experiment.training.loop.seed)
    model = experiment.model()
    records = load_records(experiment.data, report)
    split = obtain_split(experiment.data, records, out, report)
    save_resolved(experiment, "detection", out, split)
    samples = {part: load_samples(part_records(experiment.data, records, split, part), model, report, split.sha256) for part in ("train", "val")}

    def keep(scores: dict[str, float]) -> None:
        save_file({k: v.contiguous() for k, v in model.regioner.state_dict().items()}, out / "regioner.safetensors")

    return run(DetectionTask(model, samples["train"], samples["val"], experiment.training), experiment.training.loop, out, keep, report)


def detection_samples(experiment: DetectionExperiment, run_folder: Path, part: str, report: Report = print) -> tuple[Model, list[Sample]]:
    """A trained detector, and the views of one part of its data."""
    model = experiment.model()
    load_regioner(model, run_folder / "regioner.safetensors")
    records = load_records(experiment.data, report)
    split = obtain_split(experiment.data, records, run_folder, report)
    return model, load_samples(part_records(experiment.data, records, split, part), model, report, split.sha256)


def train_segmentation(experiment: SegmentationExperiment, out: Path, report: Report = print) -> dict[str, float]:
    """Train an SSN; its best weights are ``out/regioner.safetensors``, for ``init_regioner``."""
    _set_threads(experiment.threads)
    torch.manual_seed(experiment.training.loop.seed)
    ssn = SSN(experiment.regioner)
    save_resolved(experiment, "ssn", out)
    root = data_folder() / experiment.root
    train_images, val_images = bsds500.load(root, "train"), bsds500.load(root, "val")

    def keep(scores: dict[str, float]) -> None:
        save_file({k: v.contiguous() for k, v in ssn.state_dict().items()}, out / "regioner.safetensors")

    return train_ssn(ssn, train_images, val_images, experiment.training, out, keep, report)


@dataclass(frozen=True)
class JudgedPart:
    """Scores of one part of an experiment's data, the split and all records it is a part of, and
    what a reader of the scores must be warned of; ``items`` says the same by scan and view."""

    samples: list[Sample]
    bags: list[BagResult]
    items: list[Judged]
    split: Split
    records: list[Record]
    warnings: list[str]


def judge_part(model: Model, data: DataConfig, part: str, run_folder: Path, report: Report = print, same_split: bool = True) -> JudgedPart:
    """Score every scan of one part of an experiment's data.

    Args:
        same_split: whether the split should be the one that the model was trained with; another is warned of.
    """
    records = load_records(data, report)
    split = obtain_split(data, records, run_folder, report)
    chosen = part_records(data, records, split, part)
    report(f"scoring {len(chosen)} scans of {part}")
    samples = load_samples(chosen, model, report, split.sha256)
    warnings = other_split(model, split) if same_split else []
    for text in warnings:
        report(f"warning: {text}")
    bags = judge_samples(model, samples, report)
    return JudgedPart(samples, bags, verdicts(samples, bags), split, records, warnings)


def other_split(model: Model, split: Split) -> list[str]:
    """A warning where the model was trained with another split: its training scans may be in any part."""
    trained = model.about.get("training data")
    if trained in (None, split.data_hash):
        return []
    return [f"The model was trained with another split ({str(trained)[:12]}, not {split.data_hash[:12]}): scans that it was trained on may be among these."]


def benign_quantiles(truth: np.ndarray, scores: np.ndarray, n: int = 1000) -> list[float]:
    """Quantiles of benign scores, kept with the model so that a finding can tell its expected FPR."""
    benign = scores[truth == 0]
    return [float(v) for v in np.quantile(benign, np.linspace(0, 1, min(n, len(benign))))]


def _set_threads(threads: int) -> None:
    torch.set_num_threads(threads or max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
