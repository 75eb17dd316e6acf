"""Runs and what they leave: a table is a list of runs, and every run leaves one record, a line of ``results/TABLE.jsonl``.

    runs = grid("speed", contender=["torch", "openvino"], images=["raw", "colour"])
    for run in remaining(runs):
        keep(run, measured(run.settings))

A run is known by its settings: one that has a record is not made again, so that a table goes on where a kill ended it.
A record made again takes the place of the one before.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bagscan.core.errors import DataError
from bagscan.core.files import atomic_write_text
from bagscan.evaluation.results import check_record, make_record

RESULTS = Path(__file__).parent / "results"
NOTHING: Mapping[str, Any] = {"name": "-", "hash": "-", "counts": {}}


@dataclass(frozen=True)
class Run:
    """Attributes: table: whose row it is. settings: plain values that tell it from the table's other runs."""

    table: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people."""
        return ", ".join(map(str, self.settings.values()))


def grid(table: str, **axes: Iterable[Any]) -> list[Run]:
    """Every combination of settings, the last changing first."""
    return [
        Run(table, dict(zip(axes, values, strict=True)))
        for values in itertools.product(*axes.values())
    ]


def read_table(table: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The records of a table, in the order that they were made in.

    Raises:
        DataError: a line that is no record; it is named.
    """
    path = folder / f"{table}.jsonl"
    records = []
    for number, line in enumerate(path.read_text().splitlines() if path.is_file() else [], 1):
        try:
            record = json.loads(line)
            check_record(record)
        except (ValueError, DataError) as error:
            raise DataError(
                f"{path}:{number}: no result record ({error}); delete the line to have it made anew"
            ) from error
        records.append(record)
    return records


def remaining(runs: Iterable[Run], again: bool = False, folder: Path = RESULTS) -> list[Run]:
    """Those that have no record yet; all, where they are to be made ``again``."""
    wanted = list(runs)
    there = {
        table: [record["config"] for record in read_table(table, folder)]
        for table in {run.table for run in wanted}
    }
    return [run for run in wanted if again or dict(run.settings) not in there[run.table]]


def keep(
    run: Run,
    results: Mapping[str, Any],
    *,
    data: Mapping[str, Any] = NOTHING,
    seeds: Iterable[int] = (0,),
    notes: Iterable[str] = (),
    folder: Path = RESULTS,
) -> dict[str, Any]:
    """Store what a run has found, in place of what it found before; returns the record.

    Args:
        results: figures by name. data: what was measured on: name, hash and counts.
    """
    record = make_record(
        run.table,
        dict(results),
        data=dict(data),
        config=dict(run.settings),
        seeds=list(seeds),
        notes=list(notes),
    )
    others = [
        other for other in read_table(run.table, folder) if other["config"] != record["config"]
    ]
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(
        folder / f"{run.table}.jsonl",
        "".join(json.dumps(r, allow_nan=False) + "\n" for r in [*others, record]),
    )
    print(run.table, "|", run.name, "|", json.dumps(record["results"]), flush=True)
    return record
