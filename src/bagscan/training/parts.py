"""Training and validation samples of an experiment, with its split and resolved settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bagscan.datasets.config import DataConfig, load_or_make_split, load_records, part_records
from bagscan.datasets.splits import Split
from bagscan.model_config import InputConfig
from bagscan.training.experiment import Experiment
from bagscan.training.resolved import save_resolved
from bagscan.training.samples import Sample, load_samples


@dataclass(frozen=True)
class Parts:
    """Samples of an experiment.

    Attributes:
        split: which record is in which split.
        train: samples for training.
        val: samples for choosing the best step.
    """

    split: Split
    train: list[Sample]
    val: list[Sample]


def read_parts(experiment: Experiment, data: DataConfig, config: InputConfig, out: Path) -> Parts:
    """Read the samples that an experiment trains and validates on.

    Args:
        experiment: with all defaults; written to ``out``.
        data: datasets.
        config: input of the model: working size and channels of samples.
        out: run folder.

    Raises:
        ConfigError: ``out`` holds a run with other settings.
        DataError: a split is empty.
    """
    records = load_records(data)
    split = load_or_make_split(data, records, out)
    save_resolved(experiment, experiment.kind, out, split)
    train, val = (
        load_samples(part_records(data, records, split, part), config, split.sha256)
        for part in ("train", "val")
    )
    return Parts(split, train, val)
