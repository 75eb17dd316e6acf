"""Whether all runtimes of a detector agree on drawn bags and on scans of one's own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.core import View
from bagscan.core.errors import ModelError
from bagscan.examining import UsableModel
from bagscan.export.failures import failures, readable
from bagscan.model_folder import graphs_in
from bagscan.runtime.engines import installed
from bagscan.runtime.load import RUNTIMES, TORCH, load_model
from bagscan.workers.screeners import drawn_scan

TOLERANCE = 1e-3
Seen = list[tuple[np.ndarray, np.ndarray]]  # regions and scores of every view of a bag


def verify_detector(
    folder: Path, scans: Sequence[Path], sizes: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    """Hold every installed runtime against torch; the same keys as :func:`bagscan.export.parity.verify`.

    Raises:
        ModelError: it was never exported.
    """
    if not graphs_in(folder):
        raise ModelError(f"{folder}: was never exported")
    reference = load_model(folder, TORCH)
    read, left_out = readable(scans, reference.config.input.select)
    drawn = [
        (f"drawn bag of {h} x {w}", drawn_scan(reference.config.input, h, w)) for h, w in sizes
    ]
    names, bags = zip(*[(name, scan.views) for name, scan in drawn + read], strict=True)
    expected = [seen for seen, _ in _examined(reference, bags)]
    found = {
        name: _apart(folder, name, bags) for name in RUNTIMES if name != TORCH and installed(name)
    }
    runtimes, wrong = {}, []
    for name, seen in found.items():
        rows = [_compared(own, *one) for own, one in zip(expected, seen, strict=True)]
        runtimes[name] = summed(rows)
        limits = {"scores_differ": TOLERANCE, "flipped": 0}
        wrong += failures(name, zip(names, rows, strict=True), limits)
    about = {"tolerance": TOLERANCE, "sizes": [list(size) for size in sizes], "left_out": left_out}
    return {"agree": not wrong, "failures": wrong, **about, "runtimes": runtimes}


def _examined(model: UsableModel, bags: Sequence[Sequence[View]]) -> list[tuple[Seen, float]]:
    """What a model finds in every view of every bag, and seconds a view."""
    found = []
    for bag in bags:
        started = time.perf_counter()
        with model.judging():
            seen = model.examine(bag)
        found.append((seen, (time.perf_counter() - started) / len(bag)))
    return found


def _loaded_and_examined(
    folder: Path, runtime: str, bags: Sequence[Sequence[View]]
) -> list[tuple[Seen, float]]:
    return _examined(load_model(folder, runtime), bags)


def _apart(folder: Path, runtime: str, bags: Sequence[Sequence[View]]) -> list[tuple[Seen, float]]:
    """As :func:`_examined`, in a process of its own: a runtime that crashes must not take the one that checks it along.

    Raises:
        ModelError: the process ended without an answer.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_loaded_and_examined, folder, runtime, bags).result()
        except BrokenProcessPool as error:
            raise ModelError(
                f"{folder}: {runtime} ended its process in the middle of judging"
            ) from error


def _compared(expected: Seen, found: Seen, seconds: float) -> dict[str, float]:
    apart = [
        np.abs(own - summary).max(initial=0)
        for (_, own), (_, summary) in zip(found, expected, strict=True)
    ]
    flipped = sum(
        int(((own >= 0.5) != (summary >= 0.5)).sum())
        for (_, own), (_, summary) in zip(found, expected, strict=True)
    )
    return {
        "regions": sum(len(own) for _, own in found),
        "scores_differ": float(max(apart)),
        "flipped": flipped,
        "pixels_differ": 0.0,
        "seconds": seconds,
    }  # regions are cut by the one kernel


def summed(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Comparisons of several views or bags as one."""
    return {
        "views": len(rows),
        "regions": sum(int(row["regions"]) for row in rows),
        "scores_differ": max(row["scores_differ"] for row in rows),
        "flipped": sum(int(row["flipped"]) for row in rows),
        "pixels_differ": float(np.mean([row["pixels_differ"] for row in rows])),
        "ms_per_view": round(1000 * float(np.median([row["seconds"] for row in rows])), 1),
    }
