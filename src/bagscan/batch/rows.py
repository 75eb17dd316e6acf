"""Rows of an archive in Parquet: flat columns for filters, nested columns for details."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bagscan.core.errors import DataError
from bagscan.core.files import atomic_write

FINDING = pa.struct(
    [
        ("view_id", pa.string()),
        ("label", pa.string()),
        ("score", pa.float64()),
        ("expected_false_positive_rate", pa.float64()),
        ("box_xyxy", pa.list_(pa.float64())),
        ("mask_size", pa.list_(pa.int32())),
        ("mask_counts", pa.string()),  # COCO's compressed run lengths
    ]
)
VIEW = pa.struct(
    [
        ("view_id", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("n_regions", pa.int32()),
        ("path", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        ("number", pa.int64()),  # position of the bag in the index
        ("bag", pa.string()),
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("decision", pa.string()),
        ("n_regions", pa.int32()),
        ("n_findings", pa.int32()),
        ("top_score", pa.float64()),
        ("model_id", pa.string()),
        ("threshold", pa.float64()),
        ("error", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("reason_codes", pa.list_(pa.string())),
        ("notes", pa.list_(pa.string())),
        ("views", pa.list_(VIEW)),
        ("findings", pa.list_(FINDING)),
    ]
)


def flat_row(number: int, bag: str, row: dict[str, Any], top_score: float | None) -> dict[str, Any]:
    """Convert a row of ``findings.json`` to a row of the table.

    Entries that differ between runs, such as timings, are left out.

    Args:
        number: position of the bag in the index.
        bag: name of the bag.
        row: the row of ``findings.json``.
        top_score: highest score of the bag; None if nothing was scored.
    """
    views = [
        {
            "view_id": name,
            **{key: view.get(key) for key in ("height", "width", "n_regions")},
            "path": view.get("path", row["path"]),
        }
        for name, view in row["views"].items()
    ]
    findings = [
        {
            key: found[key]
            for key in ("view_id", "label", "score", "expected_false_positive_rate", "box_xyxy")
        }
        | {"mask_size": found["mask"]["size"], "mask_counts": found["mask"]["counts"]}
        for found in row["findings"]
    ]
    flat = {
        key: row.get(key)
        for key in (
            "path",
            "sha256",
            "decision",
            "n_regions",
            "model_id",
            "threshold",
            "error",
            "reasons",
            "reason_codes",
            "notes",
        )
    }
    flat |= {
        "number": number,
        "bag": bag,
        "n_findings": len(findings),
        "top_score": top_score,
        "views": views,
        "findings": findings,
    }
    encoded: dict[str, Any] = escape_surrogates(flat)
    return encoded


def escape_surrogates(value: Any) -> Any:
    """Return a row in which surrogates in strings are escaped, since Arrow requires UTF-8.

    Args:
        value: a string, or nested dictionaries, lists and tuples of strings; other values are
            returned as they are, tuples as lists.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {escape_surrogates(key): escape_surrogates(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [escape_surrogates(entry) for entry in value]
    return value


def write_part(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write a part atomically, sorted by number; the same rows give the same bytes."""
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: row["number"]), SCHEMA)
    # An open file, because Arrow takes a path with a colon for a URL.
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())


def tally(out: Path) -> dict[str, Any]:
    """Count bags over all finished parts.

    Returns:
        Number of bags by decision, and ``errors``.

    Raises:
        DataError: a part cannot be read.
    """
    counts: dict[str, int] = {"ALARM": 0, "CLEAR": 0, "REVIEW": 0, "errors": 0}
    for path in sorted(out.glob("part-*.parquet")):
        try:
            # An open file, because Arrow takes a path with a colon for a URL.
            with path.open("rb") as file:
                columns = pq.read_table(file, columns=["decision", "error"])
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{path} is damaged ({error}); delete it and run the same command again"
            ) from error
        for entry in pc.value_counts(columns["decision"]).to_pylist():
            counts[entry["values"]] += entry["counts"]
        counts["errors"] += len(columns) - columns["error"].null_count
    return counts
