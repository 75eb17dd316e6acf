"""The tables at scale smoke: cells train, are judged on true and on detected items, resume and draw."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion
from typer.testing import CliRunner

from bagscan.benchmark.cells import ABLATION, ABLATIONS, DATA, NETWORKS, TABLE_1, TABLE_2, Cell, cells, model_and_training
from bagscan.benchmark.detected import NO_DEVICE
from bagscan.benchmark.judgement import compare_masks
from bagscan.benchmark.place import Place, samples_of
from bagscan.benchmark.run import make_sets
from bagscan.benchmark.scales import SCALES, ScanSet, scale_named
from bagscan.benchmark.tables import comparison, markdown, newest, read_cells, spread
from bagscan.cli import app
from bagscan.core.errors import ConfigError, DataError
from bagscan.evaluation.items import MISSED, Judged, Thresholds
from bagscan.evaluation.results import check_record
from bagscan.model import Model
from bagscan.simulate.dataset import keep_recipe, load_recipe
from bagscan.simulate.summary import read_scans
from bagscan.training.samples import Sample, halved


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmark")


def place_of(ran: Path) -> Place:
    return Place(SCALES["smoke"], ran / "data", ran / "runs", ran / "results")


def bench(folder: Path, *words: str):
    places = ["--data", str(folder / "data"), "--runs", str(folder / "runs"), "--results", str(folder / "results"), "--out", str(folder / "figures")]
    return CliRunner().invoke(app, ["benchmark", "--scale", "smoke", *places, *words])  # of an option that is given twice the last one counts


@pytest.fixture(scope="module")
def ran(folder: Path) -> Path:
    for table in ("table-1", "table-2"):
        run = bench(folder, table, "--only", "resnet", "--only", "seed0", "--only", "pseudo-colour_")
        assert run.exit_code == 0, run.output
    return folder


def test_a_cell_leaves_one_record_with_every_level(ran):
    for table in ("table-1", "table-2"):
        path = ran / "results" / "smoke" / table / "pseudo-colour_resnet-50_seed0.json"
        record = json.loads(path.read_text())
        check_record(record)
        (found,) = record["results"]["sets"].values()
        assert {"per_segment", "per_item", "per_scan", "strata", "groups", "views", "detected", "trivial_baseline", "roc", "reliability"} <= set(found)
        # At object level an item is its one segment.
        assert (found["per_segment"]["n"] == found["per_item"]["n"]) is (table == "table-1")
        counts = {name: row["tp"]["n"] for name, row in found["strata"].items()}
        assert counts.pop("50 and above") == counts["50-500"] + counts["above 500"]
        assert sum(counts.values()) == found["per_item"]["positives"]
        # Under the detector's masks and under the true ones: the same devices.
        of = found["detected"]
        assert set(of) == {"detected", "true masks", "end to end", "missed", "no_device_per_view"}
        assert of["detected"]["n"] == of["true masks"]["n"]
        assert of["detected"]["n"] + sum(of["missed"][label]["missed"] for label in ("anomalous", "benign")) <= of["end to end"]["per_item"]["n"]
        # Every view of an anomalous test scan is either shown by an item or counted as not shown.
        shown = [found["strata"][s] for s in ("below 5", "5-50", "50-500", "above 500")]
        scans = [scan for scan in read_scans(ran / "data" / "smoke_20") if scan["part"] == "test" and "anomaly" in scan]
        assert sum(s["tp"]["n"] + s["not_shown"] for s in shown) == sum(len(scan["views"]) for scan in scans)
        assert found["per_scan"]["positives"] == len(scans)
        assert record["config"]["scale"] == "smoke"


def test_the_item_detector_leaves_a_record(ran):
    record = json.loads((ran / "results" / "smoke" / "detector.json").read_text())
    check_record(record)
    (found,) = record["results"].values()
    assert set(record["results"]) == {"smoke_20"}
    assert set(found) == {"box", "mask"}
    assert 0 <= found["box"]["ap_50"] <= 1
    assert record["data"]["counts"]["test views of smoke_20"] >= 1


def test_a_detector_that_is_judged_is_not_trained_again(ran, monkeypatch):
    import bagscan.benchmark.detected as module

    def trained(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "train_detection", trained)
    place, record = place_of(ran), ran / "results" / "smoke" / "detector.json"
    before, found = json.loads(record.read_text()), module._found_path(place, SCALES["smoke"].train_on[0])
    masks = module._found(found)
    record.unlink()
    found.unlink()
    module.run_detector(place, lambda _: None)
    assert json.loads(record.read_text())["results"] == before["results"]
    assert module._found(found) == masks


def test_what_is_there_is_not_run_again_and_the_rest_is_listed(ran):
    path = ran / "results" / "smoke" / "table-2" / "pseudo-colour_resnet-50_seed0.json"
    before = path.stat().st_mtime_ns
    run = bench(ran, "table-2", "--only", "resnet", "--only", "pseudo-colour_")
    assert run.exit_code == 0
    assert "1 of 1 cells" in run.output
    assert path.stat().st_mtime_ns == before
    assert "| pseudo-colour | ResNet-50 | item |" in run.output
    assert "| pseudo-colour | ResNet-50 | scan |" in run.output
    assert "statistics alone" in run.output


def test_a_cell_that_fails_is_told_and_the_others_go_on(ran, monkeypatch):
    import bagscan.benchmark.run as run_module

    whole = run_module.run_cell

    def fails_on_high(place, cell, report=print):
        if cell.data == "high":
            raise RuntimeError("no room on the disk")
        place.run_folder(cell).mkdir(parents=True, exist_ok=True)
        (place.run_folder(cell) / "failed.txt").write_text("of a try before")
        return whole(place, cell, report)

    monkeypatch.setattr(run_module, "run_cell", fails_on_high)
    run = bench(ran, "table-2", "--only", "squeezenet", "--only", "seed0", "--only", "h")
    assert run.exit_code == 3
    (told,) = [line for line in run.output.splitlines() if "high_squeezenet_seed0 failed: RuntimeError: no room on the disk" in line]
    trace = Path(told.rpartition("(trace: ")[2].rstrip(")"))
    assert "fails_on_high" in trace.read_text()
    assert not (trace.parents[1] / "high-low-z_squeezenet_seed0" / trace.name).exists(), "of a cell that is done now"
    assert (ran / "results" / "smoke" / "table-2" / "high-low-z_squeezenet_seed0.json").exists()


def test_a_worker_that_is_killed_takes_no_traceback_with_it(ran, monkeypatch):
    import bagscan.benchmark.run as run_module

    class Killed:
        def __init__(self, *_, **__): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def submit(self, *_):
            dead = Future()
            dead.set_exception(BrokenProcessPool("killed"))
            return dead

    monkeypatch.setattr(run_module, "ProcessPoolExecutor", Killed)
    run = bench(ran, "table-2", "--only", "vgg", "--only", "seed0", "--workers", "2")
    assert run.exit_code == 3
    assert "a worker died" in run.output
    assert "6 of 6 cells failed" in run.output


def test_two_cells_at_a_time_leave_stdout_to_the_result(ran):
    words = ["benchmark", "table-1", "--scale", "smoke", "--only", "resnet", "--only", "seed0", "--workers", "2", "--json"]
    places = ["--data", str(ran / "data"), "--runs", str(ran / "runs"), "--results", str(ran / "results")]
    run = subprocess.run([sys.executable, "-c", "from bagscan.cli import main; main()", *words, *places], capture_output=True, text=True, check=True)
    told = json.loads(run.stdout)
    assert {record["config"]["cell"]["data"] for record in told["cells"]} >= {"pseudo-colour", "high", "low", "effective Z"}
    assert "[high_resnet-50_seed0] judging" in run.stderr


@pytest.mark.parametrize(("content", "told"), [("{", "no result record"), ("{}", "no result record"), (None, "something else than a cell of table-1")])
def test_a_file_that_is_no_record_is_named(ran, tmp_path, content, told):
    shutil.copytree(ran / "results", tmp_path / "results")
    odd = tmp_path / "results" / "smoke" / "table-1" / "odd.json"
    odd.write_text(content or (ran / "results" / "smoke" / "table-2" / "pseudo-colour_resnet-50_seed0.json").read_text())
    with pytest.raises(DataError, match=f"odd.json: .*{told}"):
        read_cells(tmp_path / "results" / "smoke", "table-1")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tabel-1"], "did you mean 'table-1'"),
        (["figures", "--only", "resnet"], "leave out --only"),
        (["table-1", "--dataset", "sixray"], "leave out --dataset"),
        (["unseen", "--list", "10"], "leave out --list"),
        (["unseen", "--only", "screw_driver"], "no name holds all of it; there are liquid_seed0"),
        (["table-1", "--only", "alexnet"], "no name holds all of it"),
    ],
)
def test_what_is_asked_of_the_benchmark_is_checked(folder, words, told):
    run = bench(folder, *words)
    assert isinstance(run.exception, ConfigError)
    assert told in str(run.exception)


@pytest.mark.parametrize(("option", "what"), [("--data", "table-1"), ("--runs", "table-2"), ("--results", "unseen"), ("--results", "gbad"), ("--out", "figures")])
def test_what_can_be_no_folder_is_told_before_anything_is_simulated(tmp_path, option, what):
    (tmp_path / "taken").write_text("")
    run = bench(tmp_path, what, option, str(tmp_path / "taken" / "below"))
    assert isinstance(run.exception, ConfigError)
    assert f"{option} {tmp_path / 'taken' / 'below'}: {tmp_path / 'taken'} is no folder" in str(run.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_file_that_is_no_record_is_told_before_anything_is_simulated(tmp_path):
    (tmp_path / "results" / "smoke" / "table-1").mkdir(parents=True)
    (tmp_path / "results" / "smoke" / "table-1" / "odd.json").write_text("{}")
    run = bench(tmp_path, "table-1")
    assert isinstance(run.exception, DataError)
    assert not (tmp_path / "data").exists()


def test_sets_that_are_tested_alone_are_other_bags_and_all_of_them_test(tmp_path, monkeypatch):
    """Of two profiles the same bags: what differs in their figures is the scanner."""
    made = {}
    monkeypatch.setattr("bagscan.benchmark.run.simulate", lambda recipe, out, workers, report: made.update({out.name: (recipe, workers)}))
    home, other = ScanSet("smoke", 6), ScanSet("smoke", 6, "g640_140kv")
    place = replace(place_of(tmp_path), scale=replace(SCALES["smoke"], also_test=(home, other)))
    make_sets(place, 2, lambda _: None)
    assert {name: workers for name, (_, workers) in made.items()} == {"smoke_20": 2, "smoke_6": 2, "smoke_6_g640_140kv": 2}
    trained_on, at_home, elsewhere = (recipe for recipe, _ in made.values())
    assert at_home.parts == elsewhere.parts == {"test": 1}
    assert at_home.seed == elsewhere.seed != trained_on.seed
    assert len(trained_on.parts) == 3
    assert (at_home.profile, elsewhere.profile) == (trained_on.profile, "g640_140kv")


def test_seeds_of_other_settings_are_a_row_of_their_own(ran):
    (record,) = (r for r in read_cells(ran / "results" / "smoke", "table-2") if r["config"]["cell"]["data"] == "pseudo-colour")
    again, other = (json.loads(json.dumps(record)) for _ in range(2))
    for one, seed, auroc, created in ((again, 1, 0.8, "2100"), (other, 2, 0.1, "2000")):
        one["config"]["cell"]["seed"] = one["config"]["training"]["loop"]["seed"] = seed
        one["created"] = created
        found = one["results"]["sets"]["smoke_20"]["per_item"]
        found["auroc"], found["intervals"]["auroc"] = auroc, [auroc - 0.1, auroc + 0.1]
    record["created"], record["results"]["sets"]["smoke_20"]["per_item"]["auroc"] = "2100", 0.6
    record["results"]["sets"]["smoke_20"]["per_item"]["intervals"]["auroc"] = [0.5, 0.65]
    other["config"]["training"]["batch_size"] += 4
    told = markdown(TABLE_2, "smoke", [record, again, other])
    assert "| pseudo-colour | ResNet-50 | 0.700 ± 0.141 | 0.500-0.900 |" in told, "the interval is of both seeds"
    assert "| pseudo-colour | ResNet-50, older settings | 0.100 | 0.000-0.200 |" in told
    oldest = json.loads(json.dumps(other))
    oldest["created"], oldest["config"]["training"]["batch_size"] = "1990", 1
    told = markdown(TABLE_2, "smoke", [record, again, other, oldest])
    assert "| pseudo-colour | ResNet-50, older settings 2 | 0.100 | 0.000-0.200 |" in told, "nor is a third age lost"
    again["config"]["judgement"], again["created"] = "another", "2000"
    told = markdown(TABLE_2, "smoke", [record, again])
    assert "| pseudo-colour | ResNet-50, older settings | 0.800 | 0.700-0.900 |" in told, "what was judged otherwise is not averaged"
    assert newest([record, again, other]) == [record], "nor drawn beside it"


def test_where_only_the_judgement_changes_the_weights_are_judged_anew(ran, monkeypatch):
    import bagscan.benchmark.place as module

    path = ran / "results" / "smoke" / "table-2" / "pseudo-colour_resnet-50_seed0.json"
    before = json.loads(path.read_text())
    monkeypatch.setattr(module, "JUDGEMENT", -1)
    run = bench(ran, "table-2", "--only", "resnet", "--only", "seed0", "--only", "pseudo-colour_")
    after = json.loads(path.read_text())
    path.write_text(json.dumps(before))
    assert "resuming at step 2 of 2" in run.output
    assert after["config"]["settings"] != before["config"]["settings"]
    assert after["results"]["sets"]["smoke_20"]["per_item"] == before["results"]["sets"]["smoke_20"]["per_item"]
    assert after["results"]["seconds"]["training"] == before["results"]["seconds"]["training"]


def test_a_cell_that_is_killed_while_it_is_judged_goes_on_with_the_next_set(ran, monkeypatch):
    import bagscan.benchmark.judgement as judgement
    import bagscan.benchmark.place as module
    from bagscan.benchmark.place import Place
    from bagscan.benchmark.run import run_cell

    monkeypatch.setattr(module, "JUDGEMENT", -2)
    cell, place = Cell(TABLE_2, "pseudo-colour", "ResNet-50"), Place(SCALES["smoke"], ran / "data", ran / "runs", ran / "results_of_killed")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(judgement, "_judge_set", killed)
        with pytest.raises(KeyboardInterrupt):
            run_cell(place, cell, lambda _: None)
    assert [path.name for path in place.judged_folder(cell).iterdir()] == ["thresholds.json"]
    assert not place.is_done(cell)
    with monkeypatch.context() as patch:  # what was kept is not worked out again
        patch.setattr(judgement.Thresholds, "chosen_on", killed)
        run_cell(place, cell, lambda _: None)
    assert place.is_done(cell)
    assert not place.judged_folder(cell).exists()
    before = json.loads((ran / "results" / "smoke" / TABLE_2 / "pseudo-colour_resnet-50_seed0.json").read_text())
    after = json.loads(place.result(cell).read_text())
    assert after["results"]["thresholds"] == before["results"]["thresholds"]
    assert after["results"]["sets"]["smoke_20"]["per_item"] == before["results"]["sets"]["smoke_20"]["per_item"]


def test_sets_that_number_their_scans_alike_are_kept_apart(ran, tmp_path):
    """Thresholds are chosen on items of several sets together: scan 3 of one is not scan 3 of the other."""
    from bagscan.benchmark.place import Place, hidden_views, samples_of
    from bagscan.benchmark.scales import ScanSet
    from bagscan.evaluation.items import fused
    from bagscan.training.judging import as_judged

    (tmp_path / "smoke_20").symlink_to(ran / "data" / "smoke_20")
    (tmp_path / "lab_20").symlink_to(ran / "data" / "smoke_20")
    place, nothing = Place(SCALES["smoke"], tmp_path, tmp_path, tmp_path), np.zeros(0)
    pooled = []
    for preset in ("smoke", "lab"):
        one = ScanSet(preset, 20)
        judged = [as_judged(s, nothing, nothing, nothing, nothing) for s in samples_of(place, one, "test", "high")]
        lost = hidden_views(place, one, [])  # of nothing judged, every view of an anomalous scan
        assert {j.scan for j in judged if j.anomalous} <= {view.scan for view in lost}, "what is hidden is of scans of the same names"
        pooled += judged
    assert len(fused(pooled)[0]) == 2 * len(fused(judged)[0])


def test_darkness_stands_beside_segments(ran):
    """Of a blank image every segment is as dark as the next; where the anomaly is darkest, darkness finds it."""
    from bagscan.evaluation.items import darkness_of_segments

    items = [judged_item("a", True, 0.1, segment_darkness=np.array([0.9])), judged_item("b", False, 0.8, segment_darkness=np.array([0.2]))]
    assert darkness_of_segments(items) == 1.0
    assert darkness_of_segments([replace(i, segment_darkness=np.array([0.5])) for i in items]) == 0.5
    assert np.isnan(darkness_of_segments([judged_item("a", True, 0.1), judged_item("b", False, 0.8)]))
    record = json.loads((ran / "results" / "smoke" / "table-2" / "pseudo-colour_resnet-50_seed0.json").read_text())
    (found,) = record["results"]["sets"].values()
    assert 0 <= found["per_segment"]["darkness"] <= 1
    assert 0 <= found["per_scan"]["trivial_baseline"] <= 1


@pytest.mark.parametrize("scale", list(SCALES))
def test_whole_items_are_shown_whole_at_object_level(ran, scale):
    """Of items as long as the longest one of a hundred, in the largest drawing, at the scale's pixels."""
    longest_px = 289 * 2  # of 6,806 training items of deei and lab, with their margin, in pixels of the scan
    augment = model_and_training(Cell(TABLE_1, "high", "ResNet-50"), SCALES[scale])[1].augment
    assert augment.crop_px / np.sqrt(np.prod(augment.scale)) >= longest_px / SCALES[scale].shrink or SCALES[scale].tiny_networks


