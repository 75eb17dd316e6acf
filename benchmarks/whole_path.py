"""What a scan costs from its file to its row, stage by stage, and how many a second two cores judge, runtime beside runtime.

    python benchmarks/whole_path.py [--seconds 20]

Simulated bags at 640x480, the models that come with bagscan. "torch eager" is the plain form of the first version: every step of the network in torch, soft SLIC
as batched matrix products. Rates are of two processes on one thread each; runtimes take turns within one run. Writes benchmarks/results/whole_path.json.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import bagscan.reporting.judged
import bagscan.runtime.exported
import bagscan.screening
from bagscan.evaluation.results import make_record, write_record
from bagscan.formats import read_scan
from bagscan.formats.images import write_image
from bagscan.formats.stacks import write_tiff
from bagscan.model_config import InputConfig, resize
from bagscan.model_folder import SHIPPED
from bagscan.regions import instances, superpixels
from bagscan.runtime.engines import installed
from bagscan.screening import Screener

HEIGHT, WIDTH = 480, 640
CONTENDERS = ("torch eager", "torch", "onnxruntime", "openvino")
NETWORK = ("network: items", "network: features", "network: maps", "network: scores", "superpixels: iterations")
RESULTS = Path(__file__).parent / "results"


def scans(folder: Path) -> dict[str, list[Path]]:
    """Raw and colour files of simulated bags, brought to 640x480."""
    from bagscan.cli import app  # the command, as its user would run it

    app(["simulate", "--preset", "demo", "--out", str(folder / "simulated"), "--count", "6"], standalone_mode=False)
    out: dict[str, list[Path]] = {"raw": [], "colour": []}
    for kind, endings in (("raw", "*.tif"), ("colour", "*.png")):
        (folder / kind).mkdir()
        for path in sorted((folder / "simulated" / kind).glob(endings)):
            view = read_scan(path).views[0]
            sized = type(view)(resize(view.pixels, HEIGHT, WIDTH).clip(0, None), view.channels, view.quantity, bit_depth=view.bit_depth)
            target = folder / kind / path.name
            write_tiff(target, sized) if kind == "raw" else write_image(target, sized)
            out[kind].append(target)
    return out


class Stopwatch:
    """Seconds of named stages, each without those that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[float] = []

    def watch(self, owner: Any, name: str, stage: str | Callable[..., str]) -> None:
        """Time every call of ``owner.name``."""
        plain = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            self._open.append(0.0)
            try:
                return plain(*arguments, **named)
            finally:
                taken = time.perf_counter() - started
                self.seconds[stage if isinstance(stage, str) else stage(*arguments)] += taken - self._open.pop()
                if self._open:
                    self._open[-1] += taken

        setattr(owner, name, timed)


def profile(kind: str, files: list[Path], rounds: int = 3) -> dict[str, float]:
    """Milliseconds a scan of each stage, by the runtime that is taken of itself."""
    from bagscan.runtime import engines

    watch = Stopwatch()
    graphs = {"items": "network: items", "learned": "network: features", "maps": "network: maps", "score": "network: scores"}
    watch.watch(engines.OnnxRuntime, "run", lambda _, graph, inputs: graphs[graph])
    watch.watch(bagscan.reporting.judged, "read_views", "reading")
    watch.watch(bagscan.screening, "unfit", "plausibility")
    watch.watch(InputConfig, "select", "imaging")
    watch.watch(InputConfig, "working_view", "imaging")
    watch.watch(superpixels, "prepare", "superpixels: colour features")
    watch.watch(superpixels, "iterate_numba", "superpixels: iterations")
    watch.watch(superpixels, "enforce_connectivity", "superpixels: connectivity")
    watch.watch(superpixels, "cut", "superpixels: other")
    watch.watch(instances, "item_regions", "masks of items")
    watch.watch(instances, "detections", "masks of items")
    watch.watch(bagscan.runtime.exported, "region_means", "pooling")
    watch.watch(Screener, "_findings", "contours")
    watch.watch(bagscan.screening, "upsample_labels", "labels to the view's size")
    watch.watch(bagscan.reporting.judged, "report_row", "writing the row")
    watch.watch(Screener, "screen", "other")
    screener = Screener.load(SHIPPED / kind)
    for file in files:
        bagscan.reporting.judged.judge_files([screener], {"below": file})
    watch.seconds.clear()
    for _ in range(rounds):
        for file in files:
            bagscan.reporting.judged.judge_files([screener], {"below": file})
    return {stage: 1000 * seconds / rounds / len(files) for stage, seconds in sorted(watch.seconds.items(), key=lambda item: -item[1])}


