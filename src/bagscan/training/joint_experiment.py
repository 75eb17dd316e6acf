"""Kind ``joint``: regioner, encoder and scorer trained together, and scored on a part of their data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import load_file

from bagscan.core.errors import ConfigError
from bagscan.datasets.config import DataConfig, load_records, obtain_split, part_records
from bagscan.datasets.record import Record
from bagscan.datasets.splits import Split
from bagscan.evaluation.within_bag import JudgedView
from bagscan.model import Model
from bagscan.model_config import ModelConfig
from bagscan.training.experiment import LoopExperiment, Report, Scores
from bagscan.training.joint import JointTask, judge_samples
from bagscan.training.joint_config import JointConfig
from bagscan.training.keeping import model_keeper
from bagscan.training.parts import read_parts
from bagscan.training.samples import Sample, load_samples


@dataclass(frozen=True, kw_only=True)
class JointExperiment(LoopExperiment):
    """A system of three parts.

    Attributes:
        data, model, training, loop: see :class:`DataConfig`, :class:`ModelConfig`, :class:`JointConfig` and :class:`LoopConfig`.
        init: model folder whose weights to start from. init_regioner: safetensors of a regioner.
        threads: of torch; 0 for this process's share of the cores.
    """

    kind = "joint"
    figures = "The best step is the one with the highest monitor: the mean of the AUROC of regions within a scan and of hit@1 (of items: of the AUROC of items)."
    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    training: JointConfig = field(default_factory=JointConfig)
    init: str | None = None
    init_regioner: str | None = None

    def prepare(self, out: Path, report: Report) -> tuple[JointTask, Callable[[Scores], None]]:
        """See :meth:`LoopExperiment.prepare`."""
        model = Model(self.model)
        _initialise(model, self)
        parts = read_parts(
            dataclasses.replace(self, model=model.config), self.data, model, out, report
        )
        report(
            f"{len(parts.train)} train, {len(parts.val)} val; data hash {parts.split.data_hash[:12]}"
        )
        return JointTask(model, parts.train, parts.val, self.training), model_keeper(
            model, parts.split, out
        )


def _initialise(model: Model, experiment: JointExperiment) -> None:
    if experiment.init:
        start = Model.load(experiment.init)
        try:
            model.load_state_dict(
                (
                    start.everywhere() if model.regioner.cutter is model.regioner else start
                ).state_dict()
            )
        except RuntimeError as error:
            raise ConfigError(
                f"init {experiment.init}: its parts are not those of this configuration: {str(error).splitlines()[0]}"
            ) from error
    if experiment.init_regioner:
        load_regioner(model, experiment.init_regioner)


def load_regioner(model: Model, path: str | Path) -> None:
    """Weights of a regioner from a file; an item detector's go to the part that finds the items."""
    try:
        weights = load_file(path)
        part = model.regioner.finder
        (
            model.regioner
            if part is None or not all(k.startswith("detector.") for k in weights)
            else part
        ).load_state_dict(weights)
    except FileNotFoundError as error:
        raise ConfigError(
            f"init_regioner {path}: no such file; train it first, as the head of the configuration says (bagscan train --preset {Path(path).parent.name})"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"regioner weights {path}: {error}") from error


@dataclass(frozen=True)
class JudgedPart:
    """Scores of one part of an experiment's data, the split and all records it is a part of, and
    what a reader of the scores must be warned of."""

    samples: list[Sample]
    bags: list[JudgedView]
    split: Split
    records: list[Record]
    warnings: list[str]


def judge_part(
    model: Model,
    data: DataConfig,
    part: str,
    run_folder: Path,
    report: Report = print,
    same_split: bool = True,
) -> JudgedPart:
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
    return JudgedPart(samples, bags, split, records, warnings)


def other_split(model: Model, split: Split) -> list[str]:
    """A warning where the model was trained with another split: its training scans may be in any part."""
    trained = model.about.get("training data")
    if trained in (None, split.data_hash):
        return []
    return [
        f"The model was trained with another split ({str(trained)[:12]}, not {split.data_hash[:12]}): scans that it was trained on may be among these."
    ]
