"""Parts against whole items on the same scans, and whether what is missed can be seen at all.

    python benchmarks/levels.py --data simulated --runs runs/benchmark

Two intervals that overlap say little of two levels that judged the very same items: here their difference is resampled,
scan by scan, averaged over the channels that both tables have and over seeds. And the contrast to noise of the simulator's strata knows
photon noise alone, where an image shows an anomaly beside the structure of the item and of the bag: so anomalous items are
also sorted by the difference between the anomaly's mean and that of the ring around it, in standard deviations of the ring
(-ln of low transmission), and each band is judged against all benign items. Bags do not all have the same number of items to be
judged by, so that chance is not .5 for scans: what random scores of items have stands beside them. Scores are kept beside the
models and not judged twice. Writes benchmarks/results/levels.json.
"""

import argparse
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import binary_dilation

from bagscan.benchmark.cells import DATA, NETWORKS, TABLE_1, TABLE_2, Cell, model_and_training
from bagscan.benchmark.judgement import keep_scores, scores_path
from bagscan.benchmark.place import Place, hidden_views, test_items
from bagscan.benchmark.scales import SCALES, ScanSet
from bagscan.evaluation.items import chance_table
from bagscan.evaluation.metrics import auroc, fpr_at_tpr
from bagscan.evaluation.results import make_record, write_record
from bagscan.model import Model
from bagscan.training.judging import as_judged, judge_items
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


def by_band(contrast: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """n, and mean, least and largest AUROC over several networks, of each band against all benign items.

    Args:
        contrast: (n,) of items, NaN for benign ones. scores: (networks, n).
    """
    table = {}
    for name, (low, high) in BANDS.items():
        own = (contrast >= low) & (contrast < high)
        counted = own | np.isnan(contrast)
        found = [auroc(own[counted], s[counted]) for s in scores]
        table[name] = {"n": int(own.sum()), "auroc": float(np.mean(found)), "least": min(found), "largest": max(found)}
    return table


def paired(truth: np.ndarray, scans: np.ndarray, parts: np.ndarray, whole: np.ndarray, draws: int = 1000) -> dict[str, Any]:
    """By how much parts are ahead, averaged over networks, and its 95 % interval over resampled scans.

    Args:
        truth, scans: (n,) of items. parts, whole: (networks, n) scores of the same items.
    """
    members = [np.flatnonzero(scans == scan) for scan in np.unique(scans)]
    rng = np.random.default_rng(0)
    told: dict[str, Any] = {"n": len(truth), "scans": len(members)}
    differ: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"auroc": auroc, "fpr_at_95_tpr": lambda t, s: fpr_at_tpr(t, s, 0.95)}
    every = np.arange(len(truth))
    drawn = [np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))]) for _ in range(draws)]
    for name, of in differ.items():
        ahead = lambda i: float(np.mean([of(truth[i], p[i]) - of(truth[i], w[i]) for p, w in zip(parts, whole, strict=True)]))  # noqa: E731, B023
        spread = [ahead(i) for i in drawn if truth[i].any() and not truth[i].all()]
        told[name] = {"difference": ahead(every), "interval": [float(v) for v in np.quantile(spread, (0.025, 0.975))]}
    return told


def seeds_of(place: Place, network: str) -> list[int]:
    """Seeds with a record of every channel at both levels: a mean over others would not compare like with like."""
    rows = [(table, data) for table in LEVELS.values() for data in ROWS]
    found = [seed for seed in place.scale.seeds if all(place.is_done(Cell(*row, network, seed)) for row in rows)]
    if not found:
        raise SystemExit(f"levels: {network} has no seed with all rows of both tables in {place.results}; run these cells first, or name other networks by --network")
    return found


def scores_of(place: Place, one: ScanSet, cell: Cell, items: Sequence[Sample]) -> np.ndarray:
    """(n,) scores of items by the model of a cell: those that its judgement has kept, or as it would."""
    path = scores_path(place, cell, one.name, items)
    if not path.exists():
        keep_scores(path, judge_items(Model.load(place.run_folder(cell) / "model"), items, model_and_training(cell, place.scale)[1].bf16))
        print(one.name, cell.table, cell.slug, flush=True)
    return np.array(json.loads(path.read_text()))


def identity_of(ids: Iterable[str]) -> str:
    """Of these names in this order."""
    return hashlib.sha256(",".join(ids).encode()).hexdigest()


def judged_set(place: Place, one: ScanSet, network: str, seeds: Sequence[int]) -> tuple[dict[str, Any], list[str]]:
    """One test set at both levels by one network, and the ids of its items."""
    by_row = {data: test_items(place, one, data) for data in ROWS}
    scores = {level: np.stack([scores_of(place, one, Cell(t, d, network, k), by_row[d]) for d in ROWS for k in seeds]) for level, t in LEVELS.items()}
    items = by_row[ROWS[0]]
    truth = np.array([bool(item.annotations) for item in items])
    contrast = np.array([stands_out(item) for item in items])
    told = ~truth | ~np.isnan(contrast)  # of a few anomalous items too little surrounds the anomaly to tell
    found: dict[str, Any] = {level: by_band(contrast[told], s[:, told]) for level, s in scores.items()}
    found["paired"] = paired(truth, np.array([item.record.scan for item in items]), scores["parts"], scores["whole"])
    return found, [item.record.id for item in items]


def by_chance(place: Place, one: ScanSet) -> dict[str, Any]:
    """AUROC of the scans of a test set, by view and fusion, where items are scored at random."""
    nothing = np.zeros(0)
    items = [as_judged(item, nothing, nothing, nothing, nothing) for item in test_items(place, one, ROWS[0])]
    return chance_table(items, hidden_views(place, one, items))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("simulated"))
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark"), help="of bagscan benchmark: its models are judged")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/paper_a"), help="of bagscan benchmark: which cells are there")
    parser.add_argument("--network", action="append", choices=NETWORKS, help="of those whose rows are there; default all")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/levels.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scale, networks = SCALES["small"], arguments.network or list(NETWORKS)
    place = Place(scale, arguments.data, arguments.runs, arguments.results)
    seeds = {network: seeds_of(place, network) for network in networks}
    results: dict[str, dict[str, Any]] = {}
    ids: list[str] = []
    for one in (*scale.train_on, scale.also_test[0]):
        for network in networks:
            found, own = judged_set(place, one, network, seeds[network])
            results.setdefault(one.name, {"networks": {}})["networks"][network] = found
        results[one.name]["scans by chance"] = by_chance(place, one)
        ids += own
    cells = [dataclasses.asdict(Cell(t, data, network, seed)) for t in LEVELS.values() for data in ROWS for network in networks for seed in seeds[network]]
    record = make_record(
        "levels",
        results,
        data={"name": "+".join(results), "hash": identity_of(ids), "counts": {"items": len(ids)}},
        config={"scale": scale.name, "cells": cells, "ring_px": RING_PX},
        seeds=sorted({seed for own in seeds.values() for seed in own}),
        notes=[
            "Means over the four channels of both tables and the seeds that have them all: " + ", ".join(f"{name} {len(own)}" for name, own in seeds.items()) + ".",
            "Differences: parts less whole items, on the same items, with the 95 % interval of resampled scans.",
            "Scans by chance: AUROC where items are scored at random, mean and 95 % of 200 draws.",
            "Bands: mean (least-largest) over channels and seeds, each band against all benign items of the set.",
        ],
    )
    write_record(arguments.out, record)


if __name__ == "__main__":
    main()
