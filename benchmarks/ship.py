"""Copy a trained and calibrated model into the package, its weights in 16 bits, and export it.

python benchmarks/ship.py runs/simulated_raw/model raw --minutes 25
"""

import argparse
from pathlib import Path

from bagscan.export.graphs import export_onnx
from bagscan.model import Model
from bagscan.model_folder import SHIPPED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder of a run")
    parser.add_argument("name", choices=["colour", "raw"])
    parser.add_argument("--minutes", type=float, help="that its training took, for the card")
    arguments = parser.parse_args()
    model = Model.load(arguments.model)
    model.half_weights = True
    preset = {"raw": "lab", "colour": "visible"}[arguments.name]
    model.about["trained on"] = f"simulated scans alone (bagscan simulate --preset deei for its detector, --preset {preset}), over ImageNet weights"
    model.about["made by"] = f"bagscan train configs/simulated_{arguments.name}.yaml, bagscan calibrate --level scan, benchmarks/ship.py"
    if arguments.minutes:
        model.about["training time"] = f"{arguments.minutes:.0f} minutes on one core, its item detector apart"
    model.save(SHIPPED / arguments.name)
    export_onnx(SHIPPED / arguments.name)
    size = (SHIPPED / arguments.name / "weights.safetensors").stat().st_size
    print(f"{SHIPPED / arguments.name}: {size / 1e6:.1f} MB, id {model.id}")


if __name__ == "__main__":
    main()
