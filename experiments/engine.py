"""Runs of experiments and their records.

A table is a list of runs. Every run has one record, a line of ``results/TABLE.jsonl``::

    runs = grid("speed", contender=["torch", "openvino"], images=["raw", "colour"])
    for run in remaining(runs):
        keep(run, measure(run.settings))

The settings identify a run. Runs with a record are skipped, so an interrupted table can be resumed.
A repeated run replaces its record.
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
    """One row of a table.

    Attributes:
        table: name of the table.
        settings: plain values that identify the run within its table.
    """

    table: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Values of the settings, for messages."""
        return ", ".join(map(str, self.settings.values()))


def grid(table: str, **axes: Iterable[Any]) -> list[Run]:
    """Return a run for every combination of settings; the last setting varies fastest."""
    return [
        Run(table, dict(zip(axes, values, strict=True)))
        for values in itertools.product(*axes.values())
    ]


def read_table(table: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Load the records of a table, in file order.

    Raises:
        DataError: a line is not a record.
    """
    path = folder / f"{table}.jsonl"
    records = []
    for number, line in enumerate(path.read_text().splitlines() if path.is_file() else [], 1):
        try:
            record = json.loads(line)
            check_record(record)
        except (ValueError, DataError) as error:
            raise DataError(
                f"{path}:{number}: not a result record ({error}); "
                "delete the line and run the experiment again"
            ) from error
        records.append(record)
    return records


def remaining(runs: Iterable[Run], again: bool = False, folder: Path = RESULTS) -> list[Run]:
    """Return the runs without a record, or all runs if ``again``."""
    runs = list(runs)
    recorded = {
        table: [record["config"] for record in read_table(table, folder)]
        for table in {run.table for run in runs}
    }
    return [run for run in runs if again or dict(run.settings) not in recorded[run.table]]


def keep(
    run: Run,
    results: Mapping[str, Any],
    *,
    data: Mapping[str, Any] = NOTHING,
    seeds: Iterable[int] = (0,),
    notes: Iterable[str] = (),
    folder: Path = RESULTS,
) -> dict[str, Any]:
    """Store the results of a run, replacing its earlier record.

    Args:
        run: the run.
        results: values by name.
        data: data of the measurement: name, hash and counts.
        seeds: random seeds.
        notes: remarks for readers of the record.
        folder: directory of the tables.

    Returns:
        The record.
    """
    record = make_record(
        run.table,
        dict(results),
        data=dict(data),
        config=dict(run.settings),
        seeds=list(seeds),
        notes=list(notes),
    )
    others = [r for r in read_table(run.table, folder) if r["config"] != record["config"]]
    lines = [json.dumps(r, allow_nan=False) + "\n" for r in [*others, record]]
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(folder / f"{run.table}.jsonl", "".join(lines))
    print(run.table, "|", run.name, "|", json.dumps(record["results"]), flush=True)
    return record
