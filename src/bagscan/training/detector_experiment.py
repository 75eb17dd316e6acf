"""The experiment of a detector: packed simulated sets, network, task and loop of one YAML file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bagscan.core.errors import ConfigError
from bagscan.datasets.packed import PackedScene, pack, packed_categories, read_packed
from bagscan.detector.model import Detector
from bagscan.detector.network import NetworkConfig
from bagscan.simulate.anomalies import KINDS
from bagscan.simulate.devices import NAMES
from bagscan.training.detector import DetectorTask, DetectorTaskConfig
from bagscan.training.loop import LoopConfig, run
from bagscan.training.resolved import save_resolved


@dataclass(frozen=True)
class DetectorExperiment:
    """A detector that is trained on simulated sets.

    Attributes:
        sets: folders of simulated sets; the first names the categories. Their scenes' own parts are kept.
        network, training, loop: see :class:`NetworkConfig`, :class:`DetectorTaskConfig` and :class:`LoopConfig`.
        threads: of torch; 0 for all cores. pack_workers: processes that pack sets.
    """

    sets: tuple[str, ...]
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: DetectorTaskConfig = field(default_factory=DetectorTaskConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    threads: int = 0
    pack_workers: int = 2

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.loop.seed


def packed_scenes(sets: tuple[str, ...], workers: int, report: Callable[[str], None]) -> tuple[dict[str, list[PackedScene]], tuple[str, ...]]:
    """Scenes of all sets by part, packed where they are not yet, and their common categories.

    Raises:
        ConfigError: sets that were packed with other categories. DataError: no simulated set there.
    """
    roots = [Path(name) for name in sets]
    for root in roots:
        pack(root, KINDS, packed_categories(roots[0]) if root != roots[0] else None, workers, report)
    categories = packed_categories(roots[0])
    for root in roots[1:]:
        if packed_categories(root) != categories:
            raise ConfigError(f"{root} was packed with other categories than {roots[0]}: delete {root / 'packed'}, and it is packed anew")
    return {part: [s for root in roots for s in read_packed(root, (part,))] for part in ("train", "val")}, categories


def train_detector(experiment: DetectorExperiment, out: Path, report: Callable[[str], None] = print) -> dict[str, float]:
    """Train a detector; the best so far is always in ``out/model``."""
    torch.manual_seed(experiment.loop.seed)
    save_resolved(experiment, "detector", out)
    scenes, categories = packed_scenes(experiment.sets, experiment.pack_workers, report)
    report(f"{len(scenes['train'])} scenes to train on, {len(scenes['val'])} to validate on")
    detector = Detector.new(experiment.network, categories, len(KINDS), sum(name in NAMES for name in categories))
    task = DetectorTask(detector.network, experiment.training, scenes["train"], scenes["val"], detector.kinds, detector.devices)

    def keep(scores: dict[str, float]) -> None:
        detector.about = {"validation": {k: round(v, 4) for k, v in scores.items()}, "sets": list(experiment.sets)}
        detector.save(out / "model")

    return run(task, experiment.loop, out, keep, report)