def judged_item(name: str, anomalous: bool, score: float, **changes) -> Judged:
    about = {"layout": "a", "true_id": name} | changes.pop("about", {})
    return Judged(name, name, "below", anomalous, score, about, np.array([int(anomalous)]), np.array([score]), **changes)


def test_masks_are_compared_on_the_same_devices():
    """A benign device that is missed raises no alarm: that must not look as if found masks were judged better."""
    thresholds = Thresholds(0.5, 0.5, 0.5)
    true = [judged_item("a", True, 0.6), judged_item("b", False, 0.7), judged_item("c", False, 0.2), judged_item("d", True, 0.9)]
    under = [
        judged_item("found", True, 0.6, about={"true_id": "a"}),
        replace(true[1], score=MISSED, found=False),
        judged_item("found", False, 0.2, about={"true_id": "c"}),
        replace(true[3], score=MISSED, found=False),
        judged_item("found", False, 0.8, about={"layout": NO_DEVICE}),
    ]
    told = compare_masks(under, true, thresholds)
    assert told["detected"]["n"] == told["true masks"]["n"] == 2
    assert told["detected"]["auroc"] == told["true masks"]["auroc"] == 1.0
    assert told["missed"] == {"anomalous": {"missed": 1, "of": 2}, "benign": {"missed": 1, "of": 2}}
    assert told["end to end"]["per_item"]["n"] == 5
    assert told["end to end"]["per_item"]["auroc"] == pytest.approx((2 / 3 + 0.5 / 3) / 2)  # the missed anomaly ties with the missed benign one
    assert told["no_device_per_view"] == pytest.approx(1 / 3)


