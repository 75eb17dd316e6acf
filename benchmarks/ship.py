"""Copy a trained and calibrated model into the package, its weights in 16 bits, with what it was judged at in its card, and export it.

python benchmarks/ship.py runs/simulated_raw/model raw --minutes 45 --items benchmarks/results/simulated_raw.json \
    --bags benchmarks/results/simulated_raw_screened.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

from bagscan.export.graphs import export_onnx
from bagscan.model import Model
from bagscan.model_folder import SHIPPED

FIT_FOR = "pointing at parts to look at, and trying bagscan out. Which bags hold something it tells little better than by chance: screen with a model trained on your own scans"
PRESETS = {"raw": "lab", "colour": "visible"}
HOW = 'docs/tutorial.md, "The models that come along, again": simulation, item detector, training, calibration, and the times of each'


def told_of_items(results: dict[str, Any]) -> str:
    """What a record of items under their true masks says, each figure beside its control.

    Args:
        results: of ``bagscan evaluate`` on a set of items: a scan of the record is an item in one view.
    """
    scan, within, segment = results["per_scan"], results["within_bag"]["all"], results["per_segment"]
    return (
        f"{scan['n']} items: AUROC {told(scan)}, image statistics {scan['trivial_baseline']['auroc']:.3f}; parts of an anomalous item "
        f"{within['model']['auroc']:.3f}, darkness {within['darkness']['auroc']:.3f}; parts of all items {told(segment)}"
    )


def told_of_bags(results: dict[str, Any]) -> str:
    """What a record of whole bags, judged as screening does (``bagscan evaluate --as-screened``), says at the operating point."""
    bag, view = results["simulated"]["per_scan"], results["per_scan"]
    return (
        f"{bag['n']} bags: AUROC {bag['auroc']:.3f}, {bag['tp_percent']:.1f} % of the anomalous and {bag['fp_percent']:.1f} % of the benign alarm at the operating point; "
        f"{view['n']} views {told(view)}, image statistics {view['trivial_baseline']['auroc']:.3f}"
    )


def told(level: dict[str, Any]) -> str:
    """AUROC with its 95 % interval."""
    low, high = level["intervals"]["auroc"]
    return f"{level['auroc']:.3f} ({low:.3f}-{high:.3f})"


def results_at(path: Path, model: Model) -> dict[str, Any]:
    """Results of a record.

    Raises:
        SystemExit: it is of a model of another operating point.
    """
    results: dict[str, Any] = json.loads(path.read_text())["results"]
    point = results["operating_point"]
    if model.operating_point is None or point is None or point["threshold"] != model.operating_point.threshold:
        raise SystemExit(f"{path}: not of this model, whose operating point is {model.operating_point}")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder of a run; the shipped one itself for another card")
    parser.add_argument("name", choices=sorted(PRESETS))
    parser.add_argument("--items", type=Path, required=True, help="record of bagscan evaluate on test items")
    parser.add_argument("--bags", type=Path, required=True, help="record of bagscan evaluate --as-screened on test bags")
    parser.add_argument("--minutes", type=float, required=True, help="that its training took")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    model = Model.load(arguments.model)
    model.half_weights = True
    preset = PRESETS[arguments.name]
    model.about |= {
        "trained on": f"simulated scans alone (bagscan simulate --preset deei for its item detector, --preset {preset}), over ImageNet weights",
        "made by": HOW,
        "training time": f"{arguments.minutes:.0f} minutes on one core, without simulation and item detector",
        "judged on test items, under their true masks": told_of_items(results_at(arguments.items, model)),
        "judged on test bags, as screened": told_of_bags(results_at(arguments.bags, model)),
        "fit for": FIT_FOR,
    }
    folder = arguments.out / arguments.name
    model.save(folder)
    export_onnx(folder)
    size = (folder / "weights.safetensors").stat().st_size
    print(f"{folder}: {size / 1e6:.1f} MB, id {Model.load(folder).id}")


if __name__ == "__main__":
    main()
