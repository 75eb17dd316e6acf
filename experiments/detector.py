"""Turn a trained detector into a bundled model, and record its results.

    python -m experiments.detector RUN NAME --config C --test SET [--max-fpr 0.2]

Thresholds are chosen on the validation scenes of the configuration's datasets, or of those that
``--calibrate-on`` names: a detector of prohibited items needs bags without such items. Results come
from an independent test set. The model card holds both, and the records of
:mod:`experiments.real_scans`. The script writes ``src/bagscan/shipped/NAME`` and the tables
``detector``, ``detector_by`` and ``detector_curve``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bagscan.core.machine import usable_cores
from bagscan.core.messages import show_messages
from bagscan.detector.calibration import calibrate_thresholds
from bagscan.detector.exported import UsableDetector
from bagscan.detector.inference import Options
from bagscan.detector.measures import measure
from bagscan.detector.model import Detector
from bagscan.detector.scored_bags import ScoredBag, score_bag
from bagscan.detector.thresholds import Thresholds
from bagscan.export.graphs import export_onnx
from bagscan.model_folder import SHIPPED
from bagscan.runtime.load import load_detector
from bagscan.simulate.summary import read_scenes
from bagscan.training.detector_experiment import DetectorExperiment, detector_summary
from bagscan.training.experiment import SimulatedExperiment, read_experiment
from experiments.engine import Run, keep, read_table

SECOND_FPR = 0.1  # largest false-positive rate on validation bags at the second operating point
BEHIND = (
    "the model for pseudo-colour was trained on simulated scans and is not shown to be better than "
    "darkness on real scanners; do not rely on CLEAR"
)
BAG_METRICS = ("bag_tp", "on_the_anomaly", "bag_fp")
GROUP_METRICS = ("bags", "bag_tp", "bag_fp", "on_the_anomaly", "hit_at_1", "within_auroc")


def main() -> None:
    show_messages()
    arguments = _arguments()
    experiment = read_experiment(arguments.config)
    assert isinstance(experiment, SimulatedExperiment)
    folder = SHIPPED / arguments.name
    for stale in folder.glob("*"):
        stale.unlink()
    shutil.copytree(arguments.run / "model", folder, dirs_exist_ok=True)
    for graph in folder.glob("*.onnx"):
        graph.unlink()
    detector = Detector.load(folder)
    detector.about = {
        name: result for name, result in detector.about.items() if name.startswith("validation")
    }
    detector.options = Options(mirrored=arguments.mirrored)
    detector.save(folder)
    export_onnx(folder)
    sets = [Path(name) for name in arguments.calibrate_on or experiment.sets]
    val = score_in_processes(folder, sets, "val")
    detector.thresholds, detector.operating_point = calibrate_thresholds(val, arguments.max_fpr)
    detector.save(folder)
    bags = score_in_processes(folder, [arguments.test], "test")
    record = figures(bags, detector.thresholds)
    add_second_point(record, bags, calibrate_thresholds(val, SECOND_FPR)[0])
    print(detector_summary(record))
    crops = arguments.crops
    if isinstance(experiment, DetectorExperiment):
        crops += keep_curve(
            arguments.run,
            arguments.name,
            experiment.training.batch * arguments.processes,
            experiment.sets,
        )
    detector.about |= card(record, crops, sorted({Path(s).name for s in experiment.sets}))
    detector.about |= real_scanners(arguments.name, detector.images)
    data = {
        "name": "/".join(arguments.test.resolve().parts[-2:]),
        "hash": detector.save(folder),
        "counts": {"bags": len(bags)},
    }
    for group, result in (*record["groups"].items(), ("all", record["all"])):
        keep(
            Run("detector", {"model": arguments.name, "crops": crops, "group": group}),
            result,
            data=data,
        )
    for by, rows in record["by"].items():
        for value, result in rows.items():
            keep(
                Run(
                    "detector_by",
                    {"model": arguments.name, "crops": crops, "by": by, "value": value},
                ),
                result,
                data=data,
            )


_detector: UsableDetector | None = None  # of a scoring process


def score_in_processes(folder: Path, sets: Sequence[Path], part: str) -> list[ScoredBag]:
    """Run a detector on a split of simulated sets, in one process per core.

    Args:
        folder: model folder.
        sets: directories of the sets.
        part: ``val`` or ``test``.
    """
    scenes = [(root, records) for root in sets for records in read_scenes(root, part)]
    bags: list[ScoredBag] = []
    with ProcessPoolExecutor(
        usable_cores(), get_context("spawn"), initializer=_load, initargs=(folder,)
    ) as pool:
        for done, scored in enumerate(pool.map(_score, scenes, chunksize=4), 1):
            bags += scored
            if done % 50 == 0 or done == len(scenes):
                print(f"{done} of {len(scenes)} scenes scored")
    return bags


def _load(folder: Path) -> None:
    global _detector
    _detector = load_detector(folder)


def _score(scene: tuple[Path, list[dict[str, Any]]]) -> list[ScoredBag]:
    assert _detector is not None
    return [score_bag(scene[0], record, _detector) for record in scene[1]]


def keep_curve(run: Path, name: str, batch: int, sets: Sequence[str]) -> int:
    """Record the validations of a training run.

    Args:
        run: directory of the run.
        name: name of the model.
        batch: crops per step, over all processes.
        sets: datasets whose validation scenes were used.

    Returns:
        Number of crops of the whole run.
    """
    crops = 0
    data = {"name": ", ".join(sorted({Path(s).name for s in sets})), "hash": "-", "counts": {}}
    for line in (run / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        crops = entry["step"] * batch
        if "validation" in entry:
            point = Run("detector_curve", {"model": name, "crops": crops})
            keep(point, entry["validation"], data=data)
    return crops


def figures(bags: Sequence[ScoredBag], thresholds: Thresholds) -> dict[str, Any]:
    """Compute all metrics by group, and detection by kind, way, device, visibility and clutter.

    Returns:
        ``groups`` (metrics by group), ``all`` (metrics of all bags), ``by`` (selected metrics by
        property and value).
    """
    groups = sorted({bag.about["group"] for bag in bags})
    by_group = {
        group: measure([bag for bag in bags if bag.about["group"] == group], thresholds)
        for group in groups
    }
    by = {
        key: _by(bags, thresholds, partial(_of_anomaly, key)) for key in ("kind", "way", "device")
    }
    by |= {
        "standing_out": _by(bags, thresholds, _standing_out),
        "visible_in": _by(bags, thresholds, _visible_in),
        "over_a_device": _by(bags, thresholds, _over_a_device),
    }
    return {"groups": by_group, "all": measure(bags, thresholds), "by": by}


def add_second_point(
    record: dict[str, Any], bags: Sequence[ScoredBag], thresholds: Thresholds
) -> None:
    """Add the rates of bags at a second operating point to the results of :func:`figures`."""
    for group, results in (*record["groups"].items(), ("all", record["all"])):
        members = [bag for bag in bags if group in ("all", bag.about["group"])]
        metrics = measure(members, thresholds)
        results |= {f"second_{name}": metrics[name] for name in BAG_METRICS}


def _of_anomaly(key: str, bag: ScoredBag) -> str:
    return str(bag.about[key]) if bag.anomalous else ""


def _standing_out(bag: ScoredBag) -> str:
    if not bag.anomalous:
        return ""
    best = max(float(view.about["standing_out"]) for view in bag.views)
    return "under 0.5" if best < 0.5 else "0.5 to 2" if best < 2 else "over 2"


def _visible_in(bag: ScoredBag) -> str:
    count = sum(view.visible for view in bag.views)
    return f"{count} view{'' if count == 1 else 's'}" if bag.anomalous else ""


def _over_a_device(bag: ScoredBag) -> str:
    """Tell whether something loose lies over or under a device in a view, as if it were in it."""
    loose = any(view.about.get("ambiguous") for view in bag.views)
    return "something loose" if loose else "nothing"


def _by(
    bags: Sequence[ScoredBag], thresholds: Thresholds, key: Callable[[ScoredBag], str]
) -> dict[str, dict[str, float]]:
    """Compute some metrics of the bags of each value of a key; bags without a value are left out.

    Rates of false alarms are NaN where a property belongs to an anomaly.
    """
    parts: dict[str, list[ScoredBag]] = defaultdict(list)
    for bag in bags:
        if value := key(bag):
            parts[value].append(bag)
    result = {}
    for name, members in sorted(parts.items()):
        metrics = measure(members, thresholds)
        result[name] = {metric: metrics[metric] for metric in GROUP_METRICS}
    return result


def card(record: dict[str, Any], crops: int, sets: Sequence[str]) -> dict[str, Any]:
    """Return the entries of the model card.

    Args:
        record: results of :func:`figures`.
        crops: number of training crops.
        sets: names of the datasets of the last training run.
    """
    result: dict[str, Any] = {
        "trained on": f"simulated scans alone ({', '.join(sets)}), "
        f"over ImageNet weights (Apache-2.0); {crops:,} crops",
    }
    for name, group in record["groups"].items():
        result[f"{name.replace('_', ' ')} (preset demo, {group['bags']} bags)"] = (
            f"finds {group['bag_tp']:.0%} of bags with something hidden, "
            f"{group['on_the_anomaly']:.0%} at the right place, "
            f"at {group['bag_fp']:.0%} false alarms; "
            f"devices over both views AUROC {group['device_auroc']:.3f}, "
            f"{group['device_recall']:.0%} of devices found"
        )
    for key in ("kind", "way", "device"):
        rows = sorted(record["by"][key].items(), key=lambda row: row[1]["bag_tp"])
        result[f"found by {key}"] = ", ".join(f"{name} {row['bag_tp']:.0%}" for name, row in rows)
    return result | {
        "limits": "simulated scans of a single scanner; a first-stage aid, a person decides; "
        "no conformance to any security standard is claimed"
    }


def real_scanners(name: str, images: str) -> dict[str, Any]:
    """Return the entries of the model card on real scans, from the records of the model.

    A model that is not ahead of attenuation everywhere gets a warning, which users see.

    Args:
        name: name of the bundled model.
        images: kind of image, ``raw`` or ``colour``; no real raw scans are at hand.
    """
    if images != "colour":
        return {}
    own = [record for record in read_table("real_scans") if record["config"]["model"] == name]
    rows = [
        (record["config"]["scans"], record["results"])
        for record in own
        if record["config"]["group"] == "all"
    ]
    ahead = [
        r["results"][name] > r["results"][f"attenuation_{name}"]
        for r in own
        for name in ("auroc", "hit_at_1")
    ]
    warning = {} if ahead and all(ahead) else {"warning": BEHIND}
    if not rows:
        return {"on real scanners": "not measured"} | warning
    figures = "; ".join(
        f"{scans}: objects within their bag AUROC {result['auroc']:.3f} (attenuation alone "
        f"{result['attenuation_auroc']:.3f}), hit@1 {result['hit_at_1']:.2f} "
        f"({result['attenuation_hit_at_1']:.2f})"
        for scans, result in rows
    )
    return {"on real scanners": f"trained on none; {figures}"} | warning


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="directory of a bagscan train run")
    parser.add_argument("name", help="name of the bundled model")
    parser.add_argument("--config", type=Path, required=True, help="configuration of the run")
    parser.add_argument("--test", type=Path, required=True, help="directory of the test set")
    parser.add_argument(
        "--calibrate-on", nargs="+", help="datasets to choose thresholds on; default: the run's"
    )
    parser.add_argument("--crops", type=int, default=0, help="training crops before this run")
    parser.add_argument(
        "--processes", type=int, default=1, help="training processes, each with its own batch"
    )
    parser.add_argument("--mirrored", action="store_true", help="average over mirrored views")
    parser.add_argument(
        "--max-fpr", type=float, default=0.2, help="largest false-positive rate on validation bags"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
