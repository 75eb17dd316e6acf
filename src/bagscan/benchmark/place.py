"""Where a benchmark reads and writes, and the items that its cells are trained and judged on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bagscan.benchmark.cells import DATA, Cell, model_and_training, quantity_of_row
from bagscan.benchmark.scales import Scale, ScanSet
from bagscan.benchmark.store import load_items
from bagscan.training.samples import Sample, spread_scans


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
        """Of other settings there is another folder: no run goes on from a checkpoint of other settings."""
        return self.runs / self.scale.name / cell.table / f"{cell.slug}_{settings_hash(cell, self.scale)[:8]}"

    def result(self, cell: Cell) -> Path:
        return self.results / self.scale.name / cell.table / f"{cell.slug}.json"

    def is_done(self, cell: Cell) -> bool:
        """Whether the result is there, of these very settings."""
        return is_result_of(self.result(cell), settings_hash(cell, self.scale))


def is_result_of(path: Path, settings: str) -> bool:
    """Whether a result record is there, of settings with this hash."""
    return path.exists() and json.loads(path.read_text())["config"].get("settings") == settings


def settings_hash(cell: Cell, scale: Scale) -> str:
    """Of all that a cell's result depends on but the code."""
    model, training = model_and_training(cell, scale)
    told = {"cell": dataclasses.asdict(cell), "scale": dataclasses.asdict(scale), "model": dataclasses.asdict(model), "training": dataclasses.asdict(training)}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=4)
def _items(root: Path, shrink: int) -> tuple[Sample, ...]:
    return tuple(load_items(root, shrink, lambda _: None))


def samples_of(place: Place, one: ScanSet, part: str, data: str) -> list[Sample]:
    """Items of one part of a set, with the channels of a row."""
    return [s.select(DATA[data], quantity_of_row(data)) for s in _items(place.data / one.name, place.scale.shrink) if s.record.part == part]


def trainable(samples: Sequence[Sample]) -> list[Sample]:
    """Without anomalies below the noise, which teach nothing."""
    return [s for s in samples if s.record.about.get("stratum") != "below 5"]


def test_items(place: Place, one: ScanSet, data: str) -> list[Sample]:
    """Items of the test scans of a set that a scale judges."""
    return spread_scans(samples_of(place, one, "test", data), place.scale.test_scans)
