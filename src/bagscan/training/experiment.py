"""An experiment: what one YAML file asks for, and the folder that training it writes. One driver trains every kind.

A run folder holds ``config.yaml`` (resolved), where data are split ``split.json``, ``log.jsonl``, ``checkpoint.safetensors``
and what was trained. Starting it again with the same line resumes it.
"""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch

from bagscan.config import apply_settings, fill, read_yaml
from bagscan.core.errors import ConfigError
from bagscan.core.machine import usable_cores
from bagscan.training.loop import LoopConfig, Task, run

Report = Callable[[str], None]
Scores = dict[str, float]
# Where the kinds stand; each is imported when a configuration asks for it.
KINDS = {
    "detector": "bagscan.training.detector_experiment:DetectorExperiment",
    "two_views": "bagscan.training.two_views:TwoViewsExperiment",
    "whole_bags": "bagscan.training.whole_bags:WholeBagsExperiment",
    "joint": "bagscan.training.joint_experiment:JointExperiment",
    "detection": "bagscan.training.detection:DetectionExperiment",
    "ssn": "bagscan.training.ssn:SegmentationExperiment",
    "multi_label": "bagscan.training.multi_label:MultiLabelExperiment",
    "one_class": "bagscan.training.one_class:OneClassExperiment",
}


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """What every kind has.

    Attributes:
        threads: of torch; 0 for this process's share of the cores.
    """

    threads: int = 0
    kind: ClassVar[str]
    written: ClassVar[str] = "model"  # what is left in the run folder
    figures: ClassVar[str]  # what its validation figures mean, in one sentence

    @property
    @abstractmethod
    def seed(self) -> int:
        """Of the run."""

    @abstractmethod
    def learn(self, out: Path, report: Report) -> Scores:
        """Train into a run folder; the best validation scores."""


@dataclass(frozen=True, kw_only=True)
class LoopExperiment(Experiment):
    """What is trained step by step: see :func:`bagscan.training.loop.run`.

    Attributes:
        loop: see :class:`LoopConfig`.
    """

    loop: LoopConfig = field(default_factory=LoopConfig)

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.loop.seed

    @abstractmethod
    def prepare(self, out: Path, report: Report) -> tuple[Task, Callable[[Scores], None]]:
        """The task, and what keeps the weights that are the best so far."""

    def learn(self, out: Path, report: Report) -> Scores:
        """Train into a run folder, from its last checkpoint if there is one; the best validation scores."""
        task, keep = self.prepare(out, report)
        return run(task, self.loop, out, keep, report)


@dataclass(frozen=True, kw_only=True)
class SimulatedExperiment(LoopExperiment):
    """What is trained on simulated sets, and judged on the parts of these.

    Attributes:
        sets: folders of simulated sets; the first names the categories. Their scenes' own parts are kept. pack_workers: processes that pack sets.
    """

    sets: tuple[str, ...]
    pack_workers: int = 2


def read_experiment(path: str | Path, settings: list[str] | None = None) -> Experiment:
    """The experiment of a YAML file, of the ``kind`` that it names, with ``--set`` applied.

    Raises:
        ConfigError: an unknown kind, key or value.
    """
    data, lines = read_yaml(path)
    apply_settings(data, settings or [], lines)
    kind = data.pop("kind", "joint")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"{path}: kind must be one of {', '.join(KINDS)}, got {kind!r}")
    experiment: Experiment = fill(kind_named(kind), data, str(path), lines)
    return experiment


def kind_named(name: str) -> type[Experiment]:
    """The class of a kind."""
    module, _, what = KINDS[name].partition(":")
    found: type[Experiment] = getattr(importlib.import_module(module), what)
    return found


def train(experiment: Experiment, out: Path, report: Report = print) -> Scores:
    """Train what a configuration asks for; the best so far always lies in ``out / experiment.written``."""
    torch.set_num_threads(
        experiment.threads or max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    )
    torch.manual_seed(experiment.seed)
    return experiment.learn(out, report)
