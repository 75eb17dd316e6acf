"""Measure the screening of bags from file to row: views per second, by runtime.

    python -m experiments.whole_path [--seconds 20]

The bundled models screen simulated bags of two views. Rates are those of one single-threaded
process per core; runtimes take turns within one run. The time outside the networks is measured in a
separate process.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bagscan.core.machine import usable_cores
from bagscan.model_folder import SHIPPED
from bagscan.reporting.bags import screen_files
from bagscan.runtime.engines import installed_version
from bagscan.runtime.load import RUNTIMES
from bagscan.screening import Screener
from experiments.engine import Run, keep

BAGS, ROUNDS, REPEATS = 6, 3, 2
IMAGES = {"raw": "raw", "colour": "colour", "prohibited": "colour"}  # of each bundled model
Bag = dict[str, Path]


def bags(folder: Path) -> dict[str, list[Bag]]:
    """Simulate bags and return their files by view, by kind of image."""
    from bagscan.cli import app

    app(
        ["simulate", "--preset", "demo", "--out", str(folder), "--count", str(BAGS)],
        standalone_mode=False,
    )
    bags_by_kind: dict[str, list[Bag]] = {}
    for kind, ending in (("raw", ".tif"), ("colour", ".png")):
        paths = sorted((folder / kind).glob(f"*{ending}"))
        ids = sorted({path.stem.rpartition("_")[0] for path in paths})
        bags_by_kind[kind] = [
            {path.stem.rpartition("_")[2]: path for path in paths if path.stem.startswith(bag_id)}
            for bag_id in ids
        ]
    return bags_by_kind


def views_a_second(
    runtime: str, folder: Path, files: Sequence[Bag], seconds: float, start: Any, counts: Any
) -> None:
    """Screen bags until the time is up and report the rate; the entry point of a process.

    Args:
        runtime: name of the runtime.
        folder: model folder.
        files: the bags.
        seconds: duration.
        start: barrier of all processes.
        counts: queue that receives the views per second.
    """
    screener = Screener.load(folder, runtime=runtime)
    screen_files([screener], files[0])
    start.wait()
    done, bag, began = 0, 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds:
        screen_files([screener], files[bag % len(files)])
        done, bag = done + len(files[bag % len(files)]), bag + 1
    counts.put(done / taken)


def rate(runtime: str, folder: Path, files: Sequence[Bag], seconds: float, processes: int) -> float:
    """Return the views per second of several processes together."""
    context = get_context("spawn")
    start, counts = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(
            target=views_a_second, args=(runtime, folder, files, seconds, start, counts)
        )
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    total = float(sum(counts.get() for _ in workers))
    for worker in workers:
        worker.join()
    return total


def outside(runtime: str, folder: Path, files: Sequence[Bag]) -> dict[str, float]:
    """Measure milliseconds per view on one thread, in total and outside the networks."""
    from bagscan.runtime.engines import ENGINES

    within, engine = [0.0], ENGINES[runtime]  # seconds within the networks
    original_run = engine.run

    def timed(self: Any, graph: str, inputs: Any) -> Any:
        began = time.perf_counter()
        try:
            return original_run(self, graph, inputs)
        finally:
            within[0] += time.perf_counter() - began

    engine.run = timed  # type: ignore[method-assign]
    screener = Screener.load(folder, runtime=runtime)
    for files_of_bag in files:
        screen_files([screener], files_of_bag)
    within[0], began = 0.0, time.perf_counter()
    for _ in range(ROUNDS):
        for files_of_bag in files:
            screen_files([screener], files_of_bag)
    views = ROUNDS * sum(map(len, files))
    total = time.perf_counter() - began
    return {
        "ms a view": 1000 * total / views,
        "ms outside the networks": 1000 * (total - within[0]) / views,
        "share outside the networks": 1 - within[0] / total,
    }


def measure(
    folder: Path, files: Sequence[Bag], seconds: float, processes: int
) -> list[dict[str, Any]]:
    """Return the figures of a model with every installed runtime."""
    runtimes = [name for name in RUNTIMES if installed_version(name)]
    turns = [
        {name: rate(name, folder, files, seconds, processes) for name in runtimes}
        for _ in range(REPEATS)
    ]
    records = []
    for name in runtimes:
        result: dict[str, Any] = {"runtime": name}
        result["views a second"] = max(turn[name] for turn in turns)
        if name != "torch":
            # A separate process, since the measurement patches the engine.
            with get_context("spawn").Pool(1) as pool:
                result |= pool.apply(outside, (name, folder, files))
        records.append(result)
    return records


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of a measurement")
    parser.add_argument("--processes", type=int, default=usable_cores(), help="number of processes")
    arguments = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    with tempfile.TemporaryDirectory(prefix="bagscan-") as work:
        files_of = bags(Path(work) / "bags")
        for name, images in IMAGES.items():
            files = files_of[images]
            for record in measure(SHIPPED / name, files, arguments.seconds, arguments.processes):
                settings = {"model": name, "runtime": record.pop("runtime")}
                data = {
                    "name": "simulate --preset demo",
                    "hash": "preset demo",
                    "counts": {"bags": len(files), "processes": arguments.processes},
                }
                rounded = {key: round(value, 3) for key, value in record.items()}
                keep(Run("whole_path", settings), rounded, data=data)


if __name__ == "__main__":
    main()
