"""Judging an item's parts in one backbone pass beside showing each to the network alone: the same items, in turn, one thread.

Parts are shown at the size that the tables train at, and at the size of paper A.

python benchmarks/pooled_speed.py --data simulated
"""

import argparse
import dataclasses
import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bagscan.benchmark.cells import ABLATION, OURS, Cell, model_and_training
from bagscan.benchmark.place import Place, test_items
from bagscan.benchmark.scales import SCALES
from bagscan.core import Regions
from bagscan.evaluation.results import make_record, write_record
from bagscan.model import Model
from bagscan.training.joint import as_bag
from bagscan.training.samples import Sample, spread

ITEMS = 30
ITEMS_OF_PAPER = 5  # shown to the network at the size of paper A: seconds each
PAPER_PX = 224


def seconds_of(models: dict[str, Model], sample: Sample) -> dict[str, float]:
    """Seconds of cutting an item up, which both need, and of describing and scoring the parts that lie on it either way."""
    view = sample.full_view()
    with models["pooled"].judging():
        started = time.perf_counter()
        regions = models["pooled"].regions(view)
        regions = parts_on_item(sample, regions)  # of a window around it; nobody would show the others to a network
        found = {"cut": time.perf_counter() - started, "parts": float(regions.n)}
        for name, model in models.items():
            started = time.perf_counter()
            model.score_regions(model.normalise(torch.from_numpy(np.array(view.pixels))[None]), regions)
            found[name] = time.perf_counter() - started
    return found


def parts_on_item(sample: Sample, regions: Regions) -> Regions:
    """The regions that count as parts of the item, numbered from 0."""
    kept = as_bag(sample, regions, np.zeros(regions.n)).foreground.astype(bool)
    number = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)  # the last for pixels of no region
    return Regions(number[regions.labels].astype(np.int32), int(kept.sum()), regions.kind)


def at_size_of_paper(rows: list[dict[str, float]]) -> dict[str, Any]:
    """What showing each part at 224 pixels a side, as paper A does, costs beside one pass."""
    cut, pooled, crop = (np.array([row[name] for row in rows]) for name in ("cut", "pooled", "crop_of_paper"))
    ratio = float((cut + crop).sum() / (cut + pooled).sum())
    return {f"items_at_{PAPER_PX}_px": len(rows), f"crop_at_{PAPER_PX}_px_s_per_item": float(crop.mean()), f"cut_and_described_crop_at_{PAPER_PX}_px_over_pooled": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("simulated"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/pooled_speed.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scale = SCALES["small"]
    place = Place(scale, arguments.data, Path(), Path())
    # Untrained: what a verdict costs does not depend on what it is.
    of_paper = dataclasses.replace(scale, segment_px=PAPER_PX)
    variants = {"pooled": ("joint", scale), "crop": ("crop", scale), "crop_of_paper": ("crop", of_paper)}
    models = {name: Model(model_and_training(Cell(ABLATION, "high + low + Z", OURS, 0, variant), size)[0]).eval() for name, (variant, size) in variants.items()}
    here = {name: models[name] for name in ("pooled", "crop")}
    results: dict[str, dict[str, Any]] = {}
    ids: list[str] = []
    for one in scale.train_on:
        items = spread(test_items(place, one, "high + low + Z"), ITEMS)
        ids += [item.record.id for item in items]
        seconds_of(here, items[0])
        rows = [seconds_of(here, item) for item in items]
        cut, pooled, crop, parts = (np.array([row[name] for row in rows]) for name in ("cut", "pooled", "crop", "parts"))
        results[one.name] = {
            "items": len(items),
            "parts_median": float(np.median(parts)),
            **{f"{name}_s_per_item": float(t.mean()) for name, t in (("cut", cut), ("pooled", pooled), ("crop", crop))},
            "describing_crop_over_pooled": float(crop.sum() / pooled.sum()),
            "describing_crop_over_pooled_quartiles": "-".join(f"{np.quantile(crop / pooled, q):.1f}" for q in (0.25, 0.75)),
            "cut_and_described_crop_over_pooled": float((cut + crop).sum() / (cut + pooled).sum()),
        } | at_size_of_paper([seconds_of(models, item) for item in spread(items, ITEMS_OF_PAPER)])
        print(one.name, results[one.name])
    identity = hashlib.sha256(",".join(ids).encode()).hexdigest()
    record = make_record(
        "pooled_speed", results, data={"name": "+".join(results), "hash": identity, "counts": {k: r["items"] for k, r in results.items()}}, config={"scale": scale.name}, seeds=[0]
    )
    write_record(arguments.out, record)


if __name__ == "__main__":
    main()
