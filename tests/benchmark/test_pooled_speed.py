"""What the comparison of one pass with a pass a part takes for parts."""

import importlib.util
from pathlib import Path

import numpy as np

from bagscan.core import Regions, View
from bagscan.datasets.record import Record
from bagscan.training.samples import Sample, to_counts

spec = importlib.util.spec_from_file_location("pooled_speed", Path(__file__).parents[2] / "benchmarks" / "pooled_speed.py")
pooled_speed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pooled_speed)


def test_parts_beside_the_item_are_left_out():
    view = View(np.full((1, 40, 40), 0.5, np.float32), ("low",), "transmission", bit_depth=16)
    counts, unit = to_counts(view)
    item = np.zeros((40, 40), bool)
    item[:, 20:] = True  # the right half
    quarters = np.kron(np.arange(4).reshape(2, 2), np.ones((20, 20), int))
    kept = pooled_speed.parts_on_item(Sample(Record("a", Path("a.tif")), view, counts, (), unit, region=item), Regions.from_labels(quarters, "superpixel"))
    assert kept.n == 2
    assert np.array_equal(kept.labels, np.where(item, quarters // 2, -1))
