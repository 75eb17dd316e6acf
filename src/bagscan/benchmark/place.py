"""Where a benchmark reads and writes, and the items that its cells are trained and judged on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bagscan.benchmark.cells import DATA, Cell, model_and_training, quantity_of_row
from bagscan.benchmark.scales import Scale, ScanSet
from bagscan.benchmark.store import load_items
from bagscan.evaluation.items import Hidden, Judged
from bagscan.evaluation.results import read_record
from bagscan.simulate.summary import read_scans
from bagscan.training.samples import Sample, spread

# Fields of a scale that weights depend on beside a cell's own settings, and those that only its judgement does.
TRAINED_ON = ("train_on", "shrink", "validation_scans")
JUDGED_ON = ("also_test", "test_scans", "detected_scans", "detector_steps")
JUDGEMENT = 5  # raised where the code judges something else


@dataclass(frozen=True)
class Place:
    """Where a benchmark reads and writes.

    Attributes:
        scale: of every cell. data: folder of simulated sets. runs: of checkpoints and models. results: of one JSON a cell.
        threads: of torch, a cell.
    """

    scale: Scale
    data: Path
    runs: Path
    results: Path
    threads: int = 1

    def run_folder(self, cell: Cell) -> Path:
        """Of other settings of training there is another folder: no run goes on from a checkpoint of other settings."""
        return self.runs / self.scale.name / cell.table / f"{cell.slug}_{training_hash(cell, self.scale)[:8]}"

    def judged_folder(self, cell: Cell) -> Path:
        """Of what is judged so far of a cell whose record is not there yet."""
        return self.run_folder(cell) / f"judged_{settings_hash(cell, self.scale)[:8]}"

    def result(self, cell: Cell) -> Path:
        return self.results / self.scale.name / cell.table / f"{cell.slug}.json"

    def is_done(self, cell: Cell) -> bool:
        """Whether the result is there, of these very settings."""
        return is_result_of(self.result(cell), settings_hash(cell, self.scale))


def is_result_of(path: Path, settings: str) -> bool:
    """Whether a result record is there, of settings with this hash."""
    return path.exists() and read_record(path)["config"].get("settings") == settings


def training_hash(cell: Cell, scale: Scale) -> str:
    """Of all that a cell's weights depend on but the code."""
    model, training = model_and_training(cell, scale)
    return _hash(cell, model, training, *(getattr(scale, name) for name in TRAINED_ON))


def settings_hash(cell: Cell, scale: Scale) -> str:
    """Of all that a cell's result depends on but the code: where only what is judged changes, the weights are judged anew."""
    return _hash(training_hash(cell, scale), judgement_hash(scale))


def judgement_hash(scale: Scale) -> str:
    """Of all that a judgement depends on beside the weights: what was judged otherwise is not to be averaged with it."""
    return _hash(JUDGEMENT, *(getattr(scale, name) for name in JUDGED_ON))


def _hash(*told: Any) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=dataclasses.asdict).encode()).hexdigest()


@lru_cache(maxsize=8)  # more than a scale has sets
def _items(root: Path, shrink: int) -> tuple[Sample, ...]:
    return tuple(load_items(root, shrink, lambda _: None))


def samples_of(place: Place, one: ScanSet, part: str, data: str) -> list[Sample]:
    """Items of one part of a set, with the channels of a row. Ids begin with the set's name, since sets number their scans alike."""
    own = (s for s in _items(place.data / one.name, place.scale.shrink) if s.record.part == part)
    named = (dataclasses.replace(s, record=dataclasses.replace(s.record, id=f"{one.name}:{s.record.id}")) for s in own)
    return [s.select(DATA[data], quantity_of_row(data)) for s in named]


def trainable(samples: Sequence[Sample]) -> list[Sample]:
    """Without anomalies below the noise, which teach nothing."""
    return [s for s in samples if s.record.about.get("stratum") != "below 5"]


@lru_cache(maxsize=8)
def _scans(root: Path, part: str) -> tuple[dict[str, Any], ...]:
    return tuple(scan for scan in read_scans(root) if scan["part"] == part)


def judged_scans(place: Place, one: ScanSet, most: int = 0) -> list[dict[str, Any]]:
    """What the simulator wrote of the test scans of a set that a scale judges, evenly through all, whatever they show.

    Args:
        most: evenly through these; 0 for all of them.
    """
    chosen = spread(_scans(place.data / one.name, "test"), place.scale.test_scans or one.count)
    return spread(chosen, most or len(chosen))


def test_items(place: Place, one: ScanSet, data: str) -> list[Sample]:
    """Items of the test scans of a set that a scale judges."""
    chosen = {scan["id"] for scan in judged_scans(place, one)}
    return [s for s in samples_of(place, one, "test", data) if s.record.about["scan"] in chosen]


def hidden_views(place: Place, one: ScanSet, judged: Sequence[Judged], most: int = 0) -> list[Hidden]:
    """Views of test scans whose anomaly none of the judged items shows; ``most`` as of :func:`judged_scans`."""
    shown = {(item.scan, item.view) for item in judged if item.anomalous}
    scans = [scan for scan in judged_scans(place, one, most) if "anomaly" in scan]
    every = [Hidden(f"{one.name}:{scan['id']}", view, seen["stratum"]) for scan in scans for view, seen in scan["views"].items()]
    return [lost for lost in every if (lost.scan, lost.view) not in shown]
