"""Kind ``detector``: training, calibration and evaluation of a detector on simulated sets."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bagscan.core.errors import ConfigError
from bagscan.datasets.packed import PackedScene, packed_categories, read_packed
from bagscan.datasets.packing import pack
from bagscan.detector.calibration import calibrate_thresholds
from bagscan.detector.colours import Colours, Quantiles, quantiles_of
from bagscan.detector.features import IMAGES, convert_features
from bagscan.detector.inference import Options
from bagscan.detector.measures import measure
from bagscan.detector.model import Detector
from bagscan.detector.network import NetworkConfig
from bagscan.detector.sampling import whole_view
from bagscan.detector.scored_bags import score_dataset
from bagscan.evaluation.meaning import warn_few_examples
from bagscan.imagenet import for_channels
from bagscan.runtime.load import load_detector
from bagscan.simulate.anomalies import KINDS
from bagscan.simulate.devices import names as device_names
from bagscan.simulate.prohibited import NAMES as PROHIBITED
from bagscan.training.compute import compute
from bagscan.training.detector import DetectorTask
from bagscan.training.detector_config import DetectorTaskConfig
from bagscan.training.experiment import Scores, SimulatedExperiment
from bagscan.training.resolved import save_resolved
from bagscan.training.samples import subsample_evenly

log = logging.getLogger(__name__)

COLOUR_SCENES = 100  # whose colours stand for those of training


@dataclass(frozen=True, kw_only=True)
class DetectorExperiment(SimulatedExperiment):
    """Training of a detector on simulated sets.

    Attributes:
        images: ``raw`` (low, high, effective Z) or ``colour``.
        network: see :class:`NetworkConfig`.
        training: see :class:`DetectorTaskConfig`.
        start: model folder of a trained detector, whose weights the training starts from. If it
            was trained on other images, its first layer is averaged over channels. Datasets may
            have been packed with other categories, which are matched by name.
    """

    kind = "detector"
    figures = (
        "The best step has the highest monitor: the AUROC of devices in single views "
        "(with prohibited items: its mean with the AUROC of their cells)."
    )
    images: str = "raw"
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: DetectorTaskConfig = field(default_factory=DetectorTaskConfig)
    start: str = ""

    def __post_init__(self) -> None:
        if self.images not in IMAGES:
            raise ValueError(f"images must be one of {', '.join(IMAGES)}, got {self.images!r}")
        given, default = self.network, NetworkConfig()
        if given.categories or given.channels != default.channels:
            raise ValueError("network.categories and network.channels follow from sets and images")
        if given.two_views.width:
            raise ValueError(
                "network.two_views is trained by kind two_views, on a trained detector"
            )

    def prepare(self, out: Path) -> tuple[DetectorTask, Callable[[Scores], None]]:
        """Prepare the task; see :meth:`LoopExperiment.prepare`."""
        save_resolved(self, self.kind, out)
        started = Detector.load(self.start) if self.start else None
        scenes, categories = packed_scenes(self.sets, self.pack_workers)
        log.info(f"{len(scenes['train'])} training scenes, {len(scenes['val'])} validation scenes")
        detector = Detector.new(
            self.network,
            categories,
            len(KINDS),
            _count_devices(categories),
            self.images,
            len(set(PROHIBITED) & set(categories)),
        )
        if self.images == "colour":
            detector.options = Options(colours=Colours(_training_colours(scenes["train"])))
        if started:
            copy_weights(detector, started)

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
            detector.numbers,
            self.images,
        )
        if self.training.backbone == "frozen" and not started:
            task.estimate_statistics()
        return task, keep


def _training_colours(scenes: Sequence[PackedScene]) -> Quantiles:
    """Return the quantiles of colours of some training scenes, as this project displays them."""
    return quantiles_of(
        convert_features(whole_view(scene.views[0], False)[0][None], "colour")[0]
        for scene in subsample_evenly(scenes, COLOUR_SCENES)
    )


def packed_scenes(
    sets: tuple[str, ...],
    workers: int,
    start: Detector | None = None,
) -> tuple[dict[str, list[PackedScene]], tuple[str, ...]]:
    """Pack the sets that are not packed yet, and load their scenes.

    Args:
        sets: directories of simulated sets.
        workers: number of processes that pack.
        start: detector whose categories are trained on; by default those of the first set.

    Returns:
        Scenes of all sets by split, ``train`` and ``val``, and the categories. Labels of other
        categories are left out.

    Raises:
        ConfigError: the sets have no training or no validation scenes.
        DataError: a directory is not a simulated set.
    """
    roots = [Path(name) for name in sets]
    process = compute()
    for root in roots if process.writes else ():
        pack(root, KINDS, workers)
    process.broadcast_from_rank0(True)  # the other processes wait until the sets are packed
    categories = start.network.config.categories if start else packed_categories(roots[0])
    scenes = {
        part: [scene for root in roots for scene in read_packed(root, (part,), categories)]
        for part in ("train", "val")
    }
    for part, found in scenes.items():
        if not found:
            raise ConfigError(f"sets: no {part} scenes in {', '.join(sets)}")
    return scenes, categories


def _count_devices(categories: tuple[str, ...]) -> int:
    """Count the device classes, which follow the kinds of anomalies.

    Components with the name of a device, such as the camera of a phone, come later.
    """
    return len(list(itertools.takewhile(device_names().__contains__, categories[len(KINDS) :])))


def load_start(
    start: str, sets: tuple[str, ...], workers: int
) -> tuple[Detector, dict[str, list[PackedScene]]]:
    """Load the detector that training starts from, and scenes packed with its categories.

    Args:
        start: directory of the detector.
        sets, workers: see :func:`packed_scenes`.

    Raises:
        ConfigError: the sets have no training or no validation scenes.
        DataError: a directory is not a simulated set.
    """
    detector = Detector.load(start)
    return detector, packed_scenes(sets, workers, detector)[0]


def copy_weights(detector: Detector, trained: Detector) -> None:
    """Copy the weights of a trained detector into a new one.

    If the two use different channels, the first layer is averaged over channels. Categories are
    matched by name; new ones keep their random weights.

    Raises:
        ConfigError: the networks differ in their settings.
    """
    weights, own = trained.network.state_dict(), detector.network.state_dict()
    first = next(name for name, value in weights.items() if value.ndim == 4)
    if trained.images != detector.images:
        weights[first] = for_channels(weights[first], own[first].shape)
    known = {name: k for k, name in enumerate(trained.network.config.categories)}
    categories = detector.network.config.categories
    to = [k for k, name in enumerate(categories) if name in known]
    source = [known[categories[k]] for k in to]
    for name in ("categories.weight", "categories.bias"):
        if own[name].shape[1:] == weights[name].shape[1:]:  # otherwise refused below
            rows = own[name].clone()
            rows[to] = weights[name][source]
            weights[name] = rows
    try:
        detector.network.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(
            f"start: the trained network differs: {str(error).splitlines()[1].strip()}; "
            "use the same network settings and sets"
        ) from error


def calibrate_detector(
    sets: Sequence[str],
    folder: Path,
    max_fpr: float,
    items_only: bool = False,
    **options: Any,
) -> Detector:
    """Choose thresholds on validation scenes of simulated sets and store them with the weights.

    Args:
        sets: directories of simulated sets.
        folder: model folder of the detector.
        max_fpr: largest share of benign bags that raise an alarm.
        items_only: whether prohibited items alone alarm.
        **options: changes of :class:`bagscan.detector.inference.Options`, from now on.
    """
    usable = load_detector(folder)
    usable.options = replace(usable.options, **options)
    bags = [bag for name in sets for bag in score_dataset(Path(name), usable, "val")]
    detector = Detector.load(folder)
    detector.options = usable.options
    anomalous = sum(bag.anomalous for bag in bags)
    for warning in warn_few_examples(
        {"benign bags": len(bags) - anomalous, "anomalous bags": anomalous}
    ):
        log.warning(warning)
    detector.thresholds, detector.operating_point = calibrate_thresholds(bags, max_fpr, items_only)
    detector.save(folder)
    return detector


def evaluate_detector(sets: Sequence[str], folder: Path, part: str) -> dict[str, Any]:
    """Return the metrics of a detector on one split of simulated sets, by group and overall."""
    usable = load_detector(folder)
    bags = [bag for name in sets for bag in score_dataset(Path(name), usable, part)]
    groups = sorted({bag.about["group"] for bag in bags})
    results = {
        group: measure([bag for bag in bags if bag.about["group"] == group], usable.thresholds)
        for group in groups
    }
    return {
        "model_id": usable.id,
        "part": part,
        "sets": list(sets),
        "groups": results,
        "all": measure(bags, usable.thresholds),
    }


def detector_summary(result: dict[str, Any]) -> str:
    """Format metrics of a detector as a table with a row per group."""
    columns = {
        "scenes": "scenes",
        "device_recall": "found",
        "view_auroc": "AUROC view",
        "device_auroc": "AUROC device",
        "device_fpr_at_95": "FPR@95",
        "within_auroc": "within",
        "hit_at_1": "hit@1",
        "segment_auroc": "segments",
        "segment_darkness": "attenuation",
        "segment_tp_at_paper_fp": "TP@4.54",
        "bag_tp": "bag TP",
        "bag_fp": "bag FP",
        "on_the_anomaly": "on it",
    }
    rows = [f"{'':18s}" + "".join(f"{title:>13s}" for title in columns.values())]
    for name, group in (*result["groups"].items(), ("all", result["all"])):
        rows.append(
            f"{name:18s}" + "".join(f"{group.get(key, float('nan')):13.3f}" for key in columns)
        )
    return "\n".join(rows)
