"""What each part of the training on simulated prohibited items is worth on real scans.

    python -m experiments.ablation SET [--other NAME=SET ...] [--seeds 3] [--steps 600] [--keep]

Every row changes one thing of ``--preset detector_colour``: the displays of scanners, changes of
size, overlaid bags, labels of other things than items, boxes of items, the frozen backbone, or the
dataset (``--other``, see ``experiments/recipes``). All rows have the same number of steps; the
unchanged one is trained with several seeds, the others with the first. The figures are within-bag,
see :mod:`experiments.real_scans`. To use two cores:

    torchrun --nproc_per_node 2 --no-python python -m experiments.ablation SET ...
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from bagscan.cli.terminal import PRESETS
from bagscan.runtime.load import load_detector
from bagscan.training.compute import compute
from bagscan.training.experiment import read_experiment, train
from experiments.engine import Run, keep, remaining
from experiments.real_scans import measure_all, real_scans

CHANGES: dict[str, list[str]] = {
    "everything": [],
    "all weights": ["training.backbone=trained", "loop.learning_rate=0.001"],
    "one display": ["training.displays=0"],
    "one size": ["training.scale=0.12"],
    "no overlaid bags": ["training.overlay=0"],
    "labels of items alone": ["training.category_weight=0"],
    "outlines in place of boxes": ["training.item_labels=masks"],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path, help="simulated dataset with prohibited items")
    parser.add_argument("--other", nargs="+", default=[], help="more rows, NAME=DATASET")
    parser.add_argument("--changes", nargs="+", default=list(CHANGES), choices=CHANGES)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=48, help="crops per step and process")
    parser.add_argument("--limit", type=int, default=100, help="real scans of each collection")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of the first row")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--keep", action="store_true", help="store in the table ablation")
    arguments = parser.parse_args()
    sets = dict.fromkeys(arguments.changes, arguments.set)
    sets |= {name: Path(folder) for name, folder in (o.split("=", 1) for o in arguments.other)}
    for run in remaining(rows(sets, arguments.steps, arguments.seeds), again=not arguments.keep):
        change, seed = run.settings["change"], run.settings["seed"]
        path, settings = configuration(
            sets[change], CHANGES.get(change, []), arguments.steps, arguments.batch, seed
        )
        out = arguments.out / f"{change.replace(' ', '_')}_{seed}"
        train(read_experiment(path, settings), out)
        if compute().writes:
            result = measure_collections(out / "model", arguments.limit)
            print(run.name, {k: round(v, 3) for k, v in result.items()}, flush=True)
            if arguments.keep:
                recipe = (sets[change] / "recipe.json").read_bytes()
                data = {
                    "name": sets[change].name,
                    "hash": hashlib.sha256(recipe).hexdigest()[:16],
                    "counts": {"scenes": len(list((sets[change] / "scans").glob("*.json")))},
                }
                keep(run, result, data=data, seeds=[seed])


def rows(sets: Mapping[str, Path], steps: int, seeds: int) -> list[Run]:
    """Return a run for every change, and one for every further seed without a change.

    Args:
        sets: dataset of each change; the first is no change.
        steps: steps of every run.
        seeds: number of seeds.
    """
    first = next(iter(sets))
    wanted = [(name, 0) for name in sets] + [(first, seed) for seed in range(1, seeds)]
    return [
        Run("ablation", {"change": name, "set": sets[name].name, "steps": steps, "seed": seed})
        for name, seed in wanted
    ]


def configuration(
    dataset: Path, changes: Sequence[str], steps: int, batch: int, seed: int
) -> tuple[Path, list[str]]:
    """Return the preset of a row and its settings."""
    settings = [
        f"sets=[{dataset}]",
        f"training.batch={batch}",
        f"loop.steps={steps}",
        f"loop.cooldown={steps // 2}",
        f"loop.validate_every={steps}",
        f"loop.seed={seed}",
        "training.val_views=20",  # the last step counts
    ]
    return PRESETS / "detector_colour.yaml", [*settings, *changes]


def measure_collections(folder: Path, limit: int) -> dict[str, float]:
    """Return scans, AUROC and hit@1 of a detector and of attenuation on each collection."""
    detector = load_detector(folder)
    result: dict[str, float] = {}
    for name, records in real_scans(limit).items():
        figures = measure_all(records, detector)
        result[f"{name}_scans"] = len(records)
        for figure in ("auroc", "hit_at_1", "attenuation_auroc", "attenuation_hit_at_1"):
            result[f"{name}_{figure}"] = float(figures[figure])
    return result


if __name__ == "__main__":
    main()