def test_what_a_detector_finds_stands_for_a_device_or_for_none(ran):
    from bagscan.benchmark.detected import TRUE_ID, _in_view, _of_view
    from bagscan.datasets import simulated
    from bagscan.formats.coco import encode_mask
    from bagscan.training.samples import read_view

    records = simulated.load(ran / "data" / "smoke_20", "all", "both", items=True).records
    hosts = [r for r in records if r.annotations]
    for host in hosts[:3]:
        height, width = read_view(host)[0].shape
        mask = _in_view(host.window, host.item.mask, height, width)
        nothing = np.zeros_like(mask)
        nothing[:30, :30] = ~mask[:30, :30]
        ((sample, found),) = _of_view([host], [encode_mask(mask)], 1)
        assert found
        assert sample.record.about[TRUE_ID] == host.id
        assert sample.masks().sum() == host.annotations[0].mask.sum()
        rows = _of_view([host], [encode_mask(nothing)], 1)
        assert [(s.record.about.get(TRUE_ID), s.record.about["layout"] == NO_DEVICE, found) for s, found in rows] == [(None, False, False), (None, True, True)]
    # A device that is no item, since it is neither benign nor shows its anomaly, is left out: what is found of it is not nothing.
    other = replace(host, id=f"{host.id.rpartition('_')[0]}_none", item=replace(host.item, mask=np.zeros_like(host.item.mask)))
    assert [found for _, found in _of_view([other], [encode_mask(mask)], 1)] == [False]


