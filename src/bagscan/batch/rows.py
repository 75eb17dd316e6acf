"""Rows of an archive's findings, as Parquet holds them: flat where people filter, nested where they look."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
        ("number", pa.int64()),  # of the bag within the index
        ("bag", pa.string()),
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("decision", pa.string()),
        ("n_regions", pa.int32()),  # examined
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
    """A row of ``findings.json`` as a row of the table; what differs from run to run, such as seconds, stays out."""
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
    result = {
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
    flat: dict[str, Any] = utf_8_all(
        {
            "number": number,
            "bag": bag,
            **result,
            "n_findings": len(findings),
            "top_score": top_score,
            "views": views,
            "findings": findings,
        }
    )
    return flat


def utf_8_all(value: Any) -> Any:
    """A row with every text in it as UTF-8, which Arrow demands: a name that is none must not cost a part."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {utf_8_all(key): utf_8_all(one) for key, one in value.items()}
    return [utf_8_all(one) for one in value] if isinstance(value, list | tuple) else value


def write_part(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write a part whole, or not at all; the same rows give the same bytes."""
    with (
        atomic_write(path) as temporary,
        temporary.open("wb") as file,
    ):  # of a path, Arrow would take one with a colon for an address
        pq.write_table(
            pa.Table.from_pylist(sorted(rows, key=lambda row: row["number"]), SCHEMA),
            file,
            compression="zstd",
        )
        file.flush()
        os.fsync(file.fileno())
