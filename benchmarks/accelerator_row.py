"""Cells of paper A's tables on an accelerator that is lent for minutes: everything is made there, side by side, and what is done by the deadline comes back.

    python benchmarks/accelerator_row.py --minutes 14 --cell table-2:low_resnet-50_seed0 --cell table-1:low_resnet-50_seed0

Sets are simulated by all cores, loaded once, and each cell trained and judged in a process of its own, all on one accelerator. Only
seeds travel. In ``--out`` lie the records, the scores of every test item and the logs. The same line goes on where ``--data`` and
``--runs`` are kept; where ``--out`` alone is, it leaves out the cells that are done.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

if __name__ != "__mp_main__":  # processes that simulate read this file too, and need none of it
    import torch

    from bagscan.benchmark.cells import TABLE_1, TABLE_2, Cell, cells
    from bagscan.benchmark.detected import run_detector
    from bagscan.benchmark.place import Place, samples_of
    from bagscan.benchmark.run import make_set, run_cell
    from bagscan.benchmark.scales import SCALES, ScanSet
    from bagscan.core.errors import BagscanError, ConfigError, nearest
    from bagscan.core.machine import usable_cores
    from bagscan.training.drawing import LOADERS, loaders

ROW = ("table-2:low_resnet-50_seed0", "table-1:low_resnet-50_seed0")  # one kind of image at both levels: what a quarter of an hour has room for


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def prepare(place: Place, workers: int) -> None:
    """Simulate, pack and load all sets: each is packed and loaded while the next is simulated, the largest last."""

    def load(one: ScanSet) -> None:
        samples_of(place, one, "test", "low")  # packs them; from here on in memory, of this process and of those that it forks
        say(f"{one.name} is loaded")

    with ThreadPoolExecutor(1) as loader:
        loading = []
        for one in sorted(place.scale.sets, key=lambda one: one.count):
            make_set(place, one, workers, say)
            loading.append(loader.submit(load, one))
        for done in loading:
            done.result()


def run_until(place: Place, todo: Sequence[Cell], deadline: float, logs: Path) -> None:
    """Run cells side by side until the clock says ``deadline``; those that are not done by then are stopped, at their last checkpoint."""
    if place.scale.detected_scans and not _side_by_side({logs / "detector.log": partial(run_detector, place, say)}, deadline):
        say("without the item detector no cell can be judged")
        return
    _side_by_side({logs / f"{cell.table}_{cell.slug}.log": partial(run_cell, place, cell, say) for cell in todo}, deadline)


def _side_by_side(work: Mapping[Path, Callable[[], object]], deadline: float) -> bool:
    """Each in a process of its own, its lines in a file of its own; whether all have ended well.

    They are forked, and so have the samples of this process, which itself must not touch the accelerator.
    """
    running = {log: multiprocessing.get_context("fork").Process(target=_logged, args=(log, one)) for log, one in work.items()}
    try:
        for process in running.values():
            process.start()
        for process in running.values():
            process.join(max(0.0, deadline - time.monotonic()))
    finally:
        late = [log for log, process in running.items() if process.is_alive()]
        for process in running.values():
            process.kill()
            process.join()
    for log, process in running.items():
        if log in late:
            say(f"{log}: stopped at the deadline")
        elif process.exitcode:
            say(f"{log}: failed, as told there")
    return not late and not any(process.exitcode for process in running.values())


def _logged(log: Path, work: Callable[[], object]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        wait_asleep()
        work()


def wait_asleep() -> None:
    """Let this process sleep while it waits for a CUDA device, where it would spin otherwise: the cores are for those that draw batches."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return
    driver.cuInit(0)
    driver.cuDevicePrimaryCtxSetFlags_v2(0, 4)  # CU_CTX_SCHED_BLOCKING_SYNC, of the first device


def bring_back(place: Place, chosen: Sequence[Cell], out: Path) -> None:
    """Scores of test items and the course of training, in folders as they lie in ``runs``; records lie in ``out`` already."""
    for cell in chosen:
        folder = place.run_folder(cell)
        for path in (*folder.glob("scores_*.json"), *folder.glob("log.jsonl")):
            to = out / "runs" / folder.relative_to(place.runs)
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, to)


def cells_named(names: Sequence[str], scale: str) -> list[Cell]:
    """Cells by table and name.

    Raises:
        ConfigError: there is no such cell.
    """
    known = {f"{table}:{cell.slug}": cell for table in (TABLE_1, TABLE_2) for cell in cells(table, SCALES[scale])}
    for name in names:
        if name not in known:
            raise ConfigError(f"no cell {name!r}{nearest(name, known)}; there are {', '.join(list(known)[:12])} ...")
    return [known[name] for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="medium")
    parser.add_argument("--cell", action="append", help="TABLE:NAME; may be given several times")
    parser.add_argument("--minutes", type=float, default=14, help="from the start until cells that are not done are stopped; simulating is not cut off")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="processes that simulate, then draw batches")
    parser.add_argument("--data", type=Path, default=Path("simulated"))
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--out", type=Path, default=Path("row"))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cells end with this process
    started = time.monotonic()
    try:
        chosen = cells_named(arguments.cell or ROW, arguments.scale)
        loaders(torch.device("cpu"))  # what is told wrongly is better known before minutes of simulation
    except BagscanError as error:
        sys.exit(f"accelerator_row: {error}")
    place = Place(SCALES[arguments.scale], arguments.data, arguments.runs, arguments.out / "results")
    todo = [cell for cell in chosen if not place.is_done(cell)]
    if todo:
        if not any(Path("/dev").glob("nvidia[0-9]*")):  # torch is not asked: that would use the device before this process forks
            say("no NVIDIA device is seen here: every cell runs on the processor, for hours")
        os.environ.setdefault(LOADERS, str(max(1, arguments.workers // len(todo))))
        prepare(place, arguments.workers)
        say(f"{len(todo)} cells of scale {place.scale.name}, {os.environ[LOADERS]} processes each draw batches")
        try:
            run_until(place, todo, started + 60 * arguments.minutes, arguments.out / "logs")
        finally:
            bring_back(place, chosen, arguments.out)
    done = sum(place.is_done(cell) for cell in chosen)
    say(f"{done} of {len(chosen)} cells are done, in {(time.monotonic() - started) / 60:.1f} min")
    sys.exit(done < len(chosen))


if __name__ == "__main__":
    main()
