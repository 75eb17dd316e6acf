"""What a view costs from its file to its row, and how many a second the cores judge, runtime beside runtime.

    python -m experiments.whole_path [--seconds 20]

Simulated bags of both views, as files, with the models that come along. Rates are of one process a core, on one
thread each; runtimes take turns within one run. What lies outside the networks is timed in a process of its own.
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
from bagscan.reporting.bags import judge_files
from bagscan.runtime.engines import installed
from bagscan.runtime.load import RUNTIMES
from bagscan.screening import Screener
from experiments.engine import Run, keep

BAGS, ROUNDS, REPEATS = 6, 3, 2
Bag = dict[str, Path]


def bags(folder: Path) -> dict[str, list[Bag]]:
    """Files of simulated bags by kind of image: one path a view."""
    from bagscan.cli import app  # the command, as its user would run it

    app(
        ["simulate", "--preset", "demo", "--out", str(folder), "--count", str(BAGS)],
        standalone_mode=False,
    )
    found: dict[str, list[Bag]] = {}
    for kind, ending in (("raw", ".tif"), ("colour", ".png")):
        paths = sorted((folder / kind).glob(f"*{ending}"))
        ids = sorted({path.stem.rpartition("_")[0] for path in paths})
        found[kind] = [
            {path.stem.rpartition("_")[2]: path for path in paths if path.stem.startswith(one)}
            for one in ids
        ]
    return found


def views_a_second(
    runtime: str, kind: str, files: Sequence[Bag], seconds: float, start: Any, counts: Any
) -> None:
    """What one process does: judge until the time is up."""
    screener = Screener.load(SHIPPED / kind, runtime=runtime)
    judge_files([screener], files[0])
    start.wait()
    done, bag, began = 0, 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds:
        judge_files([screener], files[bag % len(files)])
        done, bag = done + len(files[bag % len(files)]), bag + 1
    counts.put(done / taken)


def rate(runtime: str, kind: str, files: Sequence[Bag], seconds: float, processes: int) -> float:
    """Views a second of so many processes together."""
    context = get_context("spawn")
    start, counts = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=views_a_second, args=(runtime, kind, files, seconds, start, counts))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    total = sum(counts.get() for _ in workers)
    for worker in workers:
        worker.join()
    return total


def outside(runtime: str, kind: str, files: Sequence[Bag]) -> dict[str, float]:
    """Milliseconds of a view on one thread: within the networks, and outside of them."""
    from bagscan.runtime.engines import ENGINES

    within, engine = [0.0], ENGINES[runtime]
    plain = engine.run

    def timed(self: Any, graph: str, inputs: Any) -> Any:
        began = time.perf_counter()
        try:
            return plain(self, graph, inputs)
        finally:
            within[0] += time.perf_counter() - began

    engine.run = timed  # type: ignore[method-assign]
    screener = Screener.load(SHIPPED / kind, runtime=runtime)
    for files_of_bag in files:
        judge_files([screener], files_of_bag)
    within[0], began = 0.0, time.perf_counter()
    for _ in range(ROUNDS):
        for files_of_bag in files:
            judge_files([screener], files_of_bag)
    views = ROUNDS * sum(map(len, files))
    total = time.perf_counter() - began
    return {
        "ms a view": 1000 * total / views,
        "ms outside the networks": 1000 * (total - within[0]) / views,
        "share outside the networks": 1 - within[0] / total,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--processes", type=int, default=usable_cores())
    arguments = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    runtimes = [name for name in RUNTIMES if installed(name)]
    with tempfile.TemporaryDirectory(prefix="bagscan-") as folder:
        for kind, files in bags(Path(folder)).items():
            turns = [
                {
                    name: rate(name, kind, files, arguments.seconds, arguments.processes)
                    for name in runtimes
                }
                for _ in range(REPEATS)
            ]
            best = {name: max(turn[name] for turn in turns) for name in runtimes}
            for name in runtimes:
                found = {"views a second": best[name]}
                if name != "torch":
                    with get_context("spawn").Pool(1) as pool:  # what is timed is patched
                        found |= pool.apply(outside, (name, kind, files))
                data = {
                    "name": "simulate --preset demo",
                    "hash": "preset demo",
                    "counts": {"bags": len(files), "processes": arguments.processes},
                }
                keep(
                    Run("whole_path", {"model": kind, "runtime": name}),
                    {key: round(value, 3) for key, value in found.items()},
                    data=data,
                )


if __name__ == "__main__":
    main()
