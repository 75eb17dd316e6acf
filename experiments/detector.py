"""Make a trained detector one that comes along: python -m experiments.detector RUN NAME --config C --test SET [--max-fpr 0.1].

Thresholds are chosen on the validation scenes of the configuration's sets, figures taken on a test set that has
nothing to do with them, and both stand in the card. Writes src/bagscan/shipped/NAME; its figures by group and by what
was hidden how, and the run's curve, become the tables detector, detector_by and detector_curve.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bagscan.detector.exported import UsableDetector
from bagscan.detector.judging import JudgedBag, judge_set
from bagscan.detector.measures import measure
from bagscan.detector.model import Detector
from bagscan.detector.thresholds import Thresholds
from bagscan.export.graphs import export_onnx
from bagscan.model_folder import SHIPPED
from bagscan.runtime.load import load_model
from bagscan.training.detector_experiment import (
    DetectorExperiment,
    calibrate_detector,
    detector_summary,
)
from bagscan.training.experiment import SimulatedExperiment, read_experiment
from experiments.engine import Run, keep

SHOWN = ("scenes", "device_recall", "device_auroc", "bag_tp", "bag_fp", "on_the_anomaly")


def main() -> None:
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
    detector.save(folder)
    export_onnx(folder)
    calibrate_detector(experiment.sets, folder, arguments.max_fpr, print)
    usable = load_model(folder)
    assert isinstance(usable, UsableDetector)
    bags = judge_set(arguments.test, usable, "test")
    record = figures(bags, usable.thresholds)
    print(detector_summary(record))
    crops = arguments.crops
    if isinstance(experiment, DetectorExperiment):
        crops += keep_curve(
            arguments.run, arguments.name, experiment.training.batch * arguments.processes
        )
    detector = Detector.load(folder)
    detector.about |= card(record, crops, detector.images)
    detector.save(folder)
    data = {
        "name": str(arguments.test),
        "hash": load_model(folder).id,
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


def keep_curve(run: Path, name: str, batch: int) -> int:
    """Store the validations of a run's log; returns how many crops it saw in all."""
    crops = 0
    for line in (run / "log.jsonl").read_text().splitlines():
        result = json.loads(line)
        crops = result["step"] * batch
        if "validation" in result:
            keep(Run("detector_curve", {"model": name, "crops": crops}), result["validation"])
    return crops


def figures(bags: Sequence[JudgedBag], thresholds: Thresholds) -> dict[str, Any]:
    """All figures by group, and how many bags are found by kind, way and device."""
    groups = sorted({bag.about["group"] for bag in bags})
    result = {
        group: measure([bag for bag in bags if bag.about["group"] == group], thresholds)
        for group in groups
    }
    by = {
        key: _by(bags, thresholds, lambda bag, key=key: bag.about[key])
        for key in ("kind", "way", "device")
    }
    standing = _by(bags, thresholds, _standing_out)
    return {
        "groups": result,
        "all": measure(bags, thresholds),
        "by": by | {"standing_out": standing},
    }


def _standing_out(bag: JudgedBag) -> str:
    best = max(float(view.about["standing_out"]) for view in bag.views)
    return "under 0.5" if best < 0.5 else "0.5 to 2" if best < 2 else "over 2"


def _by(
    bags: Sequence[JudgedBag], thresholds: Thresholds, key: Callable[[JudgedBag], str]
) -> dict[str, dict[str, float]]:
    parts: dict[str, list[JudgedBag]] = defaultdict(list)
    for bag in bags:
        if bag.anomalous:
            parts[key(bag)].append(bag)
    result = {name: measure(own, thresholds) for name, own in sorted(parts.items())}
    return {
        name: {k: one[k] for k in ("bags", "bag_tp", "on_the_anomaly", "hit_at_1", "within_auroc")}
        for name, one in result.items()
    }


def card(record: dict[str, Any], crops: int, images: str) -> dict[str, Any]:
    """What the model card says."""
    result: dict[str, Any] = {
        "trained on": f"simulated scans alone (presets deei and operational), over ImageNet weights (Apache-2.0); {crops:,} crops",
    }
    for name, group in record["groups"].items():
        result[f"{name.replace('_', ' ')} (preset demo, {group['bags']} bags as screened)"] = (
            f"finds {group['bag_tp']:.0%} of bags with something hidden, {group['on_the_anomaly']:.0%} at the right place, "
            f"at {group['bag_fp']:.0%} false alarms; devices over both views AUROC {group['device_auroc']:.3f}, {group['device_recall']:.0%} of devices found"
        )
    for key in ("kind", "way", "device"):
        rows = sorted(record["by"][key].items(), key=lambda row: row[1]["bag_tp"])
        result[f"found by {key}"] = ", ".join(f"{name} {row['bag_tp']:.0%}" for name, row in rows)
    if images == "colour":
        result["on real scanners"] = (
            "not shown to be better than plain darkness: colours of scanners differ, and this model knows the simulator's alone"
        )
    return result | {
        "limits": "simulated scans of one scanner; a first-stage aid, a person decides; no conformance to any security standard is claimed"
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a folder of bagscan train")
    parser.add_argument("name")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument(
        "--crops", type=int, default=0, help="that the detector had seen before this run"
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        help="that trained together, each with a batch of its own",
    )
    parser.add_argument("--max-fpr", type=float, default=0.1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