def test_packing_that_was_killed_goes_on_with_its_piece_and_gives_the_same_items(ran, tmp_path, monkeypatch):
    import bagscan.benchmark.store as store

    root = tmp_path / "set"
    shutil.copytree(ran / "data" / "smoke_20", root, ignore=shutil.ignore_patterns("items_*"))
    monkeypatch.setattr(store, "VIEWS_A_PIECE", 3)
    reads, read_view = [], store.read_view

    def killed_at_the_fifth(record):
        reads.append(record.path)
        if len(reads) == 5:
            raise KeyboardInterrupt
        return read_view(record)

    told: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(store, "usable_cores", lambda: 1)
        patch.setattr(store, "read_view", killed_at_the_fifth)
        with pytest.raises(KeyboardInterrupt):
            store.load_items(root, report=told.append)
    assert sorted(p.name for p in (root / "items_1").iterdir()) == ["00000.json", "00000.u16"]
    first = (root / "items_1" / "00000.u16").stat().st_mtime_ns
    items = store.load_items(root, report=told.append)
    assert (root / "items_1" / "00000.u16").stat().st_mtime_ns == first
    assert len(told) == len({line.split()[2] for line in told}) == -(-int(told[0].split()[4]) // 3)
    store.load_items(root, report=told.append)
    assert len(told) == len(list((root / "items_1").glob("*.u16"))), "what is packed is not packed again"
    monkeypatch.setattr(store, "VIEWS_A_PIECE", 100)
    at_once = store.load_items(ran / "data" / "smoke_20")
    assert [s.record.id for s in items] == [s.record.id for s in at_once]
    assert all((a.pixels() == b.pixels()).all() for a, b in zip(items, at_once, strict=True))


def test_finding_that_was_killed_searches_no_view_twice(ran, tmp_path, monkeypatch):
    import bagscan.benchmark.detected as module
    from bagscan.benchmark.place import Place

    place = Place(SCALES["smoke"], ran / "data", ran / "runs", tmp_path)
    views = {view: records[0] for view, records in module._test_views(place, SCALES["smoke"].train_on[0]).items()}
    before, path = module._found(module._found_path(place, SCALES["smoke"].train_on[0])), tmp_path / "found.jsonl"
    assert before.keys() == views.keys()
    searched: list[str] = []

    def sure(_, record):
        if len(searched) == 2:
            raise KeyboardInterrupt
        searched.append(record.id)
        return [record.item.mask]

    monkeypatch.setattr(module, "_sure", sure)
    with pytest.raises(KeyboardInterrupt):
        module._find(None, views, path)
    with path.open("a") as file:
        file.write('{"view": "cut o')
    assert list(module._found(path)) == list(views)[:2]
    searched.clear()
    module._find(None, dict(list(views.items())[2:4]), path)
    assert list(module._found(path)) == list(views)[:4]


def test_halves_of_validation_share_no_scan(ran):
    from bagscan.benchmark.place import samples_of

    place = place_of(ran)
    one, other = halved(samples_of(place, SCALES["smoke"].train_on[0], "train", "high"))
    scans = [{s.record.about["scan"] for s in half} for half in (one, other)]
    assert all(scans)
    assert not scans[0] & scans[1]


def test_levels_are_compared_at_equal_tp(ran):
    records = [read_cells(ran / "results" / "smoke", table) for table in ("table-1", "table-2")]
    told = comparison("smoke", *records)
    assert "| pseudo-colour | ResNet-50 | smoke_20 |" in told
    for cells_of, better in ((0, "object lower"), (1, "parts lower")):
        for record in records[cells_of]:
            record["results"]["sets"]["smoke_20"]["per_item"]["intervals"]["fpr_at_95_tpr"] = [0.0, 0.1]
        for record in records[1 - cells_of]:
            record["results"]["sets"]["smoke_20"]["per_item"]["intervals"]["fpr_at_95_tpr"] = [0.2, 0.3]
        assert better in comparison("smoke", *records)
    assert "No row" in comparison("smoke", [], records[1])


def test_figures_are_drawn_of_what_is_there(ran):
    run = bench(ran, "figures")
    assert run.exit_code == 0, run.output
    drawn = {Path(line).name for line in run.output.splitlines() if line.endswith(".png")}
    assert {"roc_smoke_20.png", "strata_smoke_20.png", "reliability.png", "contours.png", "contours_whole.png"} <= drawn
    assert all((ran / "figures" / name).stat().st_size > 5000 for name in drawn)
    told = json.loads(bench(ran, "figures", "--json").stdout)
    assert {Path(path).name for path in told["figures"]} == drawn


def test_curves_are_those_of_the_records_by_network_level_and_kind_of_image(ran, monkeypatch):
    from bagscan.benchmark import figures

    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: drawn.append(figure))
    tables = {table: read_cells(ran / "results" / "smoke", table)[:1] for table in (TABLE_1, TABLE_2)}
    other = json.loads(json.dumps(tables[TABLE_2][0]))
    other["config"]["cell"] |= {"network": "VGG-16", "data": "effective Z"}
    tables[TABLE_2].append(other)
    figures.roc_and_det(tables, "smoke_20", Path())
    assert [axis.get_title() for axis in drawn[0].axes[:2]] == ["VGG-16", "ResNet-50"]
    vgg, resnet = ([line for line in axis.lines if line.get_color() != "0.75"] for axis in drawn[0].axes[:2])
    (curve,) = [line for line in vgg if line.get_color() == figures.COLOURS["effective Z"]]
    assert list(curve.get_ydata()) == other["results"]["sets"]["smoke_20"]["roc"]["tpr"]
    whole, parts = ([line for line in resnet if line.get_linestyle() == style] for style in ("--", "-"))
    for lines, table in ((whole, TABLE_1), (parts, TABLE_2)):
        assert [list(line.get_xdata()) for line in lines] == [tables[table][0]["results"]["sets"]["smoke_20"]["roc"]["fpr"]]
    figures.strata(tables, "smoke_20", Path())
    for axis, table in ((drawn[1].axes[1], TABLE_2), (drawn[1].axes[3], TABLE_1)):
        found = tables[table][0]["results"]["sets"]["smoke_20"]
        shown = [row["tp"]["percent"] for name, row in found["strata"].items() if name != "50 and above"]
        expected = [*shown, found["per_item"]["fp_percent"]]
        np.testing.assert_equal(axis.containers[0].lines[0].get_ydata(), np.array(expected, float), "TP % of every stratum, however few its items, and the FP % that it costs")
        assert [label.get_text().split()[-2] for label in axis.get_xticklabels()[:4]] == [str(row["tp"]["n"]) for row in list(found["strata"].values())[:4]]
    figures.reliability(tables[TABLE_2], "smoke_20", Path())
    table = tables[TABLE_2][0]["results"]["sets"]["smoke_20"]["reliability"]
    curve = drawn[2].axes[1].lines[1]
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == (table["score"], table["anomalous"])
    assert f"ECE {table['ece']:.2f}" in drawn[2].axes[1].get_title()


