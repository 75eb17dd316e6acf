"""Run the cells of a table: each trains, is judged and leaves one JSON; what is there already is not run again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from bagscan.benchmark.cells import Cell, model_and_training
from bagscan.benchmark.detected import run_detector
from bagscan.benchmark.judgement import judge_cell
from bagscan.benchmark.place import Place, judgement_hash, samples_of, settings_hash, trainable
from bagscan.benchmark.scales import ScanSet
from bagscan.benchmark.store import load_items
from bagscan.core.files import write_whole
from bagscan.evaluation.results import make_record, write_record
from bagscan.formats.scans import RECIPE
from bagscan.model import Model
from bagscan.simulate.dataset import Recipe, keep_recipe, load_recipe, simulate
from bagscan.training.compute import compute, has_bfloat16
from bagscan.training.joint import JointTask
from bagscan.training.loop import run, trained_s
from bagscan.training.samples import halved, spread_scans

Report = Callable[[str], None]
TRACE = "failed.txt"


def make_sets(place: Place, workers: int, report: Report = print) -> None:
    """Simulate what is not there yet of the sets of a scale; resumed after a kill.

    Raises:
        DataError: a set of that name is there, of another recipe.
    """
    for one in place.scale.sets:
        make_set(place, one, workers, report)


def make_set(place: Place, one: ScanSet, workers: int, report: Report = print) -> None:
    """The same of one set of paper A's."""
    recipe = load_recipe(one.preset, one.count, profile=one.profile)
    if one in place.scale.also_test:  # of every profile the same bags, none of them trained on
        recipe = replace(recipe, parts={"test": 1}, seed=recipe.seed + 1000)
    complete(recipe, place.data / one.name, workers, report)


def complete(recipe: Recipe, root: Path, workers: int, report: Report = print) -> None:
    """Simulate what is not there yet of a set; of one that is whole its recipe alone is looked at.

    Raises:
        DataError: as :func:`make_sets`.
    """
    keep_recipe(recipe, root, None, report)
    if len(list((root / "scans").glob("*.json"))) < recipe.count:
        report(f"simulating {root.name}")
        simulate(recipe, root, workers, report=report)


def run_cells(place: Place, cells: Sequence[Cell], workers: int = 1, report: Report = print, simulating: int = 0) -> int:
    """Run what is missing of a list of cells; returns how many failed.

    An error in one cell is reported, and the others go on. Where the system kills a worker, for want of memory for example, all
    stop: the same line goes on at their checkpoints.

    Args:
        report: of several workers a function of a module, which they find by its name. workers: cells at a time. simulating: processes that simulate sets; 0 for as many.
    """
    make_sets(place, simulating or workers, report)
    for one in place.scale.sets:
        load_items(place.data / one.name, place.scale.shrink, report)  # packed once, before several processes would
    if place.scale.detected_scans:
        run_detector(replace(place, threads=place.threads * workers), report)
    todo = [cell for cell in cells if not place.is_done(cell)]
    report(f"{len(cells) - len(todo)} of {len(cells)} cells of scale {place.scale.name} are there")
    if workers <= 1:
        for cell in todo:
            report(_guarded(place, cell, report))
    elif todo:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            running = [pool.submit(_guarded, place, cell, report) for cell in todo]
            try:
                for done in as_completed(running):
                    report(done.result())
            except BrokenProcessPool:
                report("a worker died, perhaps for want of memory (--workers 1 takes less): the same line goes on where they all were")
    return sum(not place.is_done(cell) for cell in cells)


def _guarded(place: Place, cell: Cell, report: Report = print) -> str:
    try:
        seconds = run_cell(place, cell, report)
    except Exception as error:  # one cell must not take the table with it
        return f"{cell.table} {cell.slug} failed: {type(error).__name__}: {error}{_trace_kept(place.run_folder(cell))}"
    (place.run_folder(cell) / TRACE).unlink(missing_ok=True)  # of a try before, which would tell of what is mended
    return f"{cell.table} {cell.slug}: {seconds / 60:.1f} min"


def _trace_kept(folder: Path) -> str:
    """Where the trace of the error at hand lies, for whoever mends it; nothing where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / TRACE, traceback.format_exc())
    except OSError:
        return ""
    return f" (trace: {folder / TRACE})"


def run_cell(place: Place, cell: Cell, report: Report = print) -> float:
    """Train and judge one cell; resumed from its last checkpoint, or the last set that was judged. Returns seconds."""
    started, scale, folder = time.monotonic(), place.scale, place.run_folder(cell)
    torch.set_num_threads(place.threads)
    torch.manual_seed(cell.seed)
    tell = lambda text: report(f"[{cell.slug}] {text}")  # noqa: E731
    model_config, training = model_and_training(cell, scale)
    model = Model(model_config)
    train = trainable([s for one in scale.train_on for s in samples_of(place, one, "train", cell.data)])
    # The best step and the thresholds are chosen on different scans: on the same, thresholds would look too good.
    halves = [halved(spread_scans(samples_of(place, one, "val", cell.data), scale.validation_scans)) for one in scale.train_on]
    val, chosen_on = ([s for pair in halves for s in pair[k]] for k in (0, 1))
    tell(f"{len(train)} training items, {len(val)} to choose the best step by, {len(chosen_on)} for thresholds")

    def keep(scores: dict[str, float]) -> None:
        model.about = {"scale": scale.name, "sets": ", ".join(one.name for one in scale.train_on), "validation": {k: round(v, 4) for k, v in scores.items()}}
        model.save(folder / "model")

    best = run(JointTask(model, train, val, training), training.loop, folder, keep, tell)
    model = Model.load(folder / "model").to(compute().device)
    trained = trained_s(folder)
    seen = sorted({s.record.about["layout"] for s in train})
    results: dict[str, Any] = {"validation": best} | judge_cell(place, cell, model, chosen_on, seen, training.bf16, tell)
    results["seconds"] = {"training": trained, "all": trained + results.pop("judging_s")}
    results["precision"] = "bfloat16" if training.bf16 and has_bfloat16(compute().device) else "float32"
    results["parameters"] = sum(p.numel() for p in model.parameters())
    record = make_record(
        f"{cell.table}-{cell.slug}-{scale.name}",
        results,
        data={"name": "+".join(one.name for one in scale.train_on), "hash": _hash(place), "counts": {"train": len(train), "val": len(val)}},
        config={
            "cell": dataclasses.asdict(cell),
            "scale": scale.name,
            "settings": settings_hash(cell, scale),
            "judgement": judgement_hash(scale),
            "model": dataclasses.asdict(model.config),
            "training": dataclasses.asdict(training),
        },
        seeds=[cell.seed],
    )
    write_record(place.result(cell), record)
    shutil.rmtree(place.judged_folder(cell), ignore_errors=True)  # the record holds it all
    return time.monotonic() - started


def _hash(place: Place) -> str:
    """Of the recipes of the training sets: the same recipe gives the same scans."""
    recipes = [json.loads((place.data / one.name / RECIPE).read_text()) for one in place.scale.train_on]
    return hashlib.sha256(json.dumps(recipes, sort_keys=True).encode()).hexdigest()
