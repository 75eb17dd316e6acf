"""Comparison of a detector's runtimes on synthetic bags and on the user's scans."""

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
from bagscan.examining import Examined, UsableModel
from bagscan.export.failures import failures, readable
from bagscan.model_folder import graphs_in
from bagscan.runtime.engines import installed_version
from bagscan.runtime.load import RUNTIMES, TORCH, load_model
from bagscan.workers.screeners import synthetic_scan

TOLERANCE = 1e-3  # largest allowed difference of scores
Seen = list[Examined]  # of every view of a bag


def verify_detector(
    folder: Path, scans: Sequence[Path], sizes: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    """Compare every installed runtime of a detector with torch.

    Args:
        folder: folder of an exported detector.
        scans: files and folders of scans to compare besides synthetic bags.
        sizes: (H, W) of the synthetic bags.

    Returns:
        The keys of :func:`bagscan.export.parity.verify`, except ``torch alone``.

    Raises:
        ModelError: if the model was never exported, or a runtime crashes.
    """
    if not graphs_in(folder):
        raise ModelError(
            f"{folder}: model was never exported; run: bagscan export onnx --model {folder}"
        )
    reference = load_model(folder, TORCH)
    read, left_out = readable(scans, reference.config.input.select)
    synthetic = [
        (f"synthetic bag of {h} x {w}", synthetic_scan(reference.config.input, h, w))
        for h, w in sizes
    ]
    names, bags = zip(*[(name, scan.views) for name, scan in synthetic + read], strict=True)
    expected = [seen for seen, _ in _examine_bags(reference, bags)]
    results = {
        name: _examine_in_subprocess(folder, name, bags)
        for name in RUNTIMES
        if name != TORCH and installed_version(name)
    }
    runtimes, failed = {}, []
    for name, result in results.items():
        rows = [
            _compare_bag(expected_bag, seen, seconds)
            for expected_bag, (seen, seconds) in zip(expected, result, strict=True)
        ]
        runtimes[name] = sum_rows(rows)
        limits = {"scores_differ": TOLERANCE, "flipped": 0}
        failed += failures(name, zip(names, rows, strict=True), limits)
    about = {"tolerance": TOLERANCE, "sizes": [list(size) for size in sizes], "left_out": left_out}
    return {"agree": not failed, "failures": failed, **about, "runtimes": runtimes}


def _examine_bags(model: UsableModel, bags: Sequence[Sequence[View]]) -> list[tuple[Seen, float]]:
    """Return the result of each bag, and the seconds per view."""
    results = []
    for bag in bags:
        started = time.perf_counter()
        with model.inference_mode():
            seen = model.examine(bag)
        results.append((seen, (time.perf_counter() - started) / len(bag)))
    return results


def _load_and_examine(
    folder: Path, runtime: str, bags: Sequence[Sequence[View]]
) -> list[tuple[Seen, float]]:
    return _examine_bags(load_model(folder, runtime), bags)


def _examine_in_subprocess(
    folder: Path, runtime: str, bags: Sequence[Sequence[View]]
) -> list[tuple[Seen, float]]:
    """Call :func:`_examine_bags` in another process, so that a crash of a runtime is contained.

    Raises:
        ModelError: if the process crashes.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_load_and_examine, folder, runtime, bags).result()
        except BrokenProcessPool as error:
            raise ModelError(f"{folder}: the process of {runtime} crashed") from error


def _compare_bag(expected: Seen, seen: Seen, seconds: float) -> dict[str, float]:
    scores = [(own.scores, other.scores) for own, other in zip(seen, expected, strict=True)]
    differences = [np.abs(own - other).max(initial=0) for own, other in scores]
    flipped = sum(int(((own >= 0.5) != (other >= 0.5)).sum()) for own, other in scores)
    return {
        "regions": sum(len(own) for own, _ in scores),
        "scores_differ": float(max(differences)),
        "flipped": flipped,
        "pixels_differ": 0.0,  # all runtimes share the implementation of the superpixels
        "seconds": seconds,
    }


def sum_rows(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Summarise the comparisons of several views or bags."""
    return {
        "views": len(rows),
        "regions": sum(int(row["regions"]) for row in rows),
        "scores_differ": max(row["scores_differ"] for row in rows),
        "flipped": sum(int(row["flipped"]) for row in rows),
        "pixels_differ": float(np.mean([row["pixels_differ"] for row in rows])),
        "ms_per_view": round(1000 * float(np.median([row["seconds"] for row in rows])), 1),
    }
