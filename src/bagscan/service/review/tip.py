"""Test images in the queue (threat image projection): clear scans with a projected threat.

A reader learns of a test image only after deciding on it. A test image that the model does not flag
is treated as any other unflagged scan. Hits and misses of readers and of the model are counted in
:mod:`bagscan.service.review.statistics`. The threat is projected into one view only.
"""

from __future__ import annotations

import random
import re
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, or_, select

from bagscan.service.audit import Auditor
from bagscan.service.inference.dispatcher import Dispatcher
from bagscan.service.inference.intake import (
    Upload,
    accept,
    bag_name,
    checked_upload,
    keep_files,
    new_id,
)
from bagscan.service.settings import ServiceConfig
from bagscan.service.store.database import Store
from bagscan.service.store.files import Files
from bagscan.service.store.tables import results, reviews, scans

PROJECT_S = 120.0
CANDIDATES = 50  # latest clear scans, of which a raw one is chosen


def is_due(connection: Connection, rate: float) -> bool:
    """Return True if the queue holds too few test images.

    Args:
        rate: share of test images in the queue, in [0, 0.5]; 0 for none.
    """
    if not rate:
        return False
    real = connection.execute(
        select(func.count())
        .select_from(reviews)
        .join(scans, scans.c.id == reviews.c.scan_id)
        .where(scans.c.tip.is_(None))
    ).scalar_one()
    # Test images count if they are in the queue or not screened yet.
    statement = (
        select(func.count())
        .select_from(scans)
        .outerjoin(reviews, reviews.c.scan_id == scans.c.id)
        .outerjoin(results, results.c.scan_id == scans.c.id)
    )
    tests = connection.execute(
        statement.where(
            scans.c.tip.is_not(None),
            or_(reviews.c.scan_id.is_not(None), results.c.scan_id.is_(None)),
        )
    ).scalar_one()
    # A weak model clears most test images. Their number is limited, so that they do not fill the
    # store while the model flags none of them.
    screened = connection.execute(
        select(func.count())
        .select_from(results)
        .join(scans, scans.c.id == results.c.scan_id)
        .where(scans.c.tip.is_(None))
    ).scalar_one()
    total = connection.execute(select(func.count()).where(scans.c.tip.is_not(None))).scalar_one()
    return real > 0 and tests < rate * (real + tests) and total < 2 * rate * screened + 1


def candidate(
    connection: Connection, rng: random.Random
) -> tuple[str, list[dict[str, object]], str] | None:
    """Choose a recent raw scan that the model cleared and that is not open for review.

    Returns:
        Id, files and scanner of the scan; None if there is no such scan.
    """
    statement = (
        select(scans)
        .join(results, results.c.scan_id == scans.c.id)
        .outerjoin(reviews, reviews.c.scan_id == scans.c.id)
        .where(
            results.c.decision == "CLEAR",
            or_(reviews.c.scan_id.is_(None), reviews.c.state == "closed"),
            scans.c.tip.is_(None),
            scans.c.purged_at.is_(None),
        )
        .order_by(scans.c.received_at.desc())
        .limit(CANDIDATES)
    )
    rows = connection.execute(statement).all()
    raw = [row for row in rows if any(_is_tiff(file) for file in row.files)]
    row = rng.choice(raw) if raw else None
    return (row.id, row.files, row.scanner) if row else None


def _is_tiff(file: dict[str, Any]) -> bool:
    return str(file["name"]).lower().endswith((".tif", ".tiff"))


def rename_scan(base: str, rng: random.Random) -> str:
    """Return a name of the same pattern: its last number replaced, or a number appended."""
    numbers = list(re.finditer(r"[0-9]+", base))
    if not numbers:
        return f"{base}_{rng.randrange(10_000):04d}"
    last = numbers[-1]
    number = last.group()
    while number == last.group():
        number = "".join(rng.choice("0123456789") for _ in last.group())
    return base[: last.start()] + number + base[last.end() :]


def make_test_image(
    store: Store,
    files: Files,
    auditor: Auditor,
    config: ServiceConfig,
    dispatcher: Dispatcher,
    rng: random.Random,
) -> str | None:
    """Project a threat into a clear scan and queue the result.

    Returns:
        Id of the new scan; None if no test image is due, no scan is suitable, or the projection
        failed.

    Raises:
        WorkerLost: the worker ended during the projection.
        StoreError: the store cannot be used.
    """
    with store.read() as connection:
        source = candidate(connection, rng) if is_due(connection, config.tip_rate) else None
    if source is None:
        return None
    source_id, source_files, scanner = source
    base = bag_name([str(file["name"]) for file in source_files])
    new_base = rename_scan(base, rng)
    with tempfile.TemporaryDirectory(prefix="bagscan-tip-") as folder:
        target = next(file for file in source_files if _is_tiff(file))
        original, projected = Path(folder) / str(target["name"]), Path(folder) / "made.tif"
        original.write_bytes(files.get(str(target["sha256"])))
        task = {
            "kind": "project",
            "path": str(original),
            "out": str(projected),
            "profile": config.tip_profile,
            "seed": rng.randrange(2**31),
        }
        answer = dispatcher.ask(task, PROJECT_S).result(2 * PROJECT_S)
        if not answer["ok"]:
            return None
        contents = {str(file["name"]): files.get(str(file["sha256"])) for file in source_files}
        contents[str(target["name"])] = projected.read_bytes()
    # The name must differ from that of the source, which readers can find in the archive.
    new_files = [(new_base + name.removeprefix(base), data) for name, data in contents.items()]
    truth = {key: answer["truth"][key] for key in ("kind", "at", "pixels")} | {
        "of": source_id,
        "file": new_base + str(target["name"]).removeprefix(base),
    }
    upload = checked_upload(new_files, scanner, "scanner", truth)
    rows = keep_files(files, upload)
    _, scan_id, _ = store.write(
        lambda connection: _queue_test_image(connection, config, auditor, upload, rows)
    )
    dispatcher.wake()
    return scan_id


def _queue_test_image(
    connection: Connection,
    config: ServiceConfig,
    auditor: Auditor,
    upload: Upload,
    rows: list[dict[str, Any]],
) -> tuple[str, str, bool]:
    accepted = accept(connection, config, upload, rows, None, None, new_id())
    detail = {"kind": (upload.tip or {}).get("kind")}
    auditor.append(connection, "bagscan", "tip", accepted[1], detail)
    return accepted
