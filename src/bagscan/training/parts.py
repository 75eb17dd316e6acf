"""The samples of an experiment by part, its split and its resolved settings written beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bagscan.datasets.config import DataConfig, load_records, obtain_split, part_records
from bagscan.datasets.splits import Split
from bagscan.model import Model
from bagscan.training.experiment import Experiment
from bagscan.training.resolved import save_resolved
from bagscan.training.samples import Sample, load_samples


@dataclass(frozen=True)
class Parts:
    """Attributes: split: which record is in which part. train, val: samples to learn from, and to choose the best step on."""

    split: Split
    train: list[Sample]
    val: list[Sample]


def read_parts(
    experiment: Experiment, data: DataConfig, model: Model, out: Path, report: Callable[[str], None]
) -> Parts:
    """Read what an experiment trains and validates on.

    Args:
        experiment: with every default filled in; written to ``out``. model: whose input the samples are.

    Raises:
        ConfigError: a run was started in ``out`` with other settings. DataError: a part is empty.
    """
    records = load_records(data, report)
    split = obtain_split(data, records, out, report)
    save_resolved(experiment, experiment.kind, out, split)
    train, val = (
        load_samples(part_records(data, records, split, part), model, report, split.sha256)
        for part in ("train", "val")
    )
    return Parts(split, train, val)
