"""Kind ``joint``: joint training of regioner, encoder and scorer, and scores on a split."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import load_file

from bagscan.core.errors import ConfigError
from bagscan.datasets.config import DataConfig, load_or_make_split, load_records, part_records
from bagscan.datasets.record import Record
from bagscan.datasets.splits import Split
from bagscan.evaluation.within_bag import ScoredView
from bagscan.model import Model
from bagscan.model_config import ModelConfig
from bagscan.training.experiment import LoopExperiment, Scores
from bagscan.training.joint import JointTask, score_samples
from bagscan.training.joint_config import JointConfig
from bagscan.training.keeping import model_keeper
from bagscan.training.parts import read_parts
from bagscan.training.samples import Sample, load_samples

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class JointExperiment(LoopExperiment):
    """Joint training of a model of regioner, encoder and scorer.

    Attributes:
        data: see :class:`DataConfig`.
        model: see :class:`ModelConfig`.
        training: see :class:`JointConfig`.
        init: model folder whose weights the training starts from.
        init_regioner: safetensors file with the weights of the regioner.
    """

    kind = "joint"
    figures = (
        "The best step has the highest monitor: the mean of hit@1 and of the AUROC of regions "
        "within a scan (for items: of the AUROC of items and of that of regions)."
    )
    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    training: JointConfig = field(default_factory=JointConfig)
    init: str | None = None
    init_regioner: str | None = None

    def prepare(self, out: Path) -> tuple[JointTask, Callable[[Scores], None]]:
        """Prepare the task; see :meth:`LoopExperiment.prepare`."""
        model = Model(self.model)
        _initialise(model, self)
        parts = read_parts(
            dataclasses.replace(self, model=model.config), self.data, model.config.input, out
        )
        log.info(
            f"{len(parts.train)} training and {len(parts.val)} validation samples; "
            f"data hash {parts.split.data_hash[:12]}"
        )
        task = JointTask(model, parts.train, parts.val, self.training)
        return task, model_keeper(model, parts.split, out)


def _initialise(model: Model, experiment: JointExperiment) -> None:
    if experiment.init:
        start = Model.load(experiment.init)
        try:
            if model.regioner.segmenter is model.regioner:
                start = start.everywhere()
            model.load_state_dict(start.state_dict())
        except RuntimeError as error:
            raise ConfigError(
                f"init {experiment.init}: the model differs from this configuration: "
                f"{str(error).splitlines()[0]}"
            ) from error
    if experiment.init_regioner:
        load_regioner(model, experiment.init_regioner)


def load_regioner(model: Model, path: str | Path) -> None:
    """Load the weights of a regioner; those of an item detector go to the item finder.

    Raises:
        ConfigError: the file is missing or does not fit.
    """
    try:
        weights = load_file(path)
        finder = model.regioner.finder
        if finder is None or not all(k.startswith("detector.") for k in weights):
            model.regioner.load_state_dict(weights)
        else:
            finder.load_state_dict(weights)
    except FileNotFoundError as error:
        raise ConfigError(
            f"init_regioner {path}: no such file; "
            f"train it first with bagscan train --preset {Path(path).parent.name}"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"regioner weights {path}: {error}") from error


@dataclass(frozen=True)
class SplitScores:
    """Scores on one split of an experiment's data.

    Attributes:
        samples: samples of the split.
        bags: scores of each sample.
        split: which record is in which split.
        records: records of all splits.
        warnings: messages that limit the meaning of the scores.
    """

    samples: list[Sample]
    bags: list[ScoredView]
    split: Split
    records: list[Record]
    warnings: list[str]


def score_split(
    model: Model,
    data: DataConfig,
    part: str,
    run_folder: Path,
    same_split: bool = True,
) -> SplitScores:
    """Score every scan of one split of an experiment's data.

    Args:
        model: model to evaluate.
        data: datasets.
        part: ``train``, ``val`` or ``test``.
        run_folder: directory with the split.
        same_split: True to warn if the model was trained with another split.
    """
    records = load_records(data)
    split = load_or_make_split(data, records, run_folder)
    records_of_part = part_records(data, records, split, part)
    log.info(f"scoring {len(records_of_part)} scans of {part}")
    samples = load_samples(records_of_part, model.config.input, split.sha256)
    warnings = other_split(model, split) if same_split else []
    for text in warnings:
        log.warning(text)
    bags = score_samples(model, samples)
    return SplitScores(samples, bags, split, records, warnings)


def other_split(model: Model, split: Split) -> list[str]:
    """Return a warning if the model was trained with another split.

    Its training scans may then be in any split.
    """
    trained = model.about.get("training data")
    if trained in (None, split.data_hash):
        return []
    return [
        f"The model was trained with another split ({str(trained)[:12]}, "
        f"not {split.data_hash[:12]}): scans that it was trained on may be among these."
    ]
