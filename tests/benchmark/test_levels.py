"""What the comparison of levels says of scores that are known."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bagscan.benchmark.cells import TABLE_1, Cell
from bagscan.benchmark.place import Place, settings_hash
from bagscan.benchmark.scales import SCALES
from bagscan.core import View
from bagscan.datasets.items import mask_annotation
from bagscan.datasets.record import Record
from bagscan.evaluation.results import make_record, write_record
from bagscan.training.samples import Sample, to_counts

spec = importlib.util.spec_from_file_location("levels", Path(__file__).parents[2] / "benchmarks" / "levels.py")
levels = importlib.util.module_from_spec(spec)
spec.loader.exec_module(levels)

rng = np.random.default_rng(0)
TRUTH = np.arange(200) % 2 == 1
SCANS = np.arange(200) // 4  # each with two anomalous and two benign items
NOISE = rng.random((2, 200))


def test_scores_that_are_the_same_differ_by_nothing():
    told = levels.paired(TRUTH, SCANS, NOISE, NOISE, draws=20)
    assert told["auroc"] == {"difference": 0.0, "interval": [0.0, 0.0]}
    assert (told["n"], told["scans"]) == (200, 50)


def test_perfect_parts_are_ahead_of_whole_items_by_half_and_the_other_way_round():
    perfect, chance = np.stack([TRUTH, TRUTH]).astype(float), np.zeros((2, 200))
    told = levels.paired(TRUTH, SCANS, perfect, chance, draws=50)
    assert told["auroc"] == {"difference": 0.5, "interval": [0.5, 0.5]}
    assert told["fpr_at_95_tpr"] == {"difference": -1.0, "interval": [-1.0, -1.0]}
    assert levels.paired(TRUTH, SCANS, chance, perfect, draws=50)["auroc"]["difference"] == -0.5


def test_intervals_resample_scans_and_not_items():
    """Copies of an item tell nothing new: with all items of a scan alike the interval is as wide as that of the scans."""
    truth, scans, parts, whole = np.arange(50) % 2 == 1, np.arange(50), NOISE[:, :50], NOISE[:, 50:100]
    once = levels.paired(truth, scans, parts, whole, draws=400)
    copied = levels.paired(np.repeat(truth, 4), np.repeat(scans, 4), np.repeat(parts, 4, 1), np.repeat(whole, 4, 1), draws=400)
    width = [told["auroc"]["interval"][1] - told["auroc"]["interval"][0] for told in (once, copied)]
    assert width[0] == pytest.approx(width[1])
    apart = levels.paired(np.repeat(truth, 4), np.arange(200), np.repeat(parts, 4, 1), np.repeat(whole, 4, 1), draws=400)
    assert apart["auroc"]["interval"][1] - apart["auroc"]["interval"][0] < 0.7 * width[0], "taken for scans of their own they would look like more"


def test_bands_are_each_against_all_benign_items():
    contrast = np.array([np.nan, np.nan, 0.2, 0.7, 1.5, 3.0])
    table = levels.by_band(contrast, np.array([[0.4, 0.6, 0.1, 0.5, 0.5, 0.9]]))
    assert {name: (band["n"], band["auroc"]) for name, band in table.items()} == {"below 0.5": (1, 0.0), "0.5-1": (1, 0.5), "1-2": (1, 0.5), "2 and above": (1, 1.0)}


def test_an_anomaly_stands_out_by_its_distance_in_spreads_of_what_surrounds_it():
    depth = np.ones((60, 60))
    depth[:, ::2] += 0.2  # spread .1, mean 1.1
    depth[25:35, 25:35] = 1.4
    pixels = np.exp(-depth)[None].astype(np.float32)
    view = View(pixels, ("low",), "dual_energy", bit_depth=16)
    mask = np.zeros((60, 60), bool)
    mask[25:35, 25:35] = True
    counts, unit = to_counts(view)
    sample = Sample(Record("a", Path("a.tif")), view, counts, (mask_annotation("anomaly", mask),), unit)
    assert levels.stands_out(sample) == pytest.approx(3.0, rel=0.05)
    assert np.isnan(levels.stands_out(replace(sample, annotations=())))


def record_of(settings: str):
    return make_record("a", {"n": 1}, data={"name": "a", "hash": "0", "counts": {}}, config={"settings": settings}, seeds=[0])


def place_at(folder: Path) -> Place:
    return Place(SCALES["small"], folder / "data", folder / "runs", folder / "results")


def test_a_seed_counts_once_every_channel_of_both_levels_is_there(tmp_path):
    place, network = place_at(tmp_path), "ResNet-50"
    with pytest.raises(SystemExit, match="ResNet-50 has no seed with all rows"):
        levels.seeds_of(place, network)
    for seed, rows in ((0, levels.ROWS), (1, levels.ROWS[:3]), (2, levels.ROWS)):
        for cell in (Cell(table, data, network, seed) for table in levels.LEVELS.values() for data in rows):
            write_record(place.result(cell), record_of(settings_hash(cell, place.scale)))
    assert levels.seeds_of(place, network) == [0, 2]
    write_record(place.result(Cell(TABLE_1, "high", network, 2)), record_of("of another day"))
    assert levels.seeds_of(place, network) == [0]


def test_scores_are_kept_beside_the_model_until_its_weights_change(tmp_path, monkeypatch):
    place, cell = place_at(tmp_path), Cell(TABLE_1, "high", "ResNet-50")
    weights = place.run_folder(cell) / "model" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"first")
    items = [SimpleNamespace(record=SimpleNamespace(id=name), score=score) for name, score in (("a", 0.25), ("b", 0.75))]
    judged = []
    monkeypatch.setattr(levels.Model, "load", lambda folder: folder)
    monkeypatch.setattr(levels, "judge_items", lambda model, asked, bf16: judged.append(len(asked)) or list(asked))
    one = place.scale.train_on[0]
    for _ in range(2):
        assert levels.scores_of(place, one, cell, items).tolist() == [0.25, 0.75]
    assert judged == [2], "the second time they are read"
    assert levels.scores_of(place, one, cell, items[1:]).tolist() == [0.75]
    weights.write_bytes(b"second")
    levels.scores_of(place, one, cell, items)
    assert judged == [2, 1, 2], "other items and other weights are judged anew"
