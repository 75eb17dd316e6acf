"""Measure speed, memory and geometry of the simulator, and summarise simulated datasets.

    python -m experiments.simulator [--audit 200] [--scans 12] [--set deei=DIR,DIR ...]

Times are CPU seconds on one core, the best of several; ratios are within one run.
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bagscan.imaging.scanner import Profile, load_profile
from bagscan.simulate.assembly import Builder
from bagscan.simulate.dataset import Job, _one_thread, load_recipe, make_scene
from bagscan.simulate.devices import NAMES, Family, build_device, device_module
from bagscan.simulate.forward import transmission
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.occupancy import audit
from bagscan.simulate.raster import Rasteriser
from bagscan.simulate.recipe import Recipe
from bagscan.simulate.scene import build_scene, plan
from bagscan.simulate.summary import read_scans, statistics_auc
from experiments.engine import Run, keep

LINES, CHANNELS, SOLIDS = 512, 640, (1700, 2400)


def cpu_seconds(action: Any, repeats: int = 5) -> float:
    """Return the least CPU seconds of several calls, after a call to warm up."""
    action()
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        action()
        taken.append(time.process_time() - started)
    return min(taken)


def forward(profile: Profile) -> dict[str, Any]:
    """Measure the forward model on laptop bags of about 2,000 solids, 640 × 512 pixels.

    The default mode uses energy groups; the exact mode uses 1 keV bins.
    """
    view = replace(profile.views[0], n_channels=CHANNELS)
    lines = (0.0, float(LINES))
    recipe, scenes = Recipe(devices=("laptop",), seed=2), []
    for k in range(60):
        benign = build_scene(recipe, plan(recipe, k), profile.tunnel_mm).benign
        if SOLIDS[0] <= len(benign) <= SOLIDS[1]:
            scenes.append(benign)
        if len(scenes) == 4:
            break
    seconds = [cpu_seconds(lambda s=s: transmission(s, profile, view, lines)) for s in scenes]
    exact_seconds = cpu_seconds(
        lambda: transmission(scenes[0], profile, view, lines, mode="exact"), 2
    )
    grouped = transmission(scenes[0], profile, view, lines, mode="groups")
    exact = transmission(scenes[0], profile, view, lines, mode="exact")
    errors = np.abs(grouped - exact)
    return {
        "solids (mean of 4 bags)": float(np.mean([len(s) for s in scenes])),
        "forward, CPU s, 640 × 512, 2 × 2 rays (bar 0.15)": float(np.mean(seconds)),
        "exact mode, CPU s": exact_seconds,
        "groups against exact, largest error in transmission": float(errors.max()),
        "groups against exact, 99th percentile": float(np.quantile(errors, 0.99)),
    }


def oracle(profile: Profile) -> dict[str, Any]:
    """Compare path lengths through a tilted box with its analytic chords."""
    fan = profile.views[0].fan(np.linspace(50, 250, 200))
    turn, place = rotation_xyz(0.3, 0.4, 0.5), np.array([330.0, 150.0, 90.0])
    b = Builder(np.random.default_rng(0))
    b.box("iron", (160, 120, 80), place, turn=turn)
    out = np.zeros((200, 1, len(fan.direction)))
    Rasteriser(b.build().solids(["iron"]), fan).paths(0, 200, out)
    origin = np.stack(
        [np.full(200, fan.source_mm[0]), fan.y_mm, np.full(200, fan.source_mm[1])], -1
    )
    direction = np.stack(
        [fan.direction[:, 0], np.zeros(len(fan.direction)), fan.direction[:, 1]], -1
    )
    o, d = ((origin - place) @ turn)[:, None], (direction @ turn)[None]
    half = np.array([80, 60, 40.0])
    a, c = (-half - o) / d, (half - o) / d
    truth = np.clip(np.maximum(a, c).min(-1) - np.minimum(a, c).max(-1), 0, None)
    return {"mesh against analytic chord, mm (bar 1e-6)": float(np.abs(out[:, 0] - truth).max())}


def samples(scans: int) -> dict[str, Any]:
    """Measure complete samples: two views with masks and imaging, written to files.

    Laptop bags of about 2,000 solids with and without an anomaly, and a mix of device classes.
    """
    folder = Path(tempfile.mkdtemp())
    recipe = replace(load_recipe("deei", count=1000), devices=("laptop",))
    for name in ("raw", "colour", "detectability", "truth", "scans"):
        (folder / name).mkdir()
    job = Job(recipe, folder)
    with threadpool_limits(1):
        make_scene(job, 0)
        taken = {}
        for k in range(1, 3 * scans + 1):
            started = time.process_time()
            make_scene(job, k)
            taken[k] = time.process_time() - started
        solids = {int(r["id"]): r["solids"] for r in read_scans(folder)}
        full = [k for k in taken if SOLIDS[0] <= solids[k] <= SOLIDS[1]]
        recipe = load_recipe("deei", count=1000)
        started = time.process_time()
        for k in range(100, 100 + 2 * scans):
            make_scene(Job(recipe, folder), k)
        mixed = (time.process_time() - started) / (2 * scans)
    shutil.rmtree(folder)
    return {
        "samples of about 2,000 solids": len(full),
        "solids of these, mean": float(np.mean([solids[k] for k in full])),
        "complete sample of about 2,000 solids, CPU s (bar 0.8)": float(
            np.mean([taken[k] for k in full])
        ),
        "sample, all six classes, CPU s": mixed,
        "peak memory of one worker, MB (bar 500)": resource.getrusage(
            resource.RUSAGE_SELF
        ).ru_maxrss
        / 1024,
    }


def peak_in_fresh_process(scans: int) -> dict[str, Any]:
    """Run :func:`samples` in a new process, whose peak memory is that of a worker."""
    code = (
        "import json; from experiments.simulator import samples; "
        f"print(json.dumps(samples({scans})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    return dict(json.loads(result.stdout.splitlines()[-1]))


def workers(scans: int) -> dict[str, Any]:
    """Compare the wall-clock time of two workers with one, after the processes have started."""

    def time_run(n: int) -> float:
        folder = Path(tempfile.mkdtemp())
        for name in ("raw", "colour", "detectability", "truth", "scans"):
            (folder / name).mkdir()
        job = Job(load_recipe("deei", count=10000), folder)
        with multiprocessing.get_context("spawn").Pool(n, _one_thread) as pool:
            pool.starmap(make_scene, [(job, k) for k in range(6 * n)], chunksize=1)
            started = time.perf_counter()
            pool.starmap(make_scene, [(job, k) for k in range(100, 100 + scans)], chunksize=1)
            taken = time.perf_counter() - started
        shutil.rmtree(folder)
        return taken

    seconds = [time_run(n) for n in (1, 2, 1, 2)]
    ratio = (seconds[0] + seconds[2]) / (seconds[1] + seconds[3])
    return {"two workers against one (bar 1.8)": ratio}


def audits(count: int) -> dict[str, Any]:
    """Measure the share of volume that overlapping solids count twice.

    Args:
        count: number of random devices per class.
    """
    rows = {}
    for name in NAMES:
        layouts = device_module(name).LAYOUTS
        shares = []
        for k in range(count):
            family = Family(name, layouts[k % len(layouts)], k // len(layouts) % 10)
            device, *_ = build_device(family, np.random.default_rng(k))
            shares.append(audit(device).overlap_share)
        key = f"{name}: mean, worst of {count} (bar 0.005)"
        rows[key] = f"{np.mean(shares):.4f}, {max(shares):.4f}"
        print(name, rows[key])
    return rows


def data_sets(named: list[str]) -> dict[str, Any]:
    """Summarise datasets: detectability of anomalies, and the AUROC of whole-image statistics.

    Args:
        named: ``NAME=FOLDER,FOLDER`` of every dataset.
    """
    out: dict[str, Any] = {}
    for text in named:
        name, _, folders = text.partition("=")
        records = [record for folder in folders.split(",") for record in read_scans(Path(folder))]
        strata = Counter(r["anomaly"]["stratum"] for r in records if r["label"] == "anomalous")
        out[f"{name}: scans"] = len(records)
        out[f"{name}: AUROC of whole-image statistics (bar 0.60)"] = statistics_auc(records)
        out |= {
            f"{name}: anomalies of area CNR {stratum}": f"{n} ({n / strata.total():.0%})"
            for stratum, n in sorted(strata.items())
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audit", type=int, default=200)
    parser.add_argument("--scans", type=int, default=12, help="0 to measure no times")
    parser.add_argument(
        "--set", action="append", default=[], help="NAME=FOLDER,FOLDER of a simulated dataset"
    )
    settings = parser.parse_args()
    profile = load_profile("g640")
    results: dict[str, dict[str, Any]] = {}
    if settings.scans:
        results["forward"] = forward(profile) | oracle(profile)
        results["sample"] = peak_in_fresh_process(settings.scans) | workers(4 * settings.scans)
    if settings.audit:
        results["overlap"] = audits(settings.audit)
    if settings.set:
        results["data sets"] = data_sets(settings.set)
    for measured, found in results.items():
        keep(
            Run("simulator", {"measured": measured}),
            found,
            data={"name": "simulated", "hash": profile.hash, "counts": {"scans": settings.scans}},
            notes=["CPU seconds on shared cores."],
        )


if __name__ == "__main__":
    main()
