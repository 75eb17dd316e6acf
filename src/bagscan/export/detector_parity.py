"""Whether all runtimes of a detector agree on drawn bags and on scans of one's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.core import View
from bagscan.core.errors import ModelError, ReadError
from bagscan.detector.exported import UsableDetector
from bagscan.formats import find_scans, read_scan
from bagscan.model_folder import graphs_in
from bagscan.runtime.engines import installed
from bagscan.runtime.load import RUNTIMES, TORCH, load_model
from bagscan.workers.screeners import drawn_scan

TOLERANCE = 1e-3


def verify_detector(folder: Path, scans: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Hold every installed runtime against torch; the same keys as :func:`bagscan.export.parity.verify`.

    Raises:
        ModelError: it was never exported.
    """
    if not graphs_in(folder):
        raise ModelError(f"{folder}: was never exported")
    models = {name: load_model(folder, name) for name in RUNTIMES if installed(name)}
    reference = models.pop(TORCH)
    assert isinstance(reference, UsableDetector)
    bags = [drawn_scan(reference.config.input, *size).views for size in sizes]
    bags += [read.views for path in (find_scans(scans) if scans else []) if (read := _read(path, reference)) is not None]
    runtimes = {name: summed([_compared(reference, model, bag) for bag in bags]) for name, model in models.items()}  # type: ignore[arg-type]
    agree = all(row["scores_differ"] <= TOLERANCE and not row["flipped"] for row in runtimes.values())
    return {"agree": agree, "tolerance": TOLERANCE, "sizes": [list(size) for size in sizes], "runtimes": runtimes}


def _read(path: Path, model: UsableDetector) -> Any:
    try:
        scan = read_scan(path)
        for view in scan.views:
            model.config.input.select(view)
    except (ModelError, ReadError):
        return None  # of other channels, or torn
    return scan


def _compared(reference: UsableDetector, other: UsableDetector, bag: Sequence[View]) -> dict[str, float]:
    expected = reference.examine(bag)
    started = time.perf_counter()
    found = other.examine(bag)
    seconds = (time.perf_counter() - started) / len(bag)
    apart = [np.abs(own - told).max(initial=0) for (_, own), (_, told) in zip(found, expected, strict=True)]
    flipped = sum(int(((own >= 0.5) != (told >= 0.5)).sum()) for (_, own), (_, told) in zip(found, expected, strict=True))
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
