"""Decided scans as a data set that ``bagscan train`` reads: images and one COCO file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from bagscan.core.errors import DataError
from bagscan.formats.coco import coco_categories, coco_entry
from bagscan.service.store.files import Files
from bagscan.service.store.tables import decisions, results, reviews, scans


def export_decided(
    connection: Connection, files: Files, out: Path, report: Callable[[str], None] = print
) -> dict[str, Any]:
    """Write every closed scan whose images are kept: ``images/``, ``annotations.json``, ``decisions.json``.

    A suspect scan's confirmed parts become annotations with their masks, and boxes that readers drew become annotations without
    (all flagged parts where the readers named and drew none); a cleared one has none, so that it is negative. Left out are test images, scans for recheck, and views of
    suspect ones in which no part is confirmed: they would pass for negatives.

    Raises:
        DataError: nothing is decided yet, or the folder is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: not empty; give a new folder")
    found = (
        select(scans, results.c.row, reviews.c.outcome)
        .join(results, results.c.scan_id == scans.c.id)
        .join(reviews, reviews.c.scan_id == scans.c.id)
    )
    found = found.where(
        reviews.c.state == "closed",
        reviews.c.outcome.in_(("clear", "suspect")),
        scans.c.tip.is_(None),
        scans.c.purged_at.is_(None),
    ).order_by(scans.c.received_at)
    rows = connection.execute(found).mappings().all()
    if not rows:
        raise DataError("nothing is decided yet that is kept: no data set to write")
    confirmed = _confirmed(connection)
    (out / "images").mkdir(parents=True)
    number, categories = coco_categories(["anomaly"])
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    result: list[dict[str, Any]] = []
    for row in rows:
        parts, drawn = confirmed.get(row["id"], (set(), []))
        if row["outcome"] == "suspect" and not (row["row"]["findings"] or drawn):
            report(
                f"{row['source_id']}: suspect, but no part of it was flagged or marked: left out"
            )
            continue
        names = _write_files(files, row, out / "images")
        result.append(
            {
                "scan_id": row["id"],
                "source_id": row["source_id"],
                "outcome": row["outcome"],
                "files": list(names.values()),
            }
        )
        for view_id, view in row["row"]["views"].items():
            image = _file_of(row, view, names)
            suspect, named = row["outcome"] == "suspect", bool(parts or drawn)
            held = [
                (f["box_xyxy"], f["mask"])
                for i, f in enumerate(row["row"]["findings"])
                if suspect and f["view_id"] == view_id and (not named or i in parts)
            ]
            held += [
                (one["box_xyxy"], None) for one in drawn if suspect and one["view_id"] == view_id
            ]
            if suspect and not held:
                continue  # the threat may be in this view too, unmarked
            images.append(
                {
                    "id": len(images) + 1,
                    "file_name": image,
                    "view_id": view_id,
                    "scan_id": row["id"],
                    "height": view["height"],
                    "width": view["width"],
                }
            )
            for box, mask in held:
                annotations.append(
                    coco_entry(len(annotations) + 1, len(images), number["anomaly"], box, mask)
                )
    (out / "annotations.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    (out / "decisions.json").write_text(json.dumps(result, indent=1))
    report(
        f"{len(result)} decided scans, {len(images)} views, {len(annotations)} confirmed parts in {out}"
    )
    return {
        "scans": len(result),
        "images": len(images),
        "annotations": len(annotations),
        "out": str(out),
    }


def _confirmed(connection: Connection) -> dict[str, tuple[set[int], list[dict[str, Any]]]]:
    """Numbers of the findings that readers confirmed, and boxes that they drew, by scan."""
    result: dict[str, tuple[set[int], list[dict[str, Any]]]] = {}
    columns = (decisions.c.scan_id, decisions.c.parts, decisions.c.drawn)
    for row in connection.execute(
        select(*columns).where(decisions.c.undone_at.is_(None), decisions.c.value == "suspect")
    ):
        parts, drawn = result.setdefault(row.scan_id, (set(), []))
        parts.update(row.parts)
        drawn += [one for one in row.drawn or [] if one not in drawn]
    return result


def _write_files(files: Files, row: Any, folder: Path) -> dict[str, str]:
    """A scan's files under names of their own: two scanners may both call a bag 1."""
    names = {}
    for file in row["files"]:
        name = f"{row['id'][:8]}_{file['name'].replace(' ', '_')}"
        (folder / name).write_bytes(files.get(file["sha256"]))
        names[file["name"]] = name
    return names


def _file_of(row: Any, view: dict[str, Any], names: dict[str, str]) -> str:
    """The file of a view; of a PNG set its first one, from which the others are found."""
    path = view.get("path") or row["row"]["path"]
    return names.get(Path(path).name) or next(iter(names.values()))
