"""How far simulation carries over to real scans, within the bag, darkness beside it.

    python benchmarks/real_transfer.py [--simulated MODEL] [--split SPLIT] [--only NAME ...]

The simulated model first (by default the colour model that comes along) without any training on real scans; then the
same network trained on them from nothing, from ImageNet, from the simulated model, and the last two with projected
threats. Variants that are there are not run again. Writes benchmarks/results/real_transfer.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from bagscan.evaluation.results import make_record, write_record
from bagscan.model import Model
from bagscan.model_folder import SHIPPED
from bagscan.training.data import load_records, obtain_split
from bagscan.training.evaluate import evaluate_model
from bagscan.training.experiment import Experiment, read_experiment, train

CONFIG = Path(__file__).parents[1] / "configs" / "xray_transfer.yaml"
THREATS = "training.augment.threats=0.3"
VARIANTS = ("simulated alone", "real, from scratch", "real, from ImageNet", "simulated, then real", "real, from ImageNet, with threats", "simulated, then real, with threats")
GROUPS = ("all", "scanner:sixray", "scanner:other than sixray")


def judged(name: str, simulated: Path, runs: Path, common: list[str]) -> dict[str, Any]:
    """The record of one variant."""
    folder = runs / name.replace(",", "").replace(" ", "_")
    done = folder / "results.json"
    if not done.exists():
        print(f"== {name}", flush=True)
        start = ["model.encoder.pretrained=false"] * name.endswith("scratch") + [f"init={simulated}"] * name.startswith("simulated, ")
        settings = common + start + [THREATS] * ("threats" in name)
        experiment = read_experiment(CONFIG, settings)
        assert isinstance(experiment, Experiment)
        if name == "simulated alone":
            folder.mkdir(parents=True, exist_ok=True)
            # Its model folder lies elsewhere; the split is this benchmark's.
            evaluate_model(experiment, simulated, "test", done, everywhere=True)
        else:
            train(experiment, folder)
            evaluate_model(experiment, folder / "model", "test", done)
    record: dict[str, Any] = json.loads(done.read_text())
    return record


def own_split(runs: Path) -> Path:
    """One split for all variants, written where it is not there."""
    data = read_experiment(CONFIG).data
    obtain_split(data, load_records(data), runs)
    return runs / "split.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", type=Path, default=SHIPPED / "colour", help="model folder trained on simulated scans alone")
    parser.add_argument("--split", type=Path, help="split file, for example of another run; by default one is made beside the runs")
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--runs", type=Path, default=Path("runs/real_transfer"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/real_transfer.json"))
    arguments = parser.parse_args()
    common = [f"threads={arguments.threads}", f"data.split={arguments.split or own_split(arguments.runs)}"]
    results: dict[str, Any] = {}
    for name in VARIANTS:
        if name in arguments.only or (arguments.runs / name.replace(",", "").replace(" ", "_") / "results.json").exists():
            record = judged(name, arguments.simulated, arguments.runs, common)
            within = record["results"]["within_bag"]
            results[name] = {g: {**within[g]["model"], "interval": within[g]["intervals"]["auroc"], "darkness": within[g]["darkness"]} for g in GROUPS if g in within}
            notes = [f"All of {CONFIG.name}; 'simulated alone' saw no real scan. AUROC within the bag, per segment, averaged over bags."]
            config = {"variants": list(results), "simulated_model": Model.load(arguments.simulated).id}
            write_record(arguments.out, make_record("real_transfer", results, data=record["data"], config=config, seeds=[0], notes=notes))


if __name__ == "__main__":
    main()
