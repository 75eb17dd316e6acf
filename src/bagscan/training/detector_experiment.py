"""The experiment of a detector: packed simulated sets, network, task and loop of one YAML file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bagscan.backbones import for_channels
from bagscan.core.errors import ConfigError
from bagscan.datasets.packed import PackedScene, pack, packed_categories, read_packed
from bagscan.detector.calibration import calibrated
from bagscan.detector.exported import UsableDetector
from bagscan.detector.features import IMAGES
from bagscan.detector.judging import judge_set
from bagscan.detector.measures import measure
from bagscan.detector.model import Detector
from bagscan.detector.network import NetworkConfig
from bagscan.evaluation.meaning import too_few
from bagscan.runtime.load import load_model
from bagscan.simulate.anomalies import KINDS
from bagscan.simulate.devices import NAMES
from bagscan.training.compute import compute
from bagscan.training.detector import DetectorTask, DetectorTaskConfig
from bagscan.training.experiment import Report, Scores, SimulatedExperiment
from bagscan.training.hard_places import hard_places
from bagscan.training.resolved import save_resolved


@dataclass(frozen=True, kw_only=True)
class DetectorExperiment(SimulatedExperiment):
    """A detector that is trained on simulated sets.

    Attributes:
        images: ``raw`` (low, high, effective Z) or ``colour``. network, training, loop: see :class:`NetworkConfig`, :class:`DetectorTaskConfig` and :class:`LoopConfig`.
        start: a trained detector's folder whose weights training begins with; of other images, all but the first layer's.
    """

    kind = "detector"
    figures = (
        "The best step is the one with the highest monitor: the AUROC of devices, view by view."
    )
    images: str = "raw"
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: DetectorTaskConfig = field(default_factory=DetectorTaskConfig)
    start: str = ""

    def __post_init__(self) -> None:
        if self.images not in IMAGES:
            raise ValueError(f"images must be one of {', '.join(IMAGES)}, got {self.images!r}")

    def prepare(self, out: Path, report: Report) -> tuple[DetectorTask, Callable[[Scores], None]]:
        """See :meth:`LoopExperiment.prepare`."""
        save_resolved(self, self.kind, out)
        scenes, categories = packed_scenes(self.sets, self.pack_workers, report)
        report(f"{len(scenes['train'])} scenes to train on, {len(scenes['val'])} to validate on")
        detector = Detector.new(
            self.network, categories, len(KINDS), _devices_among(categories), self.images
        )
        if self.start:
            begin_with(detector, Detector.load(self.start))

        def keep(scores: Scores) -> None:
            detector.about = {
                "validation": {k: round(v, 4) for k, v in scores.items()},
                "sets": list(self.sets),
            }
            detector.save(out / self.written)

        task = DetectorTask(
            detector.network,
            self.training,
            scenes["train"],
            scenes["val"],
            detector.kinds,
            detector.devices,
            self.images,
        )
        if self.training.hard and self.start:
            own = task.views[
                compute().rank :: compute().count
            ]  # each process looks through its share, and draws from that
            task.hard = hard_places(Detector.load(self.start), own, report)
        return task, keep


def packed_scenes(
    sets: tuple[str, ...], workers: int, report: Callable[[str], None]
) -> tuple[dict[str, list[PackedScene]], tuple[str, ...]]:
    """Scenes of all sets by part, packed where they are not yet, and their common categories.

    Raises:
        ConfigError: sets that were packed with other categories. DataError: no simulated set there.
    """
    roots = [Path(name) for name in sets]
    where = compute()
    for root in roots if where.writes else ():
        pack(
            root, KINDS, packed_categories(roots[0]) if root != roots[0] else None, workers, report
        )
    where.broadcast_from_rank0(
        True
    )  # of several processes that train together the others wait for the first
    categories = packed_categories(roots[0])
    for root in roots[1:]:
        if packed_categories(root) != categories:
            raise ConfigError(
                f"{root} was packed with other categories than {roots[0]}: delete {root / 'packed'}, and it is packed anew"
            )
    return {
        part: [s for root in roots for s in read_packed(root, (part,))] for part in ("train", "val")
    }, categories


def _devices_among(categories: tuple[str, ...]) -> int:
    """How many devices stand behind the kinds of anomaly; components of the same names, a phone's camera, come later."""
    return len(list(itertools.takewhile(NAMES.__contains__, categories[len(KINDS) :])))


