"""Test images in the queue (threat image projection): a threat in a scan that the machine found clear, among the real ones.

Readers are not told before they have decided. What the machine does not flag goes the way of every other scan that it does not
flag. Hits and misses, of readers and of the machine, are counted in :mod:`bagscan.service.review.statistics`. The threat is
projected into one view; the other shows the bag as it was.
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
CANDIDATES = 50


def is_due(connection: Connection, rate: float) -> bool:
    """Whether the queue holds fewer test images than it should."""
    if not rate:
        return False
    real = connection.execute(
        select(func.count())
        .select_from(reviews)
        .join(scans, scans.c.id == reviews.c.scan_id)
        .where(scans.c.tip.is_(None))
    ).scalar_one()
    # Those count that readers see, or may come to see.
    found = (
        select(func.count())
        .select_from(scans)
        .outerjoin(reviews, reviews.c.scan_id == scans.c.id)
        .outerjoin(results, results.c.scan_id == scans.c.id)
    )
    tests = connection.execute(
        found.where(
            scans.c.tip.is_not(None),
            or_(reviews.c.scan_id.is_not(None), results.c.scan_id.is_(None)),
        )
    ).scalar_one()
    # The machine clears most of them where it is weak: they must not fill the store for want of one that it flags.
    judged = connection.execute(
        select(func.count())
        .select_from(results)
        .join(scans, scans.c.id == results.c.scan_id)
        .where(scans.c.tip.is_(None))
    ).scalar_one()
    made = connection.execute(select(func.count()).where(scans.c.tip.is_not(None))).scalar_one()
    return real > 0 and tests < rate * (real + tests) and made < 2 * rate * judged + 1


def candidate(
    connection: Connection, rng: random.Random
) -> tuple[str, list[dict[str, object]], str] | None:
    """A recent raw scan that the machine found clear and nobody has to read any more: id, files, scanner."""
    found = (
        select(scans)
        .join(results, results.c.scan_id == scans.c.id)
        .outerjoin(reviews, reviews.c.scan_id == scans.c.id)
    )
    found = found.where(
        results.c.decision == "CLEAR",
        or_(reviews.c.scan_id.is_(None), reviews.c.state == "closed"),
        scans.c.tip.is_(None),
        scans.c.purged_at.is_(None),
    )
    rows = connection.execute(found.order_by(scans.c.received_at.desc()).limit(CANDIDATES)).all()
    raw = [
        row
        for row in rows
        if any(str(file["name"]).lower().endswith((".tif", ".tiff")) for file in row.files)
    ]
    row = rng.choice(raw) if raw else None
    return (row.id, row.files, row.scanner) if row else None


def renamed(base: str, rng: random.Random) -> str:
    """A name of the same pattern: another number in the place of the last one, or the name and a number."""
    found = list(re.finditer(r"[0-9]+", base))
    if not found:
        return f"{base}_{rng.randrange(10_000):04d}"
    last = found[-1]
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
    """Project a threat into a clear scan and queue it; returns its scan's id, or None where nothing suits."""
    with store.read() as connection:
        chosen = candidate(connection, rng) if is_due(connection, config.tip_rate) else None
    if chosen is None:
        return None
    source, kept, scanner = chosen
    base = bag_name([str(file["name"]) for file in kept])
    other = renamed(base, rng)
    with tempfile.TemporaryDirectory(prefix="bagscan-tip-") as folder:
        target = next(
            file for file in kept if str(file["name"]).lower().endswith((".tif", ".tiff"))
        )
        original, made = Path(folder) / str(target["name"]), Path(folder) / "made.tif"
        original.write_bytes(files.get(str(target["sha256"])))
        summary = dispatcher.ask(
            {
                "kind": "project",
                "path": str(original),
                "out": str(made),
                "profile": config.tip_profile,
                "seed": rng.randrange(2**31),
            },
            PROJECT_S,
        ).result(2 * PROJECT_S)
        if not summary["ok"]:
            return None
        contents = {str(file["name"]): files.get(str(file["sha256"])) for file in kept} | {
            str(target["name"]): made.read_bytes()
        }
    # It must not be known by its name: the scan that it was made of may lie in the history.
    files_of_it = [(other + name.removeprefix(base), content) for name, content in contents.items()]
    truth = {key: summary["told"][key] for key in ("kind", "at", "pixels")} | {
        "of": source,
        "file": other + str(target["name"]).removeprefix(base),
    }
    upload = checked_upload(files_of_it, scanner, "scanner", truth)
    rows = keep_files(files, upload)
    _, scan_id, _ = store.write(
        lambda connection: _accepted(connection, config, auditor, upload, rows)
    )
    dispatcher.wake()
    return scan_id


def _accepted(
    connection: Connection,
    config: ServiceConfig,
    auditor: Auditor,
    upload: Upload,
    rows: list[dict[str, Any]],
) -> tuple[str, str, bool]:
    made = accept(connection, config, upload, rows, None, None, new_id())
    auditor.append(connection, "bagscan", "tip", made[1], {"kind": (upload.tip or {}).get("kind")})
    return made
