"""What archives cost: workers side by side, and memory against the number of scans.

    python -m experiments.batch simulated/demo/raw --bags 120

The first part screens real simulated bags with the shipped model, by one and by two workers in one run; the second lists and "judges" empty
files with a worker that answers at once, so that only what surrounds the judging is measured.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bagscan.batch.pool import Pool
from bagscan.batch.run import BatchConfig, prepare, screen_archive
from bagscan.model_folder import SHIPPED, shipped_models
from experiments.engine import Run, keep

SIZES = (1_000, 10_000, 100_000)
JUDGED = (100, 1_000)
MILLION = 1_000_000
RAY = (
    (10_000, 0.02),
    (1_000, 0.085),
)  # bags, seconds of a core for each: a model far smaller than ours, and the colour model


def instant(pipe):  # type: ignore[no-untyped-def]
    """A worker that finds every bag clear."""
    from bagscan.workers.protocol import receive, send

    while True:
        try:
            task = receive(pipe)
        except EOFError:
            return
        row = {
            "path": task["views"][0]["path"] if "views" in task else "",
            "decision": "CLEAR",
            "reasons": [],
            "views": {},
            "findings": [],
        }
        send(pipe, {"ok": True, "row": row, "top_score": 0.1})


def busy(models: list[str], views: list[dict[str, str]]) -> dict[str, object]:
    """Judges a bag by keeping a core busy for as long as a model would: the seconds are its name."""
    until = time.process_time() + float(Path(views[0]["path"]).stem)
    while time.process_time() < until:
        pass
    return {
        "row": {
            "path": views[0]["path"],
            "decision": "CLEAR",
            "reasons": [],
            "views": {},
            "findings": [],
        },
        "top_score": 0.1,
    }


def serve_busy(pipe):  # type: ignore[no-untyped-def]
    """The same as a worker process of the local pool."""
    from bagscan.workers.tasks import serve

    serve(
        pipe, {"warm": lambda task: {}, "judge": lambda task: busy(task["models"], task["views"])}
    )


def ray_against_local(size: int, busy_s: float) -> dict[str, dict[str, float]]:
    """Bags a second of two local workers and of two on a Ray cluster of this machine, on the same work, in turns; both warm."""
    from bagscan.cluster.pool import RayPool

    rates: dict[str, list[float]] = {"local": [], "ray": []}
    bags = [
        (number, {"bag": str(number), "views": [{"view_id": "0", "path": f"{busy_s}.tif"}]})
        for number in range(size // 2)
    ]
    config = BatchConfig(workers=2)
    pools = {
        "local": Pool(shipped_models(), config, serve_busy),
        "ray": RayPool(shipped_models(), config, judge=busy),
    }
    for pool in pools.values():
        list(pool.judge(bags[:10]))
    for _ in range(2):
        for name, pool in pools.items():
            started = time.perf_counter()
            answers = list(pool.judge(bags))
            assert len(answers) == len(bags)
            rates[name].append(len(bags) / (time.perf_counter() - started))
            print(name, round(rates[name][-1], 1), "bags a second", flush=True)
    for pool in pools.values():
        pool.stop()
    result = {name: sum(found) / len(found) for name, found in rates.items()}
    return {
        f"{size:,} bags of {1000 * busy_s:.0f} ms, two workers": {
            **{f"{k}, bags a second": round(v, 1) for k, v in result.items()},
            "overhead of Ray": round(result["local"] / result["ray"] - 1, 3),
        }
    }


def workers(scans: Path, bags: int, folder: Path) -> dict[str, dict[str, float]]:
    """Bags a second by one and two workers; the time until workers are warm counts."""
    source = folder / "scans"
    source.mkdir()
    for path in sorted(scans.glob("*_below.tif"))[:bags]:
        for view in ("below", "side"):
            one = path.with_name(path.name.replace("_below", f"_{view}"))
            (source / one.name).symlink_to(one.absolute())
    result: dict[str, dict[str, float]] = {}
    for count in (1, 2, 1, 2):
        config = BatchConfig(workers=count)
        out = folder / f"out{len(list(folder.iterdir()))}"
        total = prepare([source], [SHIPPED / "raw"], out, config, lambda _: None)
        started = time.perf_counter()
        screen_archive(out, config, Pool([SHIPPED / "raw"], config), lambda _: None)
        rate = total / (time.perf_counter() - started)
        result.setdefault(f"{count} workers", {"bags a second": 0.0})
        result[f"{count} workers"]["bags a second"] = max(
            result[f"{count} workers"]["bags a second"], round(rate, 3)
        )
        print(count, "workers", round(rate, 3), "bags a second", flush=True)
    ratio = result["2 workers"]["bags a second"] / result["1 workers"]["bags a second"]
    return result | {"2 workers against 1": {"ratio": round(ratio, 2)}}


def memory(size: int, *more: str) -> dict[str, float]:
    """Time, and peak memory of the parent process and of a real worker, in a process of its own."""
    command = [sys.executable, "-m", "experiments.batch", "--one", str(size), *more]
    seconds, parent, worker = map(
        float,
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-3:],
    )
    return {"seconds": seconds, "peak MB of the parent": parent} | (
        {"peak MB of the worker": worker} if worker else {}
    )


def one_judged(size: int, colour: Path) -> None:
    """Judge real bags, one view each, by one real worker of the colour model; bags come again once all had their turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scans").mkdir()
        paths = sorted(colour.glob("*_below.png"))
        for number in range(size):
            path = paths[number % len(paths)]
            (folder / "scans" / f"{number:06d}.png").symlink_to(path.absolute())
        config, started = BatchConfig(), time.perf_counter()
        prepare([folder / "scans"], [SHIPPED / "colour"], folder / "out", config, lambda _: None)
        screen_archive(folder / "out", config, Pool([SHIPPED / "colour"], config), lambda _: None)
        result = [
            resource.getrusage(of).ru_maxrss / 1024
            for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        print(round(time.perf_counter() - started, 1), *(round(v, 1) for v in result))


def one(size: int, index_only: bool) -> None:
    """Make empty files, and list or judge them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for start in range(0, size, 1000):  # a thousand to a folder, as archives lie
            place = folder / "scans" / f"{start // 1000:04d}"
            place.mkdir(parents=True)
            for number in range(start, min(size, start + 1000)):
                (place / f"{number:07d}.tif").touch()
        config, started = BatchConfig(), time.perf_counter()
        prepare([folder / "scans"], shipped_models(), folder / "out", config, lambda _: None)
        if not index_only:
            screen_archive(
                folder / "out", config, Pool(shipped_models(), config, instant), lambda _: None
            )
        print(
            round(time.perf_counter() - started, 1),
            round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            0,
        )


def all_memory(scans: Path, bags: int) -> dict[str, dict[str, float]]:
    """Of a thousand bags to a hundred thousand, a million listed, and some that are really judged."""
    result = {f"{size:,} bags judged at once": memory(size) for size in SIZES}
    result |= {f"{MILLION:,} bags listed": memory(MILLION, "--index-only")}
    return result | {
        f"{size:,} bags judged by the colour model": memory(
            size, str(scans.parent / "colour"), "--judged"
        )
        for size in JUDGED
    }


def all_workers(scans: Path, bags: int) -> dict[str, dict[str, float]]:
    """One and two."""
    with tempfile.TemporaryDirectory() as name:
        return workers(scans, bags, Path(name))


def all_ray(scans: Path, bags: int) -> dict[str, dict[str, float]]:
    """Ray against the local pool."""
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
    parser.add_argument("--judged", action="store_true")
    parser.add_argument(
        "--only",
        choices=list(PARTS),
        action="append",
        help="measure this again; other records stay",
    )
    arguments = parser.parse_args()
    if arguments.one and arguments.judged:
        one_judged(arguments.one, arguments.scans)
        return
    if arguments.one:
        one(arguments.one, arguments.index_only)
        return
    note = "Workers are counted with the time that they take to start. The instant worker judges nothing: what is left is the parent's own."
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