def trained_before(start: str, sets: Sequence[str], categories: tuple[str, ...]) -> Detector:
    """Load the detector that training continues from.

    Raises:
        ConfigError: it was trained with other categories than those of the sets.
    """
    detector = Detector.load(start)
    if detector.network.config.categories != categories:
        raise ConfigError(
            f"start: {start} was trained with other categories than those of {', '.join(sets)}; use the sets it was trained on"
        )
    return detector


def begin_with(detector: Detector, trained: Detector) -> None:
    """Give a detector the weights of a trained one. A first layer for other channels takes the mean over channels.

    Raises:
        ConfigError: they differ in more than that: in the network's settings, or in the sets' categories.
    """
    weights = trained.network.state_dict()
    first = next(name for name, value in weights.items() if value.ndim == 4)
    if trained.images != detector.images:
        weights[first] = for_channels(weights[first], detector.network.state_dict()[first].shape)
    try:
        detector.network.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(
            f"start: its network is another one: {str(error).splitlines()[1].strip()}"
        ) from error


def calibrate_detector(
    sets: Sequence[str], folder: Path, max_fpr: float, report: Callable[[str], None] = print
) -> Detector:
    """Choose a detector's thresholds on the validation scenes of simulated sets, and store them beside the weights.

    Args:
        max_fpr: share of benign bags that may alarm.
    """
    usable = load_model(folder)
    assert isinstance(usable, UsableDetector)
    bags = [bag for name in sets for bag in judge_set(Path(name), usable, "val", report=report)]
    detector = Detector.load(folder)
    anomalous = sum(bag.anomalous for bag in bags)
    for warning in too_few({"benign bags": len(bags) - anomalous, "anomalous bags": anomalous}):
        report(f"warning: {warning}")
    detector.thresholds, detector.operating_point = calibrated(bags, max_fpr)
    detector.save(folder)
    return detector


def evaluate_detector(
    sets: Sequence[str], folder: Path, part: str, report: Callable[[str], None] = print
) -> dict[str, Any]:
    """A detector's figures on one part of simulated sets, by group."""
    usable = load_model(folder)
    assert isinstance(usable, UsableDetector)
    bags = [bag for name in sets for bag in judge_set(Path(name), usable, part, report=report)]
    groups = sorted({bag.about["group"] for bag in bags})
    result = {
        group: measure([bag for bag in bags if bag.about["group"] == group], usable.thresholds)
        for group in groups
    }
    return {
        "model_id": usable.id,
        "part": part,
        "sets": list(sets),
        "groups": result,
        "all": measure(bags, usable.thresholds),
    }


def detector_summary(told: dict[str, Any]) -> str:
    """The figures for people: a row a group."""
    columns = {
        "scenes": "scenes",
        "device_recall": "found",
        "view_auroc": "AUROC view",
        "device_auroc": "AUROC device",
        "device_fpr_at_95": "FPR@95",
        "within_auroc": "within",
        "hit_at_1": "hit@1",
        "segment_auroc": "segments",
        "segment_darkness": "darkness",
        "segment_tp_at_paper_fp": "TP@4.54",
        "bag_tp": "bag TP",
        "bag_fp": "bag FP",
        "on_the_anomaly": "on it",
    }
    rows = [f"{'':18s}" + "".join(f"{title:>13s}" for title in columns.values())]
    for name, group in (*told["groups"].items(), ("all", told["all"])):
        rows.append(
            f"{name:18s}" + "".join(f"{group.get(key, float('nan')):13.3f}" for key in columns)
        )
    return "\n".join(rows)