def eager(kind: str) -> Screener:
    """The plain form: the model's own network in torch, soft SLIC as matrix products, labels by the largest share."""
    import torch

    from bagscan.core import Regions
    from bagscan.core.association import hard_labels
    from bagscan.model import Model
    from bagscan.regions.connectivity import enforce_connectivity

    model = Model.load(SHIPPED / kind)
    parts = getattr(model.regioner, "parts", model.regioner)

    @torch.no_grad()
    def regions(view: Any, n_superpixels: int | None = None) -> Regions:
        q, grid, features = parts(parts.prepare(torch.from_numpy(np.array(view.pixels))[None], view.quantity, view.channels), n_superpixels)
        labels, wanted = hard_labels(q, grid)[0].numpy(), n_superpixels or parts.config.n_superpixels
        limits = (round(share * labels.size / wanted) for share in (parts.config.min_size, parts.config.max_size))
        labels = enforce_connectivity(labels, features[0].numpy(), wanted, *limits)
        stride = parts.config.stride
        return Regions.from_labels(labels.repeat(stride, 0).repeat(stride, 1)[: view.shape[0], : view.shape[1]], "superpixel")

    parts.regions = regions
    return Screener(model)


def judge_for(contender: str, kind: str, files: list[Path], seconds: float, start: Any, counts: Any) -> None:
    """What one process does: judge until the time is up."""
    screener = eager(kind) if contender == "torch eager" else Screener.load(SHIPPED / kind, runtime=contender)
    bagscan.reporting.judged.judge_files([screener], {"below": files[0]})
    start.wait()
    done, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        bagscan.reporting.judged.judge_files([screener], {"below": files[done % len(files)]})
        done += 1
    counts.put(done / (time.perf_counter() - until + seconds))


def rate(contender: str, kind: str, files: list[Path], seconds: float, processes: int) -> float:
    """Scans a second of so many processes together."""
    context = get_context("spawn")
    start, counts = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=judge_for, args=(contender, kind, files, seconds, start, counts)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    total = sum(counts.get() for _ in workers)
    for worker in workers:
        worker.join()
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    able = [name for name in CONTENDERS if installed(name.split()[0])]
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bagscan-") as folder:
        for kind, files in scans(Path(folder)).items():
            rates: dict[str, list[float]] = {name: [] for name in able}
            for _ in range(2):
                for name in able:
                    rates[name].append(rate(name, kind, files, arguments.seconds, arguments.processes))
                    print(kind, name, f"{rates[name][-1]:.1f} scans/s", flush=True)
            best = {name: max(found) for name, found in rates.items()}
            context = get_context("spawn")  # what is timed is patched: a process of its own
            with context.Pool(1) as pool:
                stages = pool.apply(profile, (kind, files))
            total = sum(stages.values())
            outside = total - sum(stages.get(stage, 0.0) for stage in NETWORK)
            results[kind] = {f"{name}, scans/s": round(found, 2) for name, found in best.items()}
            results[kind] |= {"fastest over torch eager": round(max(best.values()) / best["torch eager"], 2), "ms a scan on one thread": round(total, 1)}
            results[kind] |= {"outside the network's arithmetic": round(outside / total, 3), **{f"{stage}, ms": round(ms, 2) for stage, ms in stages.items()}}
            print(results[kind], flush=True)
    notes = [f"Simulated bags at {WIDTH}x{HEIGHT}; {arguments.processes} processes on one thread each; stages by ONNX Runtime on one thread, profiled alone."]
    data = {"name": "simulate --preset demo", "hash": "preset demo", "counts": {kind: row["ms a scan on one thread"] for kind, row in results.items()}}
    write_record(RESULTS / "whole_path.json", make_record("whole_path", results, data=data, config={"runtimes": able}, seeds=[0], notes=notes))


if __name__ == "__main__":
    main()