def outlines_of(ran: Path, table: str, outline: Callable[[Model, Sample, float], np.ndarray]) -> tuple[Sample, dict[float, np.ndarray]]:
    """One test item as a figure shows it, where every score is above the threshold and where none is."""
    place = place_of(ran)
    model = Model.load(place.run_folder(Cell(table, "pseudo-colour", "ResNet-50")) / "model")
    sample = samples_of(place, SCALES["smoke"].train_on[0], "test", "pseudo-colour")[0]
    return sample, {threshold: outline(model, sample, threshold) for threshold in (-1.0, 2.0)}


def test_contours_are_red_where_a_segment_is_above_the_threshold_and_green_elsewhere(ran):
    from bagscan.benchmark.figures import RED, _outlined_segments

    _, drawn = outlines_of(ran, TABLE_2, _outlined_segments)
    red = {threshold: np.abs(picture - RED).max(-1) < 1e-3 for threshold, picture in drawn.items()}
    assert red[-1.0].any()
    assert not red[2.0].any()
    outlines = drawn[2.0][red[-1.0]]  # the same, where nothing is above the threshold
    assert (outlines[:, 1] - outlines[:, 0]).mean() > 0.2
    assert (drawn[2.0][~red[-1.0]] == drawn[-1.0][~red[-1.0]]).all()


