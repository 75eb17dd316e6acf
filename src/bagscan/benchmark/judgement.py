"""How a trained cell is judged: on every test set under true masks, on some scans under the detector's too, image statistics beside it.

Each set is kept once it is judged, so that a cell that is killed goes on with the next.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.benchmark.cells import Cell
from bagscan.benchmark.detected import NO_DEVICE, TRUE_ID, detected_items
from bagscan.benchmark.place import Place, hidden_views, samples_of, test_items, trainable
from bagscan.benchmark.scales import ScanSet
from bagscan.core.files import write_whole
from bagscan.evaluation.baseline import image_statistics, statistics_scores
from bagscan.evaluation.items import Hidden, Judged, Thresholds, arrays, evaluate_items, fused, item_table, roc_points, scan_table
from bagscan.evaluation.metrics import auroc
from bagscan.model import Model
from bagscan.training.judging import as_judged, judge_items
from bagscan.training.samples import Sample

Report = Callable[[str], None]


def judge_cell(place: Place, cell: Cell, model: Model, chosen_on: Sequence[Sample], seen: Sequence[str], bf16: bool, report: Report) -> dict[str, Any]:
    """Thresholds, the verdicts on every test set, and ``judging_s``, over all pieces that it was done in.

    Args:
        chosen_on: validation items that thresholds are chosen on. seen: layouts of devices in training.
    """
    folder = place.judged_folder(cell)
    chosen = _kept(folder / "thresholds.json", lambda: dataclasses.asdict(Thresholds.chosen_on(judge_items(model, chosen_on, bf16))))
    thresholds = Thresholds(**{**chosen["found"], "platt": tuple(chosen["found"]["platt"])})
    pieces = {one.name: _kept(folder / f"{one.name}.json", lambda one=one: _judge_set(place, cell, model, one, thresholds, seen, bf16, report)) for one in place.scale.sets}  # type: ignore[misc]
    return {
        "thresholds": chosen["found"],
        "sets": {name: piece["found"] for name, piece in pieces.items()},
        "judging_s": sum(piece["seconds"] for piece in (chosen, *pieces.values())),
    }


def _kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What an earlier piece of the run has found, or what is found now, with the seconds that it took."""
    if path.exists():
        known: dict[str, Any] = json.loads(path.read_text())
        return known
    started = time.monotonic()
    found = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"found": found, "seconds": time.monotonic() - started}, default=lambda number: number.item()))
    return _kept(path, make)


def _judge_set(place: Place, cell: Cell, model: Model, one: ScanSet, thresholds: Thresholds, seen: Sequence[str], bf16: bool, report: Report) -> dict[str, Any]:
    test = test_items(place, one, cell.data)
    report(f"judging {len(test)} items of {one.name}")
    started = time.monotonic()
    judged = judge_items(model, test, bf16)
    spent = (time.monotonic() - started) / max(1, len(test))
    keep_scores(scores_path(place, cell, one.name, test), judged)
    hidden = hidden_views(place, one, judged)
    results = evaluate_items(judged, thresholds, seen, hidden) | {"seconds_per_item": spent}
    results["roc"] = roc_points(*arrays(judged)[:2])
    by_statistics = [replace(j, score=float(score)) for j, score in zip(judged, _by_statistics(place, one, cell.data), strict=True)]
    results["trivial_baseline"] = auroc(*arrays(by_statistics)[:2])
    results["per_scan"]["trivial_baseline"] = auroc(*fused(by_statistics, hidden=hidden))
    if one in place.scale.train_on and place.scale.detected_scans:
        under = [judge_detected(model, sample, found, bf16) for sample, found in detected_items(place, one, cell.data)]
        results["detected"] = compare_masks(under, judged, thresholds, hidden_views(place, one, under, place.scale.detected_scans))
    return results


def scores_path(place: Place, cell: Cell, set_name: str, items: Sequence[Sample]) -> Path:
    """Where the scores of these items by the weights of a cell are kept, as a list, beside its model."""
    folder = place.run_folder(cell)
    weights = hashlib.sha256((folder / "model" / "weights.safetensors").read_bytes()).hexdigest()
    identity = hashlib.sha256(",".join([weights, *(item.record.id for item in items)]).encode()).hexdigest()
    return folder / f"scores_{set_name}_{identity[:8]}.json"


def keep_scores(path: Path, judged: Sequence[Judged]) -> None:
    """Write what :func:`scores_path` names."""
    write_whole(path, json.dumps([float(item.score) for item in judged]))


def judge_detected(model: Model, sample: Sample, found: bool, bf16: bool = False) -> Judged:
    """The verdict on an item under the detector's mask, or on one that it missed."""
    nothing = np.zeros(0)
    return judge_items(model, [sample], bf16)[0] if found else as_judged(sample, nothing, nothing, nothing, nothing, found=False)


def compare_masks(under: Sequence[Judged], judged: Sequence[Judged], thresholds: Thresholds, hidden: Sequence[Hidden] = ()) -> dict[str, Any]:
    """Judgement under the detector's masks beside that under the true ones, and all that the detector costs.

    ``detected`` and ``true masks`` are the same devices, those that it found: they differ by their masks alone. ``end to end``
    has the missed ones too, below every threshold, and what it takes for a device and is none. A benign device that is missed
    raises no alarm, and so looks well judged there: ``missed`` counts both kinds.

    Args:
        under: verdicts under the detector's masks. judged: under the true ones, of those views at least. hidden: views of the
            same scans whose anomaly no item shows.
    """
    devices = [j for j in under if j.about["layout"] != NO_DEVICE]
    found = [j for j in devices if j.found]
    known = {j.about[TRUE_ID] for j in found}
    views = {(j.scan, j.view) for j in under}
    return {
        "detected": item_table(found, thresholds),
        "true masks": item_table([j for j in judged if j.id in known], thresholds),
        "end to end": {"per_item": item_table(under, thresholds), "per_scan": scan_table(under, thresholds, hidden)},
        "missed": {
            label: {"missed": sum(not j.found for j in own), "of": len(own)}
            for label, own in (("anomalous", [j for j in devices if j.anomalous]), ("benign", [j for j in devices if not j.anomalous]))
        },
        "no_device_per_view": (len(under) - len(devices)) / max(1, len(views)),
    }


def item_statistics(sample: Sample) -> np.ndarray:
    """Size, brightness and sharpness of an item, channel by channel, and how many pixels it covers."""
    pixels = sample.pixels()
    covered = [0.0 if sample.region is None else float(sample.region.sum())]
    return np.concatenate([*(image_statistics(channel[None]) for channel in pixels), covered])


@lru_cache(maxsize=16)
def _statistics(place: Place, one: ScanSet, part: str, data: str) -> tuple[np.ndarray, np.ndarray]:
    samples = test_items(place, one, data) if part == "test" else trainable(samples_of(place, one, part, data))
    return np.array([item_statistics(s) for s in samples]), np.array([int(bool(s.annotations)) for s in samples])


@lru_cache(maxsize=32)
def _by_statistics(place: Place, one: ScanSet, data: str) -> np.ndarray:
    """(n,) scores of test items by plain statistics with a linear model, trained on the very items that the network has."""
    parts = [_statistics(place, other, "train", data) for other in place.scale.train_on]
    x, y = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
    return statistics_scores(x, y, _statistics(place, one, "test", data)[0])
