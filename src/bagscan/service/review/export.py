"""Export of decided scans as a dataset for ``bagscan train``: images and a COCO file."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from bagscan.core.errors import DataError
from bagscan.formats.coco import coco_categories, coco_entry
from bagscan.service.store.files import Files
from bagscan.service.store.tables import decisions, results, reviews, scans

log = logging.getLogger(__name__)

Confirmed = tuple[set[int], list[dict[str, Any]]]  # numbers of findings, boxes of readers


def export_decided(connection: Connection, files: Files, out: Path) -> dict[str, Any]:
    """Write the closed scans with stored images to a dataset.

    It consists of ``images/``, ``annotations.json`` and ``decisions.json``.

    The annotations of a suspect scan are its confirmed findings with their masks, and the readers'
    boxes without masks; if there are neither, all its findings. A cleared scan has no annotations
    and is a negative.

    Test images and scans for recheck are left out. So are views of suspect scans without an
    annotation, because they would pass for negatives.

    Args:
        out: new or empty directory.

    Returns:
        Numbers of ``scans``, ``images`` and ``annotations``, and ``out``.

    Raises:
        DataError: no scan is decided, or the directory is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: the directory is not empty; give a new one")
    rows = _load_decided(connection)
    if not rows:
        raise DataError("no decided scan has stored images; there is no dataset to write")
    confirmed = _load_confirmed(connection)
    (out / "images").mkdir(parents=True)
    number, categories = coco_categories(["anomaly"])
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    exported: list[dict[str, Any]] = []
    for row in rows:
        parts, boxes = confirmed.get(row["id"], (set(), []))
        if row["outcome"] == "suspect" and not (row["row"]["findings"] or boxes):
            log.info(f"{row['source_id']}: left out; suspect, but nothing is flagged or marked")
            continue
        names = _write_files(files, row, out / "images")
        exported.append(
            {
                "scan_id": row["id"],
                "source_id": row["source_id"],
                "outcome": row["outcome"],
                "files": list(names.values()),
            }
        )
        for view_id, view in row["row"]["views"].items():
            marks = _list_marks(row, view_id, parts, boxes)
            if row["outcome"] == "suspect" and not marks:
                continue  # the threat can be in this view too, unmarked
            images.append(
                {
                    "id": len(images) + 1,
                    "file_name": _find_file(row, view, names),
                    "view_id": view_id,
                    "scan_id": row["id"],
                    "height": view["height"],
                    "width": view["width"],
                }
            )
            for box, mask in marks:
                annotations.append(
                    coco_entry(len(annotations) + 1, len(images), number["anomaly"], box, mask)
                )
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (out / "annotations.json").write_text(json.dumps(coco))
    (out / "decisions.json").write_text(json.dumps(exported, indent=1))
    counts = {"scans": len(exported), "images": len(images), "annotations": len(annotations)}
    log.info(
        f"wrote {counts['scans']} decided scans with {counts['images']} views and "
        f"{counts['annotations']} annotations to {out}"
    )
    return counts | {"out": str(out)}


def _load_decided(connection: Connection) -> Sequence[Any]:
    statement = (
        select(scans, results.c.row, reviews.c.outcome)
        .join(results, results.c.scan_id == scans.c.id)
        .join(reviews, reviews.c.scan_id == scans.c.id)
        .where(
            reviews.c.state == "closed",
            reviews.c.outcome.in_(("clear", "suspect")),
            scans.c.tip.is_(None),
            scans.c.purged_at.is_(None),
        )
        .order_by(scans.c.received_at)
    )
    return connection.execute(statement).mappings().all()


def _load_confirmed(connection: Connection) -> dict[str, Confirmed]:
    """Return the findings that readers confirmed and the boxes that they drew, by scan."""
    confirmed: dict[str, Confirmed] = {}
    columns = (decisions.c.scan_id, decisions.c.parts, decisions.c.drawn)
    for row in connection.execute(
        select(*columns).where(decisions.c.undone_at.is_(None), decisions.c.value == "suspect")
    ):
        parts, boxes = confirmed.setdefault(row.scan_id, (set(), []))
        parts.update(row.parts)
        boxes += [box for box in row.drawn or [] if box not in boxes]
    return confirmed


def _list_marks(
    row: Any, view_id: str, parts: set[int], boxes: list[dict[str, Any]]
) -> list[tuple[Any, Any]]:
    """Return box and mask of each annotation of a view; the mask of a reader's box is None."""
    if row["outcome"] != "suspect":
        return []
    takes_all = not (parts or boxes)
    marks: list[tuple[Any, Any]] = [
        (finding["box_xyxy"], finding["mask"])
        for i, finding in enumerate(row["row"]["findings"])
        if finding["view_id"] == view_id and (takes_all or i in parts)
    ]
    return marks + [(box["box_xyxy"], None) for box in boxes if box["view_id"] == view_id]


def _write_files(files: Files, row: Any, folder: Path) -> dict[str, str]:
    """Write the files of a scan under unique names; two scanners can use the same name.

    Returns:
        The new name by the original name.
    """
    names = {}
    for file in row["files"]:
        name = f"{row['id'][:8]}_{file['name'].replace(' ', '_')}"
        (folder / name).write_bytes(files.get(file["sha256"]))
        names[file["name"]] = name
    return names


def _find_file(row: Any, view: dict[str, Any], names: dict[str, str]) -> str:
    """Return the file of a view; for a PNG set its first file, from which readers find the rest."""
    path = view.get("path") or row["row"]["path"]
    return names.get(Path(path).name) or next(iter(names.values()))