def test_a_whole_item_has_one_outline_in_the_colour_of_its_verdict(ran):
    from bagscan.benchmark.figures import GREEN, MAGNIFIED, RED, _outlined_item

    sample, drawn = outlines_of(ran, TABLE_1, _outlined_item)
    for threshold, colour in ((-1.0, RED), (2.0, GREEN)):
        edge = np.abs(drawn[threshold] - colour).max(-1) < 1e-3
        assert edge.any()
        within = np.repeat(np.repeat(sample.region, MAGNIFIED, 0), MAGNIFIED, 1)
        assert not edge[binary_erosion(within, iterations=3)].any(), "nothing is drawn inside an item"
        assert not edge[~binary_dilation(within, iterations=3)].any()


def test_a_kind_of_image_without_its_model_is_named_and_the_others_are_drawn(ran, tmp_path):
    from bagscan.benchmark.figures import contours

    place, (there,) = place_of(ran), [r for r in read_cells(ran / "results" / "smoke", TABLE_2) if r["config"]["cell"]["data"] == "pseudo-colour"]
    lost = json.loads(json.dumps(there))
    lost["config"]["cell"] |= {"data": "low", "variant": "SLIC"}  # which was never trained
    told: list[str] = []
    assert contours(place, TABLE_2, [there, lost], tmp_path / "drawn.png", told.append) == tmp_path / "drawn.png"
    assert (tmp_path / "drawn.png").stat().st_size > 5000
    assert [line for line in told if line.startswith("no model of table-2, low")]
    assert not [line for line in told if line.startswith("no model of table-2, pseudo-colour")]
    told.clear()
    assert contours(replace(place, runs=tmp_path / "nowhere"), TABLE_2, [there, lost], tmp_path / "none.png", told.append) is None
    assert [line for line in told if "low" in line]
    assert [line for line in told if "pseudo-colour" in line]
    assert contours(place, TABLE_2, [], tmp_path / "none.png", told.append) is None
    assert "no cell of table-2" in told[-1]
    assert not (tmp_path / "none.png").exists()


