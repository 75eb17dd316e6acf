"""Measure the screening of archives: speed of workers, memory, and Ray against the local pool.

    python -m experiments.batch simulated/demo/raw --bags 120

``workers`` screens simulated bags with a bundled model, with one and two workers in turns.
``memory`` lists and screens empty files with a worker that answers at once, which leaves only the
cost of everything around the model.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bagscan.batch.pool import Pool
from bagscan.batch.run import BatchConfig, prepare, screen_archive
from bagscan.model_folder import SHIPPED, shipped_models
from experiments.engine import Run, keep

SIZES = (1_000, 10_000, 100_000)
SCREENED = (100, 1_000)
MILLION = 1_000_000
# Number of bags, CPU seconds per bag: a much smaller model, and the bundled colour model.
RAY = ((10_000, 0.02), (1_000, 0.085))


def instant(pipe):  # type: ignore[no-untyped-def]
    """Answer every task at once with CLEAR; the entry point of a worker process."""
    from bagscan.workers.protocol import receive, send

    while True:
        try:
            task = receive(pipe)
        except EOFError:
            return
        row: dict[str, object] = {
            "path": task["views"][0]["path"] if "views" in task else "",
            "decision": "CLEAR",
            "reasons": [],
            "views": {},
            "findings": [],
        }
        send(pipe, {"ok": True, "row": row, "top_score": 0.1})


def busy(
    models: list[str], views: list[dict[str, str]], expected: list[str], ids: list[str]
) -> dict[str, Any]:
    """Keep a core busy as a model would; the file name of the first view gives the CPU seconds."""
    until = time.process_time() + float(Path(views[0]["path"]).stem)
    while time.process_time() < until:
        pass
    path = views[0]["path"]
    row = {"path": path, "decision": "CLEAR", "reasons": [], "views": {}, "findings": []}
    return {"row": row, "top_score": 0.1}


def serve_busy(pipe):  # type: ignore[no-untyped-def]
    """Run :func:`busy` in a worker process of the local pool."""
    from bagscan.workers.tasks import serve

    serve(
        pipe,
        {
            "warm": lambda task: {},
            "screen": lambda task: busy(task["models"], task["views"], [], []),
        },
    )


def ray_against_local(size: int, busy_s: float) -> dict[str, dict[str, float]]:
    """Measure bags per second of two local workers and of two Ray workers on this machine.

    Both pools are warm and take turns on the same work.

    Args:
        size: number of bags.
        busy_s: CPU seconds per bag.
    """
    from bagscan.cluster.pool import RayPool

    rates: dict[str, list[float]] = {"local": [], "ray": []}
    bags = [
        (number, {"bag": str(number), "views": [{"view_id": "0", "path": f"{busy_s}.tif"}]})
        for number in range(size // 2)
    ]
    config = BatchConfig(workers=2)
    pools: dict[str, Pool | RayPool] = {
        "local": Pool(shipped_models(), config, serve_busy),
        "ray": RayPool(shipped_models(), config, screen_bag=busy),
    }
    for pool in pools.values():
        list(pool.screen(bags[:10]))
    for _ in range(2):
        for name, pool in pools.items():
            started = time.perf_counter()
            answers = list(pool.screen(bags))
            assert len(answers) == len(bags)
            rates[name].append(len(bags) / (time.perf_counter() - started))
            print(name, round(rates[name][-1], 1), "bags per second", flush=True)
    for pool in pools.values():
        pool.stop()
    means = {name: sum(values) / len(values) for name, values in rates.items()}
    return {
        f"{size:,} bags of {1000 * busy_s:.0f} ms, two workers": {
            **{f"{k}, bags a second": round(v, 1) for k, v in means.items()},
            "overhead of Ray": round(means["local"] / means["ray"] - 1, 3),
        }
    }


def workers(scans: Path, bags: int, folder: Path) -> dict[str, dict[str, float]]:
    """Measure bags per second of one and of two workers, start of the workers included."""
    source = folder / "scans"
    source.mkdir()
    for path in sorted(scans.glob("*_below.tif"))[:bags]:
        for view in ("below", "side"):
            file = path.with_name(path.name.replace("_below", f"_{view}"))
            (source / file.name).symlink_to(file.absolute())
    result: dict[str, dict[str, float]] = {}
    for count in (1, 2, 1, 2):
        config = BatchConfig(workers=count)
        out = folder / f"out{len(list(folder.iterdir()))}"
        total = prepare([source], [SHIPPED / "raw"], out, config)
        started = time.perf_counter()
        screen_archive(out, config, Pool([SHIPPED / "raw"], config))
        rate = total / (time.perf_counter() - started)
        best = result.setdefault(f"{count} workers", {"bags a second": 0.0})
        best["bags a second"] = max(best["bags a second"], round(rate, 3))
        print(count, "workers", round(rate, 3), "bags per second", flush=True)
    ratio = result["2 workers"]["bags a second"] / result["1 workers"]["bags a second"]
    return result | {"2 workers against 1": {"ratio": round(ratio, 2)}}


def memory(size: int, *more: str) -> dict[str, float]:
    """Measure time and peak memory of a run, in a separate process.

    Args:
        size: number of bags.
        *more: further arguments of this script.
    """
    command = [sys.executable, "-m", "experiments.batch", "--one", str(size), *more]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, parent, worker = map(float, output.split()[-3:])
    result = {"seconds": seconds, "peak MB of the parent": parent}
    return result | ({"peak MB of the worker": worker} if worker else {})


def one_screened(size: int, colour: Path) -> None:
    """Screen single-view bags with a worker of the colour model, and print time and peak memory.

    Args:
        size: number of bags; files are reused if there are fewer.
        colour: directory of colour images.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scans").mkdir()
        paths = sorted(colour.glob("*_below.png"))
        for number in range(size):
            path = paths[number % len(paths)]
            (folder / "scans" / f"{number:06d}.png").symlink_to(path.absolute())
        config, started = BatchConfig(), time.perf_counter()
        prepare([folder / "scans"], [SHIPPED / "colour"], folder / "out", config)
        screen_archive(folder / "out", config, Pool([SHIPPED / "colour"], config))
        peaks = [
            resource.getrusage(processes).ru_maxrss / 1024
            for processes in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        print(round(time.perf_counter() - started, 1), *(round(peak, 1) for peak in peaks))


def one(size: int, index_only: bool) -> None:
    """List or screen empty files with :func:`instant`, and print time and peak memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for start in range(0, size, 1000):
            source = folder / "scans" / f"{start // 1000:04d}"
            source.mkdir(parents=True)
            for number in range(start, min(size, start + 1000)):
                (source / f"{number:07d}.tif").touch()
        config, started = BatchConfig(), time.perf_counter()
        prepare([folder / "scans"], shipped_models(), folder / "out", config)
        if not index_only:
            screen_archive(folder / "out", config, Pool(shipped_models(), config, instant))
        print(
            round(time.perf_counter() - started, 1),
            round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            0,
        )


def all_memory(scans: Path, bags: int) -> dict[str, dict[str, float]]:
    """Measure archives of several sizes, a listing of a million files, and real screening."""
    result = {f"{size:,} bags screened at once": memory(size) for size in SIZES}
    result |= {f"{MILLION:,} bags listed": memory(MILLION, "--index-only")}
    return result | {
        f"{size:,} bags screened by the colour model": memory(
            size, str(scans.parent / "colour"), "--screened"
        )
        for size in SCREENED
    }


def all_workers(scans: Path, bags: int) -> dict[str, dict[str, float]]:
    """Measure one and two workers."""
    with tempfile.TemporaryDirectory() as name:
        return workers(scans, bags, Path(name))


def all_ray(scans: Path, bags: int) -> dict[str, dict[str, float]]:
    """Measure Ray against the local pool."""
    return {
        key: row for size, seconds in RAY for key, row in ray_against_local(size, seconds).items()
    }


PARTS = {"memory": all_memory, "workers": all_workers, "ray": all_ray}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scans", type=Path, nargs="?")
    parser.add_argument("--bags", type=int, default=120)
    parser.add_argument("--one", type=int)
    parser.add_argument("--index-only", action="store_true")
    parser.add_argument("--screened", action="store_true")
    parser.add_argument(
        "--only",
        choices=list(PARTS),
        action="append",
        help="measure only this; other records stay",
    )
    arguments = parser.parse_args()
    if arguments.one and arguments.screened:
        one_screened(arguments.one, arguments.scans)
        return
    if arguments.one:
        one(arguments.one, arguments.index_only)
        return
    note = (
        "Rates include the start of the workers. The instant worker runs no model: "
        "the rest is the cost of the parent process."
    )
    for name in arguments.only or PARTS:
        for measured, row in PARTS[name](arguments.scans, arguments.bags).items():
            keep(
                Run("batch", {"measured": measured}),
                row,
                data={
                    "name": str(arguments.scans),
                    "hash": "-",
                    "counts": {"bags": arguments.bags},
                },
                notes=[note],
            )


if __name__ == "__main__":
    main()
