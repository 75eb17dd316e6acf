"""What each part is worth on real scans: one thing changed at a time, at one small budget.

    python benchmarks/ablation.py --ssn runs/ssn_bsds500/regioner.safetensors [--split runs/split.json] [--only joint slic]

Every variant trains from the same file, is calibrated at 2 % of benign segments on validation and
evaluated on test. A variant that is finished is not run again; a killed one resumes. Writes
benchmarks/results/ablation.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from bagscan.evaluation.results import make_record, write_record
from bagscan.training.evaluate import calibrate_model, evaluate_model
from bagscan.training.experiment import Experiment, read_experiment, train

CONFIG = Path(__file__).parents[1] / "configs" / "xray_ablation.yaml"
HELD_OUT = "multiscanner-5"
SLIC = "model.regioner={name: slic, n_superpixels: 250}"
GRID = "model.regioner={name: grid, n_superpixels: 250}"
CROP = "model.encoder={name: crop, backbone: tf_efficientnet_lite0, size_px: 96, context: 1.0, floor: 0.3, pretrained: true}"
VARIANTS = {
    "joint": [],
    "two_stage": ["training.mode=two_stage"],
    "slic": ["training.mode=two_stage", SLIC],
    "crop": [CROP],
    f"without {HELD_OUT}": [f"data.leave_out_scanner={HELD_OUT}"],
    "joint, seed 1": ["training.loop.seed=1"],
    "joint, seed 2": ["training.loop.seed=2"],
    "grid": ["training.mode=two_stage", GRID],
    "no ranking": ["training.ranking=0"],
    "from scratch": ["model.encoder.pretrained=false"],
}


def run_variant(name: str, settings: list[str], folder: Path) -> dict[str, Any]:
    """Train, calibrate and evaluate one variant, or read what an earlier run left."""
    done = folder / "results.json"
    if not done.exists():
        print(f"== {name}", flush=True)
        experiment = read_experiment(CONFIG, settings)
        assert isinstance(experiment, Experiment)
        train(experiment, folder)
        calibrate_model(experiment, folder / "model", 0.02)
        evaluate_model(experiment, folder / "model", "test", done)
    record: dict[str, Any] = json.loads(done.read_text())
    return record


def row(record: dict[str, Any]) -> dict[str, Any]:
    """The figures of one variant that are compared."""
    within, objects = record["results"]["within_bag"], record["results"]["per_object"]
    wanted = ("all", "scanner:sixray", "scanner:other than sixray", f"scanner:{HELD_OUT}")
    out: dict[str, Any] = {}
    for group in [g for g in wanted if g in within]:
        found = within[group]
        out[group] = {**found["model"], "interval": found["intervals"]["auroc"], "darkness": found["darkness"]}
    return out | {
        "tp_percent": objects["tp_percent"],
        "fp_percent": record["results"]["per_segment"]["fp_percent"],
        "intervals": {"tp_percent": objects["intervals"].get("tp_percent"), "fp_percent": record["results"]["per_segment"]["intervals"].get("fp_percent")},
        "pixel_iou": record["results"]["per_pixel"]["iou"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ssn", type=Path, required=True, help="regioner trained on BSDS500, where every SSN starts")
    parser.add_argument("--split", type=Path)
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ablation.json"))
    arguments = parser.parse_args()
    common = [f"threads={arguments.threads}"] + ([f"data.split={arguments.split}"] if arguments.split else [])
    results: dict[str, Any] = {}
    for name, settings in VARIANTS.items():
        folder = arguments.runs / name.replace(",", "").replace(" ", "_")
        if name not in arguments.only and not (folder / "results.json").exists():
            continue
        learns = not any("regioner={" in s for s in settings)
        record = run_variant(name, common + settings + [f"init_regioner={arguments.ssn}"] * learns, folder)
        results[name] = row(record)
        notes = [f"All from {CONFIG.name}; TP % per object and FP % per benign segment at a threshold chosen on validation for 2 %."]
        config = {name: VARIANTS[name] for name in results}
        write_record(arguments.out, make_record("ablation", results, data=record["data"], config=config, seeds=[0, 1, 2], notes=notes))


if __name__ == "__main__":
    main()
