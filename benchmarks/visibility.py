"""Whether what is missed can be seen at all: item AUROC by how far an anomaly stands out from what surrounds it.

    python benchmarks/visibility.py --data simulated --runs runs/benchmark

The contrast to noise of the simulator's strata knows photon noise alone. What an image shows beside an anomaly is the
structure of the item and of the bag. So anomalous items are sorted by the difference between the anomaly's mean and that of the ring
around it, in standard deviations of the ring (-ln of low transmission), and the table's networks judge each band
against all benign items. Writes benchmarks/results/visibility.json.
"""

import argparse
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import binary_dilation

from bagscan.benchmark.cells import DATA, OURS, TABLE_1, TABLE_2, Cell
from bagscan.benchmark.place import Place, test_items
from bagscan.benchmark.scales import SCALES, ScanSet
from bagscan.evaluation.metrics import auroc
from bagscan.evaluation.results import make_record, write_record
from bagscan.model import Model
from bagscan.training.judging import judge_items
from bagscan.training.samples import Sample

RING_PX = 8  # of an item at the tables' size: 16 mm
LEAST_RING_PX = 10
LEAST_TRANSMISSION = 1e-3
BANDS = {"below 0.5": (0.0, 0.5), "0.5-1": (0.5, 1.0), "1-2": (1.0, 2.0), "2 and above": (2.0, np.inf)}
LEVELS = {"parts": TABLE_2, "whole": TABLE_1}
ROWS = tuple(DATA)[:4]  # of both tables


def stands_out(sample: Sample) -> float:
    """How far an item's anomaly stands out from the ring around it, in standard deviations of the ring; NaN where there is none."""
    whole = sample.whole or sample
    depth = -np.log(whole.pixels()[whole.view.channels.index("low")].clip(LEAST_TRANSMISSION))
    inside = sample.masks().any(0)
    ring = binary_dilation(inside, iterations=RING_PX) & ~inside
    if sample.region is not None:
        ring &= sample.region
    if not inside.any() or ring.sum() < LEAST_RING_PX:
        return float("nan")
    return float(abs(depth[inside].mean() - depth[ring].mean()) / max(depth[ring].std(), 1e-6))


def by_band(contrast: np.ndarray, scores: Sequence[np.ndarray]) -> dict[str, Any]:
    """n, and mean, least and largest AUROC over several networks, of each band against all benign items.

    Args:
        contrast: (n,) of items, NaN for benign ones and those that cannot be told. scores: (n,) of each network.
    """
    table = {}
    for name, (low, high) in BANDS.items():
        own = (contrast >= low) & (contrast < high)
        counted = own | np.isnan(contrast)
        found = [auroc(own[counted].astype(int), s[counted]) for s in scores]
        table[name] = {"n": int(own.sum()), "auroc": float(np.mean(found)), "least": min(found), "largest": max(found)}
    return table


def judged_set(place: Place, one: ScanSet) -> tuple[dict[str, Any], list[str]]:
    """Bands of one test set at both levels, and the ids of its items."""
    found: dict[str, Any] = {}
    for level, table in LEVELS.items():
        scores = []
        for data in ROWS:
            cell = Cell(table, data, OURS)
            items = test_items(place, one, data)
            model = Model.load(place.run_folder(cell) / "model")
            scores.append(np.array([j.score for j in judge_items(model, items)]))
            print(one.name, level, data, flush=True)
        contrast = np.array([stands_out(item) for item in items])
        # Anomalous items whose ring is too small to tell are neither in a band nor benign.
        kept = np.array([not item.annotations for item in items]) | ~np.isnan(contrast)
        found[level] = by_band(contrast[kept], [s[kept] for s in scores])
    return found, [item.record.id for item in items]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("simulated"))
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark"), help="of bagscan benchmark: its models are judged")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/visibility.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scale = SCALES["small"]
    place = Place(scale, arguments.data, arguments.runs, Path())
    results, ids = {}, []
    for one in (*scale.train_on, scale.also_test[0]):
        results[one.name], own = judged_set(place, one)
        ids += own
    identity = hashlib.sha256(",".join(ids).encode()).hexdigest()
    cells = [dataclasses.asdict(Cell(table, data, OURS)) for table in LEVELS.values() for data in ROWS]
    record = make_record(
        "visibility",
        results,
        data={"name": "+".join(results), "hash": identity, "counts": {"items": len(ids)}},
        config={"scale": scale.name, "cells": cells, "ring_px": RING_PX},
        seeds=[0],
        notes=["AUROC: mean (least-largest) over the four channels, first seed, EfficientNet-Lite0; of each band against all benign items of the set."],
    )
    write_record(arguments.out, record)


if __name__ == "__main__":
    main()
