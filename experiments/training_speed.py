"""Measure how fast a detector trains, and what share of a step its batches take.

    torchrun --nproc_per_node 2 --no-python python -m experiments.training_speed SET [--keep]

A run of ``--preset detector`` (EfficientNet-Lite0, crops of 192 px of 1 mm, 96 px of 2 mm to the
backbone) is timed after its first steps. Batches are drawn in a thread beside the network; their
share is the time that drawing takes alone, relative to a step. bfloat16 is used where the processor
has it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bagscan.cli.terminal import PRESETS
from bagscan.training.compute import compute, has_bfloat16
from bagscan.training.detector_experiment import DetectorExperiment
from bagscan.training.drawing import generator_of, prefetch_batches
from bagscan.training.experiment import read_experiment
from bagscan.training.loop import build_optimizer, train_step
from experiments.engine import Run, keep

WARM_UP = 5  # steps that compile kernels and fill caches


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path, help="simulated dataset")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--keep", action="store_true", help="store in the table training_speed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments.set, arguments.steps, Path(folder))
    if compute().writes:
        print({name: round(value, 3) for name, value in result.items()}, flush=True)
        if arguments.keep:
            settings = {"network": "tf_efficientnet_lite0", "processes": compute().count}
            keep(
                Run("training_speed", settings | {"bfloat16": has_bfloat16(compute().device)}),
                result,
            )


def measure(dataset: Path, steps: int, out: Path) -> dict[str, Any]:
    """Return crops per second of all processes, seconds per step, and the share of drawing."""
    experiment = read_experiment(PRESETS / "detector.yaml", [f"sets=[{dataset}]"])
    assert isinstance(experiment, DetectorExperiment)
    task, _ = experiment.prepare(out)
    optimizer = build_optimizer(task, experiment.loop)
    process = compute()
    batches = prefetch_batches(task.batch, 0, range(WARM_UP + steps), process.rank)
    for step, batch in enumerate(batches):
        if step == WARM_UP:
            started = time.monotonic()
        train_step(task, optimizer, batch, step, experiment.loop, process)
    per_step = (time.monotonic() - started) / steps
    started = time.monotonic()
    for step in range(steps):
        task.batch(generator_of(1, step, process.rank))
    drawing = (time.monotonic() - started) / steps
    crops = experiment.training.batch * process.count
    return {
        "crops_per_s": crops / per_step,
        "step_s": per_step,
        "drawing_share": drawing / per_step,
    }


if __name__ == "__main__":
    main()
