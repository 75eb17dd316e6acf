"""Experiments: a training described by one YAML file.

A run folder holds ``config.yaml`` with all defaults, ``log.jsonl``, ``checkpoint.safetensors``, the
trained weights and, if the data are split here, ``split.json``. The same command resumes a run.
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
from bagscan.training.compute import set_up
from bagscan.training.loop import Task, run
from bagscan.training.loop_config import LoopConfig

Scores = dict[str, float]
# Class of each kind, imported on demand.
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
    """Base class of experiments.

    Attributes:
        threads: number of torch threads; 0 for this process's share of the cores.
    """

    threads: int = 0
    kind: ClassVar[str]
    written: ClassVar[str] = "model"  # name of the result in the run folder
    figures: ClassVar[str]  # meaning of the validation scores, one sentence

    @property
    @abstractmethod
    def seed(self) -> int:
        """Seed of the run."""

    @abstractmethod
    def learn(self, out: Path) -> Scores:
        """Train into a run folder and return the best validation scores."""


@dataclass(frozen=True, kw_only=True)
class LoopExperiment(Experiment):
    """Experiment that is trained step by step, see :func:`bagscan.training.loop.run`.

    Attributes:
        loop: see :class:`LoopConfig`.
    """

    loop: LoopConfig = field(default_factory=LoopConfig)

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.loop.seed

    @abstractmethod
    def prepare(self, out: Path) -> tuple[Task, Callable[[Scores], None]]:
        """Return the task, and a callback that stores the best weights so far."""

    def learn(self, out: Path) -> Scores:
        """Train into a run folder, from its last checkpoint if it has one.

        Returns:
            The best validation scores.
        """
        task, keep = self.prepare(out)
        return run(task, self.loop, out, keep)


@dataclass(frozen=True, kw_only=True)
class SimulatedExperiment(LoopExperiment):
    """Experiment on simulated sets and their own splits.

    Attributes:
        sets: directories of simulated sets; the first determines the categories.
        pack_workers: number of processes that pack sets.
    """

    sets: tuple[str, ...]
    pack_workers: int = 2


def read_experiment(path: str | Path, settings: list[str] | None = None) -> Experiment:
    """Read an experiment from a YAML file.

    Args:
        path: YAML file; its ``kind`` selects the class, default ``joint``.
        settings: overrides, as given with ``--set``.

    Raises:
        ConfigError: unknown kind, key or value.
    """
    data, lines = read_yaml(path)
    apply_settings(data, settings or [], lines)
    kind = data.pop("kind", "joint")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"{path}: kind must be one of {', '.join(KINDS)}, got {kind!r}")
    experiment: Experiment = fill(load_kind(kind), data, str(path), lines)
    return experiment


def load_kind(name: str) -> type[Experiment]:
    """Return the class of a kind of experiments."""
    module, _, class_name = KINDS[name].partition(":")
    experiment_class: type[Experiment] = getattr(importlib.import_module(module), class_name)
    return experiment_class


def train(experiment: Experiment, out: Path, device: str = "auto") -> Scores:
    """Train an experiment and return its best validation scores.

    The best weights so far are always in ``out / experiment.written``.

    Args:
        experiment: what to train.
        out: folder of the run.
        device: device to train on: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``, which takes an
            accelerator if the machine has one.

    Raises:
        ConfigError: the device cannot be used.
    """
    set_up(device)
    torch.set_num_threads(
        experiment.threads or max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    )
    torch.manual_seed(experiment.seed)
    return experiment.learn(out)
