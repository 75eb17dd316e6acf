"""Result records: the configuration and the results of a run, as JSON with a schema."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jsonschema

from bagscan import __version__
from bagscan.core.errors import DataError
from bagscan.core.files import atomic_write_text

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": [
        "name",
        "created",
        "code_version",
        "commit",
        "machine",
        "seeds",
        "data",
        "config",
        "results",
    ],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "created": {"type": "string"},
        "code_version": {"type": "string"},
        "commit": {"type": "string"},
        "machine": {"type": "object", "required": ["processor", "cores", "python"]},
        "seeds": {"type": "array", "items": {"type": "integer"}},
        "data": {
            "type": "object",
            "required": ["name", "hash", "counts"],
            "properties": {
                "name": {"type": "string"},
                "hash": {"type": "string"},
                "counts": {"type": "object"},
            },
        },
        "config": {"type": "object"},
        "results": {"type": "object", "minProperties": 1},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
}


def _processor() -> str:
    """Return the model of the processor on Linux, else the architecture."""
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.is_file() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def make_record(
    name: str,
    results: dict[str, Any],
    *,
    data: dict[str, Any],
    config: dict[str, Any],
    seeds: list[int],
    notes: list[str] | None = None,
) -> dict[str, Any]:
    """Return the record of a run. NaN and infinity become None, since JSON has neither.

    Args:
        name: name of the experiment.
        results: results by name; not empty.
        data: ``name``, ``hash`` and ``counts`` of the dataset.
        config: configuration of the run.
        seeds: random seeds.
        notes: remarks.

    Raises:
        DataError: the record does not match the schema.
    """
    record = {
        "name": name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "code_version": __version__,
        "commit": _commit(),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count() or 1,
            "python": platform.python_version(),
        },
        "seeds": seeds,
        "data": data,
        "config": config,
        "results": results,
        "notes": notes or [],
    }
    clean: dict[str, Any] = _without_nan(record)
    check_record(clean)
    return clean


def check_record(record: Any) -> None:
    """Check a record against the schema.

    Raises:
        DataError: the record does not match; the message names the place.
    """
    try:
        jsonschema.validate(record, SCHEMA)
    except jsonschema.ValidationError as error:
        place = "/".join(map(str, error.path)) or "top level"
        raise DataError(f"invalid result record: {place}: {error.message}") from error


def write_record(path: str | Path, record: dict[str, Any]) -> None:
    """Check and write a record.

    Raises:
        DataError: the record does not match the schema.
    """
    check_record(record)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(Path(path), json.dumps(record, indent=1, allow_nan=False) + "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _commit() -> str:
    try:
        process = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return process.stdout.strip()