def test_figures_without_cells_say_what_to_run(tmp_path):
    run = bench(tmp_path, "figures")
    assert "bagscan benchmark table-2" in str(run.output) + str(run.exception)


def test_tables_have_the_rows_of_the_paper_and_more():
    small = SCALES["small"]
    assert len(cells(TABLE_1, small)) == 4 * len(NETWORKS) * 3
    assert len(cells(TABLE_2, small)) == len(DATA) * len(NETWORKS) * 3
    assert [c.seed for c in cells(TABLE_2, small)] == sorted(c.seed for c in cells(TABLE_2, small))
    for table in (TABLE_1, TABLE_2, ABLATION):
        slugs = [c.slug for c in cells(table, small)]
        assert len(set(slugs)) == len(slugs)
    with pytest.raises(ConfigError, match="table-1"):
        cells("table-3", small)
    with pytest.raises(ConfigError, match="did you mean 'small'"):
        scale_named("smal")


SET_BY_ABLATION = {
    "crop": lambda model, _: (model.encoder["name"], "crop"),
    "two-stage": lambda _, training: (training.mode, "separate"),
    "SLIC": lambda model, _: (model.regioner["name"], "slic"),
    "square grid": lambda model, _: (model.regioner["name"], "grid"),
    "context: attention": lambda model, _: (model.encoder["attention_heads"], 4),
    "components: what it is made of": lambda _, training: (training.components, 0.2),
    "without verdict loss": lambda _, training: (training.verdict, 0.0),
    "five times the steps": lambda _, training: (training.loop.steps, 5 * SCALES["smoke"].steps),
    **{f"label threshold {t}": lambda _, training, t=t: (training.positive_from, t) for t in (0.1, 0.3, 0.7, 0.9)},
    **{f"lambda {v}": lambda _, training, v=v: (training.compactness, float(v)) for v in ("1e-5", "1e-3")},
    **{f"mu {v}": lambda _, training, v=v: (training.mu, v) for v in (0.3, 3.0)},
    **{f"K about {k}": lambda model, _, k=k: (model.input.superpixel_side_px, pytest.approx((80_000 / k) ** 0.5)) for k in (25, 50, 100, 200, 400)},
}


@pytest.mark.parametrize("variant", list(ABLATIONS))
def test_every_variant_of_the_ablation_changes_what_it_says(variant):
    scale = SCALES["smoke"]
    plain = model_and_training(Cell(ABLATION, "high + low + Z", "ResNet-50", 0, "joint"), scale)
    model, training = model_and_training(Cell(ABLATION, "high + low + Z", "ResNet-50", 0, variant), scale)
    assert ((model, training) == plain) is (variant == "joint")
    if variant != "joint":
        found, expected = SET_BY_ABLATION[variant](model, training)
        assert found == expected
    Model(model)


