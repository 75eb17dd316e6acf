"""Items of simulated scans: their positions, their hidden anomalies, and the mask of each."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as rle

from bagscan.core.about import About
from bagscan.core.errors import ConfigError, DataError
from bagscan.datasets import simulated
from bagscan.datasets.items import MARGIN_PX, cut, item_records, match
from bagscan.datasets.record import Record


def test_every_device_of_every_view_is_an_item_with_its_anomaly_on_it(simulated_root):
    records = simulated.load(simulated_root, "raw", "both", items=True).records
    assert records
    hiding = [r for r in records if r.annotations]
    assert hiding
    for record in records:
        x1, y1, x2, y2 = record.window
        assert record.item.mask.shape == (y2 - y1, x2 - x1)
        assert record.item.label == "phone"
        assert record.about.scan in record.id
        for annotation in record.annotations:
            assert annotation.mask.shape == record.item.mask.shape
            assert not (annotation.mask.pixels() & ~record.item.mask.pixels()).any()
    assert {r.about.stratum for r in hiding} - {""}
    benign = [r for r in records if not r.annotations]
    assert all(r.labels == {"anomaly": -1} for r in benign)
    assert all(r.about.stratum == r.about.kind == "" for r in benign)


def test_window_holds_the_device_that_the_truth_tells_of(simulated_root):
    record = simulated.load(simulated_root, "raw", "below", items=True).records[0]
    view, entry = record.id.rsplit("_", 1)
    truth = json.loads((simulated_root / "truth" / f"{view}.json").read_text())
    x, y, w, h = next(a["bbox"] for a in truth["annotations"] if str(a["id"]) == entry)
    x1, y1, x2, y2 = record.window
    assert (x1, y1) == (max(0, x - MARGIN_PX), max(0, y - MARGIN_PX))
    assert x2 >= x + w
    assert y2 >= y + h


def test_another_device_of_the_bag_has_its_own_class_layout_and_piece():
    def square(number, category, left):
        mask = np.zeros((60, 120), np.uint8, order="F")
        mask[10:40, left : left + 30] = 1
        coded = rle.encode(mask)
        return {
            "id": number,
            "role": "device",
            "category": category,
            "area": 900,
            "parent_id": None,
            "segmentation": {"size": coded["size"], "counts": coded["counts"].decode()},
        }

    truth = {
        "image": {"height": 60, "width": 120},
        "annotations": [square(1, "phone", 5), square(2, "laptop", 45), square(3, "phone", 85)],
    }
    about = About(scan="a", device="phone", layout="phone/slab", piece="known")
    devices = [
        {"name": "phone", "family": "phone/slab/01", "piece": 3},
        {
            "name": "toaster",
            "family": "toaster/two_slots/02",
            "piece": None,
        },  # which shows nothing in this view
        {"name": "laptop", "family": "laptop/drive_bay/02", "piece": None},
        {"name": "phone", "family": "phone/fold/04", "piece": 1},
    ]
    items = item_records(Record("a_below", Path("a.tif"), about=about), truth, devices)
    assert [(i.origin, i.about.layout, i.about.piece) for i in items] == [
        ("phone", "phone/slab", "known"),
        ("laptop", "laptop/drive_bay", "new"),
        ("phone", "phone/fold", "known"),
    ]
    assert all(i.about.scan == "a" for i in items)


def test_devices_are_annotated_for_detectors(simulated_root):
    records = simulated.load(simulated_root, "raw", "below", annotate="device").records
    assert all(a.label == "item" for r in records for a in r.annotations)
    assert all(r.annotations for r in records)
    with pytest.raises(ConfigError, match="annotate"):
        simulated.load(simulated_root, annotate="shoes")


def test_colour_and_raw_of_one_view_go_together(simulated_root):
    from bagscan.training.samples import read_view

    record = simulated.load(simulated_root, "all", "below").records[0]
    view, _ = read_view(record)
    assert view.channels == ("low", "high", "zeff", "red", "green", "blue")
    assert view.quantity == "dual_energy"


def test_masks_are_matched_once_best_first():
    def box(x1: int, x2: int) -> np.ndarray:
        mask = np.zeros((10, 100), bool)
        mask[:, x1:x2] = True
        return mask

    truth = [box(0, 40), box(50, 90)]
    found = [box(0, 30), box(2, 40), box(60, 100), box(95, 100)]
    assert match(found, truth) == [
        -1,
        0,
        1,
        -1,
    ]  # two on one: the better one counts; IoU 30/50 is enough, 0 is not
    assert match([], truth) == []
    assert match(found, []) == [-1] * 4


def test_a_cut_widens_the_mask_by_what_is_taped_to_it(simulated_root):
    whole = simulated.load(simulated_root, "raw", "below").records[0]
    mask = np.zeros((120, 160), bool)
    mask[50:60, 70:90] = True
    one = cut(whole, mask, "x", "phone")
    assert one.window == (70 - MARGIN_PX, 50 - MARGIN_PX, 90 + MARGIN_PX, 60 + MARGIN_PX)
    assert one.item.mask.area > mask.sum()
    assert one.id == f"{whole.id}_x"


def test_a_set_that_is_not_there_is_told_with_the_line_that_makes_it(tmp_path):
    for folder, preset in (("operational", "operational"), ("demo_400", "demo"), ("mine", "deei")):
        with pytest.raises(DataError, match=f"--preset {preset} --out {tmp_path / folder}"):
            simulated.load(tmp_path / folder)