def test_every_variant_of_the_ablation_is_trained_and_judged(ran):
    run = bench(ran, "ablation", "--json")
    assert run.exit_code == 0, run.output
    cells = {one["config"]["cell"]["variant"]: one for one in json.loads(run.stdout)["cells"]}
    assert set(cells) == set(ABLATIONS)
    segments = {variant: one["results"]["sets"]["smoke_20"]["per_segment"]["n"] for variant, one in cells.items()}
    counts = [segments[f"K about {k}"] for k in (25, 50, 100, 200, 400)]
    assert counts == sorted(set(counts)), "more superpixels are more segments"
    scores = {variant: one["results"]["sets"]["smoke_20"]["per_item"]["auroc"] for variant, one in cells.items()}
    assert len({(segments[v], scores[v]) for v in ("joint", "crop", "SLIC", "square grid")}) == 4, "each is judged on its own segments, or by its own network"


@pytest.mark.parametrize("scale", ["small", "full"])
def test_counts_of_superpixels_hold_at_the_scale_that_scans_are_shrunk_to(scale):
    """Of an item whose window has 80,000 pixels as it was scanned."""
    for count in (25, 400):
        model, _ = model_and_training(Cell(ABLATION, "high + low + Z", "ResNet-50", 0, f"K about {count}"), SCALES[scale])
        side = round(80_000**0.5 / SCALES[scale].shrink)
        assert model.input.superpixels(side, side) == pytest.approx(count, rel=0.05)


def test_spread_of_seeds():
    assert spread([0.5]) == "0.500"
    assert spread([0.4, 0.6]) == "0.500 ± 0.141"
    assert spread([98.0, None]) == "98.0"
    assert spread([None]) == "-"


def test_scans_are_judged_whole(ran):
    """Of a scan that is chosen, every item and both views are."""
    from bagscan.benchmark.place import samples_of
    from bagscan.training.samples import spread_scans

    place = place_of(ran)
    every = samples_of(place, SCALES["smoke"].train_on[0], "train", "high")
    chosen = spread_scans(every, 3)
    scans = {s.record.about["scan"] for s in chosen}
    assert len(scans) == 3
    assert len(chosen) == sum(s.record.about["scan"] in scans for s in every)
    assert len(spread_scans(every, 0)) == len(every)


def test_other_settings_are_another_cell(ran):
    from dataclasses import replace

    cell = Cell(TABLE_2, "pseudo-colour", "ResNet-50")
    place = place_of(ran)
    other = replace(place, scale=replace(SCALES["smoke"], batch=3))
    assert place.is_done(cell)
    assert not other.is_done(cell)
    assert other.run_folder(cell) != place.run_folder(cell)


def test_shrinking_keeps_means_and_thin_masks():
    from bagscan.benchmark.store import shrunk, shrunk_mask
    from bagscan.core import View

    pixels = np.arange(30, dtype=np.float32).reshape(1, 5, 6) / 30
    counts, unit = shrunk(View(pixels, ("high",), "transmission"), (0, 0, 6, 4), 2)
    assert counts.shape == (1, 2, 3)
    assert counts[0, 0, 0] * unit[0] == pytest.approx(pixels[0, :2, :2].mean(), abs=1e-4)
    mask = np.zeros((5, 6), bool)
    mask[4, 5] = True
    assert shrunk_mask(mask, 2).tolist() == [[False] * 3, [False] * 3, [False, False, True]]


def test_colours_in_a_stack_are_no_transmissions():
    import torch

    model, _ = model_and_training(Cell(TABLE_2, "pseudo-colour + high + low + Z", "ResNet-50"), SCALES["smoke"])
    colour, _ = model_and_training(Cell(TABLE_2, "pseudo-colour", "ResNet-50"), SCALES["smoke"])
    pixels = torch.rand(1, 6, 4, 4)
    assert torch.allclose(Model(model).normalise(pixels)[:, 3:], Model(colour).normalise(pixels[:, 3:]))


def test_a_set_of_the_right_name_and_another_recipe_is_refused(tmp_path):
    """Simulated by hand with another seed: its test scans may be what was trained on elsewhere."""
    for count in (20, 60):
        keep_recipe(replace(load_recipe("smoke", count), seed=9), tmp_path / "data" / f"smoke_{count}", None, print)
    run = bench(tmp_path, "table-1")
    assert isinstance(run.exception, DataError)
    assert "smoke_20 holds a data set of another recipe (seed was 9, now " in str(run.exception)
    run = bench(tmp_path, "gbad")  # each of whose cells fails by itself
    assert run.exit_code == 3
    assert "smoke_60 holds a data set of another recipe (seed was 9, now " in run.output


@pytest.mark.parametrize(
    ("network", "from_scratch", "published"), [("VGG-16", "vgg16_bn", "vgg16"), ("SqueezeNet", "squeezenet1_1_bn", "squeezenet1_1"), ("ResNet-50", "resnet50", "resnet50")]
)
@pytest.mark.parametrize("table", [TABLE_1, TABLE_2])
def test_networks_without_normalisation_get_it_where_they_start_from_nothing(table, network, from_scratch, published):
    cell = Cell(table, "high", network)
    for scale, expected in ((SCALES["small"], from_scratch), (replace(SCALES["small"], pretrained=True), published)):
        encoder = model_and_training(cell, scale)[0].encoder
        assert (encoder["backbone"], encoder["pretrained"]) == (expected, scale.pretrained)
